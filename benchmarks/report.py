"""What it takes to turn a large suite's episodes into its report.

``python -m benchmarks.report`` fills a folder with a made-up suite of 6 families, 10 learners, 10 seeds, 50 tasks and
11 evidence points, then aggregates, draws, tabulates and renders it, each in a process of its own with as many more as
there are cores, and prints a row of Markdown for each step: seconds, and the memory that its processes took together at
most (shared pages once, looked at five times a second). ``--keep FOLDER`` leaves the files there, ``--small`` makes a
tenth of it. Writing the episodes is not timed.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from kshot.reporting.aggregate import aggregate
from kshot.reporting.figures import render_all
from kshot.reporting.page import write_page
from kshot.reporting.tables import write_tables
from kshot.suites.run import RunConfig
from tests import synthetic

SUITE = "large"
LOOKS = 0.2
"""Seconds from one look at the memory to the next."""
K = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
CLASSES = tuple(f"class-{letter}" for letter in "abcde")
FAMILIES = (
    synthetic.Family(
        "bandit", "trial_return", K, 50, episodes_per_trial=10, horizon=1, low=0.5, high=0.85, binary=True
    ),
    synthetic.Family("point", "return", K, 50, low=-40.0, high=-2.0, episodes_per_trial=10),
    synthetic.Family("ml1", "success_last", K, 50, horizon=500, low=50.0, high=4000.0, episodes_per_trial=10),
    synthetic.Family("ml10", "success_last", K, 50, CLASSES, 10, 500, 50.0, 4000.0),
    synthetic.Family("grid", "return", K, 50, low=-10.0, high=60.0, best=60.0, stages=("near", "held", "done")),
    synthetic.Family("maze", "success_last", K, 50, episodes_per_trial=10, learning=("search",)),
)
LEARNERS = (*synthetic.LEARNERS, *synthetic.DEMONSTRATED, "anil", "rl2_transformer")


def runs(seeds: int) -> list[RunConfig]:
    return synthetic.runs_of(FAMILIES, LEARNERS, ("random", "task_blind", "oracle", "search"), seeds, SUITE)


def steps(grid: list[RunConfig], root: Path, out: Path) -> dict[str, Callable[[], object]]:
    """The steps from episodes to the page, by the names of their commands."""
    return {
        "aggregate": lambda: aggregate(grid, root),
        "figures": lambda: render_all(grid, root, out / "figures"),
        "tables": lambda: write_tables(grid, root, out / "tables"),
        "report": lambda: write_page({"name": SUITE}, grid, root, out),
    }


def _timed(seeds: int, name: str, folder: Path, found: multiprocessing.Queue[float]) -> None:
    step = steps(runs(seeds), folder / "results", folder / "reports")[name]
    start = time.perf_counter()
    step()
    found.put(time.perf_counter() - start)


def _used(process: psutil.Process) -> int:
    """Bytes in use by a process and those that it started; what several share is divided among them."""
    used = 0
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            info = one.memory_full_info()
            used += getattr(info, "pss", info.uss)
    return used


def measure(seeds: int, folder: Path) -> None:
    """Make the suite, and print what each step took."""
    synthetic.write_suite(FAMILIES, runs(seeds), folder / "results")
    context = multiprocessing.get_context("spawn")
    print("| step | seconds | GB |\n|---|---|---|")
    total, most = 0.0, 0.0
    for name in ("aggregate", "figures", "tables", "report"):
        found = context.Queue()
        process = context.Process(target=_timed, args=(seeds, name, folder, found))
        process.start()
        memory = 0.0
        while process.is_alive():
            with contextlib.suppress(psutil.NoSuchProcess):
                memory = max(memory, _used(psutil.Process(process.pid)) / 1e9)
            process.join(LOOKS)
        seconds = found.get()
        total, most = total + seconds, max(most, memory)
        print(f"| {name} | {seconds:.1f} | {memory:.2f} |", flush=True)
    print(f"| all | {total:.1f} | {most:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the files there")
    parser.add_argument("--small", action="store_true", help="one seed instead of ten")
    options = parser.parse_args()
    seeds = 1 if options.small else 10
    if options.keep is not None:
        measure(seeds, options.keep)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(seeds, Path(folder))


if __name__ == "__main__":
    main()
