"""Rows that stand for many: every combination of listed values (``grid``), and random ones (``sample``).

Such a row is replaced by itself without them, the starting point, and by a row for every combination. What is recorded
of a suite holds those rows, and nothing of how they were written.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from kshot.suites import wording
from kshot.suites.document import Document, KeyPath, Problems
from kshot.suites.model import AlgorithmRow, Name, Suite, one_or_more
from kshot.suites.run import Index, Model

MOST = 1000
"""Rows that one row can stand for. Nobody trains more, and a slip of the pen is soon a million."""
DIGITS = 3
"""Significant digits of numbers that are drawn: more decide nothing, and cannot be read."""
LENGTH = 64
"""Letters of a name."""
Choices = Annotated[list[Any], Field(min_length=1)]


class Range(Model):
    """Values between two bounds, whole numbers where both bounds are."""

    low: int | float
    """The least."""
    high: int | float
    """The largest."""
    log: bool = False
    """Whether they are spread evenly over orders of magnitude, as learning rates should be."""

    @model_validator(mode="after")
    def _check(self) -> Range:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError("low has to be less than high, and both finite")
        if self.log and self.low <= 0:
            raise ValueError("with log, low has to be positive")
        return self

    def at(self, share: float) -> float | int:
        """The value that ``share`` of all lie below."""
        low, high = self.low, self.high
        whole = isinstance(low, int) and isinstance(high, int)
        if whole:
            high += 1  # all whole numbers, the last one too, are as likely
        value = low * (high / low) ** share if self.log else low + (high - low) * share
        return int(value) if whole else float(f"{value:.{DIGITS}g}")


def _kind(value: Any) -> str:
    return "range" if isinstance(value, (dict, Range)) else "choices"


Of = Annotated[Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")], Discriminator(_kind)]
"""What a setting is drawn from."""


class Sample(Model):
    """Rows with random settings."""

    rows: Annotated[int, Field(gt=0, le=MOST)]
    """How many. The first ones stay the same when more are asked for."""
    seed: Index = 0
    """Another one draws others."""
    settings: Annotated[dict[str, Of], Field(min_length=1)]
    """Of each setting a list to choose from, or a range."""


class SweptRow(AlgorithmRow):
    """An algorithm, and rows of it with other settings."""

    grid: Annotated[dict[str, Choices], Field(min_length=1)] | None = None
    """Values of each setting: a row for every combination."""
    sample: Sample | None = None
    """Rows with random settings."""


class SuiteFile(Suite):
    """A suite as users write it."""

    algorithms: Annotated[  # type: ignore[assignment]  # a row of a file can say more than one of a suite
        dict[Name, SweptRow], Field(min_length=1, json_schema_extra={"additionalProperties": False})
    ]
    """Algorithms, by the names that paths and tables show."""


KEYS = ("grid", "sample")


def expanded(document: Document, problems: Problems) -> Document:
    """The document with a row for everything that one of its rows stands for.

    Args:
        document: of a suite; anything else is returned as it is.
        problems: gets what is wrong with a ``grid`` or ``sample``; the row is then taken without them.
    """
    rows = document.value.get("algorithms") if isinstance(document.value, dict) else None
    if not isinstance(rows, dict) or not any(isinstance(row, dict) and row.keys() & set(KEYS) for row in rows.values()):
        return document
    found: dict[Any, Any] = {}
    sources: dict[KeyPath, KeyPath] = {}
    variants: dict[Any, list[str]] = {}
    for name, row in rows.items():
        if not isinstance(row, dict) or not row.keys() & set(KEYS):
            found[name] = row
            continue
        plain = {key: value for key, value in row.items() if key not in KEYS}
        path: KeyPath = ("algorithms", str(name))
        found[name], variants[name] = plain, []
        for variant, settings, where in _variants(document, path, row, problems):
            if variant in rows or variant in variants[name]:
                text = f"{variant!r} is the name of two rows: leave one of them out, or rename it"
                problems.add(document, where, text)
                continue
            own = plain.get("settings") or {}
            changed = {**own, **settings} if isinstance(own, dict) else own
            found[variant] = {**plain, "algorithm": plain.get("algorithm", name), "settings": changed}
            variants[name].append(variant)
            sources[("algorithms", variant)] = path
            sources |= {("algorithms", variant, "settings", setting): (*where, setting) for setting in settings}
    value = {**document.value, "algorithms": found}
    if isinstance(value.get("exclude"), list):
        value["exclude"] = [_with_variants(entry, variants) for entry in value["exclude"]]
    return replace(document, value=value, sources=sources)


def _variants(
    document: Document, path: KeyPath, row: Mapping[str, Any], problems: Problems
) -> Iterator[tuple[str, dict[str, Any], KeyPath]]:
    """Name, settings and the place in the file of every row that a row stands for besides itself."""
    try:
        swept = SweptRow.model_validate_json(json.dumps({key: row[key] for key in KEYS if key in row}, default=str))
    except ValidationError as error:
        for detail in error.errors():
            place = tuple(part for part in detail["loc"] if part not in ("range", "choices", "int", "float"))
            known = Sample if len(place) == 2 else Range
            text = wording.problem(detail, known.model_fields)
            if "choices" in detail["loc"] and not isinstance(detail["input"], list):
                text = f"expected a list of values or a range (low, high), got {wording.shortened(detail['input'])}"
            problems.add(document, (*path, *place), text)
        return
    prefix = path[-1]
    families = row.get("families")
    overrides = families.items() if isinstance(families, dict) else ()
    places: dict[str, KeyPath] = {setting: ("grid", setting) for setting in swept.grid or ()}
    places |= {setting: ("sample", "settings", setting) for setting in (swept.sample.settings if swept.sample else ())}
    for family, override in overrides:
        own = override.get("settings") if isinstance(override, dict) else None
        for setting in own if isinstance(own, dict) else ():
            if setting in places:
                text = f"has no effect on {family!r}, which has a value of its own: give that in a row of its own"
                problems.add(document, (*path, *places[setting]), text)
    if swept.grid:
        count = math.prod(map(len, swept.grid.values()))
        if count > MOST:
            text = f"{count:,} combinations, at most {MOST:,} can be rows; a sample draws some of them"
            problems.add(document, (*path, "grid"), text)
        else:
            for values in itertools.product(*swept.grid.values()):
                settings = dict(zip(swept.grid, values, strict=True))
                name = "-".join([str(prefix), *(f"{setting}-{_text(value)}" for setting, value in settings.items())])
                if len(name) > LENGTH:
                    text = f"the name {name!r} is longer than {LENGTH} letters: choose a shorter one for the row"
                    problems.add(document, (*path, "grid"), text)
                    break
                yield name, settings, (*path, "grid")
    if swept.sample:
        from kshot import seeding  # with SciPy, a third of the time that reading a suite takes

        for number in range(swept.sample.rows):
            # Keyed by the setting's name, too: one more of them leaves the others as they are.
            drawn = {
                setting: _draw(of, seeding.key("sweep", swept.sample.seed, str(prefix), number, setting))
                for setting, of in swept.sample.settings.items()
            }
            yield f"{prefix}-sample-{number}", drawn, (*path, "sample", "settings")


def _draw(choices: Range | list[Any], key: int) -> Any:
    from kshot import seeding

    share = float(seeding.uniform(seeding.split(key, 0), 0))
    return choices.at(share) if isinstance(choices, Range) else choices[int(share * len(choices))]


def _text(value: Any) -> str:
    """A value as a part of a name: 0.05 is ``0_05``, a list ``64x64``."""
    if isinstance(value, list):
        return "x".join(map(_text, value)) or "none"
    text = "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^a-z0-9_-]", "_", text.lower().replace("+", ""))


def _with_variants(entry: Any, variants: Mapping[Any, list[str]]) -> Any:
    """An entry of ``exclude`` that leaves out all that the rows named in it stand for."""
    names = one_or_more(entry.get("algorithm")) if isinstance(entry, dict) else None
    if not isinstance(names, tuple) or not any(isinstance(name, str) and name in variants for name in names):
        return entry
    every = [part for name in names for part in (name, *(variants.get(name, ()) if isinstance(name, str) else ()))]
    return {**entry, "algorithm": every}
