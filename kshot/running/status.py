"""Shows what every run is doing, by the ``progress.json`` of each: it works with any scheduler, or without one."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kshot.checksums import read_record, write_record
from kshot.errors import RecordError
from kshot.running.checkpoint import CHECKPOINT
from kshot.running.heartbeat import FILE, RUNNING
from kshot.running.processes import lives, this_process
from kshot.suites.run import RunConfig

SILENT_SECONDS = 120.0
"""A process on another machine that has not reported for this long counts as gone."""
REFRESH_SECONDS = 1.5
PLAIN_WIDTH = 160
"""Characters per line where the output is no terminal."""
_GAP = "  "
_NAME_COLUMNS = ("family", "algorithm")
_SHORT_NAME = 14
"""Names are shortened to this many characters before a column is left out."""
FINISHED = ("done", "diverged")
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
    """The status of one run according to its files.

    Attributes:
        run: the run.
        state: waiting (nothing yet), training, trained, evaluating, done, diverged (finished, without a result),
            stopped (it can be started again) or failed.
        done: work done in the current phase.
        total: work of the current phase; 0 when unknown.
        unit: of the work: "steps" or "episodes".
        rate: work per second, 0 when unknown.
        seconds_left: of the current phase, None when unknown.
        message: why it failed, stopped or diverged.
        training_rate: training steps per second, at present or when the run was trained; 0 when unknown.
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
    """The status of one run; ``now`` is in seconds since the epoch. Without a readable file the run is waiting."""
    try:
        beat = read_record(run.directory(root) / FILE)
        state, updated = str(beat["state"]), float(beat["updated"])
        message = str(beat["message"])
        if state == "interrupted" or (state in RUNNING and not _alive(beat, now - updated)):
            resumes = beat["phase"] == "train" and (run.directory(root) / CHECKPOINT).is_file()
            restart = "goes on from its checkpoint" if resumes else "begins anew"
            state, message = "stopped", message or f"its process is gone; started again it {restart}"
        elif state in RUNNING and now - updated > SILENT_SECONDS:
            message = f"last report {duration(now - updated)} ago"
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
    """Training steps per second of a trained run, from its record; 0 without one."""
    try:
        record = read_record(directory / "run.json")
        return float(record["env_steps"]) / float(record["wall_seconds"])
    except (RecordError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return 0.0


def note(directory: Path, state: Literal["failed", "interrupted"], message: str) -> None:
    """Write state and message of a run, and keep the progress of its last report."""
    path = directory / FILE
    try:
        beat = read_record(path)
    except RecordError:
        beat = {"phase": "train", "done": 0, "total": 0, "unit": "steps", "rate": 0.0, "eta_seconds": None}
    write_record(path, beat | this_process() | {"state": state, "message": " ".join(message.split())})


def show(runs: Sequence[RunConfig], root: Path, once: bool, console: Console | None = None) -> None:
    """Print the status of ``runs``; on a terminal update it until every run is finished or Ctrl-C is pressed.

    Args:
        runs: of one suite.
        root: folder of all results.
        once: print it once in any case.
        console: where to print, by default standard output.
    """
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=PLAIN_WIDTH)  # a file or pipe has no width of its own

    def picture() -> tuple[Group, bool]:
        statuses = [read(run, root, time.time()) for run in runs]
        max_lines = max(console.height - 8, 10) if console.is_terminal and not once else None
        return render(statuses, console.width, max_lines), all(status.state in FINISHED for status in statuses)

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
                table, finished = picture()
                live.update(table, refresh=True)
                if not finished:
                    time.sleep(REFRESH_SECONDS)
    except KeyboardInterrupt:
        return  # the usual way to leave


def render(statuses: Sequence[RunStatus], width: int, max_lines: int | None = None) -> Group:
    """A table of the runs with their messages, and their totals.

    Messages are a column if all of them fit in one, else lines below the table. State and progress are always shown in
    full: where the terminal is narrow, first rate and time left are left out, then names are shortened.

    Args:
        statuses: of all runs.
        width: of the terminal, in characters.
        max_lines: for runs and messages; None for no limit. If not all fit, those at work or in trouble are shown, and
            each message in one line.
    """
    shown = list(statuses)
    if max_lines is not None:
        order = ("failed", "training", "evaluating", "stopped", "trained", "waiting", "diverged", "done")
        if len(statuses) > max_lines:
            shown.sort(key=lambda status: order.index(status.state) if status.state in order else 0)
        while sum(1 + bool(status.message) for status in shown) > max_lines and len(shown) > 1:
            shown.pop()
    columns = _columns(shown)
    messages = [status.message for status in shown]
    as_column = _width(columns) + len(_GAP) + max(map(cell_len, messages), default=0) <= width
    if as_column:
        columns["note"] = messages
    lines = [] if as_column else [_message_line(s, max_lines is not None) for s in shown if s.message]
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, len(_GAP), 0, 0))
    fitted = _fit_columns(columns, width)
    for title, texts in fitted.items():
        right = title in ("seed", "progress", "rate", "left")
        table.add_column(title, justify="right" if right else "left", no_wrap=True, width=_width({title: texts}))
    for row, status in enumerate(shown):
        style = _STYLES.get(status.state, "")
        table.add_row(*(Text(fitted[title][row], style if title == "state" else "") for title in fitted))
    lines += [Text(""), Text(_totals(statuses))]
    if len(shown) < len(statuses):
        lines.append(
            Text(f"{len(statuses) - len(shown)} more runs do not fit; `kshot status --once` prints all", "dim")
        )
    return Group(table, *lines)


def _columns(statuses: Sequence[RunStatus]) -> dict[str, list[str]]:
    """Title -> texts of every column but that of the messages."""
    running = [status.state in RUNNING for status in statuses]
    return {
        "family": [status.run.family for status in statuses],
        "algorithm": [status.run.algorithm for status in statuses],
        "seed": [str(status.run.seed) for status in statuses],
        "state": [status.state for status in statuses],
        "progress": [_progress(status) for status in statuses],
        "rate": [
            f"{_short(status.rate)} {status.unit}/s" if runs and status.rate > 0 else ""
            for status, runs in zip(statuses, running, strict=True)
        ],
        "left": [duration(status.seconds_left) if runs else "" for status, runs in zip(statuses, running, strict=True)],
    }


def _fit_columns(columns: dict[str, list[str]], width: int) -> dict[str, list[str]]:
    """The columns that fit in ``width`` characters, with names shortened as far as necessary."""
    fitted = dict(columns)
    for title in ("rate", "left"):
        if _width(fitted) - sum(max(_width({name: fitted[name]}) - _SHORT_NAME, 0) for name in _NAME_COLUMNS) > width:
            del fitted[title]
    while (excess := _width(fitted) - width) > 0:
        wider = max(_NAME_COLUMNS, key=lambda name: _width({name: fitted[name]}))
        other_width = min(_width({name: fitted[name]}) for name in _NAME_COLUMNS)
        wider_width = _width({wider: fitted[wider]})
        if wider_width <= len(wider):
            break  # a terminal that is narrower than the titles
        size = max(wider_width - excess, min(other_width, wider_width - 1), len(wider))
        fitted[wider] = [
            set_cell_size(text, size - 1) + "…" if cell_len(text) > size else text for text in fitted[wider]
        ]
    return fitted


def _width(columns: dict[str, list[str]]) -> int:
    """Characters that a table with these columns takes."""
    widths = [max(map(cell_len, (title, *texts))) for title, texts in columns.items()]
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _message_line(status: RunStatus, one_line: bool) -> Text:
    run = status.run
    text = f"{run.family} {run.algorithm} {run.seed}: {status.message}"
    return Text(text, "dim", no_wrap=one_line, overflow="ellipsis" if one_line else "fold")


def _totals(statuses: Sequence[RunStatus]) -> str:
    counts = Counter(status.state for status in statuses)
    parts = [f"{counts[state]} {state}" for state in _STYLES if counts[state]]
    trained_runs = [status for status in statuses if status.run.kind == "algorithm"]
    steps = sum(_steps_done(status) for status in trained_runs)
    budget = sum(status.run.steps for status in trained_runs)
    text = f"{sum(counts[state] for state in FINISHED)} of {len(statuses)} runs finished ({', '.join(parts)})"
    if budget:
        text += f"; training {steps / budget:.0%} of {_short(budget)} steps"
    seconds = training_seconds_left(trained_runs, sum(status.state in RUNNING for status in statuses))
    return text + (f"; about {duration(seconds)} of training left at this pace" if seconds else "")


def _steps_done(status: RunStatus) -> int:
    if status.state in ("trained", "evaluating", *FINISHED):
        return status.run.steps
    return min(status.done, status.run.steps) if status.unit == "steps" else status.run.steps


def training_seconds_left(statuses: Sequence[RunStatus], n_running: int) -> float | None:
    """Time to train what is left with ``n_running`` processes; None if that is 0 or no rate is known.

    Steps of one family may cost a thousand times those of another: a step of a run is expected to take the mean time of
    the runs of its algorithm on its family, else of its family, else of all.
    """
    known = [status for status in statuses if status.training_rate > 0]
    seconds = 0.0
    for status in statuses:
        of_family = [other for other in known if other.run.family == status.run.family] or known
        similar = [other for other in of_family if other.run.algorithm == status.run.algorithm] or of_family
        if not similar:
            return None
        each = sum(1 / other.training_rate for other in similar) / len(similar)
        seconds += (status.run.steps - _steps_done(status)) * each
    return seconds / n_running if n_running else None


def _alive(beat: dict[str, Any], silent_seconds: float) -> bool:
    """Whether the process that wrote ``beat`` that long ago still runs; its number may be another's by now."""
    if beat["host"] != socket.gethostname():
        return silent_seconds <= SILENT_SECONDS
    return lives(int(beat["pid"]), float(beat["started"]) if "started" in beat else None)


def _progress(status: RunStatus) -> str:
    if status.total <= 0:
        return ""
    return f"{_short(status.done)}/{_short(status.total)} {status.unit} {min(status.done / status.total, 1):>4.0%}"


def _short(value: float) -> str:
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {whole:02d} s" if minutes else f"{whole} s"
