"""Made-up suites: each is refused in clear lines or accepted, and what is accepted no job refuses."""

from __future__ import annotations

import contextlib
import io
import shutil
import typing
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from kshot import cli, registry, yaml_text
from kshot.suites.reading import load_suite
from kshot.suites.run import RunConfig
from tests import forked
from tests.faults import commands

INTEGERS, FLOATS = st.sampled_from([1, 2, 3, 5, 16, 51]), st.sampled_from([1e-8, 0.5, 0.9, 1.0, 2.0])
WILD_INTEGERS = st.sampled_from([-1, 0, 1, 51, 1000, 10**6, 2**31 - 1, 2**31])
WILD_FLOATS = st.sampled_from([-1.0, 0.0, 1e30, float("inf"), float("nan")])
ODD: st.SearchStrategy[Any] = st.sampled_from([None, True, "", "text", "1e-3", [], [1, 2], {}, {"a": 1}, "1:00", 0.5])
SMALL = 10**6
"""A suite of no more environment steps is planned to its last job."""
PATIENCE = 20.0
"""Seconds after which a job has not been refused."""


def values(default: Any, annotation: Any, wild: bool) -> st.SearchStrategy[Any]:
    """Settings like ``default``, sensible and, where they are ``wild``, less so."""
    integers, floats = (WILD_INTEGERS, WILD_FLOATS) if wild else (INTEGERS, FLOATS)
    if typing.get_origin(annotation) is Literal:
        return st.sampled_from(typing.get_args(annotation))
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, int):
        return integers
    if isinstance(default, float):
        return floats
    if isinstance(default, tuple):
        return st.lists(floats if default and isinstance(default[0], float) else integers, max_size=3)
    return ODD if wild else st.just(default)


@st.composite
def some_settings(draw: st.DrawFn, kind: registry.Kind, module: str, wild: bool) -> dict[str, Any]:
    """Up to two of a module's settings, changed."""
    defaults = registry.load(kind, module).Settings
    hints = typing.get_type_hints(defaults)
    kept = defaults()
    known = {item.name: values(getattr(kept, item.name), hints[item.name], wild) for item in fields(defaults)}
    names = draw(st.lists(st.sampled_from(sorted(known)), max_size=2, unique=True)) if known else []
    return {name: draw(known[name]) for name in names}


@st.composite
def suites(draw: st.DrawFn) -> dict[str, Any]:
    """A suite with at most two families and rows; a third of them has something odd in odd places."""
    wild = draw(st.integers(0, 2)) == 0
    families: dict[str, Any] = {}
    algorithms: dict[str, Any] = {}
    for module in draw(st.lists(st.sampled_from(registry.names("envs")), min_size=1, max_size=2, unique=True)):
        points = draw(st.lists(st.sampled_from([1, 2, 10, 20]), max_size=3, unique=True))
        # 40: the largest block of evidence that a learner adapts on, as shipped.
        points += [] if wild and draw(st.booleans()) else [40]
        test = {"tasks": draw(st.sampled_from([1, 2, 20, *([51] if wild else [])])), "k": [0, *sorted(points)]}
        if draw(st.booleans()):
            test["split"] = draw(st.sampled_from(["test", "validation", *(["train", "tets"] if wild else [])]))
        families[module] = {"steps": draw(st.sampled_from([500, 20_000, *([0, 10**15] if wild else [])]))}
        families[module] |= {"evaluation": test, "settings": draw(some_settings("envs", module, wild))}
        if draw(st.booleans()):
            references = st.sampled_from(["random", "oracle", "task_blind", *(["x"] if wild else [])])
            families[module]["references"] = draw(st.lists(references, max_size=2, unique=not wild))
    fitting = [name for name in registry.names("algorithms") if any(fits(name, family) for family in families)]
    for module in draw(st.lists(st.sampled_from(fitting), min_size=1, max_size=2, unique=True)):
        algorithms[module] = {"settings": draw(some_settings("algorithms", module, wild and draw(st.booleans())))}
    seeds = draw(st.lists(st.sampled_from([0, 1, 2**31 - 1]), min_size=1, max_size=2, unique=True))
    suite: dict[str, Any] = {"name": "made-up", "seeds": seeds, "families": families, "algorithms": algorithms}
    if wild:
        where = draw(st.sampled_from([suite, *families.values(), *algorithms.values()]))
        where[draw(st.sampled_from([*where, "odd"]))] = draw(ODD | WILD_INTEGERS)
    unfit = [(a, f) for a in algorithms for f in families if not fits(a, f)]
    if unfit and not (wild and draw(st.booleans())):
        suite["exclude"] = [{"algorithm": a, "family": f, "reason": "made up"} for a, f in unfit]
    return suite


def fits(algorithm: str, family: str) -> bool:
    module, envs = registry.load("algorithms", algorithm), registry.load("envs", family)
    seen = getattr(module, "OBSERVES", None) in (None, getattr(envs, "OBSERVES", None))
    return seen and module.EVIDENCE in envs.EVIDENCE and envs.ACTIONS in module.ACTIONS


@dataclass
class Checked:
    """What became of the suites.

    Attributes:
        folder: for files.
        dry_runs: how many accepted ones Snakemake plans, at most.
        jobs: of how many accepted ones a run is begun, at most.
        total: suites.
        accepted: of them.
        planned: by Snakemake.
        begun: ones with a run whose jobs were begun.
        faults: lines of text, each about something that must not be.
    """

    folder: Path
    dry_runs: int
    jobs: int
    total: int = 0
    accepted: int = 0
    planned: int = 0
    begun: int = 0
    faults: list[str] = field(default_factory=list)

    def check(self, suite: dict[str, Any]) -> None:
        file = self.folder / "suite.yaml"
        text = yaml_text.dump(suite)
        file.write_text(text, encoding="utf-8")
        self.total += 1
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
                status = cli.main(["check-config", str(file)])
        except Exception as error:
            self.faults.append(f"check-config: {type(error).__name__}: {error} in\n{text}")
            return
        lines = said.getvalue().splitlines()
        if status not in (0, 2) or not all(line.startswith("kshot: ") for line in lines):
            self.faults.append(f"check-config: status {status}, {lines} in\n{text}")
        if status:
            return
        self.accepted += 1
        runs = load_suite(file).runs()
        if self.begun < self.jobs:
            self._begin(runs[0], text)
        if self.planned < self.dry_runs and sum(run.steps for run in runs) <= SMALL:
            self._plan(text)

    def _begin(self, run: RunConfig, text: str) -> None:
        """Do a run's jobs; one that takes long has begun, and that is enough."""
        self.begun += 1
        root, log = self.folder / "results", self.folder / "log.txt"
        shutil.rmtree(root, ignore_errors=True)
        log.unlink(missing_ok=True)
        steps = (commands.evaluate,) if run.kind == "reference" else (commands.train, commands.evaluate)
        for step in steps:
            status = forked.finish(step, run, root, log=log, patience=PATIENCE)
            if status not in (0, None):
                said = log.read_text(errors="replace").strip()[-400:]
                self.faults.append(f"{run.algorithm} on {run.family}, {step.__name__}: {status}: {said} in\n{text}")
            if status != 0:
                return

    def _plan(self, text: str) -> None:
        self.planned += 1
        log = self.folder / "log.txt"
        log.unlink(missing_ok=True)
        status = forked.finish(commands.plan, self.folder, log=log)
        said = log.read_text(errors="replace")
        if status != 0 or "Traceback" in said:
            self.faults.append(f"snakemake -n: {status}: {said[-500:]} in\n{text}")


def check(
    total: int, number: int, folder: Path, dry_runs: int, jobs: int, told: Callable[[str], None] = lambda line: None
) -> Checked:
    """``total`` made-up suites, of which up to ``dry_runs`` are planned to the last job."""
    folder.mkdir(parents=True, exist_ok=True)
    checked = Checked(folder, dry_runs, jobs)

    @seed(number)
    @settings(
        max_examples=total,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(suites())
    def run(suite: dict[str, Any]) -> None:
        before = len(checked.faults)
        checked.check(suite)
        for fault in checked.faults[before:]:
            told(fault)
        if checked.total % 100 == 0:
            told(f"{checked.total} of {total} suites, {checked.accepted} accepted, {len(checked.faults)} faults")

    run()
    return checked
