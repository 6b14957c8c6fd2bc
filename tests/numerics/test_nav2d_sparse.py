"""Sparse 2D navigation: the authors' goals and rewards, reference values against simulation, the searchers' lines."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kshot import seeding
from kshot.envs import nav2d_sparse
from kshot.envs.nav2d_sparse import arc
from kshot.running.rollout import rollout
from kshot.types import Array, Episodes, Policy, Split, Task
from tests.numerics import arc_success

FAMILY = nav2d_sparse.build(nav2d_sparse.Settings())


def tasks_at(angles: Array) -> list[Task]:
    return [Task("nav2d_sparse", "test", i, (("angle", float(a)),)) for i, a in enumerate(angles)]


def play(policy: Policy, angles: Array, episodes: int, copies: int = 1) -> Episodes:
    return rollout(FAMILY, policy, tasks_at(angles), seeding.split(3, np.arange(len(angles))), copies, episodes)


def uniform_angles(n: int) -> Array:
    return np.pi * seeding.uniform(seeding.split(11, np.arange(n)), 0)


def test_goals_and_splits_are_the_authors() -> None:
    """The first and last goals of their list, made as they make it: 100 places on the half circle, shuffled."""
    angles = np.linspace(0, np.pi, 100)
    goals = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    np.random.RandomState(1337).shuffle(goals)
    expected: dict[Split, Array] = {"train": goals[:80], "test": goals[80:]}
    for split, theirs in expected.items():
        ours = sorted(FAMILY.tasks(split, len(theirs), 0), key=lambda task: task.index)
        np.testing.assert_allclose(arc.point(np.array([task["angle"] for task in ours])), theirs, atol=1e-12)
    between = np.array([task["angle"] for task in FAMILY.tasks("validation", 20, 0)])
    assert np.abs(between[:, None] - angles).min() == pytest.approx(np.pi / 99 / 2)
    with pytest.raises(ValueError, match="the test split has 20"):
        FAMILY.tasks("test", 21, 0)


def test_a_task_keeps_its_id_in_every_draw() -> None:
    ids = {task.index: task.id for task in FAMILY.tasks("test", 20, 0)}
    assert all(ids[task.index] == task.id for task in FAMILY.tasks("test", 7, 5))


@pytest.mark.parametrize("dense", [True, False])
def test_vector_env_equals_the_slow_loop(dense: bool) -> None:
    rng = np.random.default_rng(0)
    angles = rng.uniform(0, np.pi, 40)
    goals = arc.point(angles)
    actions = goals[:, None] * rng.uniform(0.5, 1.5, (40, 20, 1)) + rng.normal(0, 0.5, (40, 20, 2))
    env = nav2d_sparse.SparseNav2DVectorEnv(goals, 20, dense)
    env.reset()
    steps = [env.step(actions[:, t]) for t in range(20)]
    hits = 0
    for i in range(40):
        x = y = 0.0
        for t in range(20):
            x += 0.1 * min(max(actions[i, t, 0], -1.0), 1.0)
            y += 0.1 * min(max(actions[i, t, 1], -1.0), 1.0)
            distance = math.hypot(x - math.cos(angles[i]), y - math.sin(angles[i]))
            _, reward, terminated, truncated, info = steps[t]
            assert reward[i] == pytest.approx(1 - distance if distance <= 0.2 else 0.0, abs=1e-12)
            assert info["success"][i] == (distance <= 0.2)
            assert not terminated[i] and truncated[i] == (t == 19)
            assert ("training_reward" in info) == dense
            if dense:
                assert info["training_reward"][i] == pytest.approx(-distance, abs=1e-12)
            hits += distance <= 0.2
    assert 20 < hits < 700


def test_learners_train_on_the_dense_reward_and_adapt_on_the_sparse_one() -> None:
    episodes = play(FAMILY.references["random"]([]), np.array([1.0]), 1)
    assert not episodes.reward.any() and (episodes.training_reward < -0.2).all()


def test_oracle_and_task_blind_attain_their_values() -> None:
    tasks = FAMILY.tasks("train", 80, 0)
    angles = np.array([task["angle"] for task in tasks])
    for name in ("oracle", "task_blind"):
        returns = play(FAMILY.references[name](tasks), angles, 1).returns[:, 0]
        np.testing.assert_allclose(returns, [FAMILY.reference(task)[name] for task in tasks], atol=1e-5)
    # By hand: (1, 0) is .2 away after 8 steps, .1 after 9, and reached for the last 11.
    assert FAMILY.reference(tasks_at(np.array([0.0]))[0])["oracle"] == pytest.approx(0.8 + 0.9 + 11.0)


def test_no_way_to_the_goal_is_better_than_the_oracles() -> None:
    rng = np.random.default_rng(2)
    for angle in rng.uniform(0, np.pi, 10):
        goal = arc.point(np.array(angle))
        best = nav2d_sparse.path_return(nav2d_sparse.straight_path(goal, 12), goal)
        step = np.diff(np.concatenate([np.zeros((1, 2)), nav2d_sparse.straight_path(goal, 12)]), axis=0)
        for _ in range(300):
            disturbed = np.clip(step + rng.normal(0, rng.choice([0.001, 0.01, 0.1]), (12, 2)), -0.1, 0.1)
            assert nav2d_sparse.path_return(np.cumsum(disturbed, axis=0), goal) <= best + 1e-9


def test_random_values_agree_with_simulation() -> None:
    """On the diagonal, where a random walk is least unlikely to arrive."""
    goal = arc.point(np.array(np.pi / 4))
    rng = np.random.default_rng(0)
    returns, ends = [], []
    for _ in range(8):
        paths = np.cumsum(rng.uniform(-0.1, 0.1, (50_000, 20, 2)), axis=1)
        reward = nav2d_sparse.sparse_reward(np.sqrt(((paths - goal) ** 2).sum(axis=2)))
        returns.append(reward.sum(axis=1))
        ends.append(reward[:, -1] > 0)
    for samples, exact in ((returns, nav2d_sparse.random_return), (ends, arc_success.random_success)):
        values = np.concatenate(samples)
        error = values.std() / math.sqrt(values.size)
        assert exact(goal, 20) == pytest.approx(values.mean(), abs=4 * error)


def test_no_place_has_more_of_the_arc_in_reach_than_the_blind_one() -> None:
    share = 2 * math.asin(0.2) / math.pi
    assert arc_success.share_in_reach(nav2d_sparse.TASK_BLIND_POSITION[None]) == pytest.approx(share)
    for radius in np.linspace(0.8, 1.2, 41):
        assert arc_success.share_in_reach(np.array([[0.0, radius]])) <= share + 1e-12


def test_share_of_the_arc_in_reach_equals_counting() -> None:
    rng = np.random.default_rng(3)
    goals = arc.point((np.arange(20_000) + 0.5) / 20_000 * np.pi)
    for _ in range(20):
        path = np.array([0.3, 0.7]) + np.cumsum(rng.uniform(-0.1, 0.1, (60, 2)), axis=0)
        counted = (np.sqrt(((goals[:, None] - path) ** 2).sum(axis=2)).min(axis=1) <= 0.2).mean()
        assert arc_success.share_in_reach(path) == pytest.approx(counted, abs=1e-3)


def test_posterior_sampling_has_the_computed_success() -> None:
    n = 20_000
    episodes = play(arc.PosteriorSampling(), uniform_angles(n), 16)
    exact = np.array(arc_success.posterior_sampling_success())
    error = np.sqrt(np.maximum(exact * (1 - exact), 0) / n)
    assert (np.abs(episodes.success_last.mean(axis=0) - exact) <= 4 * error + 2e-4).all()
    # Episode 1 by hand: the share of pairs of angles within the reach w of each other is (2 w pi - w^2) / pi^2.
    w = arc.HALF_WIDTH
    assert exact[0] == pytest.approx((2 * w * math.pi - w**2) / math.pi**2, abs=1e-5)
    assert exact[-1] == pytest.approx(1.0, abs=2e-4)
    assert (np.diff(exact) > -1e-6).all()


def test_posterior_sampling_finds_every_goal_of_the_family_for_good() -> None:
    """The ends of the arc included: rounding must not rule out the truth."""
    angles = np.linspace(0, np.pi, 100)
    episodes = play(arc.PosteriorSampling(), angles, 20, copies=20)
    success = episodes.success_last.reshape(100, 20, 20)
    assert success[:, :, 17:].all()
    assert np.allclose(episodes.returns.reshape(100, 20, 20)[:, :, 17:].std(axis=(1, 2)), 0.0, atol=1e-5)


def test_posterior_sampling_never_samples_what_it_has_ruled_out() -> None:
    policy = arc.PosteriorSampling()
    memory = policy.start(1, 500, seeding.split(8, np.arange(500))[None])
    done, nothing = np.ones((1, 500), dtype=bool), np.zeros((1, 500))
    samples = []
    for _ in range(7):  # at most 2 w of the arc is lost to each: something is left after 7
        samples.append(memory["sample"])
        memory = policy.observe(memory | {"step": np.full((1, 500), 19)}, np.zeros((1, 500, 2)), nothing, done)
    apart = np.abs(np.stack(samples)[:, None] - np.stack(samples)[None]) + 9.0 * np.eye(7)[..., None, None]
    assert apart.min() > arc.HALF_WIDTH


def test_search_has_the_computed_success_and_then_goes_the_best_way() -> None:
    n = 20_000
    angles = uniform_angles(n)
    episodes = play(arc.Search(), angles, 4)
    exact = arc_success.search_success(4)
    error = np.sqrt(exact * (1 - exact) / n)
    assert (np.abs(episodes.success_last.mean(axis=0) - exact) <= 4 * error + 1e-9).all()
    assert exact[:2] == pytest.approx([0.717, 0.930], abs=5e-4) and (exact[2:] == pytest.approx(1.0))
    oracle = play(nav2d_sparse._to_goal(arc.point(angles)), angles, 1).returns[:, 0]
    np.testing.assert_allclose(episodes.returns[:, 3], oracle, atol=1e-5)


def test_search_moves_no_faster_than_the_point_can() -> None:
    paths = arc.sweeps()
    assert paths.shape == (3, 20, 2)
    assert np.abs(np.diff(np.concatenate([np.zeros((3, 1, 2)), paths], axis=1), axis=1)).max() <= 0.1 + 1e-12


@pytest.mark.parametrize("name", ["horizon", "episodes_per_trial"])
def test_settings_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        nav2d_sparse.Settings(**{name: 0})
