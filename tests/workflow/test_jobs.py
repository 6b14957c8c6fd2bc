"""What stands around a step: nothing finished is repeated or replaced unasked, nothing refused leaves a trace."""

from __future__ import annotations

import copy
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests import synthetic
from tests.workflow.conftest import Called
from tests.workflow.pipeline import SUITE, environment, kshot, write_suite

COUNTING = ("--family", "coins", "--algorithm", "counting", "--seed", "0")
RUN = "results/tiny/coins/counting/seed-0"
TRAINED = ["model.pt", "train.parquet", "run.json"]
EVALUATED = ["curve.parquet", "evaluate.json"]


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file, with its time, so that one that was written anew with the same bytes is noticed."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def changed(**settings: Any) -> dict[str, Any]:
    suite = copy.deepcopy(SUITE)
    suite["algorithms"]["counting"] = {"settings": settings}
    return suite


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run, trained and evaluated."""
    folder = tmp_path_factory.mktemp("made")
    write_suite(folder)
    for command, files in (("train", TRAINED), ("evaluate", EVALUATED)):
        done = kshot(folder, command, "suite.yaml", *COUNTING)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [f"{RUN}/{name}" for name in files], "a step says what it wrote"
    return folder


@pytest.fixture
def finished(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def test_a_finished_step_is_done_again_only_when_asked(finished: Path, called: Called) -> None:
    before = contents(finished / RUN)
    for command in ("train", "evaluate"):
        done = called(finished, command, "suite.yaml", *COUNTING)
        assert done.returncode == 0, done.stderr
        assert done.stdout == (
            f"{RUN}: {'trained' if command == 'train' else 'evaluated'} already, by this code and with these settings; "
            "--again does it once more\n"
        )
    assert contents(finished / RUN) == before
    for command in ("train", "evaluate"):
        assert called(finished, command, "suite.yaml", *COUNTING, "--again").returncode == 0
    after = contents(finished / RUN)
    for name in ("model.pt", "train.parquet", "curve.parquet"):
        assert after[name][0] == before[name][0] and after[name][1] > before[name][1]


def test_results_of_other_settings_are_replaced_only_when_asked(finished: Path, called: Called) -> None:
    before = contents(finished / RUN)
    write_suite(finished, changed(trust=1.0))
    for command in ("train", "evaluate"):
        done = called(finished, command, "suite.yaml", *COUNTING)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert ": made with settings " in done.stderr and "; add --again to replace these results" in done.stderr
    assert contents(finished / RUN) == before
    assert called(finished, "train", "suite.yaml", *COUNTING, "--again").returncode == 0
    assert contents(finished / RUN)["model.pt"] != before["model.pt"]


def test_results_of_other_code_are_replaced_only_when_asked(finished: Path, called: Called) -> None:
    path = finished / RUN / "run.json"
    synthetic.sign(path, source_digest="0123456789abcdef")
    before = contents(finished / RUN)
    done = called(finished, "train", "suite.yaml", *COUNTING)
    assert done.returncode == 2
    assert f"kshot: {path.relative_to(finished)}: made by source 0123456789abcdef" in done.stderr
    assert contents(finished / RUN) == before


def test_an_evaluation_is_of_the_model_that_is_there(finished: Path, called: Called) -> None:
    """Whoever has trained anew, with another outcome, is told that the evaluation is of the former model."""
    path = finished / RUN / "evaluate.json"
    synthetic.sign(path, model_digest="0123456789abcdef")
    done = called(finished, "evaluate", "suite.yaml", *COUNTING)
    assert done.returncode == 2
    assert "made from model 0123456789abcdef, model.pt now is " in done.stderr
    found = called(finished, "audit", "suite.yaml")
    assert found.returncode == 1
    assert found.stdout.startswith(f"model: {RUN}/evaluate.json: made from model 0123456789abcdef")


def test_the_workflow_asks_for_what_is_due(finished: Path, forks: Called) -> None:
    """Also where results of other settings are in the way."""
    write_suite(finished, changed(trust=1.0))
    done = forks(
        finished, "snakemake", "--cores", "2", f"{RUN}/curve.parquet", "--forceall", "--configfile", "suite.yaml"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    settings = json.loads((finished / RUN / "evaluate.json").read_text())["run"]["algorithm_settings"]
    assert settings["trust"] == 1.0


@pytest.mark.parametrize(
    "command, arguments, message",
    [
        ("official", COUNTING, "'counting' on 'coins' has no official evaluation: only families of"),
        ("train", (*COUNTING[:3], "oracle", "--seed", "0"), "'oracle' is a reference policy: it is not trained"),
        ("evaluate", (*COUNTING[:3], "counting-less", "--seed", "0"), "model.pt: no such file; train this run first"),
    ],
)
def test_what_a_command_refuses_it_does_not_touch(
    finished: Path, command: str, arguments: tuple[str, ...], message: str, called: Called
) -> None:
    before = contents(finished / "results")
    done = called(finished, command, "suite.yaml", *arguments)
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.splitlines()) == 1
    assert contents(finished / "results") == before
    assert "1 done" in called(finished, "status", "suite.yaml", "--once").stdout


def test_a_mistake_before_the_work_leaves_a_finished_run_as_it_is(finished: Path, called: Called) -> None:
    (finished / RUN / "model.pt").write_bytes(b"rubbish")
    before = contents(finished / RUN)
    done = called(finished, "evaluate", "suite.yaml", *COUNTING, "--again")
    assert done.returncode == 2 and "model.pt: is not as it was written" in done.stderr
    assert contents(finished / RUN) == before
    (finished / RUN / "evaluate.json").unlink()
    assert called(finished, "evaluate", "suite.yaml", *COUNTING).returncode == 2
    assert "1 failed" in called(finished, "status", "suite.yaml", "--once").stdout, "the run lacks what has failed"


def started(folder: Path, command: str, seconds: float) -> subprocess.Popen[str]:
    """A step of so many seconds, once it has reported work."""
    suite = changed(seconds=0.05)
    suite["families"]["coins"]["steps"] = round(8 * seconds / 0.05)
    write_suite(folder, suite)
    process = subprocess.Popen(
        [sys.executable, "-m", "kshot", command, "suite.yaml", *COUNTING],
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    progress = folder / RUN / "progress.json"
    for _ in range(600):
        if progress.is_file() and json.loads(progress.read_text())["done"] > 0:
            return process
        time.sleep(0.1)
    process.kill()
    raise AssertionError("no progress within a minute")


def test_control_c_ends_a_training_with_130_and_says_how_to_go_on(tmp_path: Path, called: Called) -> None:
    process = started(tmp_path, "train", seconds=60)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines() == [
        "kshot: stopping after this iteration, once it is saved; Ctrl-C again stops at once",
        "kshot: stopped, and everything is saved; the same command goes on from the checkpoint",
    ]
    assert (tmp_path / RUN / "checkpoint.pt").is_file()
    assert "1 stopped" in called(tmp_path, "status", "suite.yaml", "--once").stdout


SLOW = """
import signal, sys, time
from kshot import cli
from kshot.running import evaluate

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in what it runs in the background

def slowly(*args):
    evaluate.Heartbeat(args[-1], "evaluate", 6, "episodes").beat("evaluating", 1, force=True)
    time.sleep(60)

evaluate._evaluate_learner = slowly
sys.exit(cli.main(sys.argv[1:]))
"""


def test_control_c_ends_an_evaluation_with_130_and_says_that_it_begins_anew(finished: Path, called: Called) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, "evaluate", "suite.yaml", *COUNTING, "--again"],
        cwd=finished,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    progress = finished / RUN / "progress.json"
    while json.loads(progress.read_text())["state"] != "evaluating":
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "kshot: interrupted; the same command begins it anew\n")
    status = called(finished, "status", "suite.yaml", "--once").stdout
    assert "1 stopped" in status and "interrupted; the same command begins it anew" in status


def test_the_steps_of_a_suite_say_what_they_wrote(tmp_path: Path, called: Called) -> None:
    suite = copy.deepcopy(SUITE)
    suite["algorithms"] = {"counting": {}}
    suite["families"]["coins"]["evaluation"]["split"] = "validation"
    write_suite(tmp_path, suite)
    called(tmp_path, "train", "suite.yaml", *COUNTING)
    for name in ("counting", "random", "oracle"):
        called(tmp_path, "evaluate", "suite.yaml", "--family", "coins", "--algorithm", name, "--seed", "0")
    for command in ("aggregate", "figures", "tables", "report", "select"):
        before = {name for folder in ("results", "reports") for name in contents(tmp_path / folder)}
        done = called(tmp_path, command, "suite.yaml")
        assert done.returncode == 0, done.stderr
        said = done.stdout.splitlines()
        new = {
            str(Path(folder, name))
            for folder in ("results", "reports")
            for name in contents(tmp_path / folder)
            if name not in before
        }
        assert new and set(said) == new and len(said) == len(new), command
