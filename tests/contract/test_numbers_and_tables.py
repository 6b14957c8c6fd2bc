"""From run directories to numbers and tables: what they hold, and that nothing is compared that must not be."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from kshot import computed_again
from kshot.errors import RecordError
from kshot.reporting import tables
from kshot.reporting.aggregate import aggregate
from kshot.reporting.names import LIKELIHOOD
from kshot.reporting.results import load
from kshot.reporting.schemas import SUMMARY_COLUMNS
from tests import synthetic
from tests.contract.reported import BANDIT, CLASSES, Reported

pytestmark = pytest.mark.contract


@pytest.mark.parametrize("digest", ["123456789012", "1e5", "nan", "0012"])
def test_names_and_hashes_that_look_like_numbers_stay_text(tmp_path: Path, digest: str) -> None:
    family = replace(BANDIT, name="10")
    runs = synthetic.runs_of([family], learners=("rl2",), references=(), seeds=1)
    synthetic.write_run(family, runs[0], tmp_path, digest=digest)
    aggregate(runs, tmp_path)
    data = load(runs, tmp_path)
    assert list(data.summary.families) == ["10"]
    assert data.grid.cells["source_digest"].tolist() == [digest]
    assert data.summary.point("10", "rl2", "return", 0) is not None


@pytest.mark.parametrize("references", [("random", "oracle"), ("random",)])
def test_captions_explain_a_scale_only_where_there_is_one(tmp_path: Path, references: tuple[str, ...]) -> None:
    family = replace(BANDIT, known={})
    runs = synthetic.runs_of([family], learners=("rl2",), references=references, seeds=1)
    synthetic.write_suite([family], runs, tmp_path)
    aggregate(runs, tmp_path)
    captions = {table.name: table.caption for table in tables.build(load(runs, tmp_path))}
    assert {"headline", "after_k"} <= set(captions)
    assert any("scripted oracle" in caption for caption in captions.values()) == ("oracle" in references)


def test_the_summary_has_its_columns_and_every_cell_of_the_grid(reported: Reported) -> None:
    runs, root = reported
    summary = pd.read_csv(root / "made-up" / "summary.csv")
    assert tuple(summary.columns) == SUMMARY_COLUMNS
    assert not summary.duplicated(["family", "algorithm", "group", "mode", "k", "metric"]).any()
    assert set(summary["group"]) == {"all", *CLASSES.classes}
    assert set(summary.loc[summary["family"] == "bandit", "group"]) == {"all"}
    assert set(summary["metric"]) == {
        "return",
        "success_any",
        "success_last",
        "first_success",
        "trial_return",
        LIKELIHOOD,
    }
    few = summary[summary["n_seeds"] < 3]
    assert len(few)
    assert few[["mean_lo", "mean_hi", "iqm_lo", "iqm_hi"]].isna().all(axis=None)
    cells = pd.read_csv(root / "made-up" / "cells.csv")
    assert list(zip(cells["family"], cells["algorithm"], cells["seed"], strict=True)) == [
        (run.family, run.algorithm, run.seed) for run in runs
    ]
    missing = cells[cells["state"] == "missing"]
    assert missing["reason"].tolist() == ["failed: out of memory"]
    assert cells.loc[cells["algorithm"] == "pearl", "evidence"].unique().tolist() == ["demonstrations"]
    ok = cells[cells["state"] == "ok"]
    assert (ok["peak_memory_gb"] == 0.5 + 0.25 * ok["seed"]).all()  # of training and evaluation, the larger


def test_mixed_source_code_is_flagged_where_modules_are_shared(reported: Reported) -> None:
    _, root = reported
    cells = pd.read_csv(root / "made-up" / "cells.csv")
    flagged = cells[cells["source_flag"] == "mixed"]
    assert set(zip(flagged["family"], flagged["algorithm"], strict=True)) == {("classes", "rl2")}
    assert len(flagged) == 3


def test_runs_that_are_missing_are_no_mixed_source_code(tmp_path: Path) -> None:
    point, runs = synthetic.POINT, synthetic.runs_of([synthetic.POINT], learners=("maml",), references=(), seeds=3)
    for run, digest in zip(runs, ("old", "new"), strict=False):
        synthetic.write_run(point, run, tmp_path, digest=digest)
    cells = pd.read_csv(aggregate(runs, tmp_path, partial=True).with_name("cells.csv"), keep_default_na=False)
    assert cells["source_flag"].tolist() == ["mixed", "mixed", ""]


def test_source_code_that_was_shown_to_change_no_number_is_one(tmp_path: Path) -> None:
    """Old and middle are one, and so are middle and new; of another's modules nothing was shown."""
    point = synthetic.POINT
    runs = synthetic.runs_of([point], learners=("maml", "rl2"), references=(), seeds=2)
    for run, digest in zip(runs, ("old", "new", "a", "b"), strict=True):
        synthetic.write_run(point, run, tmp_path, digest=digest)
    folder = tmp_path / runs[0].suite
    computed_again.add(folder, [computed_again.Again("point/maml/0", ("middle",), "new", "c2")])
    computed_again.add(folder, [computed_again.Again("point/maml/0", ("old",), "middle", "c1")])
    cells = pd.read_csv(aggregate(runs, tmp_path).with_name("cells.csv"), keep_default_na=False)
    assert cells["source_flag"].tolist() == ["same numbers"] * 2 + ["mixed"] * 2
    (folder / computed_again.FILE).write_text('{"runs": [{"run": "point/maml/0"}]}')
    with pytest.raises(RecordError, match=r"computed-again\.json: is not as `kshot verify --note` writes it"):
        aggregate(runs, tmp_path)


def test_tables_are_numbers_and_text(reported: Reported, report: Path) -> None:
    _, root = reported
    folder = report.parent / "tables"
    names = {
        "headline",
        "by_family",
        "after_k",
        "success",
        "classes",
        "paired",
        "normalised",
        "likelihood",
        "cost",
        "separation",
    }  # no improvement from three seeds
    assert {path.name for path in folder.iterdir()} == {f"{n}{s}" for n in names for s in (".csv", ".tex", ".md")}
    numbers = pd.read_csv(folder / "headline.csv")
    summary = pd.read_csv(root / "made-up" / "summary.csv")
    row = numbers[(numbers["family"] == "classes") & (numbers["algorithm"] == "rl2")].iloc[0]
    source = summary[(summary["family"] == "classes") & (summary["algorithm"] == "rl2") & (summary["group"] == "all")]
    source = source[(source["metric"] == "success_last") & (source["mode"] == "sampled")].set_index("k")["mean"]
    assert (row["first"], row["at_k"], row["score"]) == (source[0], source[10], source[10])
    assert (row["k"], row["at_k_k"], row["actions"]) == (10, 10, "sampled")
    text = (folder / "headline.md").read_text()
    assert f"{row['at_k']:.2f} [{row['at_k_lo']:.2f} to {row['at_k_hi']:.2f}]" in text
    assert re.search(r"\| maml \|.*\| 2/3 \(1 missing\) \|", text)
    assert re.search(r"\| maml \|.*\| 2/3 \(1 diverged\) \|", text)
    assert re.search(r"\| Bayes-optimal \| 6.66 \|", text)
    latex = (folder / "headline.tex").read_text()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 4
    assert (
        re.search(r"(?<!\\)[_&%#](?=\w)", "\n".join(re.findall(r"^(?!%).*\\\\$", latex, re.M)).replace(" & ", ""))
        is None
    )
    classes = pd.read_csv(folder / "classes.csv")
    assert set(classes["class"]) == set(CLASSES.classes)


def test_learners_by_families_are_the_headline_scores(report: Path) -> None:
    folder = report.parent / "tables"
    numbers, headline = (pd.read_csv(folder / f"{name}.csv") for name in ("by_family", "headline"))
    key = ["family", "algorithm", "evidence"]
    expected = headline[(headline["kind"] != "known") & headline["score"].notna()].set_index(key)["score"]
    assert numbers.set_index(key)["score"].to_dict() == expected.to_dict()
    text = (folder / "by_family.md").read_text()
    assert text.count("| policy | bandit | classes, K = 10 |") == 1, "a trial has no K"
    own, demonstrated = text.split("## ")[1:]
    row = numbers[(numbers["family"] == "classes") & (numbers["algorithm"] == "rl2")].iloc[0]
    assert re.search(rf"^\| rl2 \| [^|]+ \| {row['score']:.2f} ", own, re.M) and "| rl2 |" not in demonstrated
    assert 'id="answer-rewards"' in report.read_text() and "by_family-table" not in report.read_text()


def test_demonstrations_are_never_ranked_with_rewards(reported: Reported, report: Path) -> None:
    runs, root = reported
    data = load(runs, root)
    assert [(section.family, section.evidence) for section in data.sections] == [
        ("bandit", "rollouts"),
        ("bandit", "demonstrations"),
        ("classes", "rollouts"),
        ("classes", "demonstrations"),
    ]
    for table in tables.build(data):
        for part in table.parts:
            shown = {row.name for row in part.rows} | set(part.columns)
            assert ("pearl" in shown) == (part.evidence == "demonstrations"), (table.name, part.title)
            assert (part.evidence == "demonstrations") == ("demonstrations" in part.title)
