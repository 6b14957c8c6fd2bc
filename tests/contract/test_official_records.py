"""Asking for Metaworld's own evaluation, its record, and the report that shows both numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kshot import checksums, records
from kshot.commands.runs import asking_official
from kshot.envs.metaworld import MetaWorldFamily
from kshot.errors import ConfigError, RecordError
from kshot.reporting import page, tables
from kshot.reporting.aggregate import aggregate
from kshot.reporting.results import load
from kshot.running.audit import audit
from kshot.running.official import official
from kshot.running.train import train
from kshot.suites.reading import load_suite
from kshot.suites.run import RunConfig
from tests import synthetic
from tests.contract import tiny


def suite(family: str = "metaworld", settings: dict[str, Any] | None = None, **evaluation: Any) -> dict[str, Any]:
    cell = {"family": family, "settings": settings or {}, "steps": 100}
    return {
        "name": "asking",
        "seeds": [0],
        "families": {"here": cell | {"evaluation": {"tasks": 2, "k": [0, 10], **evaluation}}},
        "algorithms": {"maml": {}},
    }


@pytest.mark.parametrize(
    "value, reason",
    [
        (suite("nav2d", official=True), "only families of Meta-World have one, 'nav2d' has not"),
        (suite(official=True, split="validation"), "it plays test tasks, and the split is 'validation'"),
        (suite(settings={"goal_observable": True}, official=True), "the official environments have no goal_observable"),
    ],
)
def test_what_has_no_official_evaluation_is_refused_in_one_line(value: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_suite(value)
    assert error.value.problems == (f"suite: families.here.evaluation.official: no official evaluation: {reason}",)


def test_asking_concerns_learners_and_makes_no_other_result_outdated() -> None:
    asked, plain = load_suite(suite(official=True)), load_suite(suite())
    assert {run.algorithm: run.official for run in asked.runs()} == {
        "maml": True,
        **dict.fromkeys(("random", "task_blind", "oracle"), False),
    }
    assert not any(run.official for run in plain.runs())
    for a, b in zip(asked.runs(), plain.runs(), strict=True):
        assert (a.config_hash, a.train_hash) == (b.config_hash, b.train_hash)
    assert load_suite(asked.resolved()).runs() == asked.runs()


def small(run: RunConfig, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """The run, asking for the official evaluation, on two sub-environments."""
    make = MetaWorldFamily.official_env
    monkeypatch.setattr(MetaWorldFamily, "official_env", lambda self: make(self, num_envs=2, goals_per_class=2))
    return replace(run, evaluation=run.evaluation.model_copy(update={"official": True}))


def test_a_trained_run_gets_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = small(tiny.run("rl2", "metaworld"), monkeypatch)
    folder = run.directory(tmp_path)
    with pytest.raises(RecordError, match=r"model.pt: no such file; train this run first"):
        official(run, tmp_path)
    train(run, tmp_path)
    official(run, tmp_path)
    first = records.read_json(folder / "official.json")
    assert (first["status"], first["train_hash"]) == ("ok", run.train_hash)
    assert first["env_steps"] == 2 * 6 * (2 + 2) and first["wall_seconds"] > 0
    assert {"source_digest", "git_commit", "versions", "hardware"} <= first.keys()
    found = first["official"]
    assert found["metaworld"] == first["versions"]["metaworld"] == "3.1.1"
    assert found["adaptation_note"] == "the learner can use at most 2 episodes"
    assert json.loads((folder / "progress.json").read_text())["state"] == "trained", "kshot's own evaluation is to come"
    (folder / "evaluate.json").write_text("{}")
    official(run, tmp_path)
    assert json.loads((folder / "progress.json").read_text())["state"] == "done"
    (folder / "evaluate.json").unlink()
    assert records.read_json(folder / "official.json")["official"] == found, "the same model gives the same numbers"
    assert audit([run], tmp_path).checked == 2
    with pytest.raises(RecordError, match=r"'rl2' on 'metaworld' is not for the official evaluation"):
        official(replace(run, evaluation=run.evaluation.model_copy(update={"official": False})), tmp_path)


def test_the_command_asks_for_it_by_itself_or_says_what_is_in_the_way() -> None:
    runs = {(run.family, run.algorithm): run for run in load_suite("config/suites/smoke.yaml").runs()}
    plain = runs["ml1-reach", "maml"]
    asking = asking_official(plain)
    assert asking.official and not plain.official
    assert (asking.train_hash, asking.config_hash) == (plain.train_hash, plain.config_hash)
    choosing = replace(plain, evaluation=plain.evaluation.model_copy(update={"split": "validation"}))
    for run, reason in (
        (runs["nav2d", "maml"], "'maml' on 'nav2d' has .*: only families of Meta-World have one, 'nav2d' has not"),
        (runs["ml1-reach", "random"], "it takes learners, and 'random' is a reference policy"),
        (choosing, "it plays test tasks, and the split is 'validation'"),
    ):
        with pytest.raises(
            ConfigError, match=f"no official evaluation: {reason}" if "has .*" not in reason else reason
        ):
            asking_official(run)


def test_a_diverged_run_has_a_record_without_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = small(tiny.run("maml", "metaworld"), monkeypatch)
    monkeypatch.setattr("kshot.algorithms.maml.MAML.meta_step", diverging)
    train(run, tmp_path)
    official(run, tmp_path)
    record = records.read_json(run.directory(tmp_path) / "official.json")
    assert (record["status"], record["reason"], record["official"]) == ("diverged", "iteration 0: no number", None)


def diverging(*_: object) -> None:
    raise FloatingPointError("no number")


CLASSES = replace(synthetic.ML10, name="ml", n_tasks=10, k=(0, 1, 10), classes=("door-close-v3", "lever-pull-v3"))


def found(success: float, k: int = 10) -> dict[str, Any]:
    """What the official evaluation of a run may have found."""
    return {
        "metaworld": "3.1.1",
        "mean_success": success,
        "mean_return": 100.0,
        "class_success": {"door-close-v3": success + 0.1, "lever-pull-v3": success - 0.1},
        "episodes_counted": 60,
        "num_evals": 10,
        "num_envs": 8,
        "adaptation_episodes": k,
        "evaluation_episodes": 3,
    }


@pytest.fixture
def results(tmp_path: Path) -> tuple[list[RunConfig], Path]:
    """Two learners with three seeds on a family that asks for it, and one on a family that does not."""
    runs = synthetic.runs_of([CLASSES, synthetic.POINT], learners=("maml", "rl2"), seeds=3)
    runs = [
        replace(
            run,
            evaluation=run.evaluation.model_copy(update={"official": run.family == "ml" and run.kind == "algorithm"}),
        )
        for run in runs
    ]
    synthetic.write_suite([CLASSES, synthetic.POINT], runs, tmp_path)
    for run in runs:
        if run.official:
            write(run, tmp_path, found(0.6 + 0.1 * run.seed, k=9 if run.algorithm == "rl2" else 10))
    aggregate(runs, tmp_path)
    return runs, tmp_path


def write(run: RunConfig, root: Path, entry: dict[str, Any] | None, **more: Any) -> None:
    record = {"train_hash": run.train_hash, "status": "ok", "official": entry, **more}
    checksums.write_record(run.directory(root) / "official.json", record)


def table(runs: list[RunConfig], root: Path) -> Any:
    return {table.name: table for table in tables.build(load(runs, root))}.get("official")


def test_both_numbers_stand_side_by_side(results: tuple[list[RunConfig], Path]) -> None:
    runs, root = results
    made = table(runs, root)
    assert [part.title for part in made.parts] == ["ml"]
    text = made.parts[0].text().set_index("policy")
    assert list(text.columns[:3]) == ["K", "official 3.1.1, biased upwards", "per goal, at any step"]
    assert text.loc["maml", "official 3.1.1, biased upwards"] == "0.70 [0.60 to 0.80]"
    assert text.loc["rl2", ["K", "per goal, at any step"]].tolist() == ["9", "not scored"]
    assert text["runs"].tolist() == ["3/3", "3/3"]

    numbers = pd.DataFrame(made.numbers).set_index(["algorithm", "class"])
    (ours,) = (point for point in load(runs, root).summary.curve("ml", "maml", "success_any", "mean") if point.k == 10)
    assert numbers.loc[("maml", "all"), "per_goal"] == ours.mean
    assert numbers.loc[("maml", "all"), "per_goal_episodes"] == 3 * 10
    assert numbers.loc[("maml", "all"), "official_episodes"] == 3 * 60
    assert numbers.loc[("maml", "lever-pull-v3"), "official"] == pytest.approx(0.6)
    assert numbers.loc[("maml", "lever-pull-v3"), "official_episodes"] == 3 * 30


def test_the_page_shows_them_and_says_why_they_differ(results: tuple[list[RunConfig], Path]) -> None:
    runs, root = results
    text = page.write_page({"name": "made-up"}, runs, root, root / "out").read_text()
    heads = [">official 3.1.1, biased upwards</th>", ">per goal, at any step</th>"]
    assert 0 < text.index(heads[0]) < text.index(heads[1])
    assert "biased upwards (metaworld/evaluation.py; see pull request 577" in text
    assert ">official</a>" in text, "the records are linked beside the other files of a run"


def test_runs_without_numbers_are_counted_not_dropped(results: tuple[list[RunConfig], Path]) -> None:
    runs, root = results
    asked = [run for run in runs if run.official]
    write(asked[0], root, None, status="diverged")
    for run in asked[3:]:
        (run.directory(root) / "official.json").unlink()
    text = table(runs, root).parts[0].text().set_index("policy")
    assert text["runs"].tolist() == ["2/3", "0/3"]
    assert text.loc["maml", "official 3.1.1, biased upwards"] == "0.75"
    assert text.loc["rl2", "official 3.1.1, biased upwards"] == ""


def test_records_of_other_settings_or_protocols_are_refused(results: tuple[list[RunConfig], Path]) -> None:
    runs, root = results
    first, second = [run for run in runs if run.official][:2]
    write(second, root, found(0.5, k=4))
    with pytest.raises(RecordError, match=r"seed-1/official.json: its protocol differs from that of other seeds"):
        table(runs, root)
    write(first, root, found(0.5), train_hash="other")
    with pytest.raises(RecordError, match=r"seed-0/official.json: made from other settings \(hash other\)"):
        table(runs, root)


def test_records_that_nobody_asked_for_count_while_their_settings_are_the_suites(
    results: tuple[list[RunConfig], Path],
) -> None:
    runs, root = results
    plain = [replace(run, evaluation=run.evaluation.model_copy(update={"official": False})) for run in runs]
    for run in runs:
        if run.official and (run.algorithm == "rl2" or run.seed == 2):
            (run.directory(root) / "official.json").unlink()
    write(next(run for run in runs if run.official), root, found(0.5), train_hash="other")
    text = table(plain, root).parts[0].text().set_index("policy")
    assert text["runs"].to_dict() == {"maml": "1/3"}
    assert text.loc["maml", "official 3.1.1, biased upwards"] == "0.70"


def test_without_asking_there_is_no_such_table(tmp_path: Path) -> None:
    runs = synthetic.runs_of([synthetic.POINT], learners=("maml",), seeds=1)
    synthetic.write_suite([synthetic.POINT], runs, tmp_path)
    aggregate(runs, tmp_path)
    assert table(runs, tmp_path) is None
