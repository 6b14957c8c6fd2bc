"""The record of ``aggregate``: checksums of the files that figures, tables and the page are made from."""

from __future__ import annotations

from pathlib import Path

from kshot import checksums
from kshot.errors import RecordError
from kshot.reporting.schemas import MADE_BY

FILES = ("summary.csv", "scores.csv", "cells.csv", "tasks.parquet")
RECORD = "aggregate.json"


def write_record(folder: Path) -> None:
    """Once all of ``FILES`` are written."""
    checksums.write_record(folder / RECORD, {}, FILES)


def verify(folder: Path) -> None:
    """Check that the files in a suite's folder are those that ``aggregate`` wrote.

    Raises:
        RecordError: one is missing or another one, or there is no record.
    """
    for name in (*FILES, RECORD):
        if not (folder / name).is_file():
            raise RecordError(f"{folder / name}: no such file; run `{MADE_BY}` first")
    again = f"run `{MADE_BY}` again"
    record = checksums.read_record(folder / RECORD, again)
    if set(record.get("files", ())) != set(FILES):
        raise RecordError(f"{folder / RECORD}: is the record of other files; {again}")
    for name in FILES:
        checksums.verify(folder / name, record, again)
