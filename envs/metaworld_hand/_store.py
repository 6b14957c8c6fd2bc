"""Simulates demonstrations once, and keeps them in memory and in files."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from kshot import records, seeding
from kshot.envs.metaworld_hand._experts import HandPath, demonstrate
from kshot.envs.metaworld_hand._scenes import scene
from kshot.envs.metaworld_hand._world import HandWorld
from kshot.errors import RecordError
from kshot.types import Array, Task

CACHE = "KSHOT_CACHE"
"""The environment variable with the folder of the files; default ``kshot`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
MAX_ATTEMPTS = 20
"""Simulations of one demonstration before the expert counts as unable."""
_UNLIMITED = 2**32
"""Demonstrations that there are of tasks that are not for training."""
_SCHEMA = pa.schema(
    [
        ("demonstration", pa.int64()),
        ("step", pa.int32()),
        *((axis, pa.float64()) for axis in ("hand_x", "hand_y", "hand_z")),
        ("held", pa.bool_()),
        ("action", pa.int32()),  # -1 after the last decision
        *((axis, pa.float64()) for axis in ("object_x", "object_y", "object_z")),
        ("attempts", pa.int32()),  # how many were simulated until this one succeeded
        ("checksum", pa.dictionary(pa.int32(), pa.string())),  # of all other columns
    ]
)


class Store:
    """Numbered demonstrations of each task and arrangement; number i of them is the same in every process."""

    def __init__(self, world: HandWorld, demonstrations: int) -> None:
        self._world, self._demonstrations = world, demonstrations
        self._in_memory: dict[tuple[str, int], dict[int, HandPath]] = {}

    def paths(self, tasks: Sequence[Task], n: int, keys: Array, arrangement: int) -> list[list[HandPath]]:
        """``n`` different demonstrations per task, chosen by ``keys`` [T].

        Training tasks have ``Settings.demonstrations`` to choose from, since each costs the simulation of an expert;
        other tasks have no limit.

        Raises:
            ValueError: a training task has fewer than ``n``.
            RuntimeError: the expert failed too often.
        """
        chosen = [self._choose(task, n, key) for task, key in zip(tasks, keys.tolist(), strict=True)]
        missing: list[tuple[Task, int]] = []
        for task, numbers in zip(tasks, chosen, strict=True):
            loaded = self._loaded(task, arrangement)
            missing += [(task, number) for number in numbers if number not in loaded]
        if missing:
            self._simulate(list(dict.fromkeys(missing)), arrangement)
        return [
            [self._loaded(task, arrangement)[number] for number in numbers]
            for task, numbers in zip(tasks, chosen, strict=True)
        ]

    def _choose(self, task: Task, n: int, key: int) -> list[int]:
        """The numbers of ``n`` demonstrations of ``task``."""
        if task.split != "train":
            return [int(number) % _UNLIMITED for number in seeding.split(key, np.arange(n)).tolist()]
        available = self._demonstrations
        if n > available:
            raise ValueError(
                f"metaworld_hand: {n} different demonstrations of a training task asked for, there are {available}; "
                "raise the family's setting demonstrations"
            )
        uniform = seeding.uniform(np.asarray(key, dtype=np.uint64), np.arange(available))
        numbers: list[int] = uniform.argsort()[:n].tolist()
        return numbers

    def _loaded(self, task: Task, arrangement: int) -> dict[int, HandPath]:
        key = task.id, arrangement
        if key not in self._in_memory:
            self._in_memory[key] = _read(self._file(task, arrangement), self._world.decisions)
        return self._in_memory[key]

    def _simulate(self, missing: Sequence[tuple[Task, int]], arrangement: int) -> None:
        """Simulate experts until each of the missing demonstrations (task, number) has succeeded, and store them."""
        for attempt in range(MAX_ATTEMPTS):
            goals = [scene(self._world, task).goal(arrangement) for task, _ in missing]
            keys = [
                seeding.key("metaworld_hand", "expert", repr(task.params), arrangement, number, attempt)
                for task, number in missing
            ]
            attempted = demonstrate(self._world, goals, np.array(keys, dtype=np.uint64))
            for (task, number), path in zip(missing, attempted, strict=True):
                if path is not None:
                    succeeded = HandPath(path.hand, path.held, path.action, path.object, attempts=attempt + 1)
                    self._loaded(task, arrangement)[number] = succeeded
            changed = {task for (task, _), path in zip(missing, attempted, strict=True) if path is not None}
            for task in sorted(changed, key=lambda task: task.id):
                _write(self._file(task, arrangement), self._loaded(task, arrangement))
            missing = [item for item, path in zip(missing, attempted, strict=True) if path is None]
            if not missing:
                return
        task, number = missing[0]
        raise RuntimeError(
            f"metaworld_hand: the expert of {task.group} failed {MAX_ATTEMPTS} times at demonstration {number} of "
            f"task {task.id}, or took more than {self._world.decisions} decisions"
        )

    def _file(self, task: Task, arrangement: int) -> Path:
        return _folder() / f"{task.group}-{task.id}-{arrangement}.parquet"


def _read(file: Path, decisions: int) -> dict[int, HandPath]:
    """Number -> demonstration, from a file; empty without one, or with a warning if it is damaged."""
    if not file.is_file():
        return {}
    try:
        frame = records.read_table(file, _SCHEMA)
    except RecordError as error:
        warnings.warn(f"{error}; the demonstrations are made again", RuntimeWarning, stacklevel=2)
        return {}
    if len(frame) % (decisions + 1) or (frame["checksum"] != _checksum(file, frame)).any():
        warnings.warn(f"{file}: the checksum is wrong; the demonstrations are made again", RuntimeWarning, stacklevel=2)
        return {}
    # By columns: selecting the rows of each demonstration took most of the time.
    column = {name: frame[name].to_numpy().reshape(-1, decisions + 1) for name in _SCHEMA.names if name != "checksum"}
    hands, objects = (np.stack([column[f"{what}_{axis}"] for axis in "xyz"], axis=-1) for what in ("hand", "object"))
    return {
        int(number): HandPath(
            hand=hands[i],
            held=column["held"][i],
            action=column["action"][i, :-1].astype(np.int64),
            object=objects[i, 0],
            attempts=int(column["attempts"][i, 0]),
        )
        for i, number in enumerate(column["demonstration"][:, 0])
    }


def _write(file: Path, paths: dict[int, HandPath]) -> None:
    blocks = []
    for number in sorted(paths):
        path, steps = paths[number], len(paths[number].hand)
        block = {"demonstration": np.full(steps, number), "step": np.arange(steps)}
        block |= {f"hand_{axis}": path.hand[:, i] for i, axis in enumerate("xyz")}
        block |= {"held": path.held, "action": np.append(path.action, -1)}
        block |= {f"object_{axis}": np.full(steps, path.object[i]) for i, axis in enumerate("xyz")}
        blocks.append(pd.DataFrame(block | {"attempts": np.full(steps, path.attempts)}))
    frame = pd.concat(blocks, ignore_index=True)
    frame["checksum"] = _checksum(file, frame)
    records.write_table(file, frame, _SCHEMA)


def _checksum(file: Path, frame: pd.DataFrame) -> str:
    """Of the numbers, and of the file's name, which is the task's: another task's demonstrations are no use."""
    values = [frame[name].to_numpy().astype(np.float64).tobytes() for name in _SCHEMA.names if name != "checksum"]
    return hashlib.sha256(b"".join([file.name.encode(), *values])).hexdigest()[:16]


@cache
def _folder() -> Path:
    """The folder for demonstrations by this code and these packages: its name is a digest of both."""
    base = os.environ.get(CACHE) or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kshot"
    digest = hashlib.sha256()
    package = Path(__file__).parent
    for module in [*sorted(package.glob("*.py")), *sorted((package.parent / "metaworld").rglob("*.py"))]:
        digest.update(module.read_bytes())
    for name in ("metaworld", "mujoco", "numpy"):
        digest.update(f"{name} {version(name)}".encode())
    return Path(base) / "demonstrations" / digest.hexdigest()[:12]
