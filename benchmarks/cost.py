"""What a suite's trainings cost, by a few meta-steps of each learner on each family.

``python -m benchmarks.cost paper --families maze cheetah-vel`` trains every learner of the suite for ``--seconds`` of
processor time on each of the families (on all of them, if none are named), one after the other on one thread, and
prints a row of Markdown for each: steps per second of one core, and core-hours of all seeds. The first meta-step is
not counted: networks are built in it, and replay buffers filled. Evaluation is left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import torch

from kshot.running import build
from kshot.running.train import Collector
from kshot.suites.reading import find_suite, load_suite
from kshot.suites.run import RunConfig


def rate(run: RunConfig, seconds: float) -> float:
    """Environment steps per second of processor time while the run trains."""
    family = build.family(run)
    learner = build.learner(run, family.spec)
    steps, start, iteration = 0, 0.0, 0
    while iteration < 2 or time.process_time() - start < seconds:
        collector = Collector(family, run.seed, iteration)
        tasks = family.tasks("train", learner.tasks_per_step, iteration)
        learner.meta_step(tasks, collector, 0.0)
        if iteration == 0:
            start = time.process_time()
        else:
            steps += collector.steps
        iteration += 1
    return steps / (time.process_time() - start)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", help="a name in config/suites, or a file")
    parser.add_argument("--families", nargs="+", metavar="NAME", help="of the suite (default: all)")
    parser.add_argument("--learners", nargs="+", metavar="NAME", help="rows of the suite (default: all)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of processor time for each (default: 10)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    suite = load_suite(find_suite(options.suite))
    total = 0.0
    print(
        "| family | learner | steps per seed | steps per core-second | core-hours of all seeds |\n|---|---|---|---|---|"
    )
    for run in suite.runs():
        chosen = run.family in (options.families or [run.family]) and run.algorithm in (
            options.learners or [run.algorithm]
        )
        if run.kind != "algorithm" or run.seed != suite.seeds[0] or not chosen:
            continue
        if not build.learner(run, build.family(run).spec).trains:
            continue
        found = rate(run, options.seconds)
        hours = len(suite.seeds) * run.steps / found / 3600
        total += hours
        print(f"| {run.family} | {run.algorithm} | {run.steps:,} | {found:,.0f} | {hours:.1f} |", flush=True)
    print(f"| all |  |  |  | {total:.1f} |")


if __name__ == "__main__":
    main()
