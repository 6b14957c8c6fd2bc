"""Damaged files: each, or a file beside it, is named, or it does no harm; no number changes without a word."""

from __future__ import annotations

import random
import shutil
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kshot import seeding, yaml_text
from kshot.envs import metaworld_hand
from kshot.envs.metaworld_hand import _store
from kshot.errors import ConfigError, RecordError
from kshot.records import write_text
from kshot.reporting import kept, sums
from kshot.reporting.aggregate import aggregate
from kshot.reporting.results import load
from kshot.reporting.tables import write_tables
from kshot.running import status
from kshot.running import train as training
from kshot.running.evaluate import evaluate
from kshot.suites.reading import load_suite
from kshot.suites.run import RunConfig

CURVES = ("curve.parquet", "learning.parquet")
KINDS = ("truncated", "flipped", "emptied", "exchanged", "deleted")
SUITE: dict[str, Any] = {
    "name": "sound",
    "seeds": [0, 1],
    "families": {
        "bandit": {
            "steps": 240,
            "settings": {"arms": 3, "pulls": 5},
            "evaluation": {"tasks": 4, "k": [0, 1, 2]},
            "learning_curve": {"points": 2, "tasks": 2, "k": [0, 2]},
            "references": ["random", "oracle"],
        }
    },
    "algorithms": {"rl2": {"settings": {"hidden": 8, "meta_batch": 4}}, "untrained": {"settings": {"episodes": 2}}},
}
Read = Callable[[Path], Any]
"""Reads a file in a folder of results, and gives what is made from it."""


@dataclass
class Damages:
    """What was damaged and what came of it.

    Attributes:
        folder: for everything.
        generator: decides on bytes.
        counts: by (file, kind of damage, outcome), which is "named" or "no harm".
        faults: lines of text, each about something that must not be; empty where all is well.
    """

    folder: Path
    generator: random.Random
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    _undamaged: dict[str, Any] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @cached_property
    def runs(self) -> list[RunConfig]:
        return load_suite(SUITE).runs()

    @cached_property
    def learners(self) -> list[RunConfig]:
        """Two seeds of one learner, whose files look most alike."""
        return [run for run in self.runs if run.algorithm == "rl2"]

    @cached_property
    def begun(self) -> list[RunConfig]:
        """The same in another suite, with trainings that were interrupted."""
        return [replace(run, suite="begun") for run in self.learners]

    @cached_property
    def sound(self) -> Path:
        """All files in good order."""
        root = self.folder / "sound"
        shutil.rmtree(root, ignore_errors=True)
        for run in self.runs:
            if run.kind == "algorithm":
                training.train(run, root)
            evaluate(run, root)
        for run in self.begun:
            interrupt(run, root)
        aggregate(self.runs, root)
        write_text(root / "sound" / "suite.yaml", yaml_text.sealed(yaml_text.dump(load_suite(SUITE).resolved())))
        kept.pack(load_suite(SUITE).resolved(), self.runs, root, root / "kept")
        self.demonstrated(root)
        return root

    def cases(self) -> Iterator[tuple[Path, Path, Read]]:
        """(file, file that it may be exchanged with, what reads it); paths from the folder of results."""
        one, two = (run.directory(Path()) for run in self.learners)
        for name in ("curve.parquet", "evaluate.json", "run.json", "train.parquet"):
            yield one / name, two / name, self.aggregated
        yield one / "learning.parquet", two / "learning.parquet", self.aggregated
        for name in ("model.pt", "snapshot-1.pt"):
            yield one / name, two / name, self.evaluated
        yield one / "progress.json", two / "progress.json", self.status
        for name in (*sums.FILES, sums.RECORD):
            yield Path("sound", name), one / ("run.json" if name.endswith("json") else "curve.parquet"), self.shown
        yield Path("sound", "suite.yaml"), one / "run.json", self.suite
        begun, other = (run.directory(Path()) / "checkpoint.pt" for run in self.begun)
        yield begun, other, self.resumed
        first, second = sorted(path.relative_to(self.sound) for path in (self.sound / "cache").iterdir())
        yield first, second, self.demonstrated
        archive = Path("kept", "sound", "bandit.tar.xz")
        yield archive, archive.with_name(kept.SUITE), self.unpacked
        yield archive.with_name(kept.SUITE), archive, self.kept_suite

    def damage(self, name: Path, kind: str, other: Path, read: Read) -> None:
        """Damage a file of a copy of the sound results, and read it."""
        root = self.folder / "copy"
        if str(name) not in self._undamaged:
            self._undamaged[str(name)] = read(self._copy(root))
        self._damage(self._copy(root) / name, kind, self.sound / other)
        outcome = "no harm"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)  # demonstrations are made again with a warning
                if read(root) != self._undamaged[str(name)]:
                    self.faults.append(f"{name}, {kind}: other numbers, without a word")
        except (RecordError, ConfigError, RuntimeWarning) as error:
            outcome = "named"
            if str((root / name).parent) not in str(error):
                self.faults.append(f"{name}, {kind}: not named: {error}")
        except Exception as error:
            self.faults.append(f"{name}, {kind}: {type(error).__name__}: {error}")
        self.counts["demonstrations" if name.parts[0] == "cache" else name.name, kind, outcome] += 1

    def _copy(self, root: Path) -> Path:
        shutil.rmtree(root, ignore_errors=True)
        return Path(shutil.copytree(self.sound, root))

    def _damage(self, path: Path, kind: str, other: Path) -> None:
        data = path.read_bytes()
        at, bit = self.generator.randrange(len(data)), 1 << self.generator.randrange(8)
        damaged = {
            "truncated": data[:at],
            "flipped": data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :],
            "emptied": b"",
            "exchanged": other.read_bytes(),
            "deleted": b"",
        }[kind]
        path.write_bytes(damaged)
        if kind == "deleted":
            path.unlink()

    # What reads the files

    def aggregated(self, root: Path) -> list[bytes]:
        """All numbers, and what learners recorded in training."""
        aggregate(self.runs, root)
        training = load(self.runs, root).training
        curves = [frame.to_csv().encode() for frame in (training.returns, training.along)]
        return [*curves, *((root / "sound" / name).read_bytes() for name in sums.FILES)]

    def evaluated(self, root: Path) -> bytes:
        evaluate(self.learners[0], root)
        return b"".join((self.learners[0].directory(root) / name).read_bytes() for name in CURVES)

    def resumed(self, root: Path) -> bytes:
        """The model of a training that goes on from its checkpoint, or begins anew."""
        training.train(self.begun[0], root)
        return (self.begun[0].directory(root) / "model.pt").read_bytes()

    def shown(self, root: Path) -> list[bytes]:
        return [path.read_bytes() for path in write_tables(self.runs, root, root / "tables")]

    def unpacked(self, root: Path) -> dict[str, bytes]:
        folders = kept.unpack(root / "kept" / "sound", root / "again")
        return {str(path): path.read_bytes() for folder in folders for path in folder.iterdir()}

    def kept_suite(self, root: Path) -> list[RunConfig]:
        return load_suite(root / "kept" / "sound" / kept.SUITE, recorded=True).runs()

    def suite(self, root: Path) -> list[RunConfig]:
        return load_suite(root / "sound" / "suite.yaml", recorded=True).runs()

    def status(self, root: Path) -> bool:
        """Whether it says what the run did, or that nothing is known: no number is made from it."""
        return status.read(self.learners[0], root, now=0.0).state in ("waiting", "done")

    def demonstrated(self, root: Path) -> list[bytes]:
        """Demonstrations, which are simulated once and kept."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_store, "_folder", lambda: root / "cache")
            family = metaworld_hand.build(metaworld_hand.Settings(task="reach-v3", demonstrations=2))
            keys = seeding.split(seeding.key("damage"), np.arange(2))
            episodes = family.demonstrations(family.tasks("train", 2, 0), 2, keys)
        return [episodes.obs.tobytes(), episodes.action.tobytes()]


def interrupt(run: RunConfig, root: Path) -> None:
    """Begin the training of a run and stop it in its third iteration."""
    calls = 0
    rollout = training.rollout

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            signal.raise_signal(signal.SIGTERM)
        return rollout(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(training, "rollout", counted)
        training.train(run, root)
    assert (run.directory(root) / "checkpoint.pt").is_file()


def damage(total: int, seed: int, folder: Path) -> Damages:
    """At least ``total`` damaged files: every file in every way, again and again."""
    damages = Damages(folder, random.Random(seed))
    tried = [(case, kind) for case in damages.cases() for kind in KINDS]
    damages.generator.shuffle(tried)
    while damages.total < total:
        (name, other, read), kind = tried[damages.total % len(tried)]
        damages.damage(name, kind, other, read)
    return damages
