"""What it takes to plan a large suite before its first job starts: seconds and memory of Snakemake's dry run.

``python -m benchmarks.planning --runs 1000 10000`` writes a suite of so many trainings (and as many evaluations) into a
folder of its own, plans it, and prints a row of Markdown for each size.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kshot.places import ROOT

ROWS = 10


def suite(runs: int) -> dict[str, object]:
    """``runs`` trainings: ten rows on one family, over seeds."""
    return {
        "name": "large",
        "seeds": list(range(runs // ROWS)),
        "families": {"bandit": {"steps": 1000, "evaluation": {"tasks": 10, "k": [0, 10]}, "references": ["random"]}},
        "algorithms": {f"maml-{i}": {"algorithm": "maml", "settings": {"inner_lr": 0.1 + i}} for i in range(ROWS)},
    }


def measure(runs: int, folder: Path) -> tuple[float, float]:
    """(seconds, GB) of the dry run."""
    (folder / "suite.yaml").write_text(json.dumps(suite(runs)))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--dry-run", "--quiet", "all"]
    begun = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--cores", "all", "--configfile", "suite.yaml"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"the dry run of {runs} runs failed")
    return time.perf_counter() - begun, usage.ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[100, 1000], help="trainings (default: 100 1000)")
    options = parser.parse_args()
    print("| trainings | jobs | seconds | GB |\n|---|---|---|---|")
    for runs in options.runs:
        with tempfile.TemporaryDirectory() as folder:
            seconds, memory = measure(runs, Path(folder))
        print(f"| {runs:,} | {2 * runs + 6:,} | {seconds:.1f} | {memory:.2f} |", flush=True)


if __name__ == "__main__":
    main()
