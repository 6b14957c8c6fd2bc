"""Signals at random moments. What a step leaves in the end has the bytes of one that nobody disturbed."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kshot.running.heartbeat import FILE
from kshot.suites.run import RunConfig
from tests import forked, synthetic
from tests.contract import tiny
from tests.faults import commands

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSTOP)
RESULTS = ("model.pt", "train.parquet", "curve.parquet")
SHOWN = synthetic.runs_of([synthetic.BANDIT, synthetic.POINT], ("maml", "rl2"), seeds=2)


@dataclass
class Kills:
    """What was done and what came of it.

    Attributes:
        generator: decides on steps, moments and signals.
        counts: by (step, signal).
        faults: lines of text, each about something that must not be; empty where all is well.
    """

    generator: random.Random
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def disturb(self, step: str, work: forked.Work, *arguments: Any, log: Path, seconds: float, times: int) -> None:
        """Send a step up to ``times`` signals, and let it finish.

        Args:
            step: its name.
            work: does it.
            arguments: of ``work``.
            log: gets what it prints.
            seconds: that it takes when it is left alone.
            times: how often it is disturbed at most; it may be done before.
        """
        for _ in range(times):
            process = forked.start(work, *arguments, log=log)
            process.join(self.generator.uniform(0, seconds))
            number = self.generator.choice(SIGNALS)
            if process.exitcode is not None or process.pid is None:
                break
            try:
                os.kill(process.pid, number)
            except ProcessLookupError:  # it has ended by itself
                break
            self.counts[step, signal.Signals(number).name] += 1
            if number == signal.SIGSTOP:
                time.sleep(self.generator.uniform(0, 0.05))
                with contextlib.suppress(ProcessLookupError):  # it had ended before it could be stopped
                    os.kill(process.pid, self.generator.choice((signal.SIGCONT, signal.SIGKILL)))
            process.join(120)
            self._check(process.exitcode, (0, 130, 143, -signal.SIGKILL, -signal.SIGTERM), f"{step}, disturbed", log)
        self._check(forked.finish(work, *arguments, log=log), (0,), f"{step}, at last", log)

    def _check(self, found: int | None, allowed: Sequence[int], what: str, log: Path) -> None:
        text = log.read_text(errors="replace") if log.is_file() else ""
        log.unlink(missing_ok=True)
        # A process that is interrupted before kshot has begun its work ends as any program in Python does.
        traced = "Traceback" in text and "KeyboardInterrupt" not in text
        before_work = found == 1 and not text  # an interrupt while the process was being set up
        if (found not in allowed and not before_work) or traced:
            self.faults.append(f"{what}: ended with {found}: {text.strip()[-500:]}")

    def compare(self, what: str, expected: Path, found: Path) -> None:
        """Both folders hold the same files with the same bytes; records, which hold times, must be there."""
        for path in sorted(path for path in expected.rglob("*") if path.is_file()):
            other = found / path.relative_to(expected)
            if not other.is_file():
                self.faults.append(f"{what}: {other.name} is lost")
            elif path.suffix != ".json" and path.name != ".lock" and path.read_bytes() != other.read_bytes():
                self.faults.append(f"{what}: {other.name} differs")

    def run(self, run: RunConfig, folder: Path, times: int) -> None:
        """Training and evaluation of a run."""
        shutil.rmtree(folder, ignore_errors=True)
        calm, rough, log = folder / "calm", folder / "rough", folder / "log.txt"
        steps: dict[str, Callable[..., int]] = {"train": commands.train, "evaluate": commands.evaluate}
        what = f"{run.algorithm} on {run.family}"
        for name, work in steps.items():
            begun = time.monotonic()
            self._check(forked.finish(work, run, calm, log=log), (0,), f"{what}: {name}, undisturbed", log)
            seconds = time.monotonic() - begun
            self.disturb(name, work, run, rough, log=log, seconds=seconds, times=times)
        self.compare(what, run.directory(calm), run.directory(rough))
        left = {path.name for path in run.directory(rough).iterdir()} - {
            path.name for path in run.directory(calm).iterdir()
        }
        # The report of what a killed process was doing is written without the run's lock, and may be left half done.
        if left := sorted(name for name in left if not name.startswith(f".{FILE}.")):
            self.faults.append(f"{what}: left {', '.join(left)}")

    def reports(self, folder: Path, times: int) -> None:
        """From the runs of a suite to its report."""
        shutil.rmtree(folder, ignore_errors=True)
        calm, rough, log = folder / "calm", folder / "rough", folder / "log.txt"
        for root in (calm, rough):
            synthetic.write_suite([synthetic.BANDIT, synthetic.POINT], SHOWN, root)
        for name, work in {"aggregate": commands.aggregate, "report": commands.report}.items():
            begun = time.monotonic()
            self._check(forked.finish(work, SHOWN, calm, log=log), (0,), f"{name}, undisturbed", log)
            seconds = time.monotonic() - begun
            self.disturb(name, work, SHOWN, rough, log=log, seconds=seconds, times=times)
        self.compare("the report", calm, rough)


def kill(total: int, seed: int, folder: Path, told: Callable[[str], None] = lambda line: None) -> Kills:
    """At least ``total`` signals, over all pairs of a learner and a family in turn; reports every tenth time."""
    kills = Kills(random.Random(seed))
    pairs = [tuple(pair.values) for pair in tiny.compatible()]
    kills.generator.shuffle(pairs)
    rounds = 0
    while kills.total < total:
        algorithm, family = pairs[rounds % len(pairs)]
        before = len(kills.faults)
        kills.run(tiny.run(algorithm, family, seed=rounds, iterations=6), folder, times=4)
        if rounds % 10 == 9:
            kills.reports(folder, times=6)
        rounds += 1
        told(f"{kills.total} of {total} signals, {len(kills.faults)} faults; last {algorithm} on {family}")
        for fault in kills.faults[before:]:
            told(fault)
    return kills
