"""The figure of what models along the training reach on validation tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes

from kshot import records
from kshot.errors import RecordError
from kshot.reporting import figures, style
from kshot.reporting.aggregate import aggregate
from kshot.reporting.figures import validation_curves
from kshot.reporting.results import Results, load
from kshot.reporting.training import TrainingRecords
from kshot.suites.run import LearningCurve, RunConfig
from tests import synthetic

CURVE = LearningCurve(points=4, tasks=5, k=(0, 10))
SCORED = replace(synthetic.POINT, name="scored", n_tasks=6, k=(0, 10))
OTHER = replace(synthetic.POINT, name="other", n_tasks=6, k=(0, 10))


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[RunConfig], Path]:
    root = tmp_path_factory.mktemp("along")
    runs = synthetic.runs_of([SCORED], ("maml", "rl2"), seeds=3, learning_curve=CURVE)
    runs += synthetic.runs_of([OTHER], ("maml", "rl2"), seeds=3)
    synthetic.write_suite([SCORED, OTHER], runs, root)
    aggregate(runs, root)
    return runs, root


@pytest.fixture(scope="module")
def data(suite: tuple[list[RunConfig], Path]) -> Results:
    return load(*suite)


@pytest.fixture(scope="module")
def panel(data: Results) -> Axes:
    concerned = figures.concerned(validation_curves, data)
    assert [section.family for section in concerned] == ["scored"]
    with style.context("validation_curves"):
        (axes,) = figures.draw(validation_curves, data, concerned).axes
    return axes


def scores(suite: tuple[list[RunConfig], Path], algorithm: str, mode: str, k: int) -> dict[float, list[float]]:
    """Mean returns of the runs, by where in the training, from the files themselves."""
    found: dict[float, list[float]] = {}
    for run in suite[0]:
        if (run.family, run.algorithm) == ("scored", algorithm):
            path = run.directory(suite[1]) / "learning.parquet"
            frame = records.read_table(path, records.LEARNING_SCHEMA).astype({"mode": str})
            frame = frame[(frame["mode"] == mode) & (frame["k"] == k)]
            for part, steps in enumerate(sorted(frame["trained_steps"].unique())):
                found.setdefault(part, []).append(frame.loc[frame["trained_steps"] == steps, "return"].mean())
    return found


@pytest.mark.parametrize("algorithm", ["maml", "rl2"])
def test_lines_are_means_over_runs_before_and_after_evidence(
    suite: tuple[list[RunConfig], Path], data: Results, panel: Axes, algorithm: str
) -> None:
    mode = data.summary.mode("scored", algorithm, "return")
    expected = {k: [np.mean(runs) for runs in scores(suite, algorithm, mode, k).values()] for k in CURVE.k}
    drawn = [line for line in panel.lines if np.allclose(line.get_ydata(), expected[0])]
    assert [line.get_linestyle() for line in drawn] == [":"]
    drawn = [line for line in panel.lines if np.allclose(line.get_ydata(), expected[10])]
    assert len(drawn) == 1 and drawn[0].get_marker() != "None"
    # Seeds whose meta-steps differ keep their models at slightly different steps: 0, 100 and 200 later.
    np.testing.assert_allclose(drawn[0].get_xdata(), np.array([250_000, 500_000, 750_000, 1_000_000]) + 100)


def test_bands_are_the_range_of_three_runs(suite: tuple[list[RunConfig], Path], data: Results, panel: Axes) -> None:
    mode = data.summary.mode("scored", "maml", "return")
    last = list(scores(suite, "maml", mode, 10).values())[-1]
    heights = [path.vertices[:, 1] for area in panel.collections for path in area.get_paths()]
    assert any(np.isclose(values, min(last)).any() and np.isclose(values, max(last)).any() for values in heights), (
        heights
    )


def test_the_legend_names_no_learner_without_a_curve(data: Results) -> None:
    curves = TrainingRecords(tuple(run for run in data.training.runs if run.algorithm != "rl2"), data.training.root)
    less = replace(data, training=curves)
    with style.context("validation_curves"):
        (legend,) = figures.draw(validation_curves, less, figures.concerned(validation_curves, less)).legends
    assert [text.get_text() for text in legend.get_texts()] == ["maml", "before any evidence"]


def test_a_damaged_learning_curve_is_named(suite: tuple[list[RunConfig], Path], tmp_path: Path) -> None:
    runs = synthetic.runs_of([SCORED], ("maml",), seeds=1, learning_curve=CURVE)
    synthetic.write_suite([SCORED], runs, tmp_path)
    aggregate(runs, tmp_path)
    path = runs[0].directory(tmp_path) / "learning.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RecordError, match=r"learning\.parquet: is not as it was written"):
        _ = load(runs, tmp_path).training.along
