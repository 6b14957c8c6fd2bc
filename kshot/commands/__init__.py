"""What the commands do; here what several of them share: reading a suite, and what users can mend.

Heavy imports stand inside the commands that need them, so that help, list and status answer at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kshot.suites.model import Suite
    from kshot.suites.run import RunConfig

FINDINGS, USER_ERROR = 1, 2
"""Exit statuses: what was looked at has findings; there is something that the user can mend."""


def mistakes() -> tuple[type[Exception], ...]:
    """Errors that a user can mend."""
    from kshot.errors import ConfigError, PipelineError, RecordError, RegistryError

    kinds: tuple[type[Exception], ...] = (ConfigError, PipelineError, RecordError, RegistryError, OSError)
    # Errors of what is only imported where it is needed.
    for module, name in (("kshot.running.checkpoint", "Busy"), ("kshot.reporting.style", "DrawingError")):
        if module in sys.modules:
            kinds = (*kinds, getattr(sys.modules[module], name))
    return kinds


def load(options: argparse.Namespace, **how: Any) -> Suite:
    """The suite, read as ``kshot.suites.reading.load_suite`` can be asked to."""
    from kshot.suites.reading import find_suite, load_suite

    return load_suite(find_suite(options.suite, options.root), **how)


def load_recorded(options: argparse.Namespace) -> Suite:
    """The suite for what reads results alone; of one that was resolved before no algorithm or family is imported."""
    return load(options, recorded=True)


def recorded(name: Path) -> tuple[dict[str, object], list[RunConfig]]:
    """What users wrote of a suite, given by its file or name, and its runs."""
    from kshot.suites.reading import find_suite, load_suite

    suite = load_suite(find_suite(str(name)), recorded=True)
    return suite.resolved(facts=False), suite.runs()


def out_folder(options: argparse.Namespace, suite: Suite) -> Path:
    return options.out or Path("reports") / suite.name


def print_paths(paths: Iterable[Path | str]) -> None:
    """What a step wrote, or found, a line each."""
    for path in paths:
        print(path)
