"""Files that are not as their step's record says are all told, and models may be left out only together."""

from __future__ import annotations

from pathlib import Path

import pytest

from kshot import checksums
from kshot.errors import RecordError

pytestmark = pytest.mark.contract
FILES = ("train.parquet", "curve.parquet", "model.pt", "snapshot-1.pt")


@pytest.fixture
def record_path(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).write_text(name)
    checksums.write_record(tmp_path / "run.json", {"env_steps": 1}, FILES)
    return tmp_path / "run.json"


def _told(record_path: Path) -> list[str]:
    record = checksums.read_record(record_path)
    return [str(fault) for fault in checksums.faults(record_path, record, "get it again", modelless=True)]


def test_every_damaged_file_is_told(record_path: Path) -> None:
    for name in FILES[:2]:
        record_path.with_name(name).write_text("other")
    told = sorted(line.split(" (")[0] for line in _told(record_path))
    assert told == sorted(f"{record_path.with_name(name)}: is not as it was written" for name in FILES[:2])


def test_all_models_may_be_left_out_and_not_one_of_them(record_path: Path) -> None:
    record_path.with_name("model.pt").unlink()
    assert [line.split(":")[0] for line in _told(record_path)] == [str(record_path.with_name("model.pt"))]
    record_path.with_name("snapshot-1.pt").unlink()
    assert _told(record_path) == []
    with pytest.raises(RecordError, match=r"model\.pt: no such file"):
        checksums.verify_all(record_path)
