"""Every learner passes through Metaworld's own evaluation, and acts there as it does in ours."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from metaworld.policies import SawyerReachV3Policy

from kshot import seeding
from kshot.envs._scripted import Scripted
from kshot.envs.metaworld import MetaWorldFamily, Settings
from kshot.running import build, official
from kshot.running.rollout import rollout
from kshot.types import Array, Episodes, FamilySpec, MetaLearner, Policy, Task
from tests.contract import tiny

N = 2
"""Sub-environments, with one goal each."""
SMALL = {"num_envs": N, "goals_per_class": N}
LEARNERS = [
    parameter.values[0]
    for parameter in tiny.compatible()
    if parameter.values[1] == "metaworld" and tiny.run(*parameter.values).evidence == "rollouts"
]


def setup(algorithm: str) -> tuple[MetaWorldFamily, MetaLearner, list[Task]]:
    """A family, an untrained learner, and the test tasks of the sub-environments in ``SMALL``."""
    run = tiny.run(algorithm, "metaworld")
    family = build.family(run)
    assert isinstance(family, MetaWorldFamily)
    tasks = sorted(family.tasks("test", 50, 0), key=lambda task: task.index)[:N]
    return family, build.learner(run, family.spec), tasks


class Watched:
    """A learner that remembers what it was given to adapt on."""

    def __init__(self, learner: MetaLearner) -> None:
        self._learner = learner
        self.blocks: list[tuple[Policy, Episodes]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._learner, name)

    def adapt(self, policy: Policy, evidence: Episodes) -> Policy:
        self.blocks.append((policy, evidence))
        return self._learner.adapt(policy, evidence)


def keys(phase: str, block: int) -> seeding.Keys:
    return seeding.split(seeding.key(0, "official", 0, phase, block), np.arange(N))


@pytest.mark.parametrize("algorithm", LEARNERS)
def test_a_learner_plays_and_adapts_as_in_our_own_rollouts(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family, learner, tasks = setup(algorithm)
    watched, shown, horizon = Watched(learner), [], family.spec.horizon
    act = official.Agent.eval_action

    def watching(self: official.Agent, observations: Array) -> Array:
        action = act(self, observations)
        shown.append(action)
        return action

    monkeypatch.setattr(official.Agent, "eval_action", watching)
    found, env_steps = official.measure(watched, family, family.spec, 0, **SMALL)

    block = learner.adaptation_episodes
    expected = learner.max_evidence if learner.max_evidence is not None and learner.max_evidence < 10 else 10
    assert found["adaptation_episodes"] == expected // block * block == len(watched.blocks) * block
    policy = learner.policy()
    for i, (_, evidence) in enumerate(watched.blocks):
        played = rollout(family, policy, tasks, keys("adaptation", i), copies=block)
        # Single precision observations, and nothing else, tell the two apart.
        for name in ("obs", "action", "reward", "log_prob"):
            np.testing.assert_allclose(getattr(evidence, name), getattr(played, name), atol=2e-4, err_msg=name)
        for name in ("mask", "terminated", "truncated"):
            np.testing.assert_array_equal(getattr(evidence, name), getattr(played, name))
        policy = learner.adapt(policy, played)
    scored = rollout(family, policy, tasks, keys("evaluation", 0), copies=1, mode="mean")
    ours = np.clip(scored.action[:, 0], -1, 1).swapaxes(0, 1)
    np.testing.assert_allclose(np.stack(shown[:horizon]), ours, atol=2e-4)
    assert not np.array_equal(ours[0], ours[-1]), "a constant policy would show nothing"

    assert found["num_evals"] == 1 and found["episodes_counted"] == 3 <= found["episodes_finished"]
    assert 0 <= found["mean_success"] <= 1 and np.isfinite(found["mean_return"])
    assert list(found["class_success"]) == ["reach-v3"]
    assert env_steps == N * horizon * (found["adaptation_episodes"] + 2)


def test_a_new_episode_of_the_evaluation_begins_with_the_adapted_memory() -> None:
    family, learner, _ = setup("rl2")
    agent = official.Agent(learner, family.spec, N, 0)
    agent.init()
    obs, told = np.zeros((N, 45)), np.zeros((N, 45))
    told[:, -2] = 5.0  # a reward
    agent.reset(np.ones(N, dtype=bool))
    first = agent.eval_action(obs)
    with_reward = agent.eval_action(told)
    agent.reset(np.array([True, False]))
    again = agent.eval_action(obs)
    np.testing.assert_allclose(again[0], first[0], atol=1e-6)
    assert np.abs(again[1] - first[1]).max() > 1e-4
    assert np.abs(with_reward - first).max() > 1e-4


def test_without_evidence_nothing_adapts() -> None:
    family, learner, _ = setup("maml")
    watched = Watched(learner)
    found, env_steps = official.measure(watched, family, family.spec, 0, evidence=0, **SMALL)
    assert watched.blocks == [] and found["adaptation_steps"] == 0
    assert env_steps == N * family.spec.horizon * 2


@pytest.mark.parametrize(
    "block, limit, episodes, note",
    [
        (10, None, 10, ""),
        (5, None, 10, ""),
        (4, None, 8, "the learner adapts on 4 episodes at a time"),
        (40, None, 40, "the learner adapts on 40 episodes at a time"),
        (1, 9, 9, "the learner can use at most 9 episodes"),
        (1, 0, 0, "the learner can use at most 0 episodes"),
        (1, 50, 10, ""),
    ],
)
def test_ten_episodes_or_the_reason_why_not(block: int, limit: int | None, episodes: int, note: str) -> None:
    learner: Any = SimpleNamespace(adaptation_episodes=block, max_evidence=limit)
    assert official.adaptation_episodes(learner) == (episodes, note)


class Unchanging:
    """A learner that adapts on one episode and is none the wiser."""

    adaptation_episodes, max_evidence = 1, None

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def policy(self) -> Policy:
        return self._policy

    def adapt(self, policy: Policy, evidence: Episodes) -> Policy:
        return policy


def test_an_oracle_succeeds_everywhere() -> None:
    family = MetaWorldFamily(Settings(horizon=80))
    envs = family.official_env(num_envs=2, goals_per_class=4)
    expert = SawyerReachV3Policy()

    def rule(obs: Array, step: Array, noise: Array | None) -> Array:
        targets = [env.unwrapped._target_pos for env in envs.envs]  # type: ignore[attr-defined]  # a SyncVectorEnv
        return np.stack([expert.get_action(np.append(o[0, :-3], t)) for o, t in zip(obs, targets, strict=True)])[
            :, None
        ]

    learner: Any = Unchanging(Scripted(rule))
    made: Any = SimpleNamespace(official_env=lambda: envs)
    with pytest.warns(UserWarning, match="clip"):
        found, _ = official.measure(learner, made, family.spec, 0, evidence=1)
    assert found["num_evals"] == 2 and found["mean_success"] == 1.0
    assert found["class_success"] == {"reach-v3": 1.0}


@pytest.mark.parametrize(
    "settings, classes",
    [
        (Settings(task="push-v3", goal_seed=3), ["push-v3"]),
        (
            Settings(benchmark="custom", train_classes=("reach-v3",), test_classes=("door-close-v3", "push-v3")),
            ["door-close-v3", "push-v3"],
        ),
    ],
    ids=["ML1", "custom"],
)
def test_the_official_goals_are_those_of_the_test_split(settings: Settings, classes: list[str]) -> None:
    family = MetaWorldFamily(settings)
    envs: Any = family.official_env()
    pools = [
        [(task.env_name, tuple(pickle.loads(task.data)["rand_vec"])) for task in p] for p in envs.get_attr("tasks")
    ]
    envs.close()
    ours = [(task["env_name"], task["rand_vec"]) for task in family.tasks("test", 50 * len(classes), 0)]
    assert set().union(*pools) <= set(ours)
    assert list(dict.fromkeys(pool[0][0] for pool in pools)) == classes
    played = sum(map(len, pools))
    assert (len(pools), played) == ((10, 50) if len(classes) == 1 else (8, 80))
    assert len(set().union(*pools)) == played, "no goal belongs to two sub-environments"


class Toy:
    """Four goals of one class in a vector environment as metaworld makes it; exactly one of them is ever solved."""

    num_envs, horizon = 4, 10

    def __init__(self) -> None:
        self._stop_at_success = np.ones(4, dtype=bool)
        self._t = np.zeros(4, dtype=int)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        known = {"tasks": ["goal"], "task_name": "SawyerReachEnvV3", "terminate_on_success": True}
        return (known[name],) * 4

    def call(self, name: str, *arguments: Any) -> None:
        if name == "toggle_terminate_on_success":
            self._stop_at_success[:] = arguments[0]

    def reset(self) -> tuple[Array, dict[str, Any]]:
        self._t[:] = 0
        return np.zeros((4, 4)), {}

    def step(self, action: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        self._t += 1
        solved = np.arange(4) == 0
        terminated, truncated = solved & self._stop_at_success, self._t == self.horizon
        final = {"success": solved.astype(float), "episode": {"r": self._t.astype(float)}}
        self._t[terminated | truncated] = 0
        return np.zeros((4, 4)), np.ones(4), terminated, truncated, {"final_info": final}

    def close(self) -> None:
        pass


def test_the_official_count_is_biased_upwards() -> None:
    """One goal of four is solved, in one step of ten: all that is counted are the first three episodes to finish."""
    spec = FamilySpec("toy", 1, spaces.Box(-1, 1, (1,)), horizon=Toy.horizon, episodes_per_trial=1)
    learner: Any = Unchanging(Scripted(lambda obs, step, noise: np.zeros((*obs.shape[:2], 1))))
    family: Any = SimpleNamespace(official_env=Toy)
    found, _ = official.measure(learner, family, spec, 0)
    truth = 1 / 4
    assert found["mean_success"] == 1.0 > truth
