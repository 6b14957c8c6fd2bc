"""The part of ``python -m tests.faults`` that every change has to pass, and faults that have a test of their own."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kshot import records
from kshot.envs.metaworld._goals import Source, goals
from kshot.envs.metaworld._vector import MetaWorldVectorEnv
from kshot.envs.metaworld.engine import batch, kernel
from kshot.running import status
from kshot.running.heartbeat import FILE, Heartbeat
from tests import forked
from tests.contract import tiny
from tests.faults import commands
from tests.faults.damage import damage
from tests.faults.kills import kill
from tests.faults.suites import check
from tests.workflow.pipeline import SUITE, begin, environment, planned, snakemake, write_suite

SEED = int(time.time())
"""Another one every time; failures name it."""


def test_signals_at_random_moments_change_nothing(tmp_path: Path) -> None:
    kills = kill(20, SEED, tmp_path)
    assert kills.total >= 20 and not kills.faults, f"seed {SEED}: {kills.faults}"


def test_damaged_files_are_named_or_do_no_harm(tmp_path: Path) -> None:
    damages = damage(20, SEED, tmp_path)
    assert damages.total == 20 and not damages.faults, f"seed {SEED}: {damages.faults}"


def test_made_up_suites_are_refused_in_clear_lines_or_no_job_refuses_them(tmp_path: Path) -> None:
    checked = check(20, SEED, tmp_path, dry_runs=0, jobs=3)
    assert checked.total >= 20 and not checked.faults, f"seed {SEED}: {checked.faults}"


def small_files(limit: int) -> None:
    """Refuse this process to write a file of more than ``limit`` bytes, as a disk that gets full does."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def train_on_a_full_disk(root: Path) -> int:
    run = tiny.run("pearl", "nav2d")
    small_files(4096)
    try:
        commands.train(run, root)
    except OSError as error:
        print(f"kshot: {error}", file=sys.stderr)
        return 3
    return 0


def test_a_disk_that_is_full_loses_nothing(tmp_path: Path) -> None:
    run, log = tiny.run("pearl", "nav2d"), tmp_path / "log.txt"
    calm, full = tmp_path / "calm", tmp_path / "full"
    assert forked.finish(commands.train, run, calm, log=log) == 0
    for kept in (False, True):  # without earlier results, and with those of an earlier training
        if kept:
            shutil.copytree(calm, full, dirs_exist_ok=True)
        log.unlink(missing_ok=True)
        assert forked.finish(train_on_a_full_disk, full, log=log) == 3
        directory = run.directory(full)
        assert "File too large" in log.read_text() and ".pt" in log.read_text()
        files = {path.name for path in directory.iterdir()} - {".lock", FILE}
        assert files == (set(os.listdir(run.directory(calm))) - {".lock", FILE} if kept else set())
        for name in files:
            assert (directory / name).read_bytes() == (run.directory(calm) / name).read_bytes()
        assert status.read(run, full, time.time()).state == "failed"
    assert forked.finish(commands.train, run, full, log=log) == 0  # there is room again
    for name in ("model.pt", "train.parquet"):
        assert (run.directory(full) / name).read_bytes() == (run.directory(calm) / name).read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file system")
def test_a_small_file_system_that_gets_full_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        write_suite(disk)
        command = [sys.executable, "-m", "kshot", "train", "suite.yaml", "--family", "coins"]
        command += ["--algorithm", "counting", "--seed", "0", "--threads", "1"]
        (disk / "filling").write_bytes(b"0" * 4096 * 20)
    except OSError:  # full
        pass
    try:
        done = subprocess.run(command, cwd=disk, env=environment(), capture_output=True, text=True, timeout=120)
        assert done.returncode != 0 and "Traceback" not in done.stderr
        assert "No space left on device" in done.stderr.splitlines()[-1]
        (disk / "filling").unlink()
        again = subprocess.run(command, cwd=disk, env=environment(), capture_output=True, text=True, timeout=120)
        assert again.returncode == 0, again.stderr
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_two_pipelines_do_not_work_on_one_folder(tmp_path: Path) -> None:
    write_suite(tmp_path, SUITE | {"algorithms": {"counting": {"settings": {"seconds": 0.2}}}})
    first = begin(tmp_path, "--cores", "1")
    locks = tmp_path / ".snakemake" / "locks"
    until = time.monotonic() + 60
    while not (locks.is_dir() and list(locks.iterdir())) and time.monotonic() < until:
        time.sleep(0.05)
    second = snakemake(tmp_path, "--cores", "1")
    assert second.returncode != 0
    assert "Directory cannot be locked" in second.stderr or "LockException" in second.stderr
    assert first.wait(120) == 0
    assert (tmp_path / "reports" / "tiny" / "index.html").is_file() and not planned(tmp_path)


def test_an_error_in_a_thread_reaches_the_caller_and_the_next_step_works(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = goals(Source("ML1", "reach-v3"), "train")[:8]
    envs, beside = (MetaWorldVectorEnv(chosen, horizon=30, threads=2) for _ in range(2))
    actions = np.zeros((8, 4), dtype=np.float32)
    for env in (envs, beside):
        env.reset(seed=0)
    simulate = kernel.simulate

    def failing(end: int, *arguments: object) -> None:
        if end == 1:
            raise MemoryError("a thread had no memory")
        simulate(end, *arguments)

    monkeypatch.setattr(batch.kernel, "simulate", failing)
    with pytest.raises(MemoryError, match="a thread had no memory"):
        envs.step(actions)
    monkeypatch.undo()
    for env in (envs, beside):
        env.reset(seed=1)
    for _ in range(3):
        for found, expected in zip(envs.step(actions)[:2], beside.step(actions)[:2], strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_clock_that_is_set_back_confuses_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny.run("rl2", "bandit")
    directory = run.directory(tmp_path)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    heartbeat = Heartbeat(directory, "train", 100, "steps")
    heartbeat.beat("training", 10, force=True)
    monkeypatch.setattr(time, "time", lambda: now)  # an hour back
    heartbeat.beat("training", 20, force=True)
    found = status.read(run, tmp_path, time.time())
    assert (found.state, found.done) == ("training", 20) and found.seconds_left is not None and found.seconds_left >= 0
    records.write_text(directory / "later", "")
    monkeypatch.setattr(time, "time", lambda: now - 3600)  # the last report is in the future now
    found = status.read(run, tmp_path, time.time())
    assert found.state == "training" and "-" not in found.message
