"""Reads suites from YAML files and checks them completely; every mistake is shown with its file and line.

In a loaded suite every setting has its value, from the suite, from ``config/algorithms/<module>.yaml`` or from the
defaults in the code, so that what is recorded and hashed is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from kshot import plugins
from kshot.errors import ConfigError, suggest
from kshot.places import relative, suite_files
from kshot.suites.checks import Draft, check_names
from kshot.suites.document import Document, command_line, read
from kshot.suites.locating import Fault
from kshot.suites.model import AlgorithmRow, FamilyCell, Suite
from kshot.suites.resolving import facts, resolve_algorithms, resolve_families
from kshot.suites.run import RunConfig


@dataclass(frozen=True)
class Checked:
    """What of a suite has no problem so far, for checks that build what it names.

    Attributes:
        runs: fully resolved, of all pairs without a problem.
        cells: all families whose module is there, with those of the settings given that have no problem.
        rows: the valid parts of all rows as they are in the suite.
    """

    runs: Sequence[RunConfig]
    cells: Mapping[str, FamilyCell]
    rows: Mapping[str, AlgorithmRow]


Further = Callable[[Checked], Iterator[Fault]]
"""Finds more problems of a suite, by their paths in it."""


def find_suite(name: str, root: Path = Path("results"), prefer_results: bool = False) -> Path:
    """The file of a suite, given by its path or by its name.

    A name stands for config/suites/<name>.yaml, of kshot or of a plug-in, or else <root>/<name>/suite.yaml, or with
    ``prefer_results`` the other way round: options may have changed the suite that was started.

    Raises:
        ConfigError: there is no such file, and the message has the nearest name; or several have that name.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = Path(name)
        if path.is_file():
            return path
        beside = [str(path.with_name(other.name)) for other in path.parent.glob("*.y*ml")]
        raise ConfigError([f"{name}: no such suite file{suggest(name, beside) if beside else ''}"])
    configured = [path for path in (*suite_files(), *map(relative, plugins.suite_files())) if path.stem == name]
    if len(configured) > 1:
        raise ConfigError(
            [f"several suites are called {name!r}: name one by its path, {' or '.join(map(str, configured))}"]
        )
    candidates = [*configured, root / name / "suite.yaml"]
    for path in reversed(candidates) if prefer_results else candidates:
        if path.is_file():
            return path
    known = {path.stem for path in (*suite_files(), *plugins.suite_files())} | {
        path.parent.name for path in root.glob("*/suite.yaml")
    }
    raise ConfigError([f"no suite {name!r}{suggest(name, known)}; {plugins.searched()}"])


def read_suite(
    files: Sequence[Path], overrides: Mapping[str, Any], modules: bool = True, further: Further | None = None
) -> Suite:
    """A suite from the files and key=value options of Snakemake's command line; later ones override earlier ones.

    ``modules`` and ``further`` as in ``load_suite``.

    Raises:
        ConfigError: with one line for every mistake.
    """
    documents = [read(relative(path)) for path in files]
    if overrides:
        documents.append(command_line(overrides, "--config"))
    return load_suite(reduce(Document.merged, documents), modules=modules, further=further)


def load_suite(
    source: Path | str | Mapping[str, Any] | Document,
    name: str = "suite",
    modules: bool = True,
    only: tuple[str, str] | None = None,
    recorded: bool = False,
    further: Further | None = None,
) -> Suite:
    """Read and check a suite.

    Args:
        source: a YAML file, or its content.
        name: what messages call a mapping.
        modules: False imports no algorithm or family, and neither checks nor completes their settings. That is fast,
            and enough to know which runs there are.
        only: a family and an algorithm by their names in the suite. Only their code is imported, and only their
            settings are checked and completed: enough for one run.
        recorded: take a resolved suite, which has ``facts``, as it was recorded, without importing any code.
        further: looks for more problems in what has none yet; all are shown together.

    Raises:
        ConfigError: with one line for every mistake in the file.
    """
    if isinstance(source, Mapping):
        document = Document(dict(source), name)
    else:
        document = source if isinstance(source, Document) else read(Path(source))
    # Valid parts are checked further even if others are not valid, so that all mistakes are shown at once.
    draft = Draft(document)
    suite = draft.structure()
    check_names(draft)
    if only is not None:
        draft.narrow(*only)
    if recorded and suite is not None and suite.facts is not None:
        modules = False
    if modules:
        (families, given), algorithms = resolve_families(draft), resolve_algorithms(draft)
        found = () if further is None else further(_checked(draft, suite, families, given, algorithms))
        # Where there is a problem already, it is what stands behind another one.
        for fault in [fault for fault in found if not draft.problems.has(fault.path)]:
            draft.add(fault.path, fault.text)
    draft.problems.check()
    assert suite is not None  # without a structure there are problems
    if not modules:
        return suite
    update = {"families": suite.families | families, "algorithms": suite.algorithms | algorithms}
    return suite.model_copy(update=update | {"facts": facts(families, algorithms)})


def _checked(
    draft: Draft,
    suite: Suite | None,
    families: Mapping[str, FamilyCell],
    given: Mapping[str, FamilyCell],
    algorithms: Mapping[str, AlgorithmRow],
) -> Checked:
    """What has no problem so far; without a structure there are no runs."""
    runs: list[RunConfig] = []
    if suite is not None:
        update = {"families": families, "algorithms": algorithms, "facts": facts(families, algorithms)}
        found = suite.model_copy(update=update).runs()
        runs = [run for run in found if run.kind == "reference" or run.family in algorithms[run.algorithm].families]
    return Checked(runs, given, draft.rows)
