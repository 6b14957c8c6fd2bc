"""``python -m tests.slurm``: a suite through the profile for SLURM, with trainings that are cancelled in the middle.

The results must have the bytes of a run without SLURM. Where no cluster answers, one of a single node is started
(Debian, as root). Needs ``pip install snakemake-executor-plugin-slurm``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from kshot.places import ROOT

PROFILE = ROOT / "profiles" / "slurm"
# Single nodes have no accounting, and a test asks more often than would be kind to a cluster that others use.
HERE = "--slurm-status-command squeue --slurm-init-seconds-before-status-checks 3 --seconds-between-status-checks 3"
COMPARED = ("model.pt", "train.parquet", "curve.parquet")
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
}


def snakemake(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *arguments]
    with (folder / "log.txt").open("wb") as log:
        return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT)


def jobs() -> list[dict[str, Any]]:
    """What SLURM has: id, state, comment (the rule and its wildcards) and special resources of every job."""
    fields = {"id": "JobID", "state": "State", "comment": "Comment", "resources": "tres-per-job"}
    form = ",".join(f"{field}:200" for field in fields.values())
    done = subprocess.run(["squeue", "--noheader", "-O", form], capture_output=True, text=True, check=True)
    return [dict(zip(fields, line.split(), strict=True)) for line in done.stdout.splitlines()]


def cancel(folder: Path, suite: str, already: set[str]) -> str:
    """Cancel a training that runs and has saved something to go on from; "" where there is none yet."""
    for job in jobs():
        if job["state"] != "RUNNING" or not job["comment"].startswith("rule_train"):
            continue
        where = job["comment"].removeprefix("rule_train_wildcards_")
        for progress in (folder / "results" / suite).glob("*/*/seed-*/progress.json"):
            run = progress.parent.relative_to(folder / "results" / suite)
            beat = json.loads(progress.read_text())
            if str(run) in already or "_".join((*run.parts[:2], run.parts[2].removeprefix("seed-"))) != where:
                continue
            if beat["state"] == "training" and 0 < beat["done"] < beat["total"]:
                subprocess.run(["scancel", job["id"]], check=True)
                return str(run)
    return ""


def differences(one: Path, two: Path) -> tuple[int, list[str]]:
    """How many files were compared, and those that differ or are missing in ``two``."""
    files = [path for path in sorted(one.rglob("*")) if path.name in COMPARED]
    other = [two / path.relative_to(one) for path in files]
    unequal = [
        str(path.relative_to(two))
        for path, known in zip(other, files, strict=True)
        if not path.is_file() or path.read_bytes() != known.read_bytes()
    ]
    return len(files), unequal


def asks_for_a_gpu(folder: Path) -> bool:
    """Whether the trainings of a suite with ``device: cuda`` ask SLURM for a GPU."""
    suite = ROOT / "config" / "suites" / "smoke.yaml"
    options = ["--workflow-profile", str(PROFILE), "--configfile", str(suite), "--config", "device=cuda"]
    process = snakemake(folder, *options, *HERE.split())
    until = time.monotonic() + 120
    found = False
    while not found and process.poll() is None and time.monotonic() < until:
        found = any("gpu" in job["resources"] for job in jobs() if job["comment"].startswith("rule_train"))
        time.sleep(0.2)
    process.terminate()
    subprocess.run(["scancel", "--user", str(os.getuid())], check=True)
    process.wait(120)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", default="smoke", help="default: smoke")
    parser.add_argument("--cancel", type=int, default=3, help="trainings to cancel (default: 3)")
    options = parser.parse_args()
    if not shutil.which("sinfo") or subprocess.run(["sinfo"], capture_output=True).returncode:
        subprocess.run([str(Path(__file__).with_name("single_node.sh")), "up"], check=True)
    config = ["--configfile", str(ROOT / "config" / "suites" / f"{options.suite}.yaml")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gpu = asks_for_a_gpu(folder / "gpu")
        print(f"trainings with device: cuda ask for a GPU: {'yes' if gpu else 'no'}", flush=True)
        begun = time.monotonic()
        cluster = snakemake(folder / "slurm", "--workflow-profile", str(PROFILE), *config, *HERE.split())
        cancelled: set[str] = set()
        while cluster.poll() is None:
            if len(cancelled) < options.cancel and (run := cancel(folder / "slurm", options.suite, cancelled)):
                cancelled.add(run)
                print(f"{time.monotonic() - begun:5.0f} s: cancelled the training of {run}", flush=True)
            time.sleep(0.2)
        print(f"{time.monotonic() - begun:5.0f} s: the pipeline on SLURM ended with {cluster.returncode}", flush=True)
        local = snakemake(folder / "local", "--cores", "all", *config)
        print(f"the pipeline without SLURM ended with {local.wait()}", flush=True)
        compared, unequal = differences(folder / "local" / "results", folder / "slurm" / "results")
        for ended, where in ((cluster, "slurm"), (local, "local")):
            if ended.returncode:
                print((folder / where / "log.txt").read_text()[-3000:])
    print(f"{compared} files compared, {len(unequal)} differ; {len(cancelled)} trainings cancelled", flush=True)
    print("".join(f"{path}\n" for path in unequal), end="")
    short = len(cancelled) < options.cancel
    return 1 if unequal or not compared or short or not gpu or cluster.returncode or local.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
