"""What does not hang together is made by several processes at once: sums and pictures."""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from kshot import threads
from kshot.errors import PipelineError

Item = TypeVar("Item")
Made = TypeVar("Made")
_work: list[tuple[Callable[[Any], Any], Sequence[Any]]] = []
"""What is being made, for the processes that are forked from this one: they find it here, and nothing is copied."""


def each(make: Callable[[Item], Made], items: Sequence[Item]) -> list[Made]:
    """``make`` of every item, in their order; by as many processes as there are threads to compute with.

    The processes are forks, which hold what this one has read. Where that is not safe, which it is on Linux alone, all
    of it happens here. What ``make`` returns has to be picklable; what it does to objects of this process is lost.

    Raises:
        kshot.errors.PipelineError: a process was killed.
        Exception: whatever ``make`` raised, of the first such item.
    """
    processes = min(threads.asked() or threads.cores(), len(items))
    if processes < 2 or sys.platform != "linux":
        return [make(item) for item in items]
    _work.append((make, items))
    try:
        with warnings.catch_warnings():
            # From Python 3.12: libraries' threads are not in a fork. None of them is used to draw, nor holds a lock.
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            with ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as pool:
                return list(pool.map(_one, range(len(items))))
    except BrokenProcessPool:
        raise PipelineError(
            f"one of {processes} processes was killed, most likely for want of memory: "
            f"${threads.VARIABLE}=1 makes one thing after the other"
        ) from None
    finally:
        _work.pop()


def _one(index: int) -> Any:
    make, items = _work[-1]
    return make(items[index])
