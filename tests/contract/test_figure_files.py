"""The files of figures: those that have something to show, the same bytes for the same records, and their looks."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import matplotlib
import pytest

from kshot.reporting import figures
from kshot.reporting.aggregate import aggregate
from kshot.reporting.faults import Faults
from kshot.reporting.figures import return_after_k
from kshot.reporting.figures._common import is_flat
from kshot.reporting.looks import looks
from kshot.reporting.results import load
from tests import synthetic
from tests.contract.reported import BANDIT, Reported

pytestmark = pytest.mark.contract


def test_figures_are_byte_identical_when_drawn_again(
    reported: Reported, report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, root = reported
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # and by several processes
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": "other"}):  # whatever the caller has set
        again = figures.render_all(runs, root, tmp_path)
    names = {figure.module.NAME for figure in figures.shown(load(runs, root), Faults())}
    assert {path.name for path in again} == {f"{name}.{suffix}" for name in names for suffix in ("pdf", "svg", "png")}
    for path in again:
        assert path.read_bytes() == (report.parent / "figures" / path.name).read_bytes(), path.name
    assert b"CreationDate" not in (tmp_path / "headline.pdf").read_bytes()


def test_figures_state_the_number_of_seeds(report: Path) -> None:
    data = (report.parent / "figures" / "headline.svg").read_text()
    # Text is drawn as paths; matplotlib leaves the words themselves in comments.
    assert "bandit (2 to 3 of 3 seeds)" in data
    assert ("bandit,", "from demonstrations (3 seeds)") in pairwise(re.findall("<!-- (.*?) -->", data))


def test_every_learner_has_its_colour_for_good() -> None:
    names = ["maml", "fomaml", "reptile", "rl2", "pearl", "mandril", "maml-fast", "mine", "yours"]
    together = looks(names)
    assert all(looks([name])[name] == together[name] for name in names[:6])
    assert len({look.color for look in together.values()}) == len(names)
    assert looks(names[::-1]) == together


def test_a_learner_keeps_its_colour_on_the_page_of_one_family(reported: Reported) -> None:
    data = load(*reported)
    (alone,) = (s for s in data.sections if (s.family, s.evidence) == ("bandit", "demonstrations"))
    assert (alone.finished, data.grid.learners) == (("pearl",), ("maml", "rl2", "pearl"))
    (legend,) = figures.draw(return_after_k, data, [alone]).legends
    found = {text.get_text(): line.get_color() for text, line in zip(legend.texts, legend.get_lines(), strict=True)}
    assert found["pearl"] == looks(data.grid.learners)["pearl"].color


def test_scripted_policies_that_learn_are_told_from_noise() -> None:
    assert is_flat([0.50, 0.53, 0.49], [0.02] * 3, (0.0, 1.0))
    assert not is_flat([0.50, 0.60, 0.70], [0.02] * 3, (0.0, 1.0))
    assert not is_flat([0.75, 0.90, 1.00], [0.10] * 3, (0.0, 1.0)), "few tasks have much noise, but this one learns"
    assert is_flat([0.75, 0.90, 1.00], [0.10] * 3), "without a scale only the noise counts"


def test_a_figure_with_nothing_to_show_has_no_files(reported: Reported, report: Path, tmp_path: Path) -> None:
    """Not even those of an earlier run, when there was something; what is not ours stays."""
    runs, root = reported
    absent = {"value_difference", "furthest_stage", "inner_steps", "validation_curves"}
    data = load(runs, root)
    assert {module.NAME for module in figures.modules(Faults()) if not figures.concerned(module, data)} == absent
    written = {path.stem for path in (report.parent / "figures").iterdir()}
    assert len(written) > 5 and not written & absent
    scripted = [run for run in runs if run.family == "bandit" and run.kind == "reference"]
    synthetic.write_suite([BANDIT], scripted, tmp_path)
    aggregate(scripted, tmp_path)
    out = tmp_path / "not" / "yet"
    for _ in range(2):
        assert figures.render_all(scripted, tmp_path, out) == []
        assert out.is_dir()  # which the workflow expects
        stale, own = out / "inner_steps.svg", out / "mine.svg"
        assert not stale.exists()
        for path in (stale, own):
            path.write_text("of an earlier run")
    assert figures.render_all(scripted, tmp_path, out) == []
    assert list(out.iterdir()) == [own]
