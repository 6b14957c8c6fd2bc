"""Demonstrations in files: a parquet file with a row for every episode, or a data set of Minari."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from gymnasium import spaces

from kshot import records
from kshot.envs.metaworld._vector import ACTION_SPACE, OBSERVATION_DIM
from kshot.errors import ConfigError
from kshot.metaworld.demonstrations import Demonstration
from kshot.types import Array

_FIXED = {"target": (3, pa.float64()), "observation": (OBSERVATION_DIM, pa.float64()), "action": (4, pa.float32())}
SCHEMA = pa.schema(
    [
        ("env_name", pa.string()),  # the class
        ("task", pa.int32()),  # number of the task among those of its class
        ("rand_vec", pa.list_(pa.float64())),  # what the class places object and target by
        ("target", pa.list_(pa.float64(), 3)),  # in metres
        ("episode", pa.int32()),  # number of the episode among those of its task
        ("attempt", pa.int32()),  # episodes played until this one succeeded
        ("steps", pa.int32()),  # T
        ("observation", pa.list_(pa.list_(pa.float64(), OBSERVATION_DIM))),  # [T + 1, 39]
        ("action", pa.list_(pa.list_(pa.float32(), 4))),  # [T, 4]
        ("reward", pa.list_(pa.float64())),  # [T]
        ("success", pa.list_(pa.bool_())),  # [T]
        ("truncated", pa.bool_()),  # ended by the horizon, not by success
    ]
)
MINARI = "minari:"
"""How the name of a data set begins that Minari is to keep."""
_MINARI_NAME = re.compile(r"([\w-]+/)*[\w-]+-v\d+")


def check_target(out: str, replace: bool) -> None:
    """Refuse a place that cannot be written to, before anything is played.

    Args:
        out: the path of a ``.parquet`` file, or ``minari:NAME``.
        replace: whether what is there already may be replaced.

    Raises:
        ConfigError: it is neither, is there already, or Minari is not installed.
    """
    if out.startswith(MINARI):
        there = _minari_folder(out.removeprefix(MINARI))
    elif out.endswith(".parquet"):
        there = Path(out)
        if there.is_dir():
            raise ConfigError([f"demonstrations: {out} is a folder, a file is to be written"])
    else:
        raise ConfigError([f"demonstrations: {out!r} is neither a .parquet file nor minari:NAME"])
    if there.exists() and not replace:
        raise ConfigError([f"demonstrations: {there} is there already; --replace replaces it"])


def write(out: str, classes: Iterable[list[Demonstration]], made: Mapping[str, Any], replace: bool = False) -> int:
    """Write demonstrations, whole or not at all; returns how many.

    Args:
        out: the path of a ``.parquet`` file, or ``minari:NAME``.
        classes: the demonstrations, class by class; what is written needs the memory of one class, compressed the rest.
        made: how they were made, as plain data; kept with them under "kshot", with the versions of packages.
        replace: whether what is there already may be replaced.

    Raises:
        ConfigError: as ``check_target``; or there is not one demonstration.
        OSError: the place cannot be written to.
    """
    check_target(out, replace)
    versions = {name: importlib.metadata.version(name) for name in ("metaworld", "mujoco")}
    note = json.dumps({**made, "versions": versions}, sort_keys=True)
    if out.startswith(MINARI):
        return _write_minari(out.removeprefix(MINARI), classes, note)
    return _write_parquet(Path(out), classes, note)


def read(path: Path) -> list[Demonstration]:
    """What ``write`` wrote as parquet, in the same order.

    Raises:
        RecordError: the file is missing, damaged, or another one.
    """
    table = records.read_arrow(path, SCHEMA)
    found = []
    for i in range(len(table)):
        row = table.slice(i, 1)
        arrays = {name: _array(row.column(name).combine_chunks(), name) for name in ("observation", "action")}
        plain = {name: row.column(name)[0].as_py() for name in SCHEMA.names if name not in (*arrays, "steps")}
        found.append(
            Demonstration(
                **plain
                | arrays
                | {
                    "rand_vec": tuple(plain["rand_vec"]),
                    "target": np.array(plain["target"]),
                    "reward": np.array(plain["reward"]),
                    "success": np.array(plain["success"]),
                }
            )
        )
    return found


def _array(column: Any, name: str) -> Array:
    """[T, size] of the only row of a column of lists of fixed size."""
    size, _ = _FIXED[name]
    array: Array = column.flatten().flatten().to_numpy(zero_copy_only=False).reshape(-1, size)
    return array


def _write_parquet(path: Path, classes: Iterable[list[Demonstration]], note: str) -> int:
    sink, count = pa.BufferOutputStream(), 0
    with pq.ParquetWriter(
        sink, SCHEMA.with_metadata({"kshot": note}), compression="zstd", write_page_checksum=True
    ) as file:
        for demonstrations in classes:
            if demonstrations:
                file.write_table(_table(demonstrations))
                count += len(demonstrations)
    _refuse_none(count)
    records.write_bytes(path, sink.getvalue().to_pybytes())
    return count


def _table(demonstrations: list[Demonstration]) -> pa.Table:
    rows = {name: [getattr(d, name) for d in demonstrations] for name in SCHEMA.names if name != "steps"}
    rows["steps"] = [len(d.action) for d in demonstrations]
    columns = []
    for name in SCHEMA.names:
        if name in ("observation", "action"):
            size, kind = _FIXED[name]
            values = pa.array(np.concatenate(rows[name]).ravel(), type=kind)
            ends = np.cumsum([0, *(len(steps) for steps in rows[name])]).astype(np.int32)
            columns.append(pa.ListArray.from_arrays(ends, pa.FixedSizeListArray.from_arrays(values, size)))
        else:
            columns.append(pa.array(rows[name], type=SCHEMA.field(name).type))
    return pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA)


def _refuse_none(count: int) -> None:
    if count == 0:
        raise ConfigError(["demonstrations: no episode succeeded, so nothing is written"])


def _minari_folder(name: str) -> Path:
    """Where Minari keeps the data set. Raises ConfigError where Minari is missing, or cannot keep one of this name."""
    if not _MINARI_NAME.fullmatch(name):
        raise ConfigError([f"demonstrations: a data set of Minari is called like metaworld/reach-v0, got {name!r}"])
    try:
        from minari.storage.datasets_root_dir import get_dataset_path
    except ImportError:
        raise ConfigError(["demonstrations: minari:NAME needs the package minari: pip install minari"]) from None
    return Path(get_dataset_path(name))


def _write_minari(name: str, classes: Iterable[list[Demonstration]], note: str) -> int:
    """Made whole in a hidden folder beside its place, and then moved there."""
    import minari
    from minari.data_collector import EpisodeBuffer

    place = _minari_folder(name)
    every = [demonstration for demonstrations in classes for demonstration in demonstrations]
    _refuse_none(len(every))
    root = Path(str(place).removesuffix(name))
    waiting = root / f".kshot-{secrets.token_hex(6)}"
    unbounded = spaces.Box(-np.inf, np.inf, (OBSERVATION_DIM,), np.float64)
    try:
        with _minari_root(waiting), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of what it keeps no note of: an author, an address
            dataset = minari.create_dataset_from_buffers(
                name,
                [EpisodeBuffer(**_buffer(demonstration)) for demonstration in every],
                observation_space=unbounded,
                action_space=ACTION_SPACE,
                algorithm_name="Metaworld's scripted experts",
                description=f"Successful episodes of Meta-World. kshot: {note}",
                requirements=[f"metaworld=={importlib.metadata.version('metaworld')}"],
                data_format="parquet",
            )
            dataset.storage.update_episode_metadata([_task(demonstration) for demonstration in every])
        for note_of_namespace in waiting.rglob("namespace_metadata.json"):  # where the name has a part before a "/"
            wanted = root / note_of_namespace.relative_to(waiting)
            if not wanted.exists():
                records.write_bytes(wanted, note_of_namespace.read_bytes())
        if place.exists():
            os.replace(place, waiting / "replaced")
        os.replace(waiting / name, place)
    finally:
        shutil.rmtree(waiting, ignore_errors=True)
    return len(every)


def _buffer(demonstration: Demonstration) -> dict[str, Any]:
    ends = np.arange(len(demonstration.action)) == len(demonstration.action) - 1
    return {
        "observations": demonstration.observation,
        "actions": demonstration.action,
        "rewards": demonstration.reward,
        "terminations": ends & (not demonstration.truncated),
        "truncations": ends & demonstration.truncated,
        "infos": {"success": np.append(False, demonstration.success)[:, None]},  # [T + 1, 1]: Minari reads no scalars
    }


def _task(demonstration: Demonstration) -> dict[str, Any]:
    """What Minari keeps of an episode besides its steps."""
    return {
        "env_name": demonstration.env_name,
        "task": demonstration.task,
        "rand_vec": list(demonstration.rand_vec),
        "target": demonstration.target.tolist(),
        "episode": demonstration.episode,
        "attempt": demonstration.attempt,
    }


@contextmanager
def _minari_root(folder: Path) -> Any:
    """Minari keeps data sets in ``folder`` for a while: it has no argument for that."""
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before
