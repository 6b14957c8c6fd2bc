"""Runs Snakemake for a suite: shows how far it is, and at the end what failed and how to go on.

What is computed is what plain Snakemake computes. Its own output goes to ``logs/<suite>/snakemake.log``.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

from kshot import records
from kshot.errors import ConfigError, RecordError
from kshot.places import NOT_SHOWN, ROOT
from kshot.running import status
from kshot.running.heartbeat import RUNNING
from kshot.suites.run import RunConfig

PLAIN_SECONDS = 30.0
"""Time between two lines where the output is no terminal; a line that says nothing new is left out."""
FIRST_SECONDS = 5.0
"""Until the first of these lines."""
LOG_LINES = 10
"""Of the log of a job that failed."""
TAIL = 50_000
"""Bytes at the end of Snakemake's log in which it says how many jobs are done."""
_RESULTS = Path("results")
"""Where the workflow writes, from where it is started."""
_SEPARATOR = " · "
_OURS = ("--configfile", "--configfiles", "--snakefile", "-s", "--directory", "-d")
_PLANNING = frozenset({"-n", "--dry-run", "--dryrun", "--summary", "--lint", "--dag", "--rulegraph", "--list-rules"})
_ELSEWHERE = frozenset({"--workflow-profile", "--profile", "--executor", "-e", "--jobs", "-j"})
"""Options by which jobs go to other machines."""
PARTIAL = "partial_report"
_LOOKS = frozenset({PARTIAL, "audit", "reference"})
"""Targets that compute nothing."""
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _command(file: Path, cores: str, options: Sequence[str]) -> list[str]:
    """The command line of Snakemake for a suite's file, the same that one would type.

    Raises:
        ConfigError: an option says another suite, or another place for its results.
    """
    for option in options:
        if option.split("=")[0] in _OURS:
            raise ConfigError([f"{option}: `kshot run SUITE` says which suite, in this folder; leave it out"])
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    return [*command, "--configfile", str(file), "--cores", cores, *options]


def overrides(options: Sequence[str]) -> dict[str, str]:
    """What ``--config key=value ...`` among Snakemake's options changes in a suite.

    Raises:
        ConfigError: an entry is not of that form.
    """
    found, within = {}, False
    for option in options:
        if option.startswith("-"):
            name, _, rest = option.partition("=")
            within, entries = name in ("--config", "-C"), [rest] if rest else []
        else:
            entries = [option]
        for entry in entries if within else []:
            key, sign, value = entry.partition("=")
            if not sign:
                raise ConfigError([f"--config {entry}: expected key=value"])
            found[key] = value
    return found


def computes_here(options: Sequence[str]) -> bool:
    """Whether jobs compute on this machine, by Snakemake's options and targets: not elsewhere, and not nothing."""
    return {option.split("=")[0] for option in options}.isdisjoint(_ELSEWHERE | _LOOKS)


def run(
    suite: str, runs: Sequence[RunConfig], file: Path, cores: str, options: Sequence[str], note: str, given: str
) -> int:
    """Run Snakemake to its end, or until it is interrupted; on a terminal one line shows how far it is.

    Args:
        suite: its name.
        runs: of the suite.
        file: that the suite was read from.
        cores: how many to use, or "all".
        options: of Snakemake, and targets.
        note: a line to be said beforehand; empty for none.
        given: what the user called the suite by, for saying how to go on.

    Returns:
        Snakemake's exit status; 130 after Ctrl-C and 143 after SIGTERM, as shells have it.

    Raises:
        ConfigError: an option says another suite, or another place for its results.
    """
    command, console = _command(file, cores, options), Console()
    if not _PLANNING.isdisjoint(options):
        return subprocess.call(command)  # what it says is what is wanted
    again = shlex.join(["kshot", "run", given, "--cores", cores, *(["--", *options] if options else [])])
    log = Path("logs", suite, "snakemake.log")
    log.parent.mkdir(parents=True, exist_ok=True)

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    if note:
        say(note)
    say(f"Snakemake writes to {log}")
    with log.open("ab") as output:
        begin = output.tell()
        started: list[int] = []
        with _forwarding(started) as received:
            # In a group of its own, so that Ctrl-C reaches it once, from here: a job that gets it twice does not save.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, process_group=0
            )
            started.append(process.pid)
            for number in received:  # before there was somebody to pass them on to
                os.killpg(process.pid, number)
            _follow(process, runs, lambda: _jobs(_read(log, begin, TAIL)), received, console)

    text = _read(log, begin)
    report = Path("reports", suite, *(["partial"] if PARTIAL in options else []), "index.html")
    if received:
        say(f"Stopped. To go on from here: {again}")
        return 128 + received[0]
    if process.returncode == 0:
        jobs = _jobs(text)
        say(f"{jobs[0]} of {jobs[1]} jobs done." if jobs else "There was nothing to be done.")
        if report.is_file():
            if faults := _not_shown(report.parent):
                for fault in faults:
                    say(fault)
                say(f"All of it: {Path('logs', suite, PARTIAL if PARTIAL in options else 'report')}.log")
            say(f"The report: {report}")
        return 0
    failed = [(path, _read(path)) for path in _failed_logs(text)] or [(log, text)]
    for path, content in failed:
        say(f"Failed: {path}")
        for line in _last_lines(content):
            say(f"    {line}")
    say(f"To go on, once that is mended: {again}")
    return process.returncode


@contextmanager
def _forwarding(groups: Sequence[int]) -> Iterator[list[int]]:
    """Pass signals on to these groups of processes, as a terminal does; those that came stand in the list."""
    received: list[int] = []

    def forward(number: int, _: FrameType | None) -> None:
        received.append(number)
        for group in groups:
            with suppress(ProcessLookupError):
                os.killpg(group, number)

    previous = {number: signal.signal(number, forward) for number in _FORWARDED}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _follow(
    process: subprocess.Popen[bytes],
    runs: Sequence[RunConfig],
    jobs: Callable[[], tuple[int, int] | None],
    received: Sequence[int],
    console: Console,
) -> None:
    """Show how far the runs are until the process ends."""
    earlier = _statuses(runs)

    def line() -> str:
        if received:
            return "stopping: jobs save and end"
        return progress(_statuses(runs), earlier, jobs(), console.width if console.is_terminal else status.PLAIN_WIDTH)

    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while not _ended(process, status.REFRESH_SECONDS):
                live.update(Text(line(), no_wrap=True, overflow="ellipsis"), refresh=True)
        return
    if console.is_jupyter:  # where the cell shows a carriage return as a terminal does
        shown = ""
        while not _ended(process, status.REFRESH_SECONDS):
            text = line()
            print(f"\r{text.ljust(len(shown))}", end="", flush=True)
            shown = text
        print()
        return
    shown = ""
    wait = FIRST_SECONDS
    while not _ended(process, wait):
        wait = PLAIN_SECONDS
        if (text := line()) != shown:
            console.print(text, soft_wrap=True, highlight=False, markup=False)
            shown = text


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether the process ends within so many seconds."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _statuses(runs: Sequence[RunConfig]) -> list[status.RunStatus]:
    return [status.read(run, _RESULTS, time.time()) for run in runs]


def progress(
    statuses: Sequence[status.RunStatus], earlier: Sequence[status.RunStatus], jobs: tuple[int, int] | None, width: int
) -> str:
    """One line of at most ``width`` characters: runs, jobs, time left, and families as far as they fit.

    Args:
        statuses: of all runs.
        earlier: the same before Snakemake was started: what had failed then is to be done again.
        jobs: how many of Snakemake's jobs are done, of how many; None if that is not known yet.
        width: of the terminal.
    """
    done = [now.state in status.FINISHED for now in statuses]
    running = sum(now.state in RUNNING for now in statuses)
    failed = sum(
        now.state == "failed" and (before.state, before.message) != (now.state, now.message)
        for now, before in zip(statuses, earlier, strict=True)
    )
    parts = [f"{sum(done)}/{len(done)} runs done"]
    parts += [f"{running} at work"] if running else []
    parts += [f"{failed} failed"] if failed else []
    seconds = status.training_seconds_left([now for now in statuses if now.run.kind == "algorithm"], running)
    parts += [f"{status.duration(seconds)} of training left"] if seconds else []
    parts += [f"jobs {jobs[0]}/{jobs[1]}"] if jobs else []
    totals: dict[str, list[bool]] = {}
    for now, finished in zip(statuses, done, strict=True):
        totals.setdefault(now.run.family, []).append(finished)
    if len(totals) > 1:  # those that are not finished first: the others may have no room
        by_progress = sorted(totals.items(), key=lambda item: all(item[1]))
        parts += [f"{family} {sum(finished)}/{len(finished)}" for family, finished in by_progress]
    while len(parts) > 1 and cell_len(_SEPARATOR.join(parts)) > width:
        parts.pop()
    return _SEPARATOR.join(parts)


def _jobs(text: str) -> tuple[int, int] | None:
    """How many of Snakemake's jobs are done, of how many, by what it wrote last."""
    counts = re.findall(r"^(\d+) of (\d+) steps \(", text, flags=re.MULTILINE)
    return (int(counts[-1][0]), int(counts[-1][1])) if counts else None


def _failed_logs(text: str) -> list[Path]:
    """The logs of the jobs that failed, by what Snakemake wrote."""
    named = re.findall(r"^ +log: (.+) \(check log file\(s\) for error details\)$", text, flags=re.MULTILINE)
    return [Path(name) for name in dict.fromkeys(named)]


def _not_shown(folder: Path) -> list[str]:
    """What the page in a folder could not show, a line each."""
    try:
        faults = records.read_json(folder / NOT_SHOWN)["faults"]
    except RecordError:
        return []
    return [f"Not shown, because of an error in its code: {fault['text']} ({fault['place']})" for fault in faults]


def _last_lines(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-LOG_LINES:]


def _read(path: Path, begin: int = 0, most: int | None = None) -> str:
    """A log from byte ``begin`` on, or its last bytes."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(begin, size - most if most else 0))
            return file.read().decode(errors="replace")
    except OSError as error:
        return f"({error.strerror})"
