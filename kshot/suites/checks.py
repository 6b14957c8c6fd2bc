"""Checks of a suite that need no code of its algorithms and families."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from kshot.errors import suggest
from kshot.suites import sweeps, wording
from kshot.suites.document import Document, KeyPath, Problems
from kshot.suites.model import AlgorithmRow, Exclude, FamilyCell, FamilyOverride, Suite, one_or_more
from kshot.suites.run import Evaluation

M = TypeVar("M", bound=BaseModel)


class Draft:
    """A suite that is being checked: its valid parts, and the problems so far.

    Attributes:
        document: what was read.
        problems: that were found.
        raw: the document's mapping, with all keys as text; empty if it is none.
        cells: the valid parts of ``families``, by name.
        rows: the valid parts of ``algorithms``, by name.
        exclusions: (position in ``exclude``, (algorithm, family)) for every pair of names in it.
    """

    def __init__(self, document: Document) -> None:
        self.problems = Problems()
        self.document = sweeps.expanded(document, self.problems)
        plain = json.loads(json.dumps(self.document.value, default=str))  # keys become text, as in ``Document.lines``
        self.raw: dict[str, Any] = plain if isinstance(plain, dict) else {}
        placeholders = {"steps": 1, "evaluation": {"tasks": 1, "k": [0]}}
        self.cells = _valid_parts(self.raw.get("families"), FamilyCell, placeholders)
        self.rows = _valid_parts(self.raw.get("algorithms"), AlgorithmRow, {})
        items = self.raw.get("exclude")
        entries = enumerate(items) if isinstance(items, list) else ()
        self.exclusions = [
            (i, (algorithm, family))
            for i, x in entries
            if isinstance(x, dict)
            for algorithm in _names(x.get("algorithm"))
            for family in _names(x.get("family"))
        ]

    def keys(self, section: str) -> list[str]:
        """The names in a section, whether what they name is valid or not."""
        value = self.raw.get(section)
        return list(value) if isinstance(value, dict) else []

    def narrow(self, family: str, algorithm: str) -> None:
        """Check settings of one family and one algorithm only."""
        self.cells = {name: cell for name, cell in self.cells.items() if name == family}
        self.rows = {name: row for name, row in self.rows.items() if name == algorithm}

    def add(self, path: KeyPath, text: str) -> None:
        self.problems.add(self.document, path, text)

    def structure(self) -> Suite | None:
        """The suite, its settings unchecked; None after adding a problem for everything that is not valid."""
        value = self.document.value
        if not isinstance(value, dict):
            text = "is empty" if value is None else f"holds a {type(value).__name__}"
            self.add((), f"{text}; a suite is a mapping with name, seeds, families and algorithms")
            return None
        try:
            return Suite.model_validate_json(json.dumps(self.raw), strict=True)
        except ValidationError as error:
            details = error.errors()
        for detail in details:
            path = tuple(part for part in detail["loc"] if part != "[key]")
            has_details = any(other["loc"][: len(path)] == path != other["loc"] for other in details)
            # Pydantic calls a list too short, too, if all its items are wrong: these have problems of their own.
            if not (detail["type"] == "too_short" and has_details):
                self.add(path, wording.problem(detail, _keys_at(path[:-1])))
        return None


def _keys_at(path: KeyPath) -> list[str]:
    """The keys that are allowed in the mapping at ``path``."""
    match path:
        case ("families", _):
            return list(FamilyCell.model_fields)
        case ("families", _, "evaluation"):
            return list(Evaluation.model_fields)
        case ("algorithms", _):
            return list(sweeps.SweptRow.model_fields)
        case ("algorithms", _, "families", _):
            return list(FamilyOverride.model_fields)
        case ("exclude", _):
            return list(Exclude.model_fields)
    return list(Suite.model_fields)


def _names(value: Any) -> list[str]:
    """The names in an entry of ``exclude``, whether they are valid or not."""
    names = one_or_more(value)
    return [name for name in names if isinstance(name, str)] if isinstance(names, tuple) else []


def _valid_parts(section: Any, model: type[M], placeholders: Mapping[str, Any]) -> dict[str, M]:
    """The entries of a section without the keys that are not valid, and with placeholders for required ones."""
    valid: dict[str, M] = {}
    for name, value in section.items() if isinstance(section, dict) else ():
        entry = copy.deepcopy(value)
        while isinstance(entry, dict) and name not in valid:
            try:
                valid[name] = model.model_validate_json(json.dumps({**placeholders, **entry}), strict=True)
            except ValidationError as error:
                for detail in error.errors():
                    _remove(entry, detail["loc"][:1] if detail["type"] == "missing" else detail["loc"])
    return valid


def _remove(entry: dict[str, Any], path: tuple[str | int, ...]) -> None:
    """Delete the key at ``path``; if the path leads into a list, the whole list."""
    for key, next_key in itertools.pairwise(path):
        if isinstance(next_key, int) or key not in entry:
            entry.pop(str(key), None)
            return
        entry = entry[str(key)]
    entry.pop(str(path[-1]), None)


def check_names(draft: Draft) -> None:
    """Add problems for names that do not exist in the suite, and for repeated or unordered values."""
    cells, rows = draft.keys("families"), draft.keys("algorithms")
    seeds = draft.raw.get("seeds")
    if isinstance(seeds, list):
        for i, seed in enumerate(seeds):
            if seed in seeds[:i]:
                draft.add(("seeds", i), f"seed {seed} stands in the list twice")
    for cell_name, cell in draft.cells.items():
        path: KeyPath = ("families", cell_name)
        k = cell.evaluation.k
        if k[0] != 0 or any(later <= earlier for earlier, later in itertools.pairwise(k)):
            draft.add((*path, "evaluation", "k"), f"must increase and start with 0 (no evidence), got {list(k)}")
        for i, reference in enumerate(cell.references):
            if reference in cell.references[:i]:
                draft.add((*path, "references", i), f"{reference!r} stands in the list twice")
            if reference in rows:
                text = f"{reference!r} is a reference policy of family {cell_name!r}: choose another name for the row"
                draft.add(("algorithms", reference), text)
    for row_name, row in draft.rows.items():
        for cell_name in row.families:
            if cell_name not in cells:
                text = f"this suite has no family {cell_name!r}{suggest(cell_name, cells)}"
                draft.add(("algorithms", row_name, "families", cell_name), text)
    _check_alike(draft, "families", cells, {})
    references = {name: cell_name for cell_name, cell in draft.cells.items() for name in cell.references}
    _check_alike(draft, "algorithms", rows, references)
    _check_exclusions(draft, rows, cells)


def _check_alike(draft: Draft, section: str, names: list[str], references: Mapping[str, str]) -> None:
    """Add a problem for names that reports would write alike, with '-' for '_'; references by name -> family."""
    shown = {name.replace("_", "-"): f"reference {name!r} of {cell_name!r}" for name, cell_name in references.items()}
    for name in names:
        if name in references:
            continue  # is refused as such
        other = shown.setdefault(name.replace("_", "-"), repr(name))
        if other != repr(name):
            draft.add((section, name), f"reports would write it like {other}, with '-' for '_': choose another name")


def _check_exclusions(draft: Draft, rows: list[str], cells: list[str]) -> None:
    pairs = set()
    for i, pair in draft.exclusions:
        for kind, name, known in (("algorithm", pair[0], rows), ("family", pair[1], cells)):
            if isinstance(name, str) and name not in known:
                text = f"excludes nothing: this suite has no {kind} {name!r}{suggest(name, known)}"
                draft.add(("exclude", i, kind), text)
        if pair in pairs:
            draft.add(("exclude", i), f"{pair[0]!r} on {pair[1]!r} is excluded twice")
        pairs.add(pair)
    all_pairs = {(row, cell) for row in rows for cell in cells}
    if all_pairs and all_pairs <= pairs:
        draft.add(("exclude",), "excludes every pair: there is nothing left to train")
