"""Reading suites: YAML, checked as a whole before a suite is run, with every mistake shown where it stands.

Every setting of a loaded suite has its value, whether it came from the suite, from ``config/algorithms/<module>.yaml``
or from the defaults in the code; so what is recorded and hashed is complete. ``python -m kshot.suites.checks`` writes
the JSON schema that editors use to check and complete suites.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from kshot import registry
from kshot.errors import ConfigError, RegistryError, suggest
from kshot.places import ROOT, SUITES, relative, suite_files
from kshot.records import write_text
from kshot.suites.document import Document, KeyPath, Problems, command_line, read
from kshot.suites.model import (
    AlgorithmFacts,
    AlgorithmRow,
    Exclude,
    Facts,
    FamilyCell,
    FamilyFacts,
    FamilyOverride,
    Suite,
    one_or_more,
)
from kshot.suites.run import Evaluation
from kshot.suites.settings import Layer, resolve
from kshot.types import Headline

ALGORITHMS = ROOT / "config" / "algorithms"
SCHEMA = ROOT / "config" / "schema" / "suite.schema.json"

M = TypeVar("M", bound=BaseModel)


def find_suite(name: str, root: Path = Path("results"), prefer_results: bool = False) -> Path:
    """The file of a suite: a path as it is, a name as config/suites/<name>.yaml or else <root>/<name>/suite.yaml.

    ``prefer_results`` turns the two around: what was really started may differ by options from the file.

    Raises:
        ConfigError: there is none; the message has the nearest name.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = Path(name)
        if path.is_file():
            return path
        near = [str(path.with_name(other.name)) for other in path.parent.glob("*.y*ml")]
        raise ConfigError([f"{name}: no such suite file{suggest(name, near) if near else ''}"])
    places = [relative(SUITES / f"{name}.yaml"), root / name / "suite.yaml"]
    for path in reversed(places) if prefer_results else places:
        if path.is_file():
            return path
    known = {path.stem for path in suite_files()} | {path.parent.name for path in root.glob("*/suite.yaml")}
    raise ConfigError([f"no suite {name!r}{suggest(name, known)}"])


def read_suite(files: Sequence[Path], overrides: Mapping[str, Any]) -> Suite:
    """A suite from the files and the key=value options of Snakemake's command line, later ones on top.

    Raises:
        ConfigError: with one line for every mistake.
    """
    documents = [read(relative(path)) for path in files]
    if overrides:
        documents.append(command_line(overrides, "--config"))
    return load_suite(reduce(Document.merged, documents))


def load_suite(
    source: Path | str | Mapping[str, Any] | Document,
    name: str = "suite",
    modules: bool = True,
    only: tuple[str, str] | None = None,
    recorded: bool = False,
) -> Suite:
    """Read and check a suite.

    Args:
        source: a YAML file, or its content.
        name: what messages call a mapping.
        modules: False skips what needs the code of algorithms and families: settings are then neither checked nor
            completed. Enough to know which runs there are, and fast.
        only: a family and an algorithm by their names in the suite. The settings of others are then neither checked
            nor completed, and their code is not imported: what one run needs, and no more.
        recorded: take a resolved suite, which has ``facts``, as it was recorded, without importing any code.

    Raises:
        ConfigError: with one line for every mistake in the file.
    """
    if isinstance(source, Mapping):
        document = Document(dict(source), name)
    else:
        document = source if isinstance(source, Document) else read(Path(source))
    # What is well-formed is checked further even if something else is not: one look shows every mistake.
    draft = _Draft(document)
    suite = draft.structure()
    _check_names(draft)
    if only is not None:
        draft.narrow(*only)
    if recorded and suite is not None and suite.facts is not None:
        modules = False
    if modules:
        families, algorithms = _resolve_families(draft), _resolve_algorithms(draft)
    draft.problems.check()
    assert suite is not None  # without a structure there are problems
    if not modules:
        return suite
    update = {"families": suite.families | families, "algorithms": suite.algorithms | algorithms}
    return suite.model_copy(update=update | {"facts": _facts(families, algorithms)})


def _facts(families: Mapping[str, FamilyCell], algorithms: Mapping[str, AlgorithmRow]) -> Facts:
    """What the code says of the names in a resolved suite."""
    headlines, rows = {}, {}
    for name, cell in families.items():
        headlines[name] = FamilyFacts(headline=_headline(registry.load("envs", str(cell.family)), cell.settings))
    for name, row in algorithms.items():
        module = registry.load("algorithms", str(row.algorithm))
        scratch = getattr(module, "FROM_SCRATCH", False)
        rows[name] = AlgorithmFacts(evidence=module.EVIDENCE, test_actions=module.TEST_ACTIONS, from_scratch=scratch)
    return Facts(families=headlines, algorithms=rows)


class _Draft:
    """A suite while it is being checked: what can be read of it, and what is wrong with it so far."""

    def __init__(self, document: Document) -> None:
        self.document, self.problems = document, Problems()
        plain = json.loads(json.dumps(document.value, default=str))  # keys are text from here on, as in ``places``
        self.raw: dict[str, Any] = plain if isinstance(plain, dict) else {}
        required = {"steps": 1, "evaluation": {"tasks": 1, "k": [0]}}
        self.cells = _salvage(self.raw.get("families"), FamilyCell, required)
        self.rows = _salvage(self.raw.get("algorithms"), AlgorithmRow, {})
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
        """The names in a section, well-formed or not."""
        value = self.raw.get(section)
        return list(value) if isinstance(value, dict) else []

    def narrow(self, family: str, algorithm: str) -> None:
        """Go on with one family and one algorithm."""
        self.cells = {name: cell for name, cell in self.cells.items() if name == family}
        self.rows = {name: row for name, row in self.rows.items() if name == algorithm}

    def add(self, path: KeyPath, text: str) -> None:
        self.problems.add(self.document, path, text)

    def structure(self) -> Suite | None:
        """The suite without its settings checked, or None after adding what is malformed."""
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
            below = any(other["loc"][: len(path)] == path != other["loc"] for other in details)
            if not (detail["type"] == "too_short" and below):  # a list whose items are all wrong counts as empty, too
                self.add(path, _explain(path, detail))
        return None


def _explain(path: KeyPath, detail: Any) -> str:
    """One of pydantic's errors in the words of this file."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    shown = _shown(value)
    match kind:
        case "extra_forbidden":
            return f"unknown key {str(path[-1])!r}{suggest(str(path[-1]), _keys_at(path[:-1]))}"
        case "missing":
            return "is missing"
        case "greater_than" | "greater_than_equal":
            return f"must be {'at least 0' if kind.endswith('equal') else 'at least 1'}, got {shown}"
        case "too_short" | "string_too_short":
            return "must not be empty"
        case "int_type" | "int_from_float" | "int_parsing":
            return f"expected a whole number, got {shown}"
        case "bool_type":
            return f"expected true or false, got {shown}"
        case "string_type":
            return f"expected text, got {shown}"
        case "tuple_type" | "list_type":
            return f"expected a list, got {shown}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"expected a mapping, got {shown}" + (" (write {} for an empty one)" if value is None else "")
        case "literal_error":
            return f"expected {context['expected']}, got {shown}"
        case "string_pattern_mismatch" if path[-1:] == ("device",):
            return f"expected cpu, cuda, cuda:<n> or mps, got {shown}"
        case "string_pattern_mismatch":
            return f"{shown} cannot be a folder name here: use up to 64 lower-case letters, digits, '-' and '_'"
    return f"{detail['msg']}, got {shown}"


def _shown(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _keys_at(path: KeyPath) -> list[str]:
    """The keys that are allowed in the mapping at ``path``."""
    match path:
        case ("families", _):
            return list(FamilyCell.model_fields)
        case ("families", _, "evaluation"):
            return list(Evaluation.model_fields)
        case ("algorithms", _):
            return list(AlgorithmRow.model_fields)
        case ("algorithms", _, "families", _):
            return list(FamilyOverride.model_fields)
        case ("exclude", _):
            return list(Exclude.model_fields)
    return list(Suite.model_fields)


def _names(value: Any) -> list[str]:
    """The names in an entry of ``exclude``, well-formed or not."""
    found = one_or_more(value)
    return [name for name in found if isinstance(name, str)] if isinstance(found, tuple) else []


def _salvage(section: Any, model: type[M], required: Mapping[str, Any]) -> dict[str, M]:
    """The entries of a section, without whatever is malformed in them; ``required`` stands in for what is missing."""
    found: dict[str, M] = {}
    for name, value in section.items() if isinstance(section, dict) else ():
        entry = copy.deepcopy(value)
        while isinstance(entry, dict) and name not in found:
            try:
                found[name] = model.model_validate_json(json.dumps({**required, **entry}), strict=True)
            except ValidationError as error:
                for detail in error.errors():
                    _remove(entry, detail["loc"][:1] if detail["type"] == "missing" else detail["loc"])
    return found


def _remove(entry: dict[str, Any], path: tuple[str | int, ...]) -> None:
    """Delete the key at ``path``, or the list that it leads into."""
    for here, below in itertools.pairwise(path):
        if isinstance(below, int) or here not in entry:
            entry.pop(str(here), None)
            return
        entry = entry[str(here)]
    entry.pop(str(path[-1]), None)


def _check_names(draft: _Draft) -> None:
    """What can be checked without looking at code: names that point to each other, repeated and unordered values."""
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
    _check_exclusions(draft, rows, cells)


def _check_exclusions(draft: _Draft, rows: list[str], cells: list[str]) -> None:
    earlier = set()
    for i, pair in draft.exclusions:
        for kind, name, known in (("algorithm", pair[0], rows), ("family", pair[1], cells)):
            if isinstance(name, str) and name not in known:
                text = f"excludes nothing: this suite has no {kind} {name!r}{suggest(name, known)}"
                draft.add(("exclude", i, kind), text)
        if pair in earlier:
            draft.add(("exclude", i), f"{pair[0]!r} on {pair[1]!r} is excluded twice")
        earlier.add(pair)
    everything = {(row, cell) for row in rows for cell in cells}
    if everything and everything <= earlier:
        draft.add(("exclude",), "excludes every pair: there is nothing left to train")


def _resolve_families(draft: _Draft) -> dict[str, FamilyCell]:
    resolved: dict[str, FamilyCell] = {}
    for name, cell in draft.cells.items():
        path: KeyPath = ("families", name)
        module_name = cell.family or name
        module = _load("envs", module_name, draft, (*path, "family") if cell.family else path)
        if module is None:
            continue
        layer = Layer(draft.document, (*path, "settings"), cell.settings)
        settings = resolve(module.Settings, module_name, [layer], draft.problems)
        if settings is not None:
            resolved[name] = cell.model_copy(update={"family": module_name, "settings": settings})
            headline = _headline(module, settings)
            if headline not in get_args(Headline):
                text = (
                    f"{module_name!r} has the headline {headline!r}, which is none of {', '.join(get_args(Headline))}"
                )
                draft.add(path, text)
            obstacle = _official_obstacle(module, module_name, cell, settings)
            if obstacle:
                draft.add((*path, "evaluation", "official"), f"no official evaluation: {obstacle}")
    return resolved


def _headline(module: ModuleType, settings: Mapping[str, Any]) -> Headline:
    chosen = getattr(module, "headline", None)
    found: Headline = "return" if chosen is None else chosen(registry.settings(module, settings))
    return found


def _official_obstacle(module: ModuleType, family: str, cell: FamilyCell, settings: dict[str, Any]) -> str:
    """Why a cell that asks for the official evaluation cannot have it; empty if it can, or does not ask."""
    if not cell.evaluation.official:
        return ""
    if cell.evaluation.split != "test":
        return f"it plays test tasks, and the split is {cell.evaluation.split!r}"
    check = getattr(module, "official_obstacle", None)
    if check is None:
        return f"only families of Meta-World have one, {family!r} has not"
    return str(check(registry.settings(module, settings)))


def _resolve_algorithms(draft: _Draft) -> dict[str, AlgorithmRow]:
    resolved: dict[str, AlgorithmRow] = {}
    excluded = {pair for _, pair in draft.exclusions}
    for name, row in draft.rows.items():
        path: KeyPath = ("algorithms", name)
        module_name = row.algorithm or name
        module = _load("algorithms", module_name, draft, (*path, "algorithm") if row.algorithm else path)
        if module is None:
            continue
        overrides: dict[str, FamilyOverride] = {}
        for cell_name, cell in draft.cells.items():
            if (name, cell_name) in excluded:
                continue
            family_name = cell.family or cell_name
            reason = _impossible(module_name, module, family_name)
            if reason is not None:
                text = f"cannot run on family {cell_name!r}: {reason}; leave the pair out under 'exclude'"
                draft.add(path, text)
                continue
            override = row.families.get(cell_name, FamilyOverride())
            layers = [
                *_file_layers(module_name, family_name, draft.problems),
                Layer(draft.document, (*path, "settings"), row.settings),
                Layer(draft.document, (*path, "families", cell_name, "settings"), override.settings),
            ]
            settings = resolve(module.Settings, module_name, layers, draft.problems)
            if settings is not None:
                overrides[cell_name] = FamilyOverride(settings=settings, steps=override.steps or cell.steps)
        resolved[name] = AlgorithmRow(algorithm=module_name, families=overrides)
    return resolved


def _impossible(algorithm: str, module: ModuleType, family: str) -> str | None:
    """Why an algorithm cannot run on a family, or None."""
    try:
        other = registry.load("envs", family)
    except Exception:
        return None  # told where the family stands
    if other.ACTIONS not in module.ACTIONS:
        return f"{algorithm!r} needs {' or '.join(sorted(module.ACTIONS))} actions, {family!r} has {other.ACTIONS} ones"
    if module.EVIDENCE not in other.EVIDENCE:
        return f"{algorithm!r} learns from {module.EVIDENCE}, {family!r} offers {' and '.join(sorted(other.EVIDENCE))}"
    return None


def _load(kind: registry.Kind, name: str, draft: _Draft, path: KeyPath) -> ModuleType | None:
    try:
        return registry.load(kind, name)
    except RegistryError as error:
        draft.add(path, str(error))
    except Exception as error:  # a module may fail to import in any way; its author needs to see which
        draft.add(path, f"{kind}/{name} does not import: {type(error).__name__}: {error}")
    return None


def _file_layers(algorithm: str, family: str, problems: Problems) -> list[Layer]:
    """The layers of ``config/algorithms/<algorithm>.yaml``: ``defaults``, then ``families.<family>``."""
    path = ALGORITHMS / f"{algorithm}.yaml"
    if not path.is_file():
        return []
    try:
        document = read(path)
    except ConfigError as error:
        problems.lines += [line for line in error.problems if line not in problems.lines]
        return []
    value = {} if document.value is None else document.value
    if not isinstance(value, dict):
        problems.add(document, (), "expected a mapping with 'defaults' and 'families'")
        return []
    for key in value.keys() - {"defaults", "families"}:
        problems.add(document, (key,), f"unknown key {key!r}{suggest(key, ['defaults', 'families'])}")
    families = value.get("families", {})
    layers = []
    for keys, values in (
        (("defaults",), value.get("defaults", {})),
        (("families", family), families.get(family, {}) if isinstance(families, dict) else families),
    ):
        if isinstance(values, dict):
            layers.append(Layer(document, keys, values))
        else:
            problems.add(document, keys, f"expected a mapping of settings, got {_shown(values)}")
    return layers


def json_schema() -> dict[str, Any]:
    """The JSON schema of suite files."""
    schema = Suite.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "kshot suite"}


def schema_text() -> str:
    """The committed form of ``json_schema``."""
    return json.dumps(json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    write_text(SCHEMA, schema_text())
    print(f"wrote {SCHEMA}")
