"""How many threads to compute with, as far as the surroundings say."""

from __future__ import annotations

import os

from kshot.errors import ConfigError

VARIABLE = "OMP_NUM_THREADS"


def asked() -> int | None:
    """``$OMP_NUM_THREADS``; None where it is not set.

    It may be a list with a number for every level of nested parallel regions (OpenMP 5.2, section 21.1.2), of which the
    first is meant.

    Raises:
        ConfigError: it is neither.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    numbers = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in numbers):
        raise ConfigError([f"${VARIABLE} is {text!r}: it has to be a whole number of at least 1, or unset"])
    return int(numbers[0])


def cores() -> int:
    """The cores that this process may use."""
    # Not all systems bind processes to cores; macOS does not.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
