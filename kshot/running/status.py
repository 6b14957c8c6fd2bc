"""What is every run doing? Read from the ``progress.json`` beside each, so it works with any scheduler or none."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kshot.errors import RecordError
from kshot.records import read_json, write_json
from kshot.running.checkpoint import CHECKPOINT
from kshot.running.heartbeat import FILE
from kshot.suites.run import RunConfig

SILENT_SECONDS = 120.0
"""A process of another machine that has not reported for this long counts as gone."""
REFRESH_SECONDS = 1.5
PLAIN_WIDTH = 160
_GAP = "  "
_NAMES = ("family", "algorithm")
_SHORT_NAME = 14
"""To so many characters a name may be shortened before a column is left out."""
_RUNNING = ("training", "evaluating")
_FINISHED = ("done", "diverged")
_STYLES = {
    "waiting": "dim",
    "training": "cyan",
    "trained": "blue",
    "evaluating": "cyan",
    "done": "green",
    "diverged": "magenta",
    "stopped": "yellow",
    "failed": "bold red",
}


@dataclass(frozen=True)
class RunStatus:
    """One run as its files show it.

    Attributes:
        run: which.
        state: waiting (nothing yet), training, trained, evaluating, done, diverged (finished, without a result),
            stopped (it can be started again) or failed.
        done: work done in the current phase.
        total: all of it; 0 when unknown.
        unit: steps or episodes.
        rate: work per second, 0 when unknown.
        seconds_left: of the current phase, None when unknown.
        message: why it failed, stopped or diverged.
        training_rate: training steps per second, of this run so far or when it was trained; 0 when unknown.
    """

    run: RunConfig
    state: str
    done: int = 0
    total: int = 0
    unit: str = "steps"
    rate: float = 0.0
    seconds_left: float | None = None
    message: str = ""
    training_rate: float = 0.0


def read(run: RunConfig, root: Path, now: float) -> RunStatus:
    """The status of one run; ``now`` is in seconds since the epoch. A half-written or damaged file counts as none."""
    try:
        beat = read_json(run.directory(root) / FILE)
        state, updated = str(beat["state"]), float(beat["updated"])
        message = str(beat["message"])
        if state == "interrupted" or (state in _RUNNING and not _alive(beat, now - updated)):
            resumes = beat["phase"] == "train" and (run.directory(root) / CHECKPOINT).is_file()
            goes_on = "goes on from its checkpoint" if resumes else "begins anew"
            state, message = "stopped", message or f"its process is gone; started again it {goes_on}"
        elif state in _RUNNING and now - updated > SILENT_SECONDS:
            message = f"last report {_duration(now - updated)} ago"
        rate = float(beat["rate"])
        return RunStatus(
            run,
            state,
            int(beat["done"]),
            int(beat["total"]),
            str(beat["unit"]),
            rate,
            None if beat["eta_seconds"] is None else float(beat["eta_seconds"]),
            message,
            rate if state == "training" else _recorded_rate(run.directory(root)),
        )
    except (RecordError, KeyError, TypeError, ValueError):
        return RunStatus(run, "waiting", total=run.steps)


def _recorded_rate(directory: Path) -> float:
    """Training steps per second of a trained run, from its provenance; 0 when there is none."""
    try:
        record = read_json(directory / "run.json")
        return float(record["env_steps"]) / float(record["wall_seconds"])
    except (RecordError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return 0.0


def note(directory: Path, state: Literal["failed", "interrupted"], message: str) -> None:
    """Mark a run, keeping what its last report said about how far it got."""
    path = directory / FILE
    try:
        beat = read_json(path)
    except RecordError:
        beat = {"phase": "train", "done": 0, "total": 0, "unit": "steps", "rate": 0.0, "eta_seconds": None}
    here = {"updated": time.time(), "pid": os.getpid(), "host": socket.gethostname()}
    write_json(path, beat | here | {"state": state, "message": " ".join(message.split())})


def show(runs: Sequence[RunConfig], root: Path, once: bool, console: Console | None = None) -> None:
    """Print the status of ``runs``; on a terminal keep it up to date until every run is finished or Ctrl-C."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=PLAIN_WIDTH)  # a file or pipe has no width of its own

    def picture() -> tuple[Group, bool]:
        statuses = [read(run, root, time.time()) for run in runs]
        room = max(console.height - 8, 10) if console.is_terminal and not once else None
        return render(statuses, console.width, room), all(status.state in _FINISHED for status in statuses)

    first, finished = picture()
    if once or finished or not console.is_terminal:
        console.print(first)
        return
    _follow(picture, console)


def _follow(picture: Callable[[], tuple[Group, bool]], console: Console) -> None:
    finished = False
    try:
        with Live(console=console, auto_refresh=False) as live:
            while not finished:
                shown, finished = picture()
                live.update(shown, refresh=True)
                if not finished:
                    time.sleep(REFRESH_SECONDS)
    except KeyboardInterrupt:
        return  # the usual way to leave


def render(statuses: Sequence[RunStatus], width: int, room: int | None = None) -> Group:
    """A table of the runs, their totals, and below it the notes that do not fit beside them.

    State and progress are always whole: where there is little room, first the rate and the time left are left out, then
    names are shortened.

    Args:
        statuses: of all runs.
        width: of the terminal, in characters.
        room: lines there are for runs and notes, None for as many as it takes. Where not all fit, those at work or in
            trouble are shown, and every note in one line.
    """
    shown = list(statuses)
    if room is not None:
        order = ("failed", "training", "evaluating", "stopped", "trained", "waiting", "diverged", "done")
        if len(statuses) > room:
            shown.sort(key=lambda status: order.index(status.state) if status.state in order else 0)
        while sum(1 + bool(status.message) for status in shown) > room and len(shown) > 1:
            shown.pop()
    columns = _columns(shown)
    notes = [status.message for status in shown]
    beside = _width(columns) + len(_GAP) + max(map(cell_len, notes), default=0) <= width
    if beside:
        columns["note"] = notes
    lines = [] if beside else [_note(status, room is not None) for status in shown if status.message]
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, len(_GAP), 0, 0))
    kept = _fitting(columns, width)
    for title, texts in kept.items():
        right = title in ("seed", "progress", "rate", "left")
        table.add_column(title, justify="right" if right else "left", no_wrap=True, width=_width({title: texts}))
    for row, status in enumerate(shown):
        style = _STYLES.get(status.state, "")
        table.add_row(*(Text(kept[title][row], style if title == "state" else "") for title in kept))
    lines += [Text(""), Text(_totals(statuses))]
    if len(shown) < len(statuses):
        lines.append(
            Text(f"{len(statuses) - len(shown)} more runs do not fit; `kshot status --once` prints all", "dim")
        )
    return Group(table, *lines)


def _columns(statuses: Sequence[RunStatus]) -> dict[str, list[str]]:
    """The texts of the table but for the notes, by column."""
    busy = [status.state in _RUNNING for status in statuses]
    return {
        "family": [status.run.family for status in statuses],
        "algorithm": [status.run.algorithm for status in statuses],
        "seed": [str(status.run.seed) for status in statuses],
        "state": [status.state for status in statuses],
        "progress": [_progress(status) for status in statuses],
        "rate": [
            f"{_short(status.rate)} {status.unit}/s" if works and status.rate > 0 else ""
            for status, works in zip(statuses, busy, strict=True)
        ],
        "left": [_duration(status.seconds_left) if works else "" for status, works in zip(statuses, busy, strict=True)],
    }


def _fitting(columns: dict[str, list[str]], width: int) -> dict[str, list[str]]:
    """The columns that fit when names are shortened, and the texts that are then in them."""
    kept = dict(columns)
    for title in ("rate", "left"):
        if _width(kept) - sum(max(_width({name: kept[name]}) - _SHORT_NAME, 0) for name in _NAMES) > width:
            del kept[title]
    while (excess := _width(kept) - width) > 0:
        longest = max(_NAMES, key=lambda name: _width({name: kept[name]}))
        other = min(_width({name: kept[name]}) for name in _NAMES)
        now = _width({longest: kept[longest]})
        if now <= len(longest):
            break  # a terminal that is narrower than the titles
        size = max(now - excess, min(other, now - 1), len(longest))
        kept[longest] = [
            set_cell_size(text, size - 1) + "…" if cell_len(text) > size else text for text in kept[longest]
        ]
    return kept


def _shortened(text: str, size: int) -> str:
    return text if cell_len(text) <= size else set_cell_size(text, size - 1) + "…"


def _width(columns: dict[str, list[str]]) -> int:
    widths = [max(map(cell_len, (title, *texts))) for title, texts in columns.items()]
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _note(status: RunStatus, one_line: bool) -> Text:
    run = status.run
    text = f"{run.family} {run.algorithm} {run.seed}: {status.message}"
    return Text(text, "dim", no_wrap=one_line, overflow="ellipsis" if one_line else "fold")


def _totals(statuses: Sequence[RunStatus]) -> str:
    counts = Counter(status.state for status in statuses)
    parts = [f"{counts[state]} {state}" for state in _STYLES if counts[state]]
    training = [status for status in statuses if status.run.kind == "algorithm"]
    steps = sum(_steps_done(status) for status in training)
    budget = sum(status.run.steps for status in training)
    text = f"{sum(counts[state] for state in _FINISHED)} of {len(statuses)} runs finished ({', '.join(parts)})"
    if budget:
        text += f"; training {steps / budget:.0%} of {_short(budget)} steps"
    left = _seconds_left(training, sum(status.state in _RUNNING for status in statuses))
    return text + (f"; about {_duration(left)} of training left at this pace" if left else "")


def _steps_done(status: RunStatus) -> int:
    if status.state in ("trained", "evaluating", *_FINISHED):
        return status.run.steps
    return min(status.done, status.run.steps) if status.unit == "steps" else status.run.steps


def _seconds_left(statuses: Sequence[RunStatus], busy: int) -> float | None:
    """Time to train what is left with as many processes as now; None while nobody works or no rate is known.

    Steps of one family may cost a thousand times those of another: each run is taken at the rate of its like, that is
    of runs of the same algorithm on the same family, else of the family, else of all.
    """
    known = [status for status in statuses if status.training_rate > 0]
    seconds = 0.0
    for status in statuses:
        family = [other for other in known if other.run.family == status.run.family] or known
        like = [other for other in family if other.run.algorithm == status.run.algorithm] or family
        if not like:
            return None
        pace = sum(other.training_rate for other in like) / len(like)
        seconds += (status.run.steps - _steps_done(status)) / pace
    return seconds / busy if busy else None


def _alive(beat: dict[str, Any], silent: float) -> bool:
    if beat["host"] != socket.gethostname():
        return silent <= SILENT_SECONDS
    try:
        return psutil.Process(int(beat["pid"])).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _progress(status: RunStatus) -> str:
    if status.total <= 0:
        return ""
    return f"{_short(status.done)}/{_short(status.total)} {status.unit} {min(status.done / status.total, 1):>4.0%}"


def _short(value: float) -> str:
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {whole:02d} s" if minutes else f"{whole} s"
