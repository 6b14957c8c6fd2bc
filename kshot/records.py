"""The files that runs write and reports read: schemas, atomic writing, checked reading.

These files are all that running and reporting share.
``results/README.md`` explains every column.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from kshot.errors import RecordError

TRAIN_SCHEMA = pa.schema(
    [
        ("iteration", pa.int32()),
        ("env_steps", pa.int64()),  # training steps taken up to and including this iteration
        ("metric", pa.dictionary(pa.int16(), pa.string())),
        ("value", pa.float64()),
    ]
)
_NAME = pa.dictionary(pa.int32(), pa.string())
CURVE_SCHEMA = pa.schema(
    [
        ("suite", _NAME),
        ("family", _NAME),  # the family's name in the suite
        ("algorithm", _NAME),  # the algorithm's (or reference policy's) name in the suite
        ("kind", _NAME),  # algorithm | reference
        ("seed", pa.int32()),
        ("split", _NAME),
        ("group", _NAME),  # the class of the task, in benchmarks with several
        ("task", _NAME),  # Task.id
        ("k", pa.int32()),  # evidence consumed before this episode: episodes of this task, or demonstrations
        ("adaptation_episodes", pa.int32()),  # own episodes consumed (0 for demonstration-fed learners)
        ("adaptation_updates", pa.int32()),  # calls of adapt so far: gradient steps for gradient learners
        ("adaptation_steps", pa.int64()),  # environment steps in that evidence
        ("episode", pa.int32()),  # index within this task, k and action mode
        ("mode", _NAME),  # sampled | mean
        ("env_steps", pa.int32()),  # length of this episode
        ("return", pa.float64()),
        ("success_any", pa.bool_()),
        ("success_last", pa.bool_()),
        ("first_success", pa.int32()),  # steps to the first success, -1 for never
        ("optimal_return", pa.float64()),  # largest expected return of this very episode, NaN where it is not known
        ("held_out_log_likelihood", pa.float64()),  # of an expert's decisions, in nats; NaN where not computed
        ("stage", pa.int32()),  # furthest of the family's stages, -1 where it has none
        ("status", _NAME),  # ok | diverged
        ("config_hash", _NAME),
    ]
)
LEARNING_SCHEMA = CURVE_SCHEMA.append(pa.field("trained_steps", pa.int64()))  # environment steps behind the policy
"""Episodes on validation tasks of policies along a training."""
STATUSES = ("ok", "diverged")
_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{12}")
"""Names of files in writing."""


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically: a reader never sees a part of it, and a failure leaves the old file.

    Raises:
        OSError: with the path, whatever the reason.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by tempfile, whose files are for their owner alone: who may read results is for the user's umask to say.
    name = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with name.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException as error:
        name.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # a full disk does not say where
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def remove_unfinished(folder: Path) -> None:
    """Remove what processes left in ``folder`` that were killed in the middle of ``write_bytes``.

    For who may write there alone; ``progress.json`` is not meant, which a process writes that has just lost that right.
    """
    for path in folder.glob(".*.*"):
        if _UNFINISHED.fullmatch(path.name) and not path.name.startswith(".progress.json."):
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """``write_bytes`` for UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Sorted, indented JSON with a final newline, written atomically."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises RecordError naming the file when it is missing or damaged."""
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        raise RecordError(f"{path}: no such file; the step that writes it has not run") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RecordError(f"{path}: not readable as JSON ({error}); delete it and run its step again") from None
    if not isinstance(value, dict):
        raise RecordError(f"{path}: holds a {type(value).__name__}, expected a JSON object")
    return value


def write_table(path: Path, frame: pd.DataFrame, schema: pa.Schema) -> None:
    """Write ``frame`` as parquet with exactly ``schema``; equal frames give equal bytes.

    Raises:
        RecordError: columns are missing, extra, or of other types.
    """
    if list(frame.columns) != schema.names:
        raise RecordError(f"{path}: columns {list(frame.columns)} differ from the schema's {schema.names}")
    try:
        table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False).replace_schema_metadata(None)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise RecordError(f"{path}: a value does not fit the schema: {error}") from None
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    write_bytes(path, sink.getvalue().to_pybytes())


def read_table(path: Path, schema: pa.Schema) -> pd.DataFrame:
    """Read what ``write_table`` wrote.

    Raises:
        RecordError: the file is missing, truncated or has other columns.
    """
    frame: pd.DataFrame = read_arrow(path, schema).to_pandas()
    return frame


def read_arrow(path: Path, schema: pa.Schema) -> pa.Table:
    """The same as columns of Arrow, which costs a fifth of the time where hundreds of files are read."""
    if not path.is_file():
        raise RecordError(f"{path}: no such file; the step that writes it has not run")
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        table = file.read(use_threads=False)  # starting threads costs more than a small file
    except (pa.ArrowInvalid, OSError) as error:
        detail = str(error).splitlines()[0]
        raise RecordError(f"{path}: not a complete parquet file ({detail}); delete it and run its step again") from None
    if table.schema.names != schema.names:
        different = sorted(set(table.schema.names) ^ set(schema.names))
        raise RecordError(f"{path}: columns differ from this version's schema in {different}; run its step again")
    return table
