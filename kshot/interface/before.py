"""What is wrong with a suite, and why jobs of it would be refused, known before anything is started."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from kshot.interface.preparing import refusals
from kshot.running import workflow
from kshot.running.audit import by_other_code
from kshot.running.machine import why_no_device
from kshot.suites.estimates import why_too_large
from kshot.suites.locating import Fault
from kshot.suites.model import FamilyCell, Suite
from kshot.suites.reading import Checked, find_suite, load_suite, read_suite
from kshot.suites.run import RunConfig


def checked(name: str) -> Suite:
    """A suite, given by its name or file, whose jobs can begin here.

    Raises:
        ConfigError: it has mistakes, or asks for what its jobs would refuse; a line for each.
    """
    return load_suite(find_suite(name), further=refused)


def refused(suite: Checked) -> Iterator[Fault]:
    """Why jobs of a suite would be refused, with what in the suite is the reason."""
    reasons: dict[tuple[str, str], Fault | None] = {}
    no_device = cache(why_no_device)
    for run in suite.runs:
        pair = (run.family, run.algorithm)
        if pair not in reasons:  # seeds are alike
            reasons[pair] = _too_much(run, suite, no_device(run.device) if run.kind == "algorithm" else "")
    for name in suite.cells.keys() - {family for family, _ in reasons}:  # nothing plays it, for other problems
        reasons[name, ""] = _too_much(_player(name, suite.cells[name]), suite, "")
    yield from (reason for reason in reasons.values() if reason is not None)
    # What is too large is not begun to see whether it would be refused.
    possible = [run for run in suite.runs if reasons[run.family, run.algorithm] is None]
    families = {family for (family, _), reason in reasons.items() if reason is None}
    cells = {name: cell for name, cell in suite.cells.items() if name in families}
    yield from refusals(possible, cells, suite.rows)


def _player(family: str, cell: FamilyCell) -> RunConfig:
    """A run of a scripted policy on a family."""
    return RunConfig(
        suite="",
        family=family,
        family_module=str(cell.family),
        algorithm="random",
        algorithm_module=None,
        seed=0,
        steps=0,
        evaluation=cell.evaluation,
        family_settings=cell.settings,
        algorithm_settings={},
    )


def _too_much(run: RunConfig, suite: Checked, no_device: str) -> Fault | None:
    """What this machine does not have for a run; None if it may have enough."""
    if no_device:
        own = run.algorithm in suite.rows and suite.rows[run.algorithm].device is not None
        return Fault(("algorithms", run.algorithm, "device") if own else ("device",), no_device.removeprefix("device "))
    if reason := why_too_large(run):
        return Fault(("families", run.family) if run.kind == "reference" else ("algorithms", run.algorithm), reason)
    return None


def startable(name: str, options: Sequence[str]) -> tuple[Suite, Path]:
    """A suite that Snakemake can be started for, and its file.

    Args:
        name: of the suite, or its file.
        options: of Snakemake, which may change the suite, and targets.

    Raises:
        ConfigError: the suite has mistakes, or asks for what its jobs would refuse on this machine.
    """
    file = find_suite(name)
    here = workflow.computes_here(options)
    return read_suite([file], workflow.overrides(options), further=_left if here else None), file


def _left(suite: Checked) -> Iterator[Fault]:
    """Why what is left to be done of a suite would be refused."""
    left = [run for run in suite.runs if not (run.directory() / "evaluate.json").is_file()]
    done = {run.family for run in suite.runs} - {run.family for run in left}
    cells = {name: cell for name, cell in suite.cells.items() if name not in done}
    return refused(replace(suite, runs=left, cells=cells))


def outdated(suite: Suite, file: Path) -> str:
    """A line on finished runs that other code made, which stay as they are; empty where there are none.

    Args:
        suite: that Snakemake is started for, in this folder.
        file: that it was read from.
    """
    other, finished = (0, 0) if suite.rerun_on_code_change else by_other_code(suite.runs(), Path("results"))
    if not other:
        return ""
    return (
        f"{other} of {finished} finished runs {'was' if other == 1 else 'were'} made by other code than is here: "
        f"kshot audit {file} lists them. To make one again, delete its folder in results/{suite.name} and start again"
    )
