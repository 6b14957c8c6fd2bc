"""What learners are given of test tasks: what one who plays them sees, and nothing else.

The episodes of every family are spoilt on their way to the learner with all that a family may add for training and for
judging, so that a family which adds more some day is tested, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kshot import registry, seeding
from kshot.running import build, evaluate, official, train
from kshot.running.rollout import rollout
from kshot.types import Calibrated, Episodes, Evidence
from tests.contract import tiny

SEEN = {"obs", "action", "reward", "terminated", "truncated", "mask", "log_prob", "final_obs"}
"""What one who plays a task sees of it: observations, his own actions, rewards, and how an episode ended."""
HIDDEN = {"success", "training_reward", "optimal_return", "stage"}


def spoilt(episodes: Episodes) -> Episodes:
    """The same episodes, with signals that tell more than playing them does, also behind their last steps."""
    told = episodes.for_training()
    junk = {"obs": 9.0, "reward": 9.0, "log_prob": 9.0}
    behind = {name: np.array(getattr(told, name)) for name in junk}
    for name, value in junk.items():
        behind[name][~told.mask] = value
    return replace(
        told,
        **behind,
        success=np.ones_like(told.success),
        training_reward=told.reward + 7.0,
        optimal_return=np.full(told.optimal_return.shape, 5.0),
        stage=np.full(told.stage.shape, 2),
    )


def assert_only_what_is_seen(evidence: Episodes) -> None:
    np.testing.assert_array_equal(evidence.training_reward, evidence.reward)
    assert not evidence.success.any()
    assert np.isnan(evidence.optimal_return).all() and (evidence.stage == -1).all()
    for name in SEEN - {"mask", "final_obs"}:
        assert not getattr(evidence, name)[~evidence.mask].any(), f"{name} goes on behind the end of an episode"


def one_learner_per_family() -> list[Any]:
    """For every family and kind of evidence that it offers, the first learner that fits."""
    chosen: dict[tuple[str, Evidence], str] = {}
    for pair in tiny.compatible():
        algorithm, family = pair.values
        chosen.setdefault((family, registry.load("algorithms", algorithm).EVIDENCE), algorithm)
    return [pytest.param(a, f, id=f"{f}-{kind}") for (f, kind), a in chosen.items()]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Episodes]]:
    """Everything that the learner of the test is handed in ``adapt`` and ``explain``, from spoilt episodes."""
    seen: list[Episodes] = []
    family, learner = build.family, build.learner

    def spying(*args: Any) -> Any:
        spied = learner(*args)
        for name in ("adapt", "explain"):
            if hasattr(spied, name):
                original = getattr(spied, name)

                def noting(policy: Any, evidence: Episodes, original: Any = original) -> Any:
                    seen.append(evidence)
                    return original(policy, evidence)

                setattr(spied, name, noting)
        return spied

    def telling(run: Any) -> Any:
        told = family(run)
        if hasattr(told, "demonstrations"):
            shown = type(told).demonstrations
            monkeypatch.setattr(told, "demonstrations", lambda *args: spoilt(shown(told, *args)), raising=False)
        return told

    monkeypatch.setattr(build, "learner", spying)
    monkeypatch.setattr(build, "family", telling)
    for module in (train, evaluate):
        monkeypatch.setattr(module, "rollout", lambda *args, **more: spoilt(rollout(*args, **more)))
    yield seen


def test_every_field_of_episodes_is_either_seen_or_hidden() -> None:
    assert {item.name for item in fields(Episodes)} == SEEN | HIDDEN


@pytest.mark.parametrize(("algorithm", "family_name"), one_learner_per_family())
def test_evidence_of_test_tasks_holds_what_one_who_plays_them_sees(
    algorithm: str, family_name: str, given: list[Episodes], tmp_path: Path
) -> None:
    run = tiny.run(algorithm, family_name)
    run = replace(run, steps=0 if registry.load("algorithms", algorithm).EVIDENCE == "rollouts" else run.steps)
    train.train(run, tmp_path)
    given.clear()
    evaluate.evaluate(run, tmp_path)
    assert given, "the learner was given no evidence"
    for evidence in given:
        assert_only_what_is_seen(evidence)


def calibrating() -> list[Any]:
    found = {}
    for pair in tiny.compatible():
        algorithm, family = pair.values
        run = tiny.run(algorithm, family)
        if algorithm not in found and isinstance(build.learner(run, build.family(run).spec), Calibrated):
            found[algorithm] = family
    return [pytest.param(a, f, id=f"{a}-{f}") for a, f in found.items()]


@pytest.mark.parametrize(("algorithm", "family_name"), calibrating())
def test_a_choice_on_validation_tasks_rests_on_what_test_tasks_offer(
    algorithm: str, family_name: str, given: list[Episodes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, played = list[Episodes](), list[Episodes]()

    class Noting(train.Collector):
        def __call__(self, *args: Any, **more: Any) -> Episodes:
            episodes = super().__call__(*args, **more)
            if self._validating:
                played.append(episodes)
            return episodes

        def demonstrations(self, *args: Any, **more: Any) -> Episodes:
            episodes = super().demonstrations(*args, **more)
            if self._validating:
                shown.append(episodes)
            return episodes

    monkeypatch.setattr(train, "Collector", Noting)
    train.train(tiny.run(algorithm, family_name), tmp_path)
    assert shown, "nothing was calibrated"
    for evidence in shown:
        assert_only_what_is_seen(evidence)
    for episodes in played:  # to judge by: success is known, a denser reward and what is best are not
        np.testing.assert_array_equal(episodes.training_reward, episodes.reward)
        assert episodes.success.all()
        assert np.isnan(episodes.optimal_return).all() and (episodes.stage == -1).all()


def test_the_dense_reward_of_a_sparse_family_is_for_training_tasks_alone() -> None:
    family = build.family(tiny.run("maml", "nav2d_sparse"))
    tasks = family.tasks("test", 2, 0)
    keys = seeding.split(seeding.key("evidence"), np.arange(2))
    episodes = rollout(family, family.references["random"](tasks), tasks, keys, copies=2)
    assert (episodes.for_training().training_reward < episodes.reward).all()
    for kept in (episodes.for_validation(), episodes.as_evidence()):
        np.testing.assert_array_equal(kept.training_reward, kept.reward)
    for name in SEEN:
        np.testing.assert_array_equal(getattr(episodes.as_evidence(), name), getattr(episodes, name))


def test_learners_see_success_of_training_tasks_and_what_is_best_of_none() -> None:
    run = tiny.run("maml", "bandit")
    family = build.family(run)
    tasks = family.tasks("train", 2, 0)
    collect = train.Collector(family, 0, 0)
    episodes = spoilt(collect(build.learner(run, family.spec).policy(), tasks, copies=2))
    assert (
        episodes.for_training().success.all()
        and (episodes.for_training().training_reward == 7.0 + episodes.reward).all()
    )
    assert np.isnan(episodes.for_training().optimal_return).all() and (episodes.for_training().stage == -1).all()


def test_the_official_evaluation_hands_over_no_more() -> None:
    spec = build.family(tiny.run("maml", "nav2d")).spec
    block = official._Evidence(spec, num_envs=2, block=1)
    for _ in range(spec.horizon):
        block.add_action(np.ones((2, spec.observation_dim)), np.ones((2, spec.action_dim)), np.ones(2))
        ended = np.full(2, block.t == 2)
        block.add_outcome(np.ones(2), np.zeros(2, dtype=bool), ended)
        if ended.any():
            break
    evidence = block.episodes()
    assert evidence.mask.sum() == 6
    assert_only_what_is_seen(evidence)
