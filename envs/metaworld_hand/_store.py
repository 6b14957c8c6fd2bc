"""Demonstrations are made once: kept in memory, and on disk for the processes to come."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path as File
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from kshot import records, seeding
from kshot.envs.metaworld_hand._experts import Path, demonstrate
from kshot.envs.metaworld_hand._scenes import scene
from kshot.envs.metaworld_hand._world import HandWorld
from kshot.errors import RecordError
from kshot.types import Array, Task

if TYPE_CHECKING:
    from kshot.envs.metaworld_hand import Settings

CACHE = "KSHOT_CACHE"
"""Environment variable: the folder of the cache. Default: ``kshot`` in ``$XDG_CACHE_HOME`` or in ``~/.cache``."""
MOST_ATTEMPTS = 20
_ENDLESS = 2**32
_SCHEMA = pa.schema(
    [
        ("demonstration", pa.int64()),
        ("step", pa.int32()),
        *((axis, pa.float64()) for axis in ("hand_x", "hand_y", "hand_z")),
        ("held", pa.bool_()),
        ("action", pa.int32()),  # -1 after the last decision
        *((axis, pa.float64()) for axis in ("object_x", "object_y", "object_z")),
        ("attempts", pa.int32()),  # how many were tried until this one succeeded
        ("checksum", pa.dictionary(pa.int32(), pa.string())),  # of all other columns
    ]
)


class Store:
    """Demonstrations of tasks in arrangements, by number; number ``i`` is the same in every process."""

    def __init__(self, world: HandWorld, settings: Settings) -> None:
        self._world, self._settings = world, settings
        self._known: dict[tuple[str, int], dict[int, Path]] = {}

    def paths(self, tasks: Sequence[Task], n: int, keys: Array, arrangement: int) -> list[list[Path]]:
        """``n`` different demonstrations per task, chosen by ``keys`` [T].

        Training tasks have ``Settings.demonstrations`` of them, since a new one costs the simulation of an expert;
        other tasks have as many as are asked for.

        Raises:
            ValueError: a training task has fewer than ``n``.
            RuntimeError: the expert failed too often.
        """
        numbers = [self._numbers(task, n, key) for task, key in zip(tasks, keys.tolist(), strict=True)]
        missing: list[tuple[Task, int]] = []
        for task, wanted in zip(tasks, numbers, strict=True):
            known = self._of(task, arrangement)
            missing += [(task, number) for number in wanted if number not in known]
        if missing:
            self._make(list(dict.fromkeys(missing)), arrangement)
        return [
            [self._of(task, arrangement)[number] for number in wanted]
            for task, wanted in zip(tasks, numbers, strict=True)
        ]

    def _numbers(self, task: Task, n: int, key: int) -> list[int]:
        if task.split != "train":
            return [int(number) % _ENDLESS for number in seeding.split(key, np.arange(n)).tolist()]
        there = self._settings.demonstrations
        if n > there:
            raise ValueError(
                f"metaworld_hand: {n} different demonstrations of a training task asked for, there are {there}; "
                "raise the family's setting demonstrations"
            )
        order: list[int] = seeding.uniform(np.asarray(key, dtype=np.uint64), np.arange(there)).argsort()[:n].tolist()
        return order

    def _of(self, task: Task, arrangement: int) -> dict[int, Path]:
        where = task.id, arrangement
        if where not in self._known:
            self._known[where] = _read(self._file(task, arrangement), self._world.decisions)
        return self._known[where]

    def _make(self, missing: Sequence[tuple[Task, int]], arrangement: int) -> None:
        """Simulate experts until each of the missing demonstrations has succeeded, and keep them."""
        for attempt in range(MOST_ATTEMPTS):
            goals = [scene(self._world, task).goal(arrangement) for task, _ in missing]
            keys = [
                seeding.key("metaworld_hand", "expert", repr(task.params), arrangement, number, attempt)
                for task, number in missing
            ]
            made = demonstrate(self._world, goals, np.array(keys, dtype=np.uint64))
            for (task, number), path in zip(missing, made, strict=True):
                if path is not None:
                    kept = Path(path.hand, path.held, path.action, path.object, attempts=attempt + 1)
                    self._of(task, arrangement)[number] = kept
            changed = {task for (task, _), path in zip(missing, made, strict=True) if path is not None}
            for task in sorted(changed, key=lambda task: task.id):
                _write(self._file(task, arrangement), self._of(task, arrangement))
            missing = [item for item, path in zip(missing, made, strict=True) if path is None]
            if not missing:
                return
        task, number = missing[0]
        raise RuntimeError(
            f"metaworld_hand: the expert of {task.group} failed {MOST_ATTEMPTS} times at demonstration {number} of "
            f"task {task.id}, or took more than {self._world.decisions} decisions"
        )

    def _file(self, task: Task, arrangement: int) -> File:
        return _folder() / f"{task.group}-{task.id}-{arrangement}.parquet"


def _read(file: File, decisions: int) -> dict[int, Path]:
    """What the file holds; nothing, with a warning, where it is damaged: everything in it can be made again."""
    if not file.is_file():
        return {}
    try:
        frame = records.read_table(file, _SCHEMA)
    except RecordError as error:
        warnings.warn(f"{error}; the demonstrations are made again", RuntimeWarning, stacklevel=2)
        return {}
    if len(frame) % (decisions + 1) or (frame["checksum"] != _checksum(frame)).any():
        warnings.warn(f"{file}: the checksum is wrong; the demonstrations are made again", RuntimeWarning, stacklevel=2)
        return {}
    # By columns: picking each demonstration's rows out of the table took most of the time.
    column = {name: frame[name].to_numpy().reshape(-1, decisions + 1) for name in _SCHEMA.names if name != "checksum"}
    hands, objects = (np.stack([column[f"{what}_{axis}"] for axis in "xyz"], axis=-1) for what in ("hand", "object"))
    return {
        int(number): Path(
            hand=hands[i],
            held=column["held"][i],
            action=column["action"][i, :-1].astype(np.int64),
            object=objects[i, 0],
            attempts=int(column["attempts"][i, 0]),
        )
        for i, number in enumerate(column["demonstration"][:, 0])
    }


def _write(file: File, paths: dict[int, Path]) -> None:
    blocks = []
    for number in sorted(paths):
        path, steps = paths[number], len(paths[number].hand)
        block = {"demonstration": np.full(steps, number), "step": np.arange(steps)}
        block |= {f"hand_{axis}": path.hand[:, i] for i, axis in enumerate("xyz")}
        block |= {"held": path.held, "action": np.append(path.action, -1)}
        block |= {f"object_{axis}": np.full(steps, path.object[i]) for i, axis in enumerate("xyz")}
        blocks.append(pd.DataFrame(block | {"attempts": np.full(steps, path.attempts)}))
    frame = pd.concat(blocks, ignore_index=True)
    frame["checksum"] = _checksum(frame)
    records.write_table(file, frame, _SCHEMA)


def _checksum(frame: pd.DataFrame) -> str:
    values = [frame[name].to_numpy().astype(np.float64).tobytes() for name in _SCHEMA.names if name != "checksum"]
    return hashlib.sha256(b"".join(values)).hexdigest()[:16]


@cache
def _folder() -> File:
    """The cache's folder for this version of all that demonstrations depend on: code, and the installed packages."""
    base = os.environ.get(CACHE) or File(os.environ.get("XDG_CACHE_HOME") or File.home() / ".cache") / "kshot"
    digest = hashlib.sha256()
    ours = File(__file__).parent
    for module in [*sorted(ours.glob("*.py")), *sorted((ours.parent / "metaworld").glob("*.py"))]:
        digest.update(module.read_bytes())
    for package in ("metaworld", "mujoco", "numpy"):
        digest.update(f"{package} {version(package)}".encode())
    return File(base) / "demonstrations" / digest.hexdigest()[:12]
