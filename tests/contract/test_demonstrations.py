"""A learner that is shown expert episodes instead of playing for evidence, on a family that offers them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kshot import records
from kshot.envs.spritegrid import SpriteGridFamily
from kshot.running import build
from kshot.running.evaluate import HELD_OUT, evaluate
from kshot.running.train import Collector, train
from kshot.suites.run import Evaluation, RunConfig
from kshot.types import Episodes
from tests.contract import tiny

FAMILY = '''
"""Point navigation with the straight line to the goal as demonstrations."""

from kshot.envs import nav2d
from kshot.envs.nav2d import ACTIONS, Settings

EVIDENCE = frozenset({"rollouts", "demonstrations"})


class Shown(nav2d.Nav2DFamily):
    def demonstrations(self, tasks, n, keys, arrangement=0):
        from kshot.running.rollout import rollout

        return rollout(self, self.references["oracle"](tasks), tasks, keys, n)


def build(settings):
    return Shown(settings)
'''
LEARNER = '''
"""Goes where the demonstrations ended."""

from dataclasses import dataclass, replace

import numpy as np

EVIDENCE = "demonstrations"
ACTIONS = frozenset({"continuous"})
TEST_ACTIONS = "mean"


@dataclass(frozen=True)
class Settings:
    """No setting."""


@dataclass(frozen=True)
class Follow:
    target: object = None

    def start(self, n_tasks, n_copies, keys=None):
        return {}

    def act(self, obs, memory, noise):
        target = 0.0 if self.target is None else self.target[:, None]
        return np.clip((target - obs) * 10, -1, 1), np.zeros(obs.shape[:2]), memory

    def observe(self, memory, action, reward, done):
        return memory


class Watching:
    trains, fixed_tasks, tasks_per_step, adaptation_episodes, max_evidence = True, False, 3, 1, None

    def policy(self):
        return Follow()

    def meta_step(self, tasks, collect, progress):
        return {"return": float(collect.demonstrations(tasks, 2).returns.mean())}

    def adapt(self, policy, evidence):
        return replace(policy, target=evidence.final_obs.mean(axis=1))

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def build(spec, settings, seed, device):
    return Watching()
'''


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    for folder, name, text in (("envs", "shown", FAMILY), ("algorithms", "watching", LEARNER)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.py").write_text(text)
    monkeypatch.setenv("KSHOT_PATH", str(tmp_path))
    evaluation = Evaluation(tasks=4, k=(0, 1, 2), sampled_episodes=2)
    return RunConfig("demos", "shown", "shown", "watching", "watching", 0, 50, evaluation, evidence="demonstrations")


def test_demonstrations_are_evidence_and_no_episode_of_the_learner_is(run: RunConfig, tmp_path: Path) -> None:
    train(run, tmp_path)
    evaluate(run, tmp_path)
    directory = run.directory(tmp_path)
    assert records.read_json(directory / "run.json")["run"]["evidence"] == "demonstrations"
    curve = records.read_table(directory / "curve.parquet", records.CURVE_SCHEMA)
    assert (curve["adaptation_episodes"] == 0).all()
    assert curve.loc[curve["k"] == 1, "adaptation_steps"].min() > 0
    success = curve[curve["mode"] == "mean"].groupby("k")["success_last"].mean()
    assert success[0] < 0.5 and success[1] == 1.0 == success[2]
    assert len(curve[curve["mode"] == "sampled"]) == 4 * 2 * 3


def test_points_that_are_not_asked_for_change_no_others(tmp_path: Path) -> None:
    """After two demonstrations a learner has the same score, whether it was also scored after one or not."""
    found = []
    for points in ((0, 1, 2), (0, 2)):
        run = tiny.run("mandril", "spritegrid", iterations=1)
        run = replace(run, evaluation=run.evaluation.model_copy(update={"k": points}))
        train(run, tmp_path / str(len(points)))
        evaluate(run, tmp_path / str(len(points)))
        curve = records.read_table(run.directory(tmp_path / str(len(points))) / "curve.parquet", records.CURVE_SCHEMA)
        assert sorted(set(curve.loc[curve["mode"] == "sampled", "k"])) == list(points)
        found.append(curve[curve["k"] == 2].drop(columns=["adaptation_updates", "config_hash"]).reset_index(drop=True))
    pd.testing.assert_frame_equal(*found)


def test_a_family_without_demonstrations_says_so(run: RunConfig, tmp_path: Path) -> None:
    plain = RunConfig(**{**vars(run), "family_module": "nav2d"})
    with pytest.raises(ValueError, match="family 'nav2d' offers no demonstrations"):
        train(plain, tmp_path)


# How well learners explain what they were not shown


def test_what_is_to_be_explained_is_shown_to_nobody_and_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same demonstrations at every K and for every seed, by other keys and in another arrangement than evidence."""
    asked: list[tuple[int, int, tuple[int, ...]]] = []
    original = SpriteGridFamily.demonstrations

    def watched(self: SpriteGridFamily, tasks: Any, n: int, keys: Any, arrangement: int = 0) -> Episodes:
        asked.append((n, arrangement, tuple(keys.tolist())))
        return original(self, tasks, n, keys, arrangement)

    curves, held_out = [], []
    for seed in (0, 1):
        run = tiny.run("mandril", "spritegrid", seed=seed, iterations=1)
        train(run, tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(SpriteGridFamily, "demonstrations", watched)
            evaluate(run, tmp_path)
        curves.append(records.read_table(run.directory(tmp_path) / "curve.parquet", records.CURVE_SCHEMA))
        elsewhere = [call for call in asked if call[1] == 1]
        evidence = {key for _, arrangement, keys in asked for key in keys if arrangement == 0}
        assert len(elsewhere) == 1 and {call[1] for call in asked} == {0, 1}
        assert elsewhere[0][0] == HELD_OUT and not evidence & set(elsewhere[0][2])
        held_out.append(elsewhere)
        asked.clear()
    assert held_out[0] == held_out[1]
    for curve in curves:
        mean = curve["mode"] == "mean"
        values = curve["held_out_log_likelihood"]
        assert (values[mean] < 0).all() and values[~mean].isna().all()
        assert values[mean].groupby(curve["k"]).nunique().tolist() == [2, 2, 2], "one value for each of two tasks"
        assert (curve["optimal_return"] - curve["return"] > -1e-4).all()
        assert (curve["stage"] == -1).all()


def test_learners_that_cannot_explain_are_not_asked(run: RunConfig, tmp_path: Path) -> None:
    train(run, tmp_path)
    evaluate(run, tmp_path)
    curve = records.read_table(run.directory(tmp_path) / "curve.parquet", records.CURVE_SCHEMA)
    assert curve["held_out_log_likelihood"].isna().all() and curve["optimal_return"].isna().all()


def test_an_evaluation_names_the_stages_of_its_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = replace(tiny.run("mandril", "gridnavi"), algorithm="posterior_sampling", algorithm_module=None)
    family = build.family(run)
    monkeypatch.setattr(family, "spec", replace(family.spec, stages=("lost", "there")))
    evaluate(run, tmp_path)
    noted = records.read_json(run.directory(tmp_path) / "evaluate.json")["family"]
    assert noted["stages"] == ["lost", "there"] and noted["trial_memory"] is True
    evaluate(replace(run, algorithm="oracle"), tmp_path)
    other = records.read_json(replace(run, algorithm="oracle").directory(tmp_path) / "evaluate.json")["family"]
    assert other["trial_memory"] is False


def test_learners_never_see_what_is_for_judging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny.run("rl2", "gridnavi", iterations=1)
    family = build.family(run)
    learner = build.learner(run, family.spec)
    handed: list[Episodes] = []
    monkeypatch.setattr(type(learner), "adapt", lambda self, policy, evidence: handed.append(evidence) or policy)
    train(run, tmp_path)
    evaluate(run, tmp_path)
    handed.append(Collector(family, 0, 0)(learner.policy(), family.tasks("train", 2, 0), 1))
    assert len(handed) > 1
    for episodes in handed:
        assert np.isnan(episodes.optimal_return).all() and (episodes.stage == -1).all()
    curve = records.read_table(run.directory(tmp_path) / "curve.parquet", records.CURVE_SCHEMA)
    assert curve["optimal_return"].notna().all()
