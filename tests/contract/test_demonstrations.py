"""A learner that is shown expert episodes instead of playing for evidence, on a family that offers them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kshot import records
from kshot.run_config import Evaluation, RunConfig
from kshot.running.evaluate import evaluate
from kshot.running.train import train

FAMILY = '''
"""Point navigation with the straight line to the goal as demonstrations."""

from envs import nav2d
from envs.nav2d import ACTIONS, Settings

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
    return RunConfig("demos", "shown", "shown", "watching", "watching", 0, 50, evaluation)


def test_demonstrations_are_evidence_and_no_episode_of_the_learner_is(run: RunConfig, tmp_path: Path) -> None:
    train(run, tmp_path)
    evaluate(run, tmp_path)
    directory = run.directory(tmp_path)
    assert records.read_json(directory / "run.json")["evidence"] == "demonstrations"
    curve = records.read_table(directory / "curve.parquet", records.CURVE_SCHEMA)
    assert (curve["adaptation_episodes"] == 0).all()
    assert curve.loc[curve["k"] == 1, "adaptation_steps"].min() > 0
    success = curve[curve["mode"] == "mean"].groupby("k")["success_last"].mean()
    assert success[0] < 0.5 and success[1] == 1.0 == success[2]
    assert len(curve[curve["mode"] == "sampled"]) == 4 * 2 * 3


def test_a_family_without_demonstrations_says_so(run: RunConfig, tmp_path: Path) -> None:
    plain = RunConfig(**{**vars(run), "family_module": "nav2d"})
    with pytest.raises(ValueError, match="family 'nav2d' offers no demonstrations"):
        train(plain, tmp_path)
