"""The command that plays and writes demonstrations of Meta-World."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kshot.metaworld.demonstrations import Demonstration


def demonstrations(options: argparse.Namespace) -> None:
    from kshot.interface import bars
    from kshot.metaworld import demonstration_files as files
    from kshot.metaworld import multitask
    from kshot.metaworld.demonstrations import How, demonstrate, tasks_of

    multi = options.name in multitask.BENCHMARKS
    how = How(
        per_task=options.number,
        noise=options.noise,
        seed=options.seed,
        whole=options.whole,
        goal_observable=options.goal_observable or multi,
    )
    tasks = tasks_of(options.name, options.split, options.goal_seed, options.tasks)
    files.check_target(options.out, options.replace)
    asked, begin = Counter(name for name, _ in tasks), time.monotonic()

    def progress(episodes: int) -> None:
        if bars.shown():
            text = bars.line(options.name, episodes, len(tasks) * how.per_task, time.monotonic() - begin)
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def told() -> Iterator[list[Demonstration]]:
        played = demonstrate(tasks, how, options.threads, progress)
        for name, found in zip(asked, played, strict=True):
            if bars.shown():
                print("\r\033[K", end="", file=sys.stderr, flush=True)
            shown = f"of {len({d.task for d in found})} of {asked[name]} tasks"
            steps = sum(len(d.action) for d in found)
            print(f"{name}: {len(found)} of {asked[name] * how.per_task} episodes, {shown}, {steps} steps", flush=True)
            yield found

    made = {"name": options.name, "split": options.split, "goal_seed": options.goal_seed, **vars(how)}
    count = files.write(options.out, told(), made, options.replace)
    print(f"{options.out}: {count} demonstrations")
