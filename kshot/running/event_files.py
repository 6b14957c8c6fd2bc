"""Writes what learners recorded while they trained as event files of TensorBoard.

A run that is still trained has what its last checkpoint holds. The same records give the same bytes, and a longer
training begins with those of a shorter one, so that a TensorBoard that is open reads on.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from kshot import checksums, records
from kshot.errors import ConfigError, RecordError
from kshot.running import checkpoint
from kshot.suites.run import RunConfig

FILE = "events.out.tfevents.0.kshot"
"""TensorBoard takes a file for one of events by the second and third word of its name."""


def write_all(runs: Sequence[RunConfig], root: Path, out: Path) -> Iterator[Path]:
    """Write ``<out>/<family>/<algorithm>/seed-<n>/<FILE>`` for every run that has been trained, or has a checkpoint.

    Each metric is a series of scalars over environment steps, in single precision, which is what event files hold.

    Yields:
        What is written.

    Raises:
        ConfigError: the package tensorboard is missing.
        RecordError: no run has records yet, or a file is damaged.
    """
    _check()
    empty = True
    for run in runs:
        if run.kind == "algorithm" and (table := metrics(run, root)) is not None:
            empty = False
            path = out / run.family / run.algorithm / f"seed-{run.seed}" / FILE
            records.write_bytes(path, encode(table.itertuples(index=False)))
            yield path
    if empty:
        raise RecordError(f"{root / runs[0].suite}: no run has been trained, or has a checkpoint yet")


def metrics(run: RunConfig, root: Path) -> pd.DataFrame | None:
    """The table of a run's training (``records.TRAIN_SCHEMA``), as far as it is on disk; None if nothing is yet."""
    directory = run.directory(root)
    if (directory / checkpoint.CHECKPOINT).is_file():  # being trained, for the first time or again
        rows = checkpoint.load(directory / checkpoint.CHECKPOINT)["rows"]
        return pd.DataFrame(rows, columns=records.TRAIN_SCHEMA.names)
    record, path = directory / "run.json", directory / "train.parquet"
    if not record.is_file():
        return None
    checksums.verify(path, checksums.read_record(record))
    return records.read_table(path, records.TRAIN_SCHEMA)


def encode(rows: Iterable[tuple[int, int, str, float]]) -> bytes:
    """The bytes of an event file with one scalar for each row (iteration, environment steps, metric, value).

    Runs record no times, so that all events are of time 0: TensorBoard's axes "relative" and "wall" say nothing.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    writer.write(Event(wall_time=0.0, file_version="brain.Event:2").SerializeToString())
    for _, steps, metric, value in rows:
        summary = Summary(value=[Summary.Value(tag=metric, simple_value=value)])
        writer.write(Event(wall_time=0.0, step=steps, summary=summary).SerializeToString())
    return buffer.getvalue()


def _check() -> None:
    try:
        import tensorboard.summary.writer.record_writer  # noqa: F401
    except ImportError as error:
        raise ConfigError([f"event files need the package tensorboard ({error}): pip install tensorboard"]) from None
