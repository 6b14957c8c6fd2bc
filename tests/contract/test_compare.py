"""``kshot compare``: a planted regression is found, noise is not, and the same results give the same bytes."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from kshot import cli, yaml_text
from kshot.records import write_text
from kshot.reporting import compare_report, kept
from kshot.reporting.aggregate import aggregate
from kshot.reporting.compare import Comparison
from kshot.reporting.compare_sides import Side, find_side
from kshot.suites.model import Suite
from kshot.suites.reading import load_suite
from kshot.suites.run import RunConfig
from tests import synthetic

pytestmark = pytest.mark.contract

BANDIT = replace(synthetic.BANDIT, n_tasks=12, k=(0, 2, 10))
POINT = replace(synthetic.POINT, name="nav2d", n_tasks=8, k=(0, 10), episodes_per_trial=1)
FAMILIES = {"bandit": BANDIT, "nav2d": POINT}
LEARNERS = ("maml", "rl2")


def suite(name: str, seeds: Sequence[int], learners: Sequence[str] = LEARNERS, steps: int = 1000) -> Suite:
    families = {f.name: {"steps": steps, "evaluation": {"tasks": f.n_tasks, "k": list(f.k)}} for f in FAMILIES.values()}
    return load_suite(
        {"name": name, "seeds": list(seeds), "families": families, "algorithms": {name: {} for name in learners}}
    )


def fill(suite: Suite, root: Path, aggregated: bool = True, drawn: int = 0) -> Path:
    """Write made-up results of a suite; ``drawn`` chooses the draw."""
    for run in suite.runs():
        family = FAMILIES[run.family]
        frame = synthetic.curve(family, replace(run, seed=run.seed + 100 * drawn)).assign(seed=run.seed)
        synthetic.write_run(family, run, root, frame)
    write_text(root / suite.name / "suite.yaml", yaml_text.sealed(yaml_text.dump(suite.resolved())))
    if aggregated:
        aggregate(suite.runs(), root)
    return root / suite.name


def load(name: Path) -> tuple[dict[str, object], list[RunConfig]]:
    found = load_suite(name, recorded=True)
    return found.resolved(facts=False), found.runs()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Suites ``before`` and ``after``, in which RL² does not learn; ``again``, another draw of ``before``; ``few``."""
    root = tmp_path_factory.mktemp("compare") / "results"
    fill(suite("before", range(4)), root)
    fill(suite("again", range(4)), root, drawn=1)
    fill(suite("few", range(2), steps=2000), root, drawn=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(synthetic.LEARNERS, "rl2", (0.1, 0.1, 0.03))
        fill(suite("after", range(4)), root, drawn=3)
    return root


def read(a: str | Path, b: str | Path, root: Path, pairs: Sequence[str] = ()) -> Comparison:
    return compare_report.read(str(a), str(b), load, root, pairs)


def kshot(folder: Path, root: Path, *arguments: str, patch: pytest.MonkeyPatch) -> int:
    patch.chdir(folder)
    return cli.main(["compare", *arguments, "--root", str(root)])


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_planted_regression_is_found(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kshot(tmp_path, root, "before", "after", "--fail-if-worse", patch=monkeypatch) == 1
    printed = capsys.readouterr().out.splitlines()
    out = tmp_path / "reports" / "compare" / "before-after"
    assert printed[0] == "reports/compare/before-after/index.html"
    assert printed[-1] == "of 4 comparisons, B is significantly worse in 2 and better in 0"
    assert [line.split(": ")[:2] for line in printed if line.startswith("worse")] == [
        ["worse", "rl2 on bandit"],
        ["worse", "rl2 on nav2d"],
    ]
    rows = pd.read_csv(out / "compare.csv")
    tested = rows[rows["view"] == "headline"].set_index(["family", "learner_a"])
    assert tested["verdict"].to_dict() == {
        ("bandit", "maml"): "not significant",
        ("bandit", "rl2"): "worse",
        ("nav2d", "maml"): "not significant",
        ("nav2d", "rl2"): "worse",
    }
    assert tested.loc[("bandit", "rl2"), "metric"] == "trial_return" and set(rows["tasks"]) == {"the same"}
    assert tested.loc[("bandit", "maml"), ["metric", "k"]].tolist() == ["return", 10]
    page = (out / "index.html").read_text()
    assert "rl2 on nav2d is significantly worse in B." in page and "maml on nav2d is" not in page
    assert sorted(files(out)) == [
        "compare.csv",
        *(f"compare.{s}" for s in ("md", "pdf", "png", "svg", "tex")),
        "index.html",
    ]
    # The other way round it has got better, which fails nothing; without the option nothing does.
    assert kshot(tmp_path, root, "after", "before", "--fail-if-worse", patch=monkeypatch) == 0
    assert kshot(tmp_path, root, "before", "after", patch=monkeypatch) == 0


def test_the_difference_is_that_of_the_means_of_seeds(root: Path) -> None:
    comparison = read("before", "after", root)
    row = next(row for row in comparison.rows if (row.family, row.a) == ("nav2d", "rl2"))
    means = []
    for name in ("before", "after"):
        scores = pd.read_csv(root / name / "scores.csv")
        key = {"family": "nav2d", "algorithm": "rl2", "metric": "return", "mode": "sampled", "k": 10, "group": "all"}
        for column, value in key.items():
            scores = scores[scores[column] == value]
        means.append(scores["score"].mean())
    assert row.headline.contrast is not None
    assert row.headline.contrast.difference == pytest.approx(means[1] - means[0])
    assert [view.k for view in row.by_k] == [0, 10]


def test_noise_is_reported_once_in_twenty_pairs_at_most(tmp_path: Path) -> None:
    drawn: list[Side] = []
    for i in range(7):  # 21 pairs
        folder = fill(suite("noise", range(3)), tmp_path / str(i), drawn=10 + i)
        drawn.append(find_side(str(folder), load, tmp_path))
    pairs = list(itertools.combinations(drawn, 2))[:20]
    reported = [any(row.verdict in ("worse", "better") for row in compare_report.compare(*pair).rows) for pair in pairs]
    assert len(reported) == 20 and sum(reported) <= 1
    assert all(compare_report.compare(*pair).tested == 4 for pair in pairs)


def test_the_same_results_give_the_same_bytes_wherever_they_lie(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a suite in the results folder, as runs or numbers alone that somebody sent, and as a suite that is kept."""
    assert kshot(tmp_path, root, "before", "again", "--out", "one", "--fail-if-worse", patch=monkeypatch) == 0
    expected = files(tmp_path / "one")
    runs, sent = tmp_path / "runs" / "again", tmp_path / "sent" / "before"
    shutil.copytree(root / "again", runs, ignore=shutil.ignore_patterns("*.csv", "tasks.parquet", "aggregate.json"))
    shutil.copytree(root / "before", sent, ignore=lambda _, names: [n for n in names if n in FAMILIES])
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    assert kshot(tmp_path, tmp_path / "none", str(sent), str(runs), "--out", "two", patch=monkeypatch) == 0
    assert files(tmp_path / "two") == expected
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before  # nothing is written beside them
    packed = tmp_path / "kept"
    found = load_suite(root / "again" / "suite.yaml", recorded=True)
    kept.pack(found.resolved(), found.runs(), root, packed)
    assert kshot(tmp_path, root, "before", str(packed / "again"), "--out", "three", patch=monkeypatch) == 0
    assert files(tmp_path / "three") == expected


def test_numbers_that_no_longer_fit_the_runs_are_made_again(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "before", tmp_path / "before")
    shutil.rmtree(tmp_path / "before" / "nav2d" / "rl2" / "seed-3")
    comparison = read("before", tmp_path / "before", root)
    row = next(row for row in comparison.rows if (row.family, row.b) == ("nav2d", "rl2"))
    assert row.headline.b is not None and row.headline.b.n_seeds == 3
    assert ("warn", "Runs of B that are missing and in no mean: rl2 on nav2d (1).") in comparison.notes


def test_fewer_than_three_seeds_allow_no_test_and_differing_settings_are_named(root: Path) -> None:
    comparison = read("before", "few", root)
    assert comparison.tested == 0 and comparison.summary.startswith("nothing could be tested")
    assert {row.verdict for row in comparison.rows} == {"no test: fewer than 3 seeds"}
    texts = [text for _, text in comparison.notes]
    assert any(text.startswith("Fewer than three seeds on a side allow no test") for text in texts)
    assert any(text.startswith("Settings differ (A → B): steps 1000 → 2000: maml on bandit") for text in texts)


def test_other_tasks_are_not_paired_and_said_so(root: Path, tmp_path: Path) -> None:
    found = suite("before", range(3))
    for run in found.runs():
        frame = synthetic.curve(FAMILIES[run.family], run)
        synthetic.write_run(FAMILIES[run.family], run, tmp_path, frame.assign(task="other-" + frame["task"]))
    aggregate(found.runs(), tmp_path)
    comparison = read("before", tmp_path / "before", root)
    assert all(row.headline.noise is not None and not row.headline.noise.paired for row in comparison.rows)
    assert any(text.startswith("Other test tasks, so that outcomes are not paired") for _, text in comparison.notes)
    assert any(text.startswith("Settings are not known on both sides") for _, text in comparison.notes)


def test_learners_of_other_names_are_compared_on_demand(root: Path) -> None:
    comparison = read("before", "again", root, ["maml=rl2"])
    pairs = [(row.a, row.b) for row in comparison.rows if row.family == "nav2d"]
    assert pairs == [("maml", "rl2"), ("rl2", ""), ("", "maml")]
    assert comparison.rows[0].name == "maml / rl2" and comparison.rows[1].verdict == "only in A"


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["before", "bef"], "bef: no suite with results, and no folder of results (did you mean 'before'?)"),
        (["x.csv", "before"], "x.csv: episodes from outside are compared with a suite: name that first"),
        (["before", "x.csv"], "x.csv: no such file"),
        (["before", "empty"], "empty: holds no results: neither runs nor the files of `kshot aggregate`"),
        (["before", "again", "--pair", "maml"], "--pair maml: expected two names, <name in A>=<name in B>"),
        (["before", "again", "--pair", "maml=x"], "--pair maml=x: B has no learner 'x' (known: maml, rl2)"),
    ],
)
def test_a_mistake_gets_one_line(
    root: Path, tmp_path: Path, arguments: list[str], line: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "empty").mkdir()
    assert kshot(tmp_path, root, *arguments, patch=monkeypatch) == 2
    assert capsys.readouterr().err == f"kshot: {line}\n"
    assert not (tmp_path / "reports").exists()


def test_damaged_numbers_are_refused(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "before", tmp_path / "before")
    with (tmp_path / "before" / "scores.csv").open("a") as file:
        file.write("x")
    with pytest.raises(ValueError, match=r"scores\.csv: is not as it was written"):
        read("before", tmp_path / "before", root)
