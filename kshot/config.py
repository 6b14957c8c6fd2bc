"""Reading suites: YAML, checked as a whole before anything runs, with every mistake shown where it stands.

Every setting of a loaded suite has its value, whether it came from the suite, from ``config/algorithms/<module>.yaml``
or from the defaults in the code; so what is recorded and hashed is complete. ``python -m kshot.config`` writes the JSON
schema that editors use to check and complete suites.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from kshot import registry
from kshot.config_errors import ConfigError, Document, KeyPath, Problems, command_line, read
from kshot.records import write_text
from kshot.registry import suggest
from kshot.settings import Layer, resolve
from kshot.suite import AlgorithmRow, EvaluationSpec, Exclude, FamilyCell, FamilyOverride, Suite

ROOT = Path(__file__).resolve().parent.parent
"""The repository: kshot is run in place, so its configuration stands beside its code."""
SUITES = ROOT / "config" / "suites"
ALGORITHMS = ROOT / "config" / "algorithms"
SCHEMA = ROOT / "config" / "schema" / "suite.schema.json"

M = TypeVar("M", bound=BaseModel)


def suite_files() -> list[Path]:
    """The suites that come with the repository."""
    return [_relative(path) for path in sorted(SUITES.glob("*.yaml"))]


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
    places = [_relative(SUITES / f"{name}.yaml"), root / name / "suite.yaml"]
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
    documents = [read(_relative(path)) for path in files]
    if overrides:
        documents.append(command_line(overrides, "--config"))
    return load_suite(reduce(Document.merged, documents))


def _relative(path: Path) -> Path:
    """The path as a user would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def load_suite(source: Path | str | Mapping[str, Any] | Document, name: str = "suite", modules: bool = True) -> Suite:
    """Read and check a suite.

    Args:
        source: a YAML file, or its content.
        name: what messages call a mapping.
        modules: False skips what needs the code of algorithms and families: settings are then neither checked nor
            completed. Enough to know which runs there are, and fast.

    Raises:
        ConfigError: with one line for every mistake in the file.
    """
    if isinstance(source, Mapping):
        document = Document(dict(source), name)
    else:
        document = source if isinstance(source, Document) else read(Path(source))
    problems = Problems()
    suite = _structure(document, problems)
    raw = document.value if isinstance(document.value, dict) else {}
    # What is well-formed is checked further even if something else is not: one look shows every mistake.
    cells = _salvage(raw.get("families"), FamilyCell, {"steps": 1, "evaluation": {"tasks": 1, "k": [0]}})
    rows = _salvage(raw.get("algorithms"), AlgorithmRow, {})
    _check_names(document, problems, raw, cells, rows)
    if modules:
        resolved_cells = _resolve_families(document, problems, cells)
        resolved_rows = _resolve_algorithms(document, problems, raw, cells, rows)
    problems.check()
    if suite is None:
        raise AssertionError("a suite without problems has a structure")
    return suite.model_copy(update={"families": resolved_cells, "algorithms": resolved_rows}) if modules else suite


def _structure(document: Document, problems: Problems) -> Suite | None:
    if not isinstance(document.value, dict):
        text = "is empty" if document.value is None else f"holds a {type(document.value).__name__}"
        problems.add(document, (), f"{text}; a suite is a mapping with name, seeds, families and algorithms")
        return None
    try:
        return Suite.model_validate_json(json.dumps(document.value, default=str), strict=True)
    except ValidationError as error:
        details = error.errors()
        for detail in details:
            path = tuple(part for part in detail["loc"] if part != "[key]")
            # A list whose items are all wrong also counts as empty: once is enough.
            if detail["type"] != "too_short" or not any(
                other["loc"][: len(path)] == path != other["loc"] for other in details
            ):
                problems.add(document, path, _explain(path, detail))
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
            return list(EvaluationSpec.model_fields)
        case ("algorithms", _):
            return list(AlgorithmRow.model_fields)
        case ("algorithms", _, "families", _):
            return list(FamilyOverride.model_fields)
        case ("exclude", _):
            return list(Exclude.model_fields)
    return list(Suite.model_fields)


def _salvage(section: Any, model: type[M], fallback: Mapping[str, Any]) -> dict[str, M]:
    """The entries of a section, without whatever is malformed in them; ``fallback`` stands in for required keys."""
    found: dict[str, M] = {}
    for name, value in section.items() if isinstance(section, dict) else ():
        entry = json.loads(json.dumps(value, default=str))
        while isinstance(entry, dict) and name not in found:
            try:
                found[str(name)] = model.model_validate_json(json.dumps({**fallback, **entry}), strict=True)
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


def _check_names(
    document: Document,
    problems: Problems,
    raw: dict[str, Any],
    cells: dict[str, FamilyCell],
    rows: dict[str, AlgorithmRow],
) -> None:
    """What can be checked without looking at code: names that point to each other, repeated and unordered values."""
    all_cells, all_rows = _keys(raw.get("families")), _keys(raw.get("algorithms"))
    seeds = raw.get("seeds")
    if isinstance(seeds, list):
        for i, seed in enumerate(seeds):
            if seed in seeds[:i]:
                problems.add(document, ("seeds", i), f"seed {seed} stands in the list twice")
    for cell_name, cell in cells.items():
        path: KeyPath = ("families", cell_name)
        k = cell.evaluation.k
        if k[0] != 0 or any(later <= earlier for earlier, later in itertools.pairwise(k)):
            text = f"must increase and start with 0 (no evidence), got {list(k)}"
            problems.add(document, (*path, "evaluation", "k"), text)
        for i, reference in enumerate(cell.references):
            if reference in cell.references[:i]:
                problems.add(document, (*path, "references", i), f"{reference!r} stands in the list twice")
            if reference in all_rows:
                text = f"{reference!r} is a reference policy of family {cell_name!r}: choose another name for the row"
                problems.add(document, ("algorithms", reference), text)
    for row_name, row in rows.items():
        for cell_name in row.families:
            if cell_name not in all_cells:
                text = f"this suite has no family {cell_name!r}{suggest(cell_name, all_cells)}"
                problems.add(document, ("algorithms", row_name, "families", cell_name), text)
    pairs = _exclusions(raw)
    for i, pair in pairs.items():
        for kind, name, known in (("algorithm", pair[0], all_rows), ("family", pair[1], all_cells)):
            if isinstance(name, str) and name not in known:
                text = f"excludes nothing: this suite has no {kind} {name!r}{suggest(name, known)}"
                problems.add(document, ("exclude", i, kind), text)
        if pair in list(pairs.values())[: list(pairs).index(i)]:
            problems.add(document, ("exclude", i), f"{pair[0]!r} on {pair[1]!r} is excluded twice")
    everything = {(row, cell) for row in all_rows for cell in all_cells}
    if everything and everything <= set(pairs.values()):
        problems.add(document, ("exclude",), "excludes every pair: there is nothing left to train")


def _keys(section: Any) -> list[str]:
    return [str(name) for name in section] if isinstance(section, dict) else []


def _exclusions(raw: dict[str, Any]) -> dict[int, tuple[Any, Any]]:
    items = raw.get("exclude")
    entries = enumerate(items) if isinstance(items, list) else ()
    return {i: (item.get("algorithm"), item.get("family")) for i, item in entries if isinstance(item, dict)}


def _resolve_families(document: Document, problems: Problems, cells: dict[str, FamilyCell]) -> dict[str, FamilyCell]:
    resolved: dict[str, FamilyCell] = {}
    for name, cell in cells.items():
        path: KeyPath = ("families", name)
        module_name = cell.family or name
        module = _load("envs", module_name, document, (*path, "family") if cell.family else path, problems)
        if module is None:
            continue
        settings = resolve(
            module.Settings, module_name, [Layer(document, (*path, "settings"), cell.settings)], problems
        )
        if settings is not None:
            resolved[name] = cell.model_copy(update={"family": module_name, "settings": settings})
    return resolved


def _resolve_algorithms(
    document: Document,
    problems: Problems,
    raw: dict[str, Any],
    cells: dict[str, FamilyCell],
    rows: dict[str, AlgorithmRow],
) -> dict[str, AlgorithmRow]:
    resolved: dict[str, AlgorithmRow] = {}
    excluded = set(_exclusions(raw).values())
    for name, row in rows.items():
        path: KeyPath = ("algorithms", name)
        module_name = row.algorithm or name
        module = _load("algorithms", module_name, document, (*path, "algorithm") if row.algorithm else path, problems)
        if module is None:
            continue
        overrides: dict[str, FamilyOverride] = {}
        for cell_name, cell in cells.items():
            if (name, cell_name) in excluded:
                continue
            family_name = cell.family or cell_name
            reason = _impossible(module_name, module, family_name)
            if reason is not None:
                text = f"cannot run on family {cell_name!r}: {reason}; leave the pair out under 'exclude'"
                problems.add(document, path, text)
                continue
            override = row.families.get(cell_name, FamilyOverride())
            layers = [
                *_file_layers(module_name, family_name, problems),
                Layer(document, (*path, "settings"), row.settings),
                Layer(document, (*path, "families", cell_name, "settings"), override.settings),
            ]
            settings = resolve(module.Settings, module_name, layers, problems)
            if settings is not None:
                steps = override.steps or cell.steps
                overrides[cell_name] = FamilyOverride(settings=settings, steps=steps)
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


def _load(kind: registry.Kind, name: str, document: Document, path: KeyPath, problems: Problems) -> ModuleType | None:
    try:
        return registry.load(kind, name)
    except registry.RegistryError as error:
        problems.add(document, path, str(error))
    except Exception as error:  # a module may fail to import in any way; its author needs to see which
        problems.add(document, path, f"{kind}/{name} does not import: {type(error).__name__}: {error}")
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
