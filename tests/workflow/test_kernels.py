"""What docs/reproducibility.md promises: same kernels, same bytes; other kernels, named, and scores that agree."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from kshot.places import ROOT
from kshot.records import CURVE_SCHEMA, read_json, read_table
from kshot.running.audit import machine_differences
from kshot.suites.reading import load_suite
from tests.workflow.pipeline import write_suite

SUITE: dict[str, Any] = {
    "name": "kernels",
    "seeds": [0, 1, 2, 3],
    "families": {
        "nav2d": {
            "settings": {"horizon": 50},
            "steps": 8_000,
            "evaluation": {"tasks": 20, "k": [0, 10]},
            "references": [],
        },
    },
    "algorithms": {"fomaml": {"settings": {"episodes": 10, "meta_batch": 4, "hidden": [32], "test_episodes": 10}}},
}
RUNS = load_suite(SUITE).runs()
OTHER = {"OPENBLAS_CORETYPE": "Sandybridge", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ATEN_CPU_CAPABILITY": "default"}
"""Kernels of processors of 2011, which every x86 processor can compute with."""
COMPUTE = """
import sys
from pathlib import Path
from kshot.suites.reading import load_suite
from kshot.running.evaluate import evaluate
from kshot.running.train import train

for run in load_suite(Path("suite.yaml")).runs()[: int(sys.argv[1])]:
    train(run, Path("results"))
    evaluate(run, Path("results"))
"""

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names kernels of x86 processors")


def computed(folder: Path, kernels: dict[str, str], n: int) -> list[Path]:
    """The folders of the suite's first ``n`` runs, trained and evaluated with these kernels."""
    folder.mkdir()
    write_suite(folder, SUITE)
    environment = os.environ | kernels | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", COMPUTE, str(n)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [run.directory(folder / "results") for run in RUNS[:n]]


def returns(runs: list[Path]) -> np.ndarray[Any, Any]:
    """[seed, K] mean return over tasks, of mean actions."""
    curves = [read_table(run / "curve.parquet", CURVE_SCHEMA) for run in runs]
    means: list[pd.Series[float]] = [curve[curve["mode"] == "mean"].groupby("k")["return"].mean() for curve in curves]
    return np.array([list(mean) for mean in means])


def test_same_kernels_same_bytes_and_other_kernels_are_named_and_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP", "OPENBLAS", "MKL"):
        monkeypatch.setenv(f"{name}_NUM_THREADS", "1")
    here, again = computed(tmp_path / "here", {}, 4), computed(tmp_path / "again", {}, 1)
    other, other_again = computed(tmp_path / "other", OTHER, 4), computed(tmp_path / "other-again", OTHER, 1)
    for one, two in ((here[0], again[0]), (other[0], other_again[0])):
        for name in ("model.pt", "train.parquet", "curve.parquet"):
            assert (one / name).read_bytes() == (two / name).read_bytes(), f"{name} with the same kernels"
        assert read_json(one / "run.json")["kernels"] == read_json(two / "run.json")["kernels"]

    for record in ("run.json", "evaluate.json"):
        assert list(machine_differences(read_json(here[0] / record))) == []
        differences = list(machine_differences(read_json(other[0] / record)))
        assert {kind for kind, _ in differences} == {"kernels"}
        texts = [text for _, text in differences]
        for variable, value in OTHER.items():
            assert any(text.startswith(f"variable {variable} {value} ") for text in texts)
        assert any(" of numpy.libs Sandybridge " in text for text in texts)
        assert any(text.startswith("capability of torch DEFAULT ") for text in texts)

    # The tolerance is the 95 % interval of the mean over seeds, here of four.
    one, two = returns(here), returns(other)
    half = stats.t.ppf(0.975, len(one) - 1) * one.std(axis=0, ddof=1) / len(one) ** 0.5
    apart = np.abs(one.mean(axis=0) - two.mean(axis=0))
    assert one.shape == (4, 2) and (apart <= half).all(), f"{apart} apart, with intervals of +- {half}"
