"""Running the real commands in a folder of their own, with a family and an algorithm that stand nowhere else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from kshot.places import ROOT
from kshot.running import machine
from tests import forked

PLUGINS = Path(__file__).with_name("plugins")

SUITE: dict[str, Any] = {
    "name": "tiny",
    "description": "A family and an algorithm in one file each.",
    "seeds": [0],
    "families": {
        "coins": {
            "steps": 64,
            "evaluation": {"tasks": 6, "k": [0, 1, 2]},
            "references": ["random", "oracle"],
        }
    },
    "algorithms": {
        "counting": {},
        "counting-less": {"algorithm": "counting", "settings": {"trust": 0.5}},
        "doomed": {"algorithm": "counting", "settings": {"diverge": True}},
    },
}


def write_suite(folder: Path, suite: dict[str, Any] = SUITE, file: str = "suite.yaml") -> Path:
    path = folder / file
    path.write_text(yaml.safe_dump(suite, sort_keys=False))
    return path


def environment() -> dict[str, str]:
    """What a user has who started from a notebook and did not activate the virtual environment.

    Its Python is not on the path, and the backend of figures is one that only the notebook has. What chooses the
    kernels of numeric libraries stays: tests compare what such a process computes with what they compute.
    """
    own = {"PATH": "/usr/local/bin:/usr/bin:/bin", "KSHOT_PATH": str(PLUGINS), "PYTHONPATH": str(ROOT)}
    own |= {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    kept = {name: value for name, value in os.environ.items() if name in ("HOME", "LANG", "TMPDIR")}
    return kept | machine.kernel_variables() | own


def kshot(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return forked.run(forked.kshot, *arguments, folder=folder, environment=environment(), patience=120)


def snakemake(folder: Path, *arguments: str, config: str | None = "suite.yaml") -> subprocess.CompletedProcess[str]:
    """Jobs that it starts are processes that are not forked."""
    chosen = [] if config is None else ["--configfile", config]
    command = ("--snakefile", str(ROOT / "Snakefile"), *arguments, *chosen)
    return forked.run(forked.snakemake, *command, folder=folder, environment=environment(), patience=300)


def begin(folder: Path, *arguments: str, config: str = "suite.yaml") -> subprocess.Popen[bytes]:
    """A pipeline in a session of its own, as in a terminal of its own."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *arguments]
    return subprocess.Popen(
        [*command, "--configfile", config],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def planned(folder: Path, *arguments: str, config: str | None = "suite.yaml") -> dict[str, int]:
    """How many jobs of each rule a dry run announces; empty when there is nothing to be done."""
    done = snakemake(folder, "--dry-run", *arguments, config=config)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    if "Nothing to be done" in output:
        return {}
    table = output[output.rindex("Job stats:") :]
    jobs = {rule: int(count) for rule, count in re.findall(r"^([a-z_]+) +(\d+)$", table, flags=re.MULTILINE)}
    assert jobs.pop("total") == sum(jobs.values()) > 0, output
    return jobs
