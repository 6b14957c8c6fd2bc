"""What the best policy would earn in an episode, against enumeration, and against what policies do earn in it."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from kshot import seeding
from kshot.envs import _experts as experts
from kshot.envs import _mdps as mdps
from kshot.envs import bandit, gridnavi, spritegrid, tabular_mdp
from kshot.running.rollout import rollout
from kshot.types import Array, TaskFamily

DETERMINISTIC = {
    "spritegrid": lambda: spritegrid.build(spritegrid.Settings(side=5, copies=3, horizon=7)),
    "gridnavi": lambda: gridnavi.build(gridnavi.Settings(horizon=9)),
}
STOCHASTIC = {
    "tabular_mdp": lambda: tabular_mdp.build(tabular_mdp.Settings(states=4, actions=3, horizon=5)),
    "bandit": lambda: bandit.build(bandit.Settings(arms=4)),
}


def differences(family: TaskFamily, name: str, copies: int, episodes: int = 2) -> Array:
    """[T, E] optimal less earned return of a scripted policy; it may have memory, so whole trials are played."""
    tasks = family.tasks("test", 8, 0)
    keys = seeding.split(seeding.key("value difference"), np.arange(8))
    played = rollout(family, family.references[name](tasks), tasks, keys, copies, episodes)
    assert np.isfinite(played.optimal_return).all()
    return np.asarray(played.optimal_return - played.returns)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_nobody_earns_more_than_the_best_and_the_oracle_earns_that(name: str) -> None:
    family = DETERMINISTIC[name]()
    np.testing.assert_allclose(differences(family, "oracle", copies=4), 0, atol=1e-5)  # returns are single precision
    for policy in family.references:
        lost = differences(family, policy, copies=4)
        assert (lost > -1e-5).all()
        assert policy != "random" or lost.mean() > 1


@pytest.mark.parametrize("name", STOCHASTIC)
def test_where_chance_decides_the_same_holds_on_average(name: str) -> None:
    family = STOCHASTIC[name]()
    lost = {policy: differences(family, policy, copies=400) for policy in ("oracle", "random")}
    error = {policy: x.std() / np.sqrt(x.size) for policy, x in lost.items()}
    assert abs(lost["oracle"].mean()) < 4 * error["oracle"]
    assert lost["random"].mean() > 10 * error["random"]


def test_the_best_of_all_plans_on_a_tiny_grid() -> None:
    """All 9^3 sequences of moves, played from the same start in the same arrangement."""
    family = spritegrid.build(spritegrid.Settings(side=3, copies=2, horizon=3))
    plans = np.array(list(product(range(9), repeat=3)))
    task = family.tasks("test", 1, 0)
    for seed in range(4):
        env = family.vector_env(task, len(plans))
        _, begun = env.reset(seed=[seed] * len(plans))
        earned = sum(env.step(plans[:, t])[1] for t in range(3))
        np.testing.assert_allclose(begun["optimal_return"], np.max(earned))


def test_the_best_of_all_policies_on_a_tiny_mdp() -> None:
    """Every deterministic policy of 2 states, 2 actions and 3 steps, by its exact expected return."""
    family = tabular_mdp.build(tabular_mdp.Settings(states=2, actions=2, horizon=3))
    tasks = family.tasks("test", 3, 0)
    _, begun = family.vector_env(tasks, 2).reset(seed=0)
    model = family.models(tasks)
    returns = []
    for choice in product(range(2), repeat=6):
        policy = np.eye(2)[np.array(choice).reshape(3, 1, 2)]  # [H, 1, S, A]
        returns.append(mdps.expected_return(model, policy)[:, 0])
    np.testing.assert_allclose(begun["optimal_return"], np.repeat(np.max(returns, axis=0), 2))


@pytest.mark.parametrize("over", [np.maximum, np.logaddexp])
def test_values_on_a_box_are_those_of_the_table(over: np.ufunc) -> None:
    reward = np.random.default_rng(0).normal(size=(3, 16))
    table = experts.table_values(reward, spritegrid.successors(4), 5, over)
    np.testing.assert_allclose(experts.box_values(reward.reshape(3, 4, 4), 5, over), table)


def test_pulls_are_worth_the_best_arm_and_walks_the_known_goal() -> None:
    pulls = bandit.build(bandit.Settings(arms=3))
    tasks = pulls.tasks("test", 4, 0)
    _, begun = pulls.vector_env(tasks, 2).reset(seed=0)
    best = [pulls.reference(task)["oracle"] for task in tasks]
    np.testing.assert_array_equal(begun["optimal_return"], np.repeat(best, 2))
    walks = gridnavi.build(gridnavi.Settings())
    goals = walks.tasks("test", 21, 0)
    _, begun = walks.vector_env(goals, 1).reset()
    np.testing.assert_allclose(begun["optimal_return"], [walks.reference(goal)["oracle"] for goal in goals])
