"""Why jobs of a suite would be refused, known before any of them starts."""

from __future__ import annotations

from collections.abc import Sequence

from kshot.running.machine import why_no_device
from kshot.running.preparing import refusals
from kshot.suites.estimates import too_large
from kshot.suites.run import RunConfig


def refused(runs: Sequence[RunConfig], device: str) -> list[str]:
    """Why jobs of these runs would be refused, a line each.

    Args:
        runs: of one suite, fully resolved.
        device: of the suite.
    """
    no_device = why_no_device(device)
    # What is too large is not begun to see whether it would be refused.
    return [*([no_device] if no_device else []), *too_large(runs)] or list(refusals(runs))
