"""What is wrong with a suite, and why jobs of it would be refused, known before anything is started."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kshot.errors import ConfigError
from kshot.running import workflow
from kshot.running.machine import missing_devices
from kshot.running.preparing import refusals
from kshot.suites.estimates import too_large
from kshot.suites.model import Suite
from kshot.suites.reading import find_suite, read_suite
from kshot.suites.run import RunConfig


def refused(runs: Sequence[RunConfig]) -> list[str]:
    """Why jobs of these runs, of one suite, fully resolved, would be refused, a line each."""
    # What is too large is not begun to see whether it would be refused.
    return [*missing_devices(runs), *too_large(runs)] or list(refusals(runs))


def startable(name: str, options: Sequence[str]) -> tuple[Suite, Path]:
    """A suite that Snakemake can be started for, and its file.

    Args:
        name: of the suite, or its file.
        options: of Snakemake, which may change the suite, and targets.

    Raises:
        ConfigError: the suite has mistakes, or asks for what its jobs would refuse on this machine.
    """
    file = find_suite(name)
    suite = read_suite([file], workflow.overrides(options))
    if not workflow.computes_here(options):
        return suite, file
    left = [run for run in suite.runs() if not (run.directory() / "evaluate.json").is_file()]
    if reasons := refused(left):
        raise ConfigError(f"{name}: {reason}" for reason in reasons)
    return suite, file
