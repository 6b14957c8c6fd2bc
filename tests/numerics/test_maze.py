"""Mazes: layouts against union-find by hand, ways against a queue, views against loops, values against play."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from kshot import seeding
from kshot.envs import maze
from kshot.envs.maze import explorers, layouts, views
from kshot.running.rollout import rollout
from kshot.types import Array, Task

KEYS = seeding.split(seeding.key("test mazes"), np.arange(300))


def family(**settings: object) -> maze.MazeFamily:
    return maze.build(maze.Settings(**settings))  # type: ignore[arg-type]


def slow_steps(is_open: Array, start: int) -> dict[int, int]:
    """Fewest steps from a cell to every other that can be reached, by a queue."""
    side = len(is_open)
    found, queue = {start: 0}, deque([start])
    while queue:
        cell = queue.popleft()
        x, y = divmod(cell, side)
        for other in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
            number = other[0] * side + other[1]
            if is_open[other] and number not in found:
                found[number] = found[cell] + 1
                queue.append(number)
    return found


@pytest.mark.parametrize(("rooms", "loops"), [(3, 0), (5, 0), (5, 4), (7, 0)])
def test_all_rooms_are_connected_by_as_few_passages_as_it_takes(rooms: int, loops: int) -> None:
    made = layouts.mazes(KEYS[:60], rooms, loops)
    side = 2 * rooms + 1
    assert made.is_open.shape == (60, side, side)
    assert not made.is_open[:, [0, -1]].any() and not made.is_open[:, :, [0, -1]].any()
    assert made.is_open[:, 1::2, 1::2].all() and not made.is_open[:, ::2, ::2].any()
    # rooms^2 nodes, connected, with rooms^2 - 1 edges: a tree; every loop is one edge more.
    assert (made.is_open.sum(axis=(1, 2)) == rooms**2 + rooms**2 - 1 + loops).all()
    for is_open, start, goal in zip(*made, strict=True):
        found = slow_steps(is_open, int(start))
        assert len(found) == is_open.sum()
        assert found[int(goal)] >= layouts.least_distance(rooms)
        assert all(place % 2 == 1 for cell in (start, goal) for place in divmod(int(cell), side))
    if rooms == 5:
        assert len({layout.tobytes() for layout in made.is_open}) == 60


def test_trees_are_minimum_spanning_trees() -> None:
    """Of the weights of the passages, by the other algorithm: growing one tree by its lightest edge (Prim)."""
    rooms, edges = 3, []
    weights = seeding.uniform(seeding.split(KEYS[:20], 0)[:, None], np.arange(12))
    for x in range(rooms - 1):
        edges += [((x, y), (x + 1, y)) for y in range(rooms)]
    for x in range(rooms):
        edges += [((x, y), (x, y + 1)) for y in range(rooms - 1)]
    for is_open, weight in zip(layouts.mazes(KEYS[:20], rooms).is_open, weights, strict=True):
        tree, passages = {(0, 0)}, set()
        while len(tree) < rooms**2:
            crossing = [i for i, (a, b) in enumerate(edges) if (a in tree) != (b in tree)]
            lightest = min(crossing, key=lambda i: weight[i])
            passages.add(lightest)
            tree |= set(edges[lightest])
        opened = {i for i, (a, b) in enumerate(edges) if is_open[a[0] + b[0] + 1, a[1] + b[1] + 1]}
        assert opened == passages


def test_start_and_goal_are_uniform_over_what_is_allowed() -> None:
    keys = seeding.split(seeding.key("many mazes"), np.arange(10_000))
    made = layouts.mazes(keys, 3)
    rooms = [1 * 7 + 1 + 14 * x + 2 * y for x in range(3) for y in range(3)]
    starts = np.bincount(np.searchsorted(rooms, made.start), minlength=9)
    assert (np.abs(starts - 10_000 / 9) <= 4.5 * np.sqrt(10_000 * 8 / 81)).all()
    # All rooms but the start and those beside it are far enough away; the goal is equally often each of them.
    far = layouts.steps_to(made.is_open, made.start).reshape(10_000, -1)[:, rooms] >= layouts.least_distance(3)
    rank = far.cumsum(axis=1)[np.arange(10_000), np.searchsorted(rooms, made.goal)]
    for count in (5, 6, 7):
        ranks = np.bincount(rank[far.sum(axis=1) == count], minlength=count + 1)[1:]
        assert len(ranks) == count and ranks.sum() > 500
        assert (np.abs(ranks - ranks.mean()) <= 4.5 * np.sqrt(ranks.mean())).all()


def test_search_in_breadth_equals_the_queue() -> None:
    for rooms, loops in ((5, 0), (5, 4), (7, 0)):
        made = layouts.mazes(KEYS[:20], rooms, loops)
        steps = layouts.steps_to(made.is_open, made.goal)
        for is_open, goal, found in zip(made.is_open, made.goal, steps, strict=True):
            slow = slow_steps(is_open, int(goal))
            assert {cell: int(found.reshape(-1)[cell]) for cell in slow} == slow
            assert (found[~is_open] == -1).all()


@pytest.mark.parametrize("observation", ["cells", "pixels"])
@pytest.mark.parametrize("view", [3, 7])
def test_vector_env_equals_the_slow_maze(view: int, observation: str) -> None:
    of = family(view=view, observation=observation, horizon=40)
    tasks = of.tasks("train", 4, 0)
    made = of.mazes(tasks)
    env = of.vector_env(tasks, 2)
    half, actions = view // 2, np.random.default_rng(0).integers(0, 4, (40, 8))
    obs, info = env.reset()
    places = [divmod(int(made.start[i // 2]), 11) for i in range(8)]
    running = [True] * 8
    for t in range(40):
        for i in range(8):
            x, y = places[i]
            kinds = [
                [kind(made, i // 2, x + dx, y + dy) for dy in range(-half, half + 1)] for dx in range(-half, half + 1)
            ]
            if not running[i]:
                continue
            if observation == "cells":
                expected = [float(k == which) for row in kinds for k in row for which in ("wall", "goal")]
                np.testing.assert_array_equal(obs[i], expected)
            else:
                pixels = np.rint(obs[i].reshape(3 * view, 3 * view, 3) * 255).astype(int)
                for row, line in enumerate(kinds):
                    for column, k in enumerate(line):
                        colour = {"wall": [100] * 3, "goal": [0, 255, 0], "floor": [0] * 3}[k]
                        assert pixels[3 * row + 2, 3 * column + 2].tolist() == colour
                assert pixels[3 * view // 2, 3 * view // 2].tolist() == [255, 0, 0]
            walls, goals = views.read(obs[i : i + 1].astype(np.float64), view)
            assert walls[0].tolist() == [[k == "wall" for k in line] for line in kinds]
            assert goals[0].tolist() == [[k == "goal" for k in line] for line in kinds]
        obs, reward, terminated, truncated, info = env.step(actions[t])
        for i in range(8):
            if not running[i]:
                continue
            dx, dy = [(0, 1), (1, 0), (0, -1), (-1, 0)][actions[t, i]]
            x, y = places[i][0] + dx, places[i][1] + dy
            if kind(made, i // 2, x, y) != "wall":
                places[i] = (x, y)
            arrived = places[i][0] * 11 + places[i][1] == made.goal[i // 2]
            assert reward[i] == pytest.approx(1 - 0.9 * (t + 1) / 40 if arrived else 0.0)
            assert (terminated[i], info["success"][i], truncated[i]) == (arrived, arrived, t == 39)
            running[i] = not arrived


def kind(made: layouts.Mazes, row: int, x: int, y: int) -> str:
    if not (0 <= x < 11 and 0 <= y < 11) or not made.is_open[row, x, y]:
        return "wall"
    return "goal" if x * 11 + y == made.goal[row] else "floor"


def layouts_of(of: maze.MazeFamily, tasks: list[Task]) -> set[bytes]:
    return {layout.tobytes() for layout in of.mazes(tasks).is_open}


def test_no_layout_is_in_two_splits() -> None:
    """With three rooms there are 192 layouts in all, so that any overlap would show."""
    of = family(rooms=3)
    found = {split: layouts_of(of, of.tasks(split, 2000, 0)) for split in ("train", "validation", "test")}
    assert sum(map(len, found.values())) == len(set().union(*found.values())) == 192
    for distribution in ("larger", "loops"):
        out = family(test_distribution=distribution)
        tasks = out.tasks("test", 200, 0)
        train = out.tasks("train", 200, 0)
        assert {(task["rooms"], task["loops"]) for task in train} == {(5, 0)}
        assert {(task["rooms"], task["loops"]) for task in tasks} == {(7, 0) if distribution == "larger" else (5, 4)}
        assert not layouts_of(out, tasks) & layouts_of(out, train)


def test_known_values_are_attained() -> None:
    of = family()
    tasks = of.tasks("test", 60, 0)
    played = rollout(of, of.references["oracle"](tasks), tasks, seeding.split(1, np.arange(60)), 1, 2)
    made = of.mazes(tasks)
    for row, task in enumerate(tasks):
        steps = slow_steps(made.is_open[row], int(made.start[row]))[int(made.goal[row])]
        assert played.lengths[row].tolist() == [steps, steps]
        assert of.reference(task)["oracle"] == pytest.approx(1 - 0.9 * steps / 100)
        np.testing.assert_allclose(played.returns[row], 1 - 0.9 * steps / 100, atol=1e-6)
        np.testing.assert_allclose(played.optimal_return[row], 1 - 0.9 * steps / 100)


def test_the_random_value_agrees_with_play() -> None:
    of = family(rooms=3, horizon=40)
    tasks = of.tasks("test", 10_000, 0)
    exact = np.array([of.reference(task)["random"] for task in tasks[:500]])
    played = rollout(of, of.references["random"](tasks[:500]), tasks[:500], seeding.split(2, np.arange(500)), 20)
    gap = played.returns.mean(axis=1) - exact
    assert abs(gap.mean()) <= 4 * gap.std() / 500**0.5
    # On all of them: means over tasks, the values of equal tasks being equal.
    everywhere = rollout(of, of.references["random"](tasks), tasks, seeding.split(3, np.arange(10_000)), 1).returns
    error = (everywhere.var() / 10_000 + exact.var() / 500) ** 0.5
    assert abs(everywhere.mean() - exact.mean()) <= 4 * error
    too_short = family(rooms=3, horizon=3)
    assert too_short.reference(too_short.tasks("test", 1, 0)[0]) == {"random": 0.0, "oracle": 0.0}


@pytest.mark.parametrize("observation", ["cells", "pixels"])
def test_who_keeps_the_map_needs_fewer_steps_the_second_time(observation: str) -> None:
    of = family(observation=observation)
    tasks = of.tasks("test", 60, 0)
    keys = seeding.split(1, np.arange(60))
    keeping, forgetting, best = (
        rollout(of, of.references[name](tasks), tasks, keys, 1, 3).returns
        for name in ("mapping", "task_blind", "oracle")
    )
    np.testing.assert_array_equal(keeping[:, 0], forgetting[:, 0])
    np.testing.assert_array_equal(forgetting, forgetting[:, :1].repeat(3, axis=1))
    # There is one way through a tree, and who has been to the goal knows it.
    assert (forgetting > 0).all()
    np.testing.assert_allclose(keeping[:, 1:], best[:, 1:])
    assert (keeping[:, 1] > keeping[:, 0]).mean() > 0.7


def test_a_map_is_of_use_in_other_mazes_too() -> None:
    for distribution in ("larger", "loops"):
        of = family(test_distribution=distribution, horizon=200)
        tasks = of.tasks("test", 30, 0)
        played = rollout(of, of.references["mapping"](tasks), tasks, seeding.split(1, np.arange(30)), 1, 2)
        assert played.success_last.all()
        assert (played.returns[:, 1] >= played.returns[:, 0] - 1e-6).all()
        assert (played.returns[:, 1] <= played.optimal_return[:, 1] + 1e-6).all()


def test_ways_on_a_map_are_shortest() -> None:
    made = layouts.mazes(KEYS[:10], 5, 4)
    free = made.is_open
    targets = np.full(free.shape, 10_000, dtype=np.int16)
    targets.reshape(10, -1)[np.arange(10), made.goal] = 0
    cost = explorers._costs(free, targets)
    np.testing.assert_array_equal(cost[free], layouts.steps_to(free, made.goal)[free])


def test_tasks_of_one_batch_are_of_one_kind() -> None:
    tasks = [family().tasks("test", 1, 0)[0], family(test_distribution="larger").tasks("test", 1, 0)[0]]
    with pytest.raises(ValueError, match="tasks of one batch must be of one size, got \\[5, 7\\]"):
        family().vector_env(tasks, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rooms": 2}, "rooms must be between 3 and 20, got 2"),
        ({"rooms": 21}, "rooms must be between 3 and 20, got 21"),
        ({"view": 4}, "view must be odd and at least 3, got 4"),
        ({"view": 1}, "view must be odd and at least 3, got 1"),
        ({"horizon": 0}, "horizon must be at least 1, got 0"),
        ({"observation": "text"}, "observation must be 'cells' or 'pixels', got 'text'"),
        ({"test_distribution": "ood"}, "test_distribution must be 'same', 'larger' or 'loops', got 'ood'"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        family(**settings)
