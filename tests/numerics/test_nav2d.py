"""2D navigation: dynamics against a slow loop, closed forms against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kshot import seeding
from kshot.envs import nav2d
from kshot.envs._scripted import Scripted
from kshot.types import Array


def slow_episode(goal: Array, actions: Array) -> tuple[list[float], bool]:
    """Rewards of one episode, written as in the original environment; whether it terminated."""
    x = y = 0.0
    rewards = []
    for ax, ay in actions:
        x += 0.1 * min(max(ax, -1.0), 1.0)
        y += 0.1 * min(max(ay, -1.0), 1.0)
        rewards.append(-math.hypot(x - goal[0], y - goal[1]))
        if abs(x - goal[0]) < 0.01 and abs(y - goal[1]) < 0.01:
            return rewards, True
    return rewards, False


def test_vector_env_equals_the_slow_loop() -> None:
    rng = np.random.default_rng(0)
    goals = rng.uniform(-0.5, 0.5, (60, 2))
    goals[:20] = rng.uniform(-0.03, 0.03, (20, 2))  # near the start, so that some episodes terminate
    actions = rng.normal(0, 0.5, (60, 30, 2))
    env = nav2d.Nav2DVectorEnv(goals, horizon=30)
    env.reset()
    steps = [env.step(actions[:, t]) for t in range(30)]
    ends = 0
    for i in range(60):
        rewards, terminated = slow_episode(goals[i], actions[i])
        length = len(rewards)
        np.testing.assert_allclose([steps[t][1][i] for t in range(length)], rewards, atol=1e-12)
        assert steps[length - 1][2][i] == terminated
        assert not any(steps[t][2][i] for t in range(length - 1))
        assert [steps[t][4]["success"][i] for t in range(length)] == [-r < 0.05 for r in rewards]
        ends += terminated
    assert 0 < ends < 60
    assert steps[29][3].all() and not steps[28][3].any()


def test_the_observation_is_the_position_and_is_not_overwritten() -> None:
    env = nav2d.Nav2DVectorEnv(np.zeros((2, 2)), horizon=5)
    start, _ = env.reset()
    first = env.step(np.array([[1.0, 0.0], [0.5, -2.0]]))[0]
    env.step(np.ones((2, 2)))
    np.testing.assert_allclose(start, 0.0)
    np.testing.assert_allclose(first, [[0.1, 0.0], [0.05, -0.1]])


def play(goals: Array, horizon: int, act: Scripted) -> Array:
    env = nav2d.Nav2DVectorEnv(goals, horizon)
    obs, _ = env.reset()
    total, active = np.zeros(len(goals)), np.ones(len(goals), dtype=bool)
    memory = act.start(len(goals), 1)
    for _ in range(horizon):
        action, _, memory = act.act(obs[:, None], memory, None)
        obs, reward, terminated, *_ = env.step(action[:, 0])
        total += reward * active
        active &= ~terminated
    return total


def test_the_oracle_attains_the_closed_form() -> None:
    goals = np.random.default_rng(1).uniform(-0.5, 0.5, (200, 2))
    closed = [nav2d.optimal_return(goal, 100) for goal in goals]
    np.testing.assert_allclose(play(goals, 100, nav2d._to_goal(goals)), closed, atol=1e-9)
    # By hand: from distance .25 along one axis the point is .15, .05 and 0 away after its three steps.
    assert nav2d.optimal_return(np.array([0.25, 0.0]), 100) == pytest.approx(-0.2)
    # The second coordinate arrives at the first step, the first one at the third.
    assert nav2d.optimal_return(np.array([0.25, 0.05]), 100) == pytest.approx(-0.2)
    assert nav2d.optimal_return(np.array([0.25, 0.15]), 100) == pytest.approx(-(math.hypot(0.15, 0.05) + 0.05))


def test_no_other_policy_beats_the_closed_form() -> None:
    rng = np.random.default_rng(2)
    for goal in rng.uniform(-0.5, 0.5, (10, 2)):
        best = nav2d.optimal_return(goal, 12)
        # Disturbed versions of the straight way, from slightly wrong to wild.
        way = np.clip((goal[None] - 0.1 * np.sign(goal) * np.arange(12)[:, None]) / 0.1, -1, 1)
        for _ in range(300):
            actions = way + rng.normal(0, rng.choice([0.01, 0.1, 1.0]), (12, 2))
            assert sum(slow_episode(goal, actions)[0]) <= best + 1e-12


def test_a_short_horizon_cuts_the_closed_form() -> None:
    assert nav2d.optimal_return(np.array([0.5, 0.0]), 2) == pytest.approx(-(0.4 + 0.3))


def test_standing_still_and_its_termination_box() -> None:
    goals = np.array([[0.3, -0.4], [0.005, 0.005], [0.5, 0.5]])
    still = Scripted(lambda obs, step, noise: np.zeros_like(obs))
    closed = [nav2d.standing_return(goal, 100) for goal in goals]
    np.testing.assert_allclose(play(goals, 100, still), closed, atol=1e-9)
    np.testing.assert_allclose(closed, [-50.0, -math.hypot(0.005, 0.005), -100 * math.hypot(0.5, 0.5)])


def test_the_origin_is_the_best_place_to_wait() -> None:
    grid = (np.arange(100) + 0.5) / 100 - 0.5
    goals = np.stack(np.meshgrid(grid, grid), axis=-1)

    def cost(x: float, y: float) -> float:
        return float(np.hypot(goals[..., 0] - x, goals[..., 1] - y).mean())

    places = [(x, y) for x in np.linspace(-0.4, 0.4, 9) for y in np.linspace(-0.4, 0.4, 9)]
    assert min(places, key=lambda p: cost(*p)) == pytest.approx((0.0, 0.0), abs=1e-12)
    # E|g| over the square has the closed form (sqrt(2) + asinh(1)) / 6 = .3826
    assert cost(0.0, 0.0) == pytest.approx((math.sqrt(2) + math.asinh(1)) / 6, rel=1e-3)


def test_random_return_agrees_with_simulation() -> None:
    family = nav2d.build(nav2d.Settings())
    task = family.tasks("test", 1, 0)[0]
    env = family.vector_env([task], 4000)
    policy = family.references["random"]([task])
    keys = seeding.split(5, np.arange(4000)).reshape(1, -1)
    obs, _ = env.reset()
    memory = policy.start(1, 4000)
    total, active = np.zeros(4000), np.ones(4000, dtype=bool)
    for t in range(100):
        action, _, memory = policy.act(obs[None], memory, seeding.noise(keys, t, 2, "continuous"))
        obs, reward, terminated, *_ = env.step(action[0])
        total += reward * active
        active &= ~terminated
    error = total.std() * math.sqrt(1 / 4000 + 1 / 2048)
    assert family.reference(task)["random"] == pytest.approx(total.mean(), abs=4 * error)


def test_goals_fill_the_square() -> None:
    family = nav2d.build(nav2d.Settings())
    goals = np.array([task["goal"] for task in family.tasks("train", 5000, 0)])
    assert np.abs(goals).max() < 0.5
    deciles = np.histogram(goals, bins=10, range=(-0.5, 0.5))[0] / goals.size
    assert np.abs(deciles - 0.1).max() < 4 * 0.3 / math.sqrt(goals.size)


@pytest.mark.parametrize("name", ["horizon", "episodes_per_trial"])
def test_settings_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        nav2d.Settings(**{name: 0})
