"""Random tabular MDPs: the planner against enumeration, the environment against its model, the published baselines."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from kshot import seeding
from kshot.envs import _mdps as mdps
from kshot.envs import tabular_mdp
from kshot.envs.tabular_mdp.posterior_sampling import PosteriorSampling
from kshot.running.rollout import rollout
from kshot.types import Array


def small(states: int, actions: int, seed: int) -> mdps.MDP:
    rng = np.random.default_rng(seed)
    return mdps.MDP(rng.dirichlet(np.ones(states), (1, states, actions)), rng.normal(1, 1, (1, states, actions)))


def returned(model: mdps.MDP, plan: Array, state: int, step: int = 0) -> float:
    """Expected return of a plan [H, S], by following every possible transition."""
    if step == len(plan):
        return 0.0
    action = plan[step, state]
    later = [returned(model, plan, following, step + 1) for following in range(plan.shape[1])]
    return float(model.reward[0, state, action] + model.probability[0, state, action] @ later)


def test_values_are_those_of_the_best_of_all_plans() -> None:
    model, horizon = small(2, 2, seed=3), 3
    plans = [np.array(p).reshape(horizon, 2) for p in itertools.product(range(2), repeat=2 * horizon)]
    for state in range(2):
        best = max(returned(model, plan, state) for plan in plans)
        assert mdps.optimal_values(model, horizon)[0, 0, state] == pytest.approx(best, abs=1e-12)
    actions = mdps.optimal_actions(model, horizon)[:, 0]
    assert returned(model, actions, 0) == pytest.approx(mdps.optimal_values(model, horizon)[0, 0, 0], abs=1e-12)
    chosen = np.eye(2)[actions][:, None]
    assert mdps.expected_return(model, chosen)[0, 1] == pytest.approx(returned(model, actions, 1), abs=1e-12)


def test_tasks_are_drawn_as_published() -> None:
    family = tabular_mdp.build(tabular_mdp.Settings())
    model = family.models(family.tasks("train", 400, 0))
    np.testing.assert_allclose(model.probability.sum(axis=-1), 1.0, atol=1e-12)
    # A coordinate of a flat Dirichlet distribution over 10 is Beta(1, 9): mean .1, variance .09 / 11.
    assert model.probability.mean(axis=(0, 1, 2)) == pytest.approx(np.full(10, 0.1), abs=0.003)
    assert model.probability.var() == pytest.approx(0.09 / 11, rel=0.03)
    assert model.reward.mean() == pytest.approx(1.0, abs=0.03) and model.reward.std() == pytest.approx(1.0, abs=0.03)


def test_the_environment_follows_its_model() -> None:
    family = tabular_mdp.build(tabular_mdp.Settings(horizon=2))
    tasks = family.tasks("train", 1, 5)
    model, n = family.models(tasks), 40_000
    env = family.vector_env(tasks, n)
    env.reset(seed=seeding.split(seeding.key("stream"), np.arange(n)).tolist())
    obs, reward, terminated, truncated, info = env.step(np.full(n, 3))
    assert obs.mean(axis=0) == pytest.approx(model.probability[0, 0, 3], abs=0.01)
    assert reward.mean() == pytest.approx(model.reward[0, 0, 3], abs=0.03) and reward.std() == pytest.approx(
        1, abs=0.02
    )
    assert not terminated.any() and not truncated.any()
    best = mdps.optimal_actions(model, 2)
    assert info["success"].all() == (best[0, 0, 0] == 3)
    state = obs.argmax(axis=1)
    _, reward, _, truncated, info = env.step(best[1, 0, state])
    assert truncated.all() and info["success"].all()
    assert reward.mean() == pytest.approx(float(model.reward[0].max(axis=1)[state].mean()), abs=0.03)


def test_reference_policies_earn_their_exact_values() -> None:
    family = tabular_mdp.build(tabular_mdp.Settings())
    tasks = family.tasks("validation", 50, 0)
    keys = seeding.split(seeding.key("references"), np.arange(50))
    exact = [family.reference(task) for task in tasks]
    for name in ("random", "task_blind", "oracle"):
        played = rollout(family, family.references[name](tasks), tasks, keys, 40)
        error = float(played.returns.std()) / 2000**0.5
        assert played.returns.mean() == pytest.approx(np.mean([one[name] for one in exact]), abs=4 * error)
    assert played.success.all()  # the oracle's


def test_posterior_sampling_draws_from_the_posterior() -> None:
    policy = PosteriorSampling(3, 2, 4)
    drawn = policy.start(1, 4000, seeding.split(seeding.key("draws"), np.arange(4000))[None])
    share = (drawn["plan"][0, :, -1] == 0).mean(axis=0)
    assert share == pytest.approx(np.full(3, 0.5), abs=0.04)  # the last action is that of the larger drawn reward
    memory = {**drawn, "visits": np.full((1, 4000, 3, 2), 3.0), "rewards": np.zeros((1, 4000, 3, 2))}
    memory["rewards"][..., 0] = 7.0  # posterior N((1 + 7) / 4, 1 / 4) against N(1 / 4, 1 / 4)
    share = (policy._plan(memory)[0, :, -1] == 0).mean(axis=0)
    assert share == pytest.approx(np.full(3, 0.9933), abs=0.01)  # Phi((2 - .25) / sqrt(1 / 2))


def test_posterior_sampling_counts_what_it_has_seen() -> None:
    policy = PosteriorSampling(3, 2, 2)
    memory = policy.start(1, 1, np.array([[7]], dtype=np.uint64))
    for state, reward, done in ((0, 1.5, False), (2, -1.0, True), (0, 0.5, False)):
        action, _, memory = policy.act(np.eye(3)[[[state]]], memory, None)
        memory = policy.observe(memory, action, np.array([[reward]]), np.array([[done]]))
    assert memory["visits"].sum() == 3 and memory["rewards"].sum() == 1.0
    assert memory["transitions"].sum() == 1 and memory["transitions"][0, 0, 0, :, 2].sum() == 1
    assert memory["episode"] == 1 and memory["step"] == 1


def test_totals_equal_the_published_ones() -> None:
    """Table 2 of the RL^2 paper, 10 episodes: random 100.1, posterior sampling 138.1.

    Ours, which never sees where the last step of an episode led to, is a little lower.
    """
    family = tabular_mdp.build(tabular_mdp.Settings())
    tasks = family.tasks("validation", 400, 1)
    keys = seeding.split(seeding.key("published"), np.arange(400))
    totals = {
        name: rollout(family, family.references[name](tasks), tasks, keys, 1, 10).returns.sum(axis=1).mean()
        for name in ("random", "posterior_sampling")
    }
    assert totals["random"] == pytest.approx(100.1, abs=4)
    assert totals["posterior_sampling"] == pytest.approx(135, abs=4)
