"""``benchmarks/accelerator.sh``: what it needs is said before anything is installed; what it begins can go on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "accelerator.sh"
TINY = "--learners maml --steps 1 --horizon 10 --set meta_batch=10 episodes=1 hidden=[8] curvature_stride=1"


def environment(**more: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # where the machine's python3 is
    return os.environ | {"PATH": path} | more


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(SCRIPT), *arguments], capture_output=True, text=True, env=environment())


@pytest.mark.parametrize("cell", ["rl2", "rl2:", ":0", "rl2:x", "rl2:0:1", "../rl2:0"])
def test_what_is_no_cell_is_refused_in_one_line(cell: str, tmp_path: Path) -> None:
    done = run(str(tmp_path), str(tmp_path / "out"), "60", cell)
    said = f"accelerator.sh: '{cell}' is no cell; write LEARNER:SEED, as in rl2:0\n"
    assert (done.returncode, done.stderr, done.stdout) == (2, said, "")


def test_without_arguments_it_says_how_it_is_used() -> None:
    done = run()
    assert done.returncode == 2 and "benchmarks/accelerator.sh WHEELS RESULTS SECONDS [LEARNER:SEED ...]" in done.stderr


def test_rates_are_printed_and_cells_are_archived_from_which_they_go_on(tmp_path: Path) -> None:
    """The training is told to end by way of ``timeout``, as when the time is over, once there is something to save."""
    (tmp_path / "wheels").mkdir()
    arguments = (str(tmp_path / "wheels"), str(tmp_path / "out"))
    surroundings = {"DEVICE": "cpu", "LEARNERS_OPTIONS": TINY, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [str(SCRIPT), *arguments, "600", "reptile:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**surroundings),
    )
    timeout = training(process, tmp_path)
    assert timeout.cmdline()[:3] == ["timeout", "--signal", "TERM"] and 0 < int(timeout.cmdline()[3]) <= 600
    timeout.terminate()  # it passes SIGTERM on
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "steps/s" in out and "maml present" in out and "on the GPU" not in out
    archive = tmp_path / "out" / "reference-ml10-reptile-0.tar.gz"
    names = subprocess.run(["tar", "-tzf", archive], check=True, capture_output=True, text=True).stdout
    assert "results/reference-ml10/ml10/reptile/seed-0/checkpoint.pt" in names


def training(script: subprocess.Popen[str], folder: Path) -> psutil.Process:
    """The ``timeout`` that a training runs under, once that has reported steps."""
    while script.poll() is None:
        (progress,) = [*folder.glob("tmp.*/results/*/*/*/*/progress.json"), None][:1]
        if progress is not None and '"done": 0' not in progress.read_text():
            found = [one for one in psutil.Process(script.pid).children() if one.name() == "timeout"]
            return found[0]
        time.sleep(0.2)
    raise AssertionError(script.communicate()[1])
