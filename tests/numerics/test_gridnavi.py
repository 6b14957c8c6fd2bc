"""GridNavi: dynamics against a slow loop, every reference line against its exact value, the bound by brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from kshot import seeding
from kshot.envs import gridnavi
from kshot.envs.gridnavi import grid
from kshot.running.rollout import rollout
from kshot.types import Array

FAMILY = gridnavi.build(gridnavi.Settings())
TASKS = sorted(FAMILY.tasks("test", 21, 0), key=lambda task: task.index)
KEYS = seeding.split(4, np.arange(21))


def returns(name: str, copies: int = 1, episodes: int = 4) -> Array:
    """[21, copies, episodes]."""
    played = rollout(FAMILY, FAMILY.references[name](TASKS), TASKS, KEYS, copies, episodes)
    return played.returns.astype(np.float64).reshape(21, copies, episodes)


def slow_cells(actions: tuple[int, ...]) -> list[tuple[int, int]]:
    """Cells after each step, move by move as in the original environment."""
    x = y = 0
    cells = []
    for action in actions:
        if action == 1:
            y = min(y + 1, 4)
        elif action == 2:
            x = min(x + 1, 4)
        elif action == 3:
            y = max(y - 1, 0)
        elif action == 4:
            x = max(x - 1, 0)
        cells.append((x, y))
    return cells


def test_vector_env_equals_the_slow_loop() -> None:
    rng = np.random.default_rng(0)
    actions = rng.integers(0, 5, (42, 15))
    tasks = TASKS * 2
    env = FAMILY.vector_env(tasks, 1)
    env.reset()
    steps = [env.step(actions[:, t]) for t in range(15)]
    hits = 0
    for i, task in enumerate(tasks):
        for t, cell in enumerate(slow_cells(tuple(actions[i]))):
            obs, reward, terminated, truncated, info = steps[t]
            assert tuple(obs[i]) == cell
            assert reward[i] == (1.0 if cell == task["goal"] else -0.1)
            assert info["success"][i] == (cell == task["goal"])
            assert not terminated[i] and truncated[i] == (t == 14)
            hits += cell == task["goal"]
    assert hits > 0


def test_the_goals_are_all_cells_but_the_corner_of_the_start() -> None:
    assert len(set(grid.GOALS)) == len(grid.GOALS) == 21
    assert not {(0, 0), (0, 1), (1, 0), (1, 1)} & set(grid.GOALS)
    assert {task["goal"] for task in TASKS} == set(grid.GOALS)


def test_all_splits_hold_all_goals_unless_some_are_held_out() -> None:
    assert FAMILY.spec.shared_tasks
    held = gridnavi.build(gridnavi.Settings(held_out=5))
    assert not held.spec.shared_tasks
    goals = {s: {t["goal"] for t in held.tasks(s, n, 0)} for s, n in (("train", 11), ("validation", 5), ("test", 5))}
    assert [len(goal) for goal in goals.values()] == [11, 5, 5]
    assert set().union(*goals.values()) == set(grid.GOALS)
    with pytest.raises(ValueError, match="the train split has 11"):
        held.tasks("train", 12, 0)
    ids = {task.index: task.id for task in held.tasks("test", 5, 0)}
    assert ids == {task.index: task.id for task in held.tasks("test", 5, 9)}
    assert ids == {task.index: task.id for task in TASKS if task.index in ids}


def test_known_and_blind_values_are_attained() -> None:
    for name in ("oracle", "task_blind"):
        exact = [FAMILY.reference(task)[name] for task in TASKS]
        np.testing.assert_allclose(returns(name)[:, 0, 0], exact, atol=1e-5)
    assert np.mean([FAMILY.reference(task)["oracle"] for task in TASKS]) == pytest.approx(155 / 14)


def test_random_value_agrees_with_simulation() -> None:
    exact = np.array([FAMILY.reference(task)["random"] for task in TASKS])
    simulated = returns("random", 1000, 1)[:, :, 0]
    error = simulated.std(axis=1) / math.sqrt(1000)
    assert (np.abs(simulated.mean(axis=1) - exact) <= 4.5 * error + 1e-5).all()
    assert exact.mean() == pytest.approx(-1.165, abs=5e-4)


def test_the_bayes_optimal_policy_attains_the_bounds() -> None:
    mean = returns("bayes_optimal")[:, 0].mean(axis=0)
    assert grid.first_episode_bound(15) == pytest.approx(4.0)
    np.testing.assert_allclose(mean, [4.0, 155 / 14, 155 / 14, 155 / 14], atol=1e-5)
    assert gridnavi.bayes_optimal_trial(4) == pytest.approx(37.2143, abs=5e-5)
    assert mean.sum() == pytest.approx(gridnavi.bayes_optimal_trial(4), abs=1e-4)


def test_its_paths_visit_every_goal_once_at_the_claimed_steps() -> None:
    for path in (grid.FIRST_PATH, grid.SECOND_PATH):
        assert np.abs(np.diff(np.concatenate([np.zeros((1, 2), dtype=int), path]), axis=0)).sum(axis=1).tolist() == [
            1
        ] * len(path)
    first, second = ([tuple(cell) for cell in path.tolist()] for path in (grid.FIRST_PATH, grid.SECOND_PATH))
    assert sorted(first[1:] + second[1:]) == sorted(grid.GOALS)
    assert all(grid.steps_from_start(cell) == step for step, cell in enumerate(second, start=1))


@pytest.mark.parametrize("horizon", [2, 5, 7])
def test_no_way_of_searching_beats_the_bound_of_the_first_episode(horizon: int) -> None:
    """All action sequences; who meets the goal stays, which is best from there on."""
    best = -math.inf
    for actions in itertools.product(range(5), repeat=horizon):
        cells = slow_cells(actions)
        total = 0.0
        for goal in grid.GOALS:
            before = cells.index(goal) if goal in cells else horizon
            total += -0.1 * before + (horizon - before)
        best = max(best, total / 21)
    assert best == pytest.approx(grid.first_episode_bound(horizon))


@pytest.mark.parametrize("horizon", [3, 6])
def test_no_fixed_way_is_better_than_the_blind_one(horizon: int) -> None:
    family = gridnavi.build(gridnavi.Settings(horizon=horizon))
    blind = np.mean([family.reference(task)["task_blind"] for task in TASKS])
    sequences = itertools.product(range(5), repeat=horizon)
    on_goals = max(sum(cell in grid.GOALS for cell in slow_cells(actions)) for actions in sequences)
    assert blind == pytest.approx(-0.1 * horizon + 1.1 * on_goals / 21)


def posterior_sampling_returns(horizon: int, episodes: int) -> Array:
    """[episodes] expected return of ``grid.PosteriorSampling``, exact, for a goal uniform over ``grid.GOALS``.

    Until the goal is found, the set of possible goals is a function of the samples drawn: these sets and their
    probabilities are carried from episode to episode.
    """
    paths = [path_along_x_first(goal, horizon) for goal in grid.GOALS]
    visited = [frozenset(cell for cell in path if cell in grid.GOALS) for path in paths]
    # Possible goals -> probability that it is these, with a goal that is uniform among them and not found.
    searching = {frozenset(grid.GOALS): 1.0}
    found = dict.fromkeys(grid.GOALS, 0.0)  # goal -> probability that it is this one, and found
    returns = []
    for _ in range(episodes):
        total = sum(probability * grid.optimal_return(goal, horizon) for goal, probability in found.items())
        still_searching: dict[frozenset[tuple[int, int]], float] = {}
        for possible, probability in searching.items():
            pair = probability / len(possible) ** 2  # of one sample and one goal
            for index, sample in enumerate(grid.GOALS):
                if sample not in possible:
                    continue
                hits = sum(paths[index].count(goal) for goal in possible)
                reward = len(possible) * grid.OTHER_REWARD * horizon
                total += pair * (reward + (grid.GOAL_REWARD - grid.OTHER_REWARD) * hits)
                for goal in visited[index] & possible:
                    found[goal] += pair
                remaining = possible - visited[index]
                if remaining:
                    still_searching[remaining] = still_searching.get(remaining, 0.0) + pair * len(remaining)
        searching = still_searching
        returns.append(total)
    return np.array(returns)


def path_along_x_first(goal: tuple[int, int], horizon: int) -> list[tuple[int, int]]:
    """The cells after each step of the way to ``goal``."""
    position, cells = np.zeros(2, dtype=np.int64), []
    for _ in range(horizon):
        position = grid.next_position(position, grid.action_towards(np.array(goal), position))
        cells.append((int(position[0]), int(position[1])))
    return cells


def test_posterior_sampling_has_the_computed_returns() -> None:
    copies = 2000
    simulated = returns("posterior_sampling", copies)
    exact = posterior_sampling_returns(15, 4)
    error = np.sqrt((simulated.var(axis=1) / copies).sum(axis=0)) / 21
    assert (np.abs(simulated.mean(axis=(0, 1)) - exact) <= 4 * error + 1e-5).all()
    assert exact.sum() < gridnavi.bayes_optimal_trial(4)
    # After enough episodes the goal is known.
    assert posterior_sampling_returns(15, 21)[-1] == pytest.approx(155 / 14)


def test_posterior_sampling_by_hand_in_the_first_episode() -> None:
    """Every pair of a sample and a goal, walked step by step."""
    total = 0.0
    for sample, goal in itertools.product(grid.GOALS, repeat=2):
        way = slow_cells((2,) * sample[0] + (1,) * sample[1] + (0,) * (15 - sum(sample)))
        total += sum(1.0 if cell == goal else -0.1 for cell in way)
    assert posterior_sampling_returns(15, 1)[0] == pytest.approx(total / 21**2)


def test_the_bayes_optimal_value_is_left_out_where_it_is_not_known() -> None:
    for settings in (gridnavi.Settings(horizon=10), gridnavi.Settings(held_out=3)):
        family = gridnavi.build(settings)
        assert set(family.reference(family.tasks("test", 1, 0)[0])) == {"random", "task_blind", "oracle"}


@pytest.mark.parametrize(("name", "value"), [("horizon", 0), ("episodes_per_trial", 0), ("held_out", 11)])
def test_settings_are_checked(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*, got {value}"):
        gridnavi.Settings(**{name: value})
