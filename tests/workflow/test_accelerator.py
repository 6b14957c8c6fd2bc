"""``benchmarks/accelerator.sh``: what it needs is said before anything is installed; what it begins can go on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "accelerator.sh"
TINY = "--learners maml --steps 1 --horizon 10 --set meta_batch=10 episodes=1 hidden=[8] curvature_stride=1"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # where the machine's python3 is
    environment = os.environ | {"PATH": path} | environment
    return subprocess.run([str(SCRIPT), *arguments], capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("cell", ["rl2", "rl2:", ":0", "rl2:x", "rl2:0:1", "../rl2:0"])
def test_what_is_no_cell_is_refused_in_one_line(cell: str, tmp_path: Path) -> None:
    done = run(str(tmp_path), str(tmp_path / "out"), "60", cell)
    said = f"accelerator.sh: '{cell}' is no cell; write LEARNER:SEED, as in rl2:0\n"
    assert (done.returncode, done.stderr, done.stdout) == (2, said, "")


def test_without_arguments_it_says_how_it_is_used() -> None:
    done = run()
    assert done.returncode == 2 and "benchmarks/accelerator.sh WHEELS RESULTS SECONDS [LEARNER:SEED ...]" in done.stderr


def test_rates_are_printed_and_cells_are_archived_from_which_they_go_on(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    arguments = (str(tmp_path / "wheels"), str(tmp_path / "out"))
    done = run(*arguments, "60", "reptile:0", DEVICE="cpu", LEARNERS_OPTIONS=TINY, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert "steps/s" in done.stdout and "maml present" in done.stdout and "on the GPU" not in done.stdout
    archive = tmp_path / "out" / "reference-ml10-reptile-0.tar.gz"
    names = subprocess.run(["tar", "-tzf", archive], check=True, capture_output=True, text=True).stdout
    assert "results/reference-ml10/ml10/reptile/seed-0/checkpoint.pt" in names
