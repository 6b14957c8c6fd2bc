"""Event files hold what train.parquet holds; without the package one line says what is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from kshot import records
from kshot.running import checkpoint, event_files
from tests.workflow.conftest import Called
from tests.workflow.pipeline import write_suite

pytestmark = pytest.mark.workflow

COUNTING = ("--family", "coins", "--algorithm", "counting", "--seed", "0")
RUN = Path("coins/counting/seed-0")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The series in a folder of event files, as TensorBoard itself reads them."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    reader = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    reader.Reload()
    return {tag: [(event.step, event.value) for event in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def test_event_files_hold_the_records_of_training(tmp_path: Path, called: Called) -> None:
    pytest.importorskip("tensorboard")
    write_suite(tmp_path)
    assert called(tmp_path, "train", "suite.yaml", *COUNTING).returncode == 0
    done = called(tmp_path, "tensorboard", "suite.yaml")
    assert done.returncode == 0, done.stderr
    path = tmp_path / "runs/tiny" / RUN / event_files.FILE
    assert done.stdout.splitlines() == [str(path.relative_to(tmp_path))]
    table = records.read_table(tmp_path / "results/tiny" / RUN / "train.parquet", records.TRAIN_SCHEMA)
    expected = {
        str(metric): list(zip(of["env_steps"].tolist(), of["value"].astype(np.float32).tolist(), strict=True))
        for metric, of in table.groupby("metric", observed=True)
    }
    assert len(expected) == 2 and all(len(series) > 1 for series in expected.values())
    assert scalars(path.parent) == expected
    before = path.read_bytes()
    assert called(tmp_path, "tensorboard", "suite.yaml").returncode == 0
    assert path.read_bytes() == before and [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_run_in_training_has_what_its_checkpoint_holds(tmp_path: Path, called: Called) -> None:
    """And when it is done, its file begins with the same bytes: a reader goes on from where it was."""
    pytest.importorskip("tensorboard")
    write_suite(tmp_path)
    assert called(tmp_path, "train", "suite.yaml", *COUNTING).returncode == 0
    directory = tmp_path / "results/tiny" / RUN
    rows = [(0, 8, "return", 0.25), (0, 8, "updates", 1.0), (1, 16, "return", 0.5)]
    checkpoint.save(directory / checkpoint.CHECKPOINT, {"rows": rows})
    assert called(tmp_path, "tensorboard", "suite.yaml", "--out", "out").returncode == 0
    path = tmp_path / "out" / RUN / event_files.FILE
    assert scalars(path.parent) == {"return": [(8, 0.25), (16, 0.5)], "updates": [(8, 1.0)]}
    before = path.read_bytes()
    checkpoint.save(directory / checkpoint.CHECKPOINT, {"rows": [*rows, (1, 16, "updates", 1.0)]})
    assert called(tmp_path, "tensorboard", "suite.yaml", "--out", "out").returncode == 0
    assert path.read_bytes().startswith(before) and len(path.read_bytes()) > len(before)


def test_without_records_and_without_the_package_it_is_one_line(
    tmp_path: Path, called: Called, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_suite(tmp_path)
    monkeypatch.setattr(event_files, "_check", lambda: None)
    done = called(tmp_path, "tensorboard", "suite.yaml")
    assert done.returncode == 2 and done.stderr.startswith("kshot: results/tiny: no run has been trained")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    done = called(tmp_path, "tensorboard", "suite.yaml")
    assert done.returncode == 2 and done.stderr.endswith("pip install tensorboard\n"), done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "runs").exists()
