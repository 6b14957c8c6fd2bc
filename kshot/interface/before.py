"""Why jobs of a suite would be refused, known before any of them starts."""

from __future__ import annotations

from collections.abc import Sequence

from kshot.running.machine import missing_devices
from kshot.running.preparing import refusals
from kshot.suites.estimates import too_large
from kshot.suites.run import RunConfig


def refused(runs: Sequence[RunConfig]) -> list[str]:
    """Why jobs of these runs, of one suite, fully resolved, would be refused, a line each."""
    # What is too large is not begun to see whether it would be refused.
    return [*missing_devices(runs), *too_large(runs)] or list(refusals(runs))
