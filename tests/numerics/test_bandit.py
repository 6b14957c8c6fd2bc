"""Bandits: rewards against a slow loop, the exact Bayes-optimal value against enumeration and known numbers."""

from __future__ import annotations

import time
from fractions import Fraction

import numpy as np
import pytest

from kshot import seeding
from kshot.envs import bandit
from kshot.envs.bandit import index_policies
from kshot.running.rollout import rollout


def test_bayes_optimal_values_of_the_standard_sizes() -> None:
    # Exact values for k=5 and k=10 arms, n=10 pulls; more arms than pulls cannot all be tried.
    assert bandit.bayes_optimal_trial(5, 10) == pytest.approx(6.660, abs=5e-4)
    assert bandit.bayes_optimal_trial(10, 10) == pytest.approx(6.714, abs=5e-4)
    assert bandit.bayes_optimal_trial(50, 10) == bandit.bayes_optimal_trial(10, 10)


def test_bayes_optimal_value_by_hand() -> None:
    # One pull: 1/2. Two pulls: after a success the same arm has mean 2/3, after a failure a fresh one 1/2.
    assert bandit.bayes_optimal_trial(2, 1) == pytest.approx(1 / 2)
    assert bandit.bayes_optimal_trial(2, 2) == pytest.approx(1 / 2 + 1 / 2 * 2 / 3 + 1 / 2 * 1 / 2)


@pytest.mark.parametrize(("arms", "pulls"), [(2, 5), (3, 4)])
def test_bayes_optimal_value_equals_full_enumeration(arms: int, pulls: int) -> None:
    def value(counts: tuple[tuple[int, int], ...], left: int) -> Fraction:  # arms in fixed order, no symmetry used
        if left == 0:
            return Fraction(0)
        options = []
        for i, (s, f) in enumerate(counts):
            p = Fraction(s + 1, s + f + 2)
            won = value((*counts[:i], (s + 1, f), *counts[i + 1 :]), left - 1)
            lost = value((*counts[:i], (s, f + 1), *counts[i + 1 :]), left - 1)
            options.append(p * (1 + won) + (1 - p) * lost)
        return max(options)

    assert bandit.bayes_optimal_trial(arms, pulls) == pytest.approx(float(value(((0, 0),) * arms, pulls)), abs=1e-12)


def test_long_trials_are_refused_and_left_out() -> None:
    pulls = bandit.LARGEST_EXACT_TRIAL + 1
    with pytest.raises(ValueError, match="limited to"):
        bandit.bayes_optimal_trial(5, pulls)
    family = bandit.build(bandit.Settings(pulls=pulls))
    assert set(family.reference(family.tasks("test", 1, 0)[0])) == {"random", "oracle"}


def test_posterior_greedy_play_stays_below_the_bayes_optimal_value() -> None:
    """Greedy with Beta(1, 1) priors reaches 6.58 of 6.66 at k=5, n=10: the environment pays what the theory says."""
    family = bandit.build(bandit.Settings())
    n = 20_000
    tasks = family.tasks("test", n, 0)
    env = family.vector_env(tasks, 1)
    env.reset(seed=seeding.split(1, np.arange(n)))
    won, lost, total = np.zeros((n, 5)), np.zeros((n, 5)), np.zeros(n)
    rows = np.arange(n)
    for _ in range(10):
        arm = ((won + 1) / (won + lost + 2)).argmax(axis=1)
        _, reward, *_ = env.step(arm)
        won[rows, arm] += reward
        lost[rows, arm] += 1 - reward
        total += reward
        env.reset()
    error = total.std() / np.sqrt(n)
    assert total.mean() == pytest.approx(6.58, abs=4 * error)
    assert total.mean() < bandit.bayes_optimal_trial(5, 10)


def test_rewards_equal_a_slow_loop() -> None:
    family = bandit.build(bandit.Settings(arms=3))
    tasks = family.tasks("train", 4, 0)
    seeds = [11, 12, 13, 14, 15, 16, 17, 18]
    env = family.vector_env(tasks, 2)
    env.reset(seed=seeds)
    rng = np.random.default_rng(0)
    for pull in range(20):
        arms = rng.integers(3, size=8)
        obs, reward, terminated, truncated, info = env.step(arms)
        for i in range(8):
            means = tasks[i // 2]["means"]
            draw = float(seeding.uniform(seeding.split(seeds[i], 0), pull))
            assert reward[i] == float(draw < means[arms[i]])
            assert info["success"][i] == (means[arms[i]] >= max(means) - 0.05)
        assert terminated.all() and not truncated.any() and (obs == 1.0).all()
        env.reset()


def test_reward_rate_is_the_mean_of_the_arm() -> None:
    means = np.array([[0.1, 0.9], [0.5, 0.3]])
    env = bandit.BanditVectorEnv(np.repeat(means, 4000, axis=0))
    env.reset(seed=0)
    total = np.zeros(8000)
    for _ in range(5):
        total += env.step(np.ones(8000, dtype=np.int64))[1]
        env.reset()
    rates = total.reshape(2, 4000).mean(axis=1) / 5
    assert np.abs(rates - means[:, 1]).max() < 4 * 0.5 / np.sqrt(20_000)


def test_the_reward_does_not_depend_on_the_arms_pulled_before() -> None:
    env = bandit.BanditVectorEnv(np.full((1000, 2), 0.5))
    last = []
    for first_arm in (0, 1):
        env.reset(seed=3)
        env.step(np.full(1000, first_arm))
        env.reset()
        last.append(env.step(np.zeros(1000, dtype=np.int64))[1])
    assert np.array_equal(last[0], last[1])


def test_twenty_thousand_tasks_are_uniform_and_take_less_than_a_second() -> None:
    family = bandit.build(bandit.Settings())
    start = time.process_time()
    tasks = family.tasks("test", 20_000, 0)
    assert time.process_time() - start < 1.0
    means = np.array([task["means"] for task in tasks])
    assert means.shape == (20_000, 5) and means.min() > 0 and means.max() < 1
    deciles = np.histogram(means, bins=10, range=(0, 1))[0] / means.size
    assert np.abs(deciles - 0.1).max() < 4 * 0.3 / np.sqrt(means.size)


def test_reference_values_are_those_of_the_task() -> None:
    family = bandit.build(bandit.Settings(arms=3, pulls=4))
    task = family.tasks("test", 1, 0)[0]
    values = family.reference(task)
    assert values["random"] == pytest.approx(np.mean(task["means"]))
    assert values["oracle"] == max(task["means"])
    assert values["bayes_optimal_trial"] == bandit.bayes_optimal_trial(3, 4)


def test_the_oracle_pulls_the_best_arm_and_the_blind_one_a_fixed_arm() -> None:
    family = bandit.build(bandit.Settings())
    tasks = family.tasks("test", 6, 0)
    obs = np.ones((6, 2, 1))
    best = family.references["oracle"](tasks).act(obs, {"step": np.zeros((6, 2))}, None)[0]
    assert best.tolist() == [[int(np.argmax(task["means"]))] * 2 for task in tasks]
    blind = family.references["task_blind"](tasks).act(obs, {"step": np.zeros((6, 2))}, None)[0]
    assert len(set(blind.ravel().tolist())) == 1


def test_the_random_reference_is_uniform() -> None:
    family = bandit.build(bandit.Settings(arms=4))
    tasks = family.tasks("test", 1, 0)
    keys = seeding.split(0, np.arange(20_000)).reshape(1, -1)
    policy = family.references["random"](tasks)
    arms = policy.act(np.ones((1, 20_000, 1)), policy.start(1, 20_000), seeding.noise(keys, 0, 4, "discrete"))[0]
    assert np.abs(np.bincount(arms.ravel(), minlength=4) / 20_000 - 0.25).max() < 4 * 0.43 / np.sqrt(20_000)


def test_misuse_is_one_clear_line() -> None:
    env = bandit.BanditVectorEnv(np.full((3, 2), 0.5))
    with pytest.raises(ValueError, match="first reset needs seed"):
        env.reset()
    with pytest.raises(ValueError, match="step before reset"):
        env.step(np.zeros(3, dtype=np.int64))
    with pytest.raises(ValueError, match="2 seeds for 3 sub-environments"):
        env.reset(seed=[1, 2])
    with pytest.raises(ValueError, match="arms must be at least 2"):
        bandit.Settings(arms=1)
    with pytest.raises(ValueError, match="pulls must be at least 1"):
        bandit.Settings(pulls=0)


# Mean totals of the authors' rules by (arms, pulls), from simulations that share no code with this one.
KNOWN_TOTALS = {
    (5, 10): {"thompson": 5.82, "greedy": 6.58, "ucb1": 6.66},
    (10, 100): {"thompson": 77.1, "greedy": 77.8, "ucb1": 83.2},
}


@pytest.mark.parametrize(("size", "n"), [((5, 10), 20_000), ((10, 100), 2_000)])
def test_index_policies_reach_the_known_totals(size: tuple[int, int], n: int) -> None:
    family = bandit.build(bandit.Settings(arms=size[0], pulls=size[1]))
    tasks = family.tasks("test", n, 0)
    totals = {}
    for name, known in KNOWN_TOTALS[size].items():
        policy = family.references[name](tasks)
        returns = rollout(family, policy, tasks, seeding.split(9, np.arange(n)), 1, size[1]).returns.sum(axis=1)
        error = returns.std() / np.sqrt(n)
        totals[name] = returns.mean()
        assert totals[name] == pytest.approx(known, abs=4 * error + 0.05), name
    assert totals["thompson"] < totals["greedy"] < totals["ucb1"]


def test_index_policies_follow_their_formulas() -> None:
    """One trial by hand: counts go to the arm that was pulled, and the next arm follows from them."""
    obs, done = np.ones((1, 1, 1)), np.ones((1, 1), dtype=bool)
    for policy, rewards, arms in (
        # greedy: means 1/2 each; after a loss arm 0 has 1/3, after a win arm 1 has 2/3.
        (index_policies.greedy(3), [0.0, 1.0, 0.0, 0.0], [0, 1, 1, 1]),
        # ucb1 with a large width goes through the arms whatever they pay; at one pull made the logarithm is still 0.
        (index_policies.ucb1(3, 5.0), [1.0, 1.0, 1.0, 1.0], [0, 0, 1, 2]),
    ):
        memory = policy.start(1, 1)
        for reward, arm in zip(rewards, arms, strict=True):
            action, _, memory = policy.act(obs, memory, None)
            assert action.item() == arm
            memory = policy.observe(memory, action, np.full((1, 1), reward), done)
        assert memory["pulls"].sum() == 4 and memory["wins"].sum() == sum(rewards)


def test_thompson_draws_from_the_posterior() -> None:
    """Two arms, one with 3 wins of 4, one with 1 of 2: the chance that Beta(4, 2) exceeds Beta(2, 2), by quadrature."""
    n = 100_000
    policy = index_policies.thompson(2)
    memory = policy.start(n, 1) | {
        "wins": np.tile([3.0, 1.0], (n, 1, 1)),
        "pulls": np.tile([4.0, 2.0], (n, 1, 1)),
    }
    noise = seeding.noise(seeding.split(2, np.arange(n))[:, None], 0, 2, "discrete")
    arm, _, _ = policy.act(np.ones((n, 1, 1)), memory, noise)
    x = (np.arange(100_000) + 0.5) / 100_000
    exact = float((20 * x**3 * (1 - x) * (3 * x**2 - 2 * x**3)).mean())
    assert (arm == 0).mean() == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / n))
