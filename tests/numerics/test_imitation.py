"""Behaviour cloning and replay against experts whose actions are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kshot import seeding
from kshot.algorithms import behaviour_cloning, replay
from kshot.algorithms.behaviour_cloning import cross_entropy
from kshot.envs import bandit, gridnavi, spritegrid, tabular_mdp
from kshot.learning.fine_tuning import Recipe, descent
from kshot.learning.irl import Demonstrations
from kshot.learning.networks import stack
from kshot.running.rollout import rollout
from kshot.running.train import Collector
from kshot.types import Episodes, Task

KEYS = seeding.split(seeding.key("imitation"), np.arange(3))
DETERMINISTIC = gridnavi.build(gridnavi.Settings(expert_beta=200.0, held_out=0))
"""Its expert goes straight to the goal; where two ways are equally short, demonstrations differ."""


def one_demonstration(family: gridnavi.GridNaviFamily) -> tuple[list[Task], Episodes]:
    tasks = family.tasks("train", 3, 0)
    return tasks, family.demonstrations(tasks, 1, KEYS)


def test_cloning_reproduces_what_an_expert_did() -> None:
    family = DETERMINISTIC
    tasks, evidence = one_demonstration(family)
    learner = behaviour_cloning.build(family.spec, behaviour_cloning.Settings(), 0, "cpu")
    learner._tuning.recipes |= dict.fromkeys((1, 2), Recipe("adam", 0.03, 150))
    policy = learner.adapt(learner.policy(), evidence)
    played = rollout(family, policy, tasks, KEYS, 1, mode="mean")
    np.testing.assert_array_equal(played.action, evidence.action)
    assert np.exp(played.log_prob).min() > 0.9
    again = rollout(family, learner.adapt(policy, evidence), tasks, KEYS, 1, mode="mean")
    np.testing.assert_array_equal(again.action, evidence.action)


def test_before_any_demonstration_both_are_uniform_over_what_can_be_done() -> None:
    family = spritegrid.build(spritegrid.Settings(side=4, copies=2, horizon=4))
    tasks = family.tasks("train", 3, 0)
    legal = spritegrid.successors(4) >= 0
    for module in (behaviour_cloning, replay):
        learner = module.build(family.spec, module.Settings(), 0, "cpu")
        played = rollout(family, learner.policy(), tasks, KEYS, 40)
        assert family.spec.world is not None
        state = family.spec.world.state(played.obs)
        assert legal[state, played.action].all()
        np.testing.assert_allclose(played.log_prob, -np.log(legal[state].sum(axis=-1)), rtol=1e-5)
        inner = played.action[np.isin(state, [5, 6, 9, 10])]
        assert np.abs(np.bincount(inner, minlength=9) / len(inner) - 1 / 9).max() < 0.05


def test_cloning_on_a_bandit_learns_the_frequencies_of_arms() -> None:
    family = bandit.build(bandit.Settings(arms=3, expert_beta=2.0))
    tasks = family.tasks("train", 3, 0)
    evidence = family.demonstrations(tasks, 30, KEYS)
    learner = behaviour_cloning.build(family.spec, behaviour_cloning.Settings(hidden=()), 0, "cpu")
    learner._tuning.recipes[10] = Recipe("gd", 1.0, 500)
    played = rollout(family, learner.adapt(learner.policy(), evidence), tasks, KEYS, 2_000)
    for task in range(3):
        shares = [np.bincount(x.action[task].reshape(-1), minlength=3) / x.n_episodes for x in (evidence, played)]
        np.testing.assert_allclose(*shares, atol=0.04)


@pytest.mark.parametrize("arrangements", [1, 2])
def test_the_loss_is_the_mean_of_what_each_layout_says(arrangements: int) -> None:
    family = spritegrid.build(spritegrid.Settings(side=4, copies=2, horizon=4))
    tasks = family.tasks("train", 3, 0)
    learner = behaviour_cloning.build(family.spec, behaviour_cloning.Settings(hidden=(6,)), 0, "cpu")
    parts = [family.demonstrations(tasks, 2, KEYS, i) for i in range(arrangements)]
    assert family.spec.world is not None
    seen = [Demonstrations.of(family.spec.world, part, "cpu") for part in parts]
    ((_, params),) = descent(stack(learner._params, 3), lambda p: cross_entropy(seen[0], p), "adam", 0.01, (5,))
    together = cross_entropy(Demonstrations.of(family.spec.world, Episodes.joined(parts), "cpu"), params)
    apart = torch.stack([cross_entropy(x, params) for x in seen]).mean(dim=0)
    torch.testing.assert_close(together, apart)
    # The policy that acts is the one that was fitted: its log-probabilities in the very layout are the loss.
    policy = behaviour_cloning.CloningPolicy(family.spec.world, params)
    memory, total = policy.start(3, 2), np.zeros((3, 2))
    for t in range(4):
        noise = np.eye(9)[parts[0].action[:, :, t]] * 1e6
        action, log_prob, memory = policy.act(parts[0].obs[:, :, t], memory, noise)
        np.testing.assert_array_equal(action, parts[0].action[:, :, t])
        total -= log_prob / 4
        memory = policy.observe(memory, action, np.zeros((3, 2)), np.zeros((3, 2), dtype=bool))
    np.testing.assert_allclose(total.mean(axis=1), cross_entropy(seen[0], params))


def test_cloning_never_chooses_a_diverging_rate() -> None:
    family = DETERMINISTIC
    settings = behaviour_cloning.Settings(gd_rates=(1e200, 0.3), adam_rates=(), shots=(1,), calibration_tasks=3)
    learner = behaviour_cloning.build(family.spec, settings, 0, "cpu")
    metrics = learner.calibrate(family.tasks("validation", 3, 0), Collector(family, 0, 0))
    assert metrics["test_rate_1"] == 0.3
    assert metrics["validation_loss_1_1"] < np.log(5)


def test_replay_does_the_demonstration_again_and_keeps_to_the_first() -> None:
    family = DETERMINISTIC
    tasks, evidence = one_demonstration(family)
    learner = replay.build(family.spec, replay.Settings(), 0, "cpu")
    policy = learner.adapt(learner.policy(), evidence)
    other = family.demonstrations(tasks, 2, seeding.split(KEYS, 7))
    for adapted in (policy, learner.adapt(policy, other)):
        played = rollout(family, adapted, tasks, KEYS, 2, episodes=2)
        for episode in range(4):
            np.testing.assert_array_equal(played.action[:, episode], evidence.action[:, 0])
            np.testing.assert_allclose(played.final_obs[:, episode], evidence.final_obs[:, 0])
            np.testing.assert_allclose(played.obs[:, episode], evidence.obs[:, 0])


def test_replay_stays_where_an_action_cannot_be_taken() -> None:
    family = spritegrid.build(spritegrid.Settings(side=4, copies=2, horizon=4))
    assert family.spec.world is not None
    up, stay = 1, 4  # (-1, 0), (0, 0)
    policy = replay.ReplayPolicy(family.spec.world, 9, np.full((1, 4), up))
    obs = family.demonstrations(family.tasks("train", 1, 0), 2, KEYS[:1]).obs[:, :, 0].copy()
    obs[0, 0, :2], obs[0, 1, :2] = (0, 2), (1, 2)
    action, _, _ = policy.act(obs, policy.start(1, 2), None)
    np.testing.assert_array_equal(action, [[stay, up]])
    with pytest.raises(ValueError, match="policy adapted to 1 tasks cannot act on 2"):
        policy.start(2, 1)


@pytest.mark.parametrize("module", [behaviour_cloning, replay], ids=lambda module: module.__name__)
def test_a_family_without_known_dynamics_is_refused(module: object) -> None:
    family = tabular_mdp.build(tabular_mdp.Settings())
    with pytest.raises(ValueError, match="family 'tabular_mdp' with these settings has no known dynamics"):
        module.build(family.spec, module.Settings(), 0, "cpu")  # type: ignore[attr-defined]  # a module
