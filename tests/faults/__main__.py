"""``python -m tests.faults``: signals, damaged files, made-up suites by the hundred; prints what came of them."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import pipelines
from tests.faults.damage import damage
from tests.faults.kills import kill
from tests.faults.suites import check


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--signals", type=int, default=300, help="to single steps (default: 300)")
    parser.add_argument("--pipelines", type=int, default=20, help="signals to whole pipelines (default: 20)")
    parser.add_argument("--files", type=int, default=150, help="to damage (default: 150)")
    parser.add_argument("--suites", type=int, default=1000, help="to make up (default: 1000)")
    parser.add_argument("--dry-runs", type=int, default=1000, help="of accepted suites, at most (default: 1000)")
    parser.add_argument("--jobs", type=int, default=100, help="of accepted suites, at most (default: 100)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the time")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()

        def told(line: str) -> None:
            print(f"{time.monotonic() - begun:5.0f} s: {line}", flush=True)

        damages = damage(options.files, options.seed, Path(folder, "files"))
        told(f"{damages.total} damaged files, {len(damages.faults)} faults")
        suites = check(options.suites, options.seed, Path(folder, "suites"), options.dry_runs, options.jobs, told)
        kills = kill(options.signals, options.seed, Path(folder, "steps"), told)
        pipelines.kill(kills, options.pipelines, Path(folder, "pipelines"), told)
    print("\n| file | damage | outcome | times |\n|---|---|---|---|")
    for (file, kind, outcome), count in sorted(damages.counts.items()):
        print(f"| {file} | {kind} | {outcome} | {count} |")
    print("\n| step | signal | times |\n|---|---|---|")
    for (step, number), count in sorted(kills.counts.items()):
        print(f"| {step} | {number} | {count} |")
    print(f"\n{suites.total} suites: {suites.accepted} accepted, {suites.planned} planned, {suites.begun} begun")
    faults = damages.faults + suites.faults + kills.faults
    print(f"seed {options.seed}: {damages.total} damaged files, {kills.total} signals, {len(faults)} faults")
    print("".join(f"{fault}\n" for fault in faults), end="")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
