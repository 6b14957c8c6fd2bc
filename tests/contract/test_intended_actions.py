"""Every learner says how it is meant to act when it is tested, and at which evidence its policies answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from kshot import records, registry
from kshot.errors import ConfigError, RegistryError
from kshot.places import SUITES
from kshot.running import build
from kshot.running.evaluate import evaluate, evidence_points
from kshot.running.train import train
from kshot.suites.reading import load_suite
from kshot.types import Mode
from tests.contract import tiny


@pytest.mark.parametrize("name", registry.names("algorithms"))
def test_every_algorithm_declares_the_actions_of_its_test(name: str) -> None:
    assert registry.load("algorithms", name).TEST_ACTIONS in get_args(Mode)
    assert set(registry.MODES) == set(get_args(Mode))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", r"algorithm 'silent' \(.*silent\.py\) lacks TEST_ACTIONS; see CONTRIBUTING\.md"),
        (
            'TEST_ACTIONS = "greedy"',
            r"'silent' \(.*silent\.py\): TEST_ACTIONS, how it acts when it is tested, must be 'sampled' or 'mean', not "
            "'greedy'",
        ),
    ],
)
def test_a_plugin_that_does_not_is_refused_in_one_line(
    line: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "algorithms").mkdir()
    text = f"from kshot.algorithms.maml import ACTIONS, EVIDENCE, Settings, build\n{line}\n"
    (tmp_path / "algorithms" / "silent.py").write_text(text)
    monkeypatch.setenv("KSHOT_PATH", str(tmp_path))
    with pytest.raises(RegistryError, match=message):
        registry.load("algorithms", "silent")


@pytest.mark.parametrize(("algorithm", "family"), [("maml", "bandit"), ("pearl", "nav2d"), ("rl2", "gridnavi")])
def test_records_say_the_actions_and_the_evidence_a_learner_takes(algorithm: str, family: str, tmp_path: Path) -> None:
    run = tiny.run(algorithm, family, iterations=1)
    learner = build.learner(run, build.family(run).spec)
    train(run, tmp_path)
    evaluate(run, tmp_path)
    trained, evaluated = (records.read_json(run.directory(tmp_path) / f"{step}.json") for step in ("run", "evaluate"))
    intended = registry.load("algorithms", algorithm).TEST_ACTIONS
    assert trained["run"]["test_actions"] == evaluated["run"]["test_actions"] == intended
    assert evaluated["adaptation_episodes"] == learner.adaptation_episodes
    assert evaluated["max_evidence"] == learner.max_evidence


def test_a_resolved_suite_says_what_its_code_says() -> None:
    """Facts stand in the runs, whether the code is asked or an earlier answer is read."""
    suite = load_suite(SUITES / "laptop.yaml")
    for again in (suite, load_suite(suite.resolved(), recorded=True)):
        for run in again.runs():
            family = registry.load("envs", run.family_module)
            chosen = getattr(family, "headline", lambda settings: "return")
            assert run.headline == chosen(registry.settings(family, run.family_settings))
            if run.algorithm_module is None:
                assert (run.test_actions, run.evidence, run.from_scratch) == ("sampled", "rollouts", False)
                continue
            module = registry.load("algorithms", run.algorithm_module)
            assert (run.test_actions, run.evidence) == (module.TEST_ACTIONS, module.EVIDENCE)
            assert run.from_scratch == (run.algorithm_module == "maxent_irl")


def test_facts_decide_no_fingerprint_and_are_read_anew_where_the_code_is_asked() -> None:
    suite = load_suite(SUITES / "smoke.yaml")
    wrong = suite.resolved()
    for facts in wrong["facts"]["algorithms"].values():
        facts["test_actions"] = "mean" if facts["test_actions"] == "sampled" else "sampled"
    believed = load_suite(wrong, recorded=True)
    assert [run.test_actions for run in believed.runs()] != [run.test_actions for run in suite.runs()]
    for one, other in zip(believed.runs(), suite.runs(), strict=True):
        assert (one.train_hash, one.config_hash) == (other.train_hash, other.config_hash)
    assert load_suite(wrong) == suite


def test_a_headline_that_nobody_knows_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "envs").mkdir()
    text = "from kshot.envs.nav2d import ACTIONS, EVIDENCE, Settings, build\ndef headline(settings): return 'score'\n"
    (tmp_path / "envs" / "odd.py").write_text(text)
    monkeypatch.setenv("KSHOT_PATH", str(tmp_path))
    family = {"odd": {"steps": 100, "evaluation": {"tasks": 2, "k": [0]}}}
    with pytest.raises(ConfigError) as error:
        load_suite({"name": "one", "seeds": [0], "families": family, "algorithms": {"rl2": {}}})
    assert error.value.problems == (
        "suite: families.odd: 'odd' has the headline 'score', which is none of return, success_last, trial_return",
    )


def test_a_learner_on_blocks_answers_within_a_block_by_the_complete_ones() -> None:
    """Blocks of 2: at K = 1 it has adapted to nothing, at 5 to 4; RL2's trial of 3 ends what it can use at 2."""
    run = tiny.run("maml", "bandit")
    learner = build.learner(run, build.family(run).spec)
    assert learner.adaptation_episodes == 2
    assert evidence_points(learner, (0, 1, 2, 3, 5, 9)) == [0, 2, 4, 8]
    run = tiny.run("rl2", "bandit")
    memory = build.learner(run, build.family(run).spec)
    assert memory.max_evidence == 2
    assert evidence_points(memory, (0, 1, 2, 3, 5)) == [0, 1, 2]


def test_a_policy_between_the_points_of_a_suite_is_scored_with_both_kinds_of_actions(tmp_path: Path) -> None:
    """K = 3 of a learner on blocks of 2 is its policy after 2, which no point of the suite names."""
    run = tiny.run("untrained", "bandit")
    run = replace(run, evaluation=run.evaluation.model_copy(update={"k": (0, 3)}))
    train(run, tmp_path)
    evaluate(run, tmp_path)
    curve = records.read_table(run.directory(tmp_path) / "curve.parquet", records.CURVE_SCHEMA)
    assert set(zip(curve["mode"].astype(str), curve["k"], strict=True)) == {
        (mode, k) for mode in ("mean", "sampled") for k in (0, 2)
    }


@pytest.mark.parametrize(("algorithm", "expected"), [("rl2", 5), ("pearl", 1)])
def test_intended_actions_are_scored_by_as_many_episodes_as_mean_ones(
    algorithm: str, expected: int, tmp_path: Path
) -> None:
    """More sampled episodes at a point change neither the evidence that follows nor the episodes that were there."""
    curves = []
    for episodes in (1, 5):
        run = tiny.run(algorithm, "nav2d", iterations=1)
        run = replace(run, evaluation=run.evaluation.model_copy(update={"mean_episodes": episodes}))
        train(run, tmp_path / str(episodes))
        evaluate(run, tmp_path / str(episodes))
        path = run.directory(tmp_path / str(episodes)) / "curve.parquet"
        curves.append(records.read_table(path, records.CURVE_SCHEMA))
    few, many = (curve[curve["mode"] == "sampled"].set_index(["k", "task", "episode"]) for curve in curves)
    assert (many.groupby(["k", "task"], observed=True).size() == expected).all()
    same = ["return", "env_steps", "adaptation_steps"]
    assert many.loc[few.index, same].equals(few[same])
