"""What `kshot status` says, whatever became of the processes."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kshot.checksums import write_record
from kshot.running import status
from kshot.running.heartbeat import Heartbeat
from kshot.running.processes import started
from kshot.suites.reading import load_suite
from kshot.suites.run import RunConfig

SUITE = {
    "name": "trial",
    "seeds": [0, 1],
    "families": {"nav2d": {"steps": 1000, "evaluation": {"tasks": 2, "k": [0]}, "references": ["oracle"]}},
    "algorithms": {"maml": {}},
}
RUNS = load_suite(SUITE, modules=False).runs()
NOW = 1_000_000.0


def beat(root: Path, run: RunConfig, **changes: Any) -> None:
    """A ``progress.json`` as a training that is half-way writes it."""
    record = {
        "state": "training",
        "phase": "train",
        "done": 500,
        "total": 1000,
        "unit": "steps",
        "rate": 50.0,
        "eta_seconds": 10.0,
        "updated": NOW - 5,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "message": "",
    }
    directory = run.directory(root)
    directory.mkdir(parents=True, exist_ok=True)
    write_record(directory / "progress.json", record | changes)


@pytest.fixture(scope="module")
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_no_file_is_waiting(tmp_path: Path) -> None:
    found = status.read(RUNS[0], tmp_path, NOW)
    assert (found.state, found.done, found.total) == ("waiting", 0, 1000)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"state": "training"}', '{"state": "done", "updated": "now"}'])
def test_a_damaged_file_is_waiting(tmp_path: Path, text: str) -> None:
    beat(tmp_path, RUNS[0])
    (RUNS[0].directory(tmp_path) / "progress.json").write_text(text)
    assert status.read(RUNS[0], tmp_path, NOW).state == "waiting"


def test_another_process_of_the_same_number_is_not_the_one_that_reported(tmp_path: Path) -> None:
    beat(tmp_path, RUNS[0], started=started(os.getpid()))
    assert status.read(RUNS[0], tmp_path, NOW).state == "training"
    beat(tmp_path, RUNS[0], started=started(os.getpid()) - 3600)  # the number was free again, and given to this one
    assert status.read(RUNS[0], tmp_path, NOW).state == "stopped"


def test_a_report_says_when_its_process_started(tmp_path: Path) -> None:
    Heartbeat(tmp_path, "train", 10, "steps").beat("training", 1)
    assert json.loads((tmp_path / "progress.json").read_text())["started"] == started(os.getpid()) > 0


@pytest.mark.parametrize("state", ["training", "evaluating"])
def test_a_living_process_is_at_work_even_if_it_is_silent(tmp_path: Path, state: str) -> None:
    beat(tmp_path, RUNS[0], state=state, updated=NOW - 600)
    found = status.read(RUNS[0], tmp_path, NOW)
    assert (found.state, found.message) == (state, "last report 10 min 00 s ago")


@pytest.mark.parametrize("state", ["training", "evaluating"])
def test_a_process_that_is_gone_has_stopped(tmp_path: Path, state: str, dead_pid: int) -> None:
    beat(tmp_path, RUNS[0], state=state, pid=dead_pid)
    assert status.read(RUNS[0], tmp_path, NOW).state == "stopped"


@pytest.mark.parametrize("age, state", [(100.0, "training"), (130.0, "stopped")])
def test_another_machine_is_believed_for_two_minutes(tmp_path: Path, dead_pid: int, age: float, state: str) -> None:
    beat(tmp_path, RUNS[0], host="elsewhere", pid=dead_pid, updated=NOW - age)
    assert status.read(RUNS[0], tmp_path, NOW).state == state


@pytest.mark.parametrize(
    "written, shown", [("interrupted", "stopped"), ("trained", "trained"), ("done", "done"), ("diverged", "diverged")]
)
def test_other_states_need_no_process(tmp_path: Path, dead_pid: int, written: str, shown: str) -> None:
    beat(tmp_path, RUNS[0], state=written, pid=dead_pid, updated=0.0)
    assert status.read(RUNS[0], tmp_path, NOW).state == shown


def test_a_failure_is_noted_and_keeps_how_far_it_got(tmp_path: Path) -> None:
    beat(tmp_path, RUNS[0])
    status.note(RUNS[0].directory(tmp_path), "failed", "ValueError: two\n  lines")
    found = status.read(RUNS[0], tmp_path, time.time())
    assert (found.state, found.done, found.message) == ("failed", 500, "ValueError: two lines")
    status.note(RUNS[1].directory(tmp_path), "failed", "before the first report")
    assert status.read(RUNS[1], tmp_path, time.time()).state == "failed"


def printed(root: Path) -> str:
    console = Console(file=io.StringIO())
    status.show(RUNS, root, once=True, console=console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_counts_the_runs_and_the_time_left(tmp_path: Path) -> None:
    beat(tmp_path, RUNS[0], updated=time.time())
    text = printed(tmp_path)
    lines = text.splitlines()
    assert next(line.split() for line in lines if " training " in line)[:8] == [
        *("nav2d", "maml", "0", "training", "500/1k", "steps", "50%", "50"),
    ]
    # 500 steps of one run and 1000 of the other are left, at 50 steps per second: 30 seconds.
    totals = "0 of 3 runs finished (2 waiting, 1 training); training 25% of 2k steps"
    assert lines[-1] == f"{totals}; about 30 s of training left at this pace"


def test_a_finished_suite_is_printed_once_and_the_command_ends(tmp_path: Path) -> None:
    for run in RUNS:
        beat(tmp_path, run, state="done", done=4, total=4, unit="episodes", phase="evaluate")
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    status.show(RUNS, tmp_path, once=False, console=console)
    assert isinstance(console.file, io.StringIO)
    assert "3 of 3 runs finished (3 done); training 100% of 2k steps" in console.file.getvalue()


def test_where_not_all_fit_those_in_trouble_or_at_work_are_shown() -> None:
    states = ["done"] * 5 + ["waiting"] * 5 + ["failed", "training"]
    statuses = [status.RunStatus(RUNS[0], state) for state in states]
    console = Console(file=io.StringIO(), width=120)
    console.print(status.render(statuses, console.width, max_lines=3))
    assert isinstance(console.file, io.StringIO)
    rows = [line.split()[3] for line in console.file.getvalue().splitlines() if line.startswith("nav2d")]
    assert rows == ["failed", "training", "waiting"]
    assert "9 more runs do not fit" in console.file.getvalue()


LONG = "RuntimeError: " + "something went wrong in the middle of a very long computation " * 4
CROWD = [
    status.RunStatus(
        replace(RUNS[0], family="metaworld-ml10-masked-objects", algorithm="rl2-transformer-large"),
        "training",
        *(123_456, 5_000_000, "steps", 1234.5, 36_300.0),
    ),
    status.RunStatus(RUNS[1], "failed", 500, 1000, message=LONG),
    status.RunStatus(RUNS[2], "evaluating", 96, 192, "episodes", 12.5, 65.0),
    status.RunStatus(RUNS[2], "stopped", 96, 192, "episodes", message="started again it begins anew"),
]


def drawn(statuses: list[status.RunStatus], width: int, room: int | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(status.render(statuses, width, room))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("room", [None, 12])
def test_state_and_progress_are_whole_beside_a_long_note(width: int, room: int | None) -> None:
    lines = drawn(CROWD, width, room)
    assert max(map(len, lines)) <= width
    title, *rows = lines[: len(CROWD) + 1]
    assert ("rate" in title, "left" in title) == (width > 80, width > 80), "what there is no room for is left out"
    for row, state, progress in zip(
        rows,
        ("training", "failed", "evaluating", "stopped"),
        ("123k/5M steps   2%", "500/1k steps  50%", "96/192 episodes  50%", "96/192 episodes  50%"),
        strict=True,
    ):
        assert f" {state} " in row and progress in row
    assert rows[0].startswith("metaworld-ml1") and "  rl2-transfor" in rows[0], "names are shortened last, and readable"
    text = " ".join(line.strip() for line in lines)
    assert "nav2d maml 1: RuntimeError: something went wrong" in text
    assert (LONG.strip() in text) == (room is None), "in full where there is room for all of it"
    assert "nav2d oracle 0: started again it begins anew" in text


def test_notes_that_fit_stand_beside_their_runs() -> None:
    (row,) = [line for line in drawn([CROWD[3]], 100) if line.startswith("nav2d")]
    assert row.endswith("  started again it begins anew")


def test_runs_and_notes_share_the_room_there_is() -> None:
    lines = drawn([CROWD[1]] * 5 + [CROWD[2]] * 5, 80, room=6)
    assert sum(line.startswith("nav2d") for line in lines) <= 6
    assert "more runs do not fit" in " ".join(lines)


def test_a_step_that_was_killed_says_whether_it_goes_on_or_begins_anew(tmp_path: Path, dead_pid: int) -> None:
    beat(tmp_path, RUNS[0], pid=dead_pid)
    assert status.read(RUNS[0], tmp_path, NOW).message.endswith("begins anew")
    (RUNS[0].directory(tmp_path) / "checkpoint.pt").write_bytes(b"")
    assert status.read(RUNS[0], tmp_path, NOW).message.endswith("goes on from its checkpoint")
    beat(tmp_path, RUNS[0], pid=dead_pid, state="evaluating", phase="evaluate")
    assert status.read(RUNS[0], tmp_path, NOW).message.endswith("begins anew")
