"""What the surroundings say of threads and devices is understood, or refused in one line before anything runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kshot.envs.metaworld._vector import default_threads
from kshot.errors import ConfigError
from kshot.threads import asked, cores, settle
from tests.conftest import kept_environment
from tests.workflow.pipeline import SUITE, environment, kshot, snakemake, write_suite


@pytest.mark.parametrize(("text", "threads"), [("3", 3), ("4,2", 4), (" 2 ", 2), ("", None), ("4, 2,1", 4)])
def test_a_number_of_threads_or_one_for_every_level(
    text: str, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert asked() == threads
    assert default_threads() == (threads or cores())


@pytest.mark.parametrize("text", ["0", "1.0", "-1", "all", "4,", "2,0", "²"])
def test_anything_else_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    with pytest.raises(
        ConfigError, match=r"^\$OMP_NUM_THREADS is .*: it has to be a whole number of at least 1, or unset"
    ):
        asked()


def test_without_binding_of_processes_all_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    assert cores() == os.cpu_count()


def test_a_command_says_in_one_line_what_is_wrong_with_the_threads(tmp_path: Path) -> None:
    write_suite(tmp_path)
    words = ["train", "suite.yaml", "--family", "coins", "--algorithm", "counting", "--seed", "0"]
    for text in ("0", "1.0"):
        done = subprocess.run(
            [sys.executable, "-m", "kshot", *words],
            cwd=tmp_path,
            env=environment() | {"OMP_NUM_THREADS": text},
            capture_output=True,
            text=True,
        )
        said = f"kshot: $OMP_NUM_THREADS is '{text}': it has to be a whole number of at least 1, or unset"
        assert (done.returncode, done.stderr.splitlines()) == (2, [said])


@pytest.mark.parametrize(
    ("device", "reason", "of_row"),
    [("mps", "PyTorch finds no Metal here", False), ("cuda:99", "PyTorch finds ", True)],
)
def test_a_device_that_is_not_here_is_refused_before_anything_runs(
    tmp_path: Path, device: str, reason: str, of_row: bool
) -> None:
    if device == "mps" and sys.platform == "darwin":
        pytest.skip("it is here")
    rows = {name: row | {"device": device} for name, row in SUITE["algorithms"].items()}
    write_suite(tmp_path, SUITE | ({"algorithms": rows} if of_row else {"device": device}))
    checked = kshot(tmp_path, "check-config", "suite.yaml")
    assert checked.returncode == 2 and checked.stdout == ""
    assert checked.stderr.splitlines() == [
        line for line in checked.stderr.splitlines() if f"device: {device}: {reason}" in line
    ]
    assert len(checked.stderr.splitlines()) == (len(rows) if of_row else 1), "one for each place in the file"
    planned = snakemake(tmp_path, "--dry-run")
    assert planned.returncode == 2
    assert (planned.stdout + planned.stderr).count(f"Error: suite 'tiny': device {device}: {reason}") == 1
    elsewhere = snakemake(tmp_path, "--dry-run", "--jobs", "2")  # as a profile of a cluster says
    assert elsewhere.returncode == 0, elsewhere.stderr


def test_numeric_libraries_are_told_how_many_threads_to_use_and_not_to_wait_actively(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", {})
    settle(3)
    assert {os.environ[f"{library}_NUM_THREADS"] for library in ("OMP", "OPENBLAS", "MKL")} == {"3"}
    assert os.environ["GOMP_SPINCOUNT"] == "10000"
    for name, value in (("GOMP_SPINCOUNT", "7"), ("OMP_WAIT_POLICY", "active")):  # what users say is left alone
        monkeypatch.setattr(os, "environ", {name: value})
        settle(3)
        assert os.environ.get("GOMP_SPINCOUNT") == ("7" if name == "GOMP_SPINCOUNT" else None)
        assert os.environ[name] == value


def test_how_many_threads_a_test_settled_on_changes_no_later_test() -> None:
    before = dict(os.environ)
    with kept_environment():
        settle(3)
        assert asked() == 3
    assert dict(os.environ) == before
    says = r"the test changed \['KSHOT_LEFT'\] in the environment"
    with pytest.raises(AssertionError, match=says), kept_environment():
        os.environ["KSHOT_LEFT"] = "1"
    assert dict(os.environ) == before
