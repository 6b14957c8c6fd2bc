"""A pipeline that is killed takes its jobs with it, and the same command goes on from there."""

from __future__ import annotations

import copy
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from kshot.records import write_json
from kshot.running import checkpoint, pipeline
from kshot.running.processes import started
from tests.workflow.pipeline import SUITE, begin, snakemake, write_suite

SLOW: dict[str, Any] = copy.deepcopy(SUITE)
SLOW["families"]["coins"] |= {"steps": 160, "references": ["oracle"]}
SLOW["algorithms"] = {"counting": {"settings": {"seconds": 0.5}}}


def jobs() -> list[psutil.Process]:
    """Trainings that run anywhere on this machine on the suite's name."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "kshot" in words and "train" in words and "results/tiny/suite.yaml" in words:
            found.append(process)
    return found


def waited_for(condition: Any, seconds: float = 60) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.1)
    return bool(condition())


def test_the_same_command_goes_on_after_a_kill(tmp_path: Path) -> None:
    write_suite(tmp_path, SLOW)
    run = tmp_path / "results/tiny/coins/counting/seed-0"
    first = begin(tmp_path, "--cores", "1")
    assert waited_for(
        lambda: (run / "progress.json").is_file() and '"done": 0' not in (run / "progress.json").read_text()
    )
    (job,) = [process for process in jobs() if Path(process.cwd()) == tmp_path]
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert list((tmp_path / ".snakemake" / "locks").iterdir())
    again = snakemake(tmp_path, "--cores", "1")  # at once: the job that was left behind may still be at work
    assert again.returncode == 0, again.stderr
    assert "locks of a pipeline that was killed" in again.stderr
    assert not job.is_running()
    assert (tmp_path / "reports/tiny/index.html").is_file()
    assert not (tmp_path / "results/tiny" / pipeline.FILE).exists()
    assert not list((tmp_path / ".snakemake").glob("locks/*"))

    (tmp_path / "undisturbed").mkdir()
    write_suite(tmp_path / "undisturbed", SLOW)
    curve = run.relative_to(tmp_path) / "curve.parquet"
    assert snakemake(tmp_path / "undisturbed", "--cores", "1", str(curve)).returncode == 0
    for file in ("curve.parquet", "train.parquet", "model.pt"):
        assert (run / file).read_bytes() == (tmp_path / "undisturbed" / curve.with_name(file)).read_bytes()


@pytest.mark.parametrize("owner", ["alive", "elsewhere", "another suite", "nobody"])
def test_locks_that_may_be_held_stay(tmp_path: Path, owner: str) -> None:
    locks, results = tmp_path / "locks", tmp_path / "results"
    locks.mkdir()
    (locks / "0.input.lock").write_text("results/tiny/a.csv\n")
    (locks / "0.output.lock").write_text("results/tiny/b.csv\n")
    gone = {"host": os.uname().nodename, "pid": os.getpid(), "started": started(os.getpid()) - 3600}
    record = {"alive": gone | {"started": started(os.getpid())}, "elsewhere": gone | {"host": "elsewhere"}}.get(
        owner, gone
    )
    if owner != "nobody":
        write_json(results / pipeline.FILE, record)
    prefixes = ("results/another/",) if owner == "another suite" else ("results/tiny/",)
    assert pipeline.remove_dead_locks(results, locks, prefixes) == []
    assert len(list(locks.iterdir())) == 2
    if owner == "another suite":
        write_json(results / pipeline.FILE, gone)
        assert len(pipeline.remove_dead_locks(results, locks, ("results/tiny/",))) == 2


def test_without_a_pipeline_nobody_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(pipeline.VARIABLE, raising=False)
    with checkpoint.exclusive(tmp_path), pytest.raises(checkpoint.Busy), checkpoint.exclusive(tmp_path):
        pass
    monkeypatch.setenv(pipeline.VARIABLE, f"{os.uname().nodename} {os.getpid()} {started(os.getpid())}")
    assert not pipeline.is_gone()
    monkeypatch.setattr(checkpoint, "PATIENCE", 2)
    begun = time.monotonic()
    with checkpoint.exclusive(tmp_path), pytest.raises(checkpoint.Busy), checkpoint.exclusive(tmp_path):
        pass
    assert time.monotonic() - begun > 1.9


def test_who_only_looks_leaves_the_note_of_the_pipeline_at_work(tmp_path: Path) -> None:
    """A partial report while the suite is trained: its end, or its death, frees nobody's locks."""
    write_suite(tmp_path)
    note = tmp_path / "results" / "tiny" / pipeline.FILE
    record = {"host": os.uname().nodename, "pid": os.getppid(), "started": started(os.getppid())}
    write_json(note, record)
    before = note.read_bytes()
    assert snakemake(tmp_path, "--cores", "1", "partial_report").returncode != 0  # there is nothing to report yet
    assert note.read_bytes() == before
    pipeline.release(note.parent)
    assert note.read_bytes() == before
    pipeline.claim(note.parent)
    pipeline.release(note.parent)
    assert not note.exists()
