"""The commit that is recorded is that of the code's own checkout, whatever the surroundings say."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kshot.running import provenance
from kshot.running.commits import UNKNOWN, commit_of
from kshot.suites.reading import load_suite
from tests.workflow.pipeline import PLUGINS, SUITE


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    commit_of.cache_clear()
    yield
    commit_of.cache_clear()


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "safe.directory=*"]
    done = subprocess.run(["git", *who, "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def checkout(folder: Path) -> tuple[Path, str]:
    """A file in a new repository, and its commit."""
    folder.mkdir()
    file = folder / "code.py"
    file.write_text("a = 1\n")
    git(folder, "init", "-q")
    git(folder, "add", "code.py")
    git(folder, "commit", "-qm", f"in {folder.name}")
    return file, git(folder, "rev-parse", "HEAD")


def test_a_commit_and_whether_anything_differs_from_it(tmp_path: Path) -> None:
    file, commit = checkout(tmp_path / "own")
    assert commit_of(file, file.parent) == (commit, False)
    for name in ("changed.py", "code.py"):
        (file.parent / name).write_text("a = 2\n")
        commit_of.cache_clear()
        assert commit_of(file, file.parent) == (commit, True), name
        git(file.parent, "checkout", "-q", ".")
        (file.parent / "changed.py").unlink(missing_ok=True)


def test_logs_of_mujoco_are_no_modification(tmp_path: Path) -> None:
    file, commit = checkout(tmp_path / "own")
    (file.parent / "below").mkdir()
    for folder in (file.parent, file.parent / "below"):
        (folder / "MUJOCO_LOG.TXT").write_text("WARNING: Nan, Inf or huge value in QACC\n")
    assert commit_of(file, file.parent) == (commit, False)


def test_another_repository_in_the_surroundings_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, commit = checkout(tmp_path / "own")
    other, _ = checkout(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other.parent / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.parent))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.parent / ".git" / "index"))
    assert commit_of(file, file.parent) == (commit, False)


def test_a_checkout_that_only_lies_around_the_code_tells_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home, _ = checkout(tmp_path / "home")
    inner = home.parent / "downloads" / "code.py"
    inner.parent.mkdir()
    inner.write_text("a = 1\n")
    assert commit_of(inner, inner.parent) == UNKNOWN
    assert f"the commit of {inner.parent} is unknown: error: pathspec" in caplog.text


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a checkout away")
def test_a_checkout_of_another_owner_has_a_commit(tmp_path: Path) -> None:
    file, commit = checkout(tmp_path / "theirs")
    for path in [file.parent, *file.parent.rglob("*")]:
        os.chown(path, 12345, 12345)
    refused = subprocess.run(["git", "-C", str(file.parent), "status"], capture_output=True, text=True, check=False)
    assert "dubious ownership" in refused.stderr  # what git does by itself
    assert commit_of(file, file.parent) == (commit, False)


def test_without_git_or_a_checkout_a_warning_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "code.py"
    file.write_text("a = 1\n")
    assert commit_of(file, tmp_path) == UNKNOWN
    assert f"the commit of {tmp_path} is unknown: fatal: not a git repository" in caplog.text
    commit_of.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(file, tmp_path) == UNKNOWN
    assert "git cannot be run" in caplog.text


def test_the_folder_of_a_plug_in_has_a_commit_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, first = checkout(tmp_path / "mine")
    shutil.copytree(PLUGINS, tmp_path / "mine", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("KSHOT_PATH", str(tmp_path / "mine"))
    git(tmp_path / "mine", "add", ".")
    git(tmp_path / "mine", "commit", "-qm", "plug-ins")
    commit = git(tmp_path / "mine", "rev-parse", "HEAD")
    run = load_suite(SUITE).find("coins", "counting", 0)
    expected = {"git_commit": commit, "git_dirty": False}
    assert commit != first
    assert provenance.plugins(run) == {"algorithms/counting": expected, "envs/coins": expected}
    assert provenance.plugins(replace(run, algorithm_module="maml", family_module="bandit")) == {}
