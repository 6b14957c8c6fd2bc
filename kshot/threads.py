"""How many threads to compute with, as far as the surroundings say."""

from __future__ import annotations

import os

from kshot.errors import ConfigError

VARIABLE = "OMP_NUM_THREADS"
SPINS = "10000"
"""Rounds in which a thread that has nothing to do looks for work before it sleeps: some tens of microseconds.

By default GNU's OpenMP, PyTorch's, has its threads look for milliseconds, on cores that another process could use, or
that the thread they wait for needs. With a tenth of this an update of RL^2 took a fifth longer on quiet cores.
"""


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


def settle(number: int) -> None:
    """Tell numeric libraries how many threads to use. They read it when they load: call this before importing any."""
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = str(number)
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def cores() -> int:
    """The cores that this process may use."""
    # Not all systems bind processes to cores; macOS does not.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
