"""Checksums by which a step knows that it reads what another one wrote, to the last bit.

The last file that a step writes is its record: a JSON object with a checksum of itself and one of every file that the
step wrote beside it. Disks, networks and people change files, and most changes of one bit leave numbers that look
like any others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kshot.errors import RecordError
from kshot.records import read_json, write_json

AGAIN = "delete it and run its step again"
_FILES, _OWN = "files", "checksum"
_MODEL = ".pt"


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_record(path: Path, value: Mapping[str, Any], files: Iterable[str] = ()) -> None:
    """Write a step's record.

    Args:
        path: of the record, a JSON file.
        value: its entries.
        files: names of the files beside it that the step has written.
    """
    sums = {name: sha256(path.with_name(name)) for name in files}
    entries = dict(value) | ({_FILES: sums} if sums else {})
    write_json(path, entries | {_OWN: _of(entries)})


def read_record(path: Path, again: str = AGAIN) -> dict[str, Any]:
    """What ``write_record`` wrote.

    Args:
        path: of the record.
        again: what helps where it is damaged.

    Raises:
        RecordError: it is missing, damaged or was changed since.
    """
    value = read_json(path)
    own = value.pop(_OWN, None)
    if own != _of(value):
        raise RecordError(f"{path}: is not as it was written ({_OWN} {'wrong' if own else 'missing'}); {again}")
    return value


def verify(path: Path, record: Mapping[str, Any], again: str = AGAIN) -> None:
    """Check that a file beside a record is the one that the record's step wrote.

    Raises:
        RecordError: it is missing, or another one.
    """
    if not path.is_file():
        raise RecordError(f"{path}: no such file, although the step that writes it has run; run it again")
    expected, found = str(record.get(_FILES, {}).get(path.name, "")), sha256(path)
    if found != expected:
        known = f"its step wrote {expected[:12]}" if expected else "its step wrote no such file"
        raise RecordError(f"{path}: is not as it was written (checksum {found[:12]}, {known}); {again}")


def verify_all(record_path: Path, again: str = AGAIN, modelless: bool = False) -> dict[str, Any]:
    """A record, once it and all files that it names have been checked. Raises RecordError like the functions above.

    Args:
        record_path: of the record, a JSON file.
        again: what helps where something is damaged.
        modelless: the run may be kept without any of its models.
    """
    record = read_record(record_path, again)
    for fault in faults(record_path, record, again, modelless):
        raise fault
    return record


def faults(record_path: Path, record: Mapping[str, Any], again: str, modelless: bool) -> Iterator[RecordError]:
    """What is wrong with the files that a record names, one error for each; arguments as of ``verify_all``."""
    left_out = models(record) if modelless and without_models(record_path, record) else []
    for name in record.get(_FILES, {}):
        if name not in left_out:
            try:
                verify(record_path.with_name(name), record, again)
            except RecordError as error:
                yield error


def models(record: Mapping[str, Any]) -> list[str]:
    """Names of the models among a record's files."""
    return [name for name in record.get(_FILES, {}) if name.endswith(_MODEL)]


def without_models(record_path: Path, record: Mapping[str, Any]) -> bool:
    """Whether a run is kept without its models, as ``kshot pack`` does: its record names some, and none is there."""
    names = models(record)
    return bool(names) and not any(record_path.with_name(name).is_file() for name in names)


def _of(entries: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(entries))  # as it will be read
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
