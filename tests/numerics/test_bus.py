"""Buses: dynamics against a slow city, every reference value against brute force or play, the published split."""

from __future__ import annotations

from functools import cache
from itertools import permutations

import numpy as np
import pytest

from kshot import seeding
from kshot.envs import bus
from kshot.envs.bus import beliefs, city
from kshot.running.rollout import rollout
from kshot.types import Task

VARIANTS = ("plain", "distract", "map")
CORNERS = [(0, 0), (8, 8), (0, 8), (8, 0)]


class SlowCity:
    """One episode, as the authors' code describes it: an object on a cell takes whoever rides to the other end."""

    def __init__(self, variant: str, number: int, mirrored: bool, goal: tuple[int, int], horizon: int = 20) -> None:
        useful = [(1, 0), (7, 0), (1, 8), (7, 8)] if mirrored else [(0, 1), (0, 7), (8, 1), (8, 7)]
        ends = list(zip([(4, 5), (5, 4), (3, 4), (4, 3)], sorted_permutation(useful, number % 24), strict=True))
        if variant == "distract":
            useless = sorted_permutation([(0, 4), (4, 0), (8, 4), (4, 8)], number // 24)
            ends += zip([(5, 5), (3, 3), (3, 5), (5, 3)], useless, strict=True)
        self.bus = {a: b for pair in ends for a, b in (pair, pair[::-1])}
        self.variant, self.number, self.goal, self.horizon = variant, number, goal, horizon
        self.place, self.steps = (4, 4), 0

    def observation(self) -> list[float]:
        x, y = self.place
        seen = [float(x == i) for i in range(9)] + [float(y == i) for i in range(9)]
        seen += [float(self.place in self.bus)] + [float(self.goal == corner) for corner in CORNERS]
        if self.variant == "map":
            seen += [float(self.place == (7, 3) and self.number == i) for i in range(24)]
        return seen

    def step(self, action: int) -> tuple[float, bool, bool]:
        """Reward, terminated, truncated."""
        self.steps += 1
        left = self.horizon - self.steps
        if action == 6:
            return -0.1 - 0.1 * left, True, left == 0
        x, y = self.place
        if action == 5:
            x, y = self.bus.get(self.place, self.place)
        dx, dy = {0: (-1, 0), 1: (0, 1), 2: (1, 0), 3: (0, -1)}.get(action, (0, 0))
        self.place = (min(max(x + dx, 0), 8), min(max(y + dy, 0), 8))
        arrived = self.place == self.goal
        return (1.0 if arrived else -0.1), arrived, left == 0


def sorted_permutation(places: list[tuple[int, int]], number: int) -> list[tuple[int, int]]:
    """Permutation ``number`` of four in lexicographic order, digit by digit."""
    rest, chosen = list(places), []
    for size in (6, 2, 1, 1):
        index, number = divmod(number, size)
        chosen.append(rest.pop(index))
    return chosen


def family(variant: str = "plain", **settings: object) -> bus.BusFamily:
    return bus.build(bus.Settings(variant=variant, **settings))  # type: ignore[arg-type]


def every_task(of: bus.BusFamily, split: str = "test") -> list[Task]:
    return of.tasks(split, len(of.ids(split)), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_vector_env_equals_the_slow_city(variant: str, mirrored: bool) -> None:
    of = family(variant, test_distribution="ood" if mirrored else "same")
    tasks = every_task(of)[:40]
    env = of.vector_env(tasks, 3)
    # Rides half of the time, from the stops next to the start too, so that all lines are used.
    rng = np.random.default_rng(1)
    actions = np.where(rng.random((20, env.num_envs)) < 0.4, 5, rng.integers(0, 7, (20, env.num_envs)))
    actions[actions == 6] = np.where(rng.random((actions == 6).sum()) < 0.1, 6, 5)
    actions[0] = rng.integers(0, 4, env.num_envs)
    rode = set()
    for episode in range(2):
        obs, info = env.reset(seed=list(range(env.num_envs)) if episode == 0 else None)
        np.testing.assert_allclose(info["optimal_return"], 0.8)
        goals = [CORNERS[row] for row in obs[:, 19:23].argmax(axis=1)]
        slow = [SlowCity(variant, tasks[i // 3]["id"], mirrored, goals[i]) for i in range(env.num_envs)]
        running = np.ones(env.num_envs, dtype=bool)
        for t in range(20):
            np.testing.assert_array_equal(obs[running], [s.observation() for s in np.array(slow)[running]])
            obs, reward, terminated, truncated, _ = env.step(actions[t])
            for i in np.flatnonzero(running):
                before = slow[i].place
                expected = slow[i].step(int(actions[t, i]))
                assert (reward[i], terminated[i], truncated[i]) == (pytest.approx(expected[0]), *expected[1:])
                if slow[i].place != before and actions[t, i] == 5:
                    rode.add((before, slow[i].place))
            running &= ~(terminated | truncated)
        assert episode == 1 or len(set(goals)) == 4
    assert len(rode) > 8


def test_the_published_ids() -> None:
    of = family("distract", held_out=0)
    train, test = of.ids("train"), of.ids("test")
    assert (len(train), len(test)) == (53, 523)
    assert train.tolist() == [i for i in range(576) if i % 11 == 0]
    assert sorted([*train, *test]) == list(range(576))
    with pytest.raises(ValueError, match="the validation split of 'distract' has 0"):
        of.tasks("validation", 1, 0)
    with_validation = family("distract")
    kept = [set(with_validation.ids(split).tolist()) for split in ("train", "validation", "test")]
    assert [len(ids) for ids in kept] == [42, 11, 523]
    assert kept[0] | kept[1] == set(train.tolist()) and not kept[0] & kept[1] and kept[2] == set(test.tolist())


@pytest.mark.parametrize("variant", VARIANTS)
def test_tasks_out_of_distribution_are_other_tasks(variant: str) -> None:
    of = family(variant, test_distribution="ood")
    assert not of.spec.shared_tasks
    params = {split: {task.params for task in every_task(of, split)} for split in ("train", "validation", "test")}
    assert not params["test"] & (params["train"] | params["validation"])
    destinations = [
        {int(city.rides(variant, mirrored)[0][x * 9 + y]) for x, y in city.STOPS} for mirrored in (False, True)
    ]
    assert not destinations[0] & destinations[1]


@pytest.mark.parametrize("variant", VARIANTS)
def test_known_values_are_attained(variant: str) -> None:
    for out in ("same", "ood"):
        of = family(variant, test_distribution=out)
        tasks = every_task(of)
        for name, value in (("oracle", 0.8), ("task_blind", 0.3)):
            keys = seeding.split(3, np.arange(len(tasks)))
            played = rollout(of, of.references[name](tasks), tasks, keys, 4, 2)
            np.testing.assert_allclose(played.returns, value, atol=1e-5)
            assert played.success_last.all() == (name == "oracle") == played.success_any.any()
            np.testing.assert_allclose([of.reference(task)[name] for task in tasks], value)


@pytest.mark.parametrize(("variant", "copies"), [("plain", 450), ("distract", 20)])
def test_the_random_value_agrees_with_play(variant: str, copies: int) -> None:
    of = family(variant)
    tasks = every_task(of)
    played = rollout(of, of.references["random"](tasks), tasks, seeding.split(5, np.arange(len(tasks))), copies)
    assert played.returns.size > 10_000
    exact = np.mean([of.reference(task)["random"] for task in tasks])
    assert abs(played.returns.mean() - exact) <= 4 * played.returns.std() / played.returns.size**0.5


def brute_force(variant: str, horizon: int, episodes: int) -> float:
    """The largest expected total, by trying everything with every set of ids that may be left; no tables."""
    cities = {number: SlowCity(variant, number, False, (0, 0)).bus for number in range(24)}

    def informed(ids: frozenset[int], place: tuple[int, int]) -> list[frozenset[int]]:
        if variant == "map" and place == (7, 3):
            return [frozenset([number]) for number in ids]
        return [ids]

    @cache
    def after(ids: frozenset[int], episode: int) -> float:
        if episode == episodes:
            return 0.0
        return sum(best(ids, (4, 4), goal, horizon, episode) for goal in CORNERS) / 4

    @cache
    def best(ids: frozenset[int], place: tuple[int, int], goal: tuple[int, int], left: int, episode: int) -> float:
        if left == 0:
            return after(ids, episode + 1)
        if abs(place[0] - goal[0]) + abs(place[1] - goal[1]) > left and left == 1 and not episode:
            return -0.1 + after(ids, 1)
        values = [-0.1 * left + after(ids, episode + 1)]
        for dx, dy in ((-1, 0), (0, 1), (1, 0), (0, -1), (0, 0)):
            there = (min(max(place[0] + dx, 0), 8), min(max(place[1] + dy, 0), 8))
            if there == goal:
                values.append(1.0 + after(ids, episode + 1))
            else:
                parts = informed(ids, there) if left > 1 else [ids]
                going_on = [len(part) * best(part, there, goal, left - 1, episode) for part in parts]
                values.append(-0.1 + sum(going_on) / len(ids))
        if place in cities[0]:
            ends = {cities[number][place] for number in ids}
            groups = [(frozenset(n for n in ids if cities[n][place] == end), end) for end in ends]
            if left == 1:
                values.append(-0.1 + after(ids, episode + 1))
            else:
                shares = [len(part) * best(part, end, goal, left - 1, episode) for part, end in groups]
                values.append(-0.1 + sum(shares) / len(ids))
        return max(values)

    return after(frozenset(range(24)), 0)


@pytest.mark.parametrize(
    ("variant", "horizon", "episodes"), [("plain", 7, 1), ("plain", 4, 2), ("map", 7, 1), ("map", 5, 2)]
)
def test_the_bayes_optimal_value_is_that_of_brute_force(variant: str, horizon: int, episodes: int) -> None:
    found = beliefs.plan(variant, False, horizon, (1.0,) * episodes).value
    assert found == pytest.approx(brute_force(variant, horizon, episodes))


@pytest.mark.parametrize(("variant", "value"), [("plain", 0.9), ("distract", 0.9), ("map", 0.9 + 0.85 / 12)])
def test_the_bayes_optimal_policy_earns_its_value(variant: str, value: float) -> None:
    of = family(variant)
    # All ids, those of training tasks too: the value is one of ids that are equally likely.
    tasks = [task for split in {"test", "train", "validation"} for task in every_task(of, split)]
    assert {len(tasks), len({task["id"] for task in tasks})} <= {24, 72, 576}
    assert of.reference(tasks[0])["bayes_optimal_trial"] == pytest.approx(value)
    copies = 10_080 // len(tasks) + 1
    keys = seeding.split(7, np.arange(len(tasks)))
    played = rollout(of, of.references["bayes_optimal"](tasks), tasks, keys, copies, 2)
    totals = played.returns.reshape(-1, 2).sum(axis=1)
    assert totals.size >= 10_000 and abs(totals.mean() - value) <= 4 * totals.std() / totals.size**0.5
    mirrored = family(variant, test_distribution="ood")
    assert mirrored.reference(every_task(mirrored)[0])["bayes_optimal_trial"] == pytest.approx(value)


@pytest.mark.parametrize("variant", ["plain", "map"])
def test_walking_is_the_best_that_one_episode_allows(variant: str) -> None:
    assert beliefs.plan(variant, False, 20, (1.0,)).value == pytest.approx(0.3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_exploring_episode_that_costs_nothing_finds_all_buses(variant: str) -> None:
    of = family(variant, free_exploration=True)
    tasks = every_task(of)
    played = rollout(of, of.references["bayes_optimal"](tasks), tasks, seeding.split(8, np.arange(len(tasks))), 4, 2)
    returns = played.returns.reshape(len(tasks), 4, 2)
    np.testing.assert_allclose(returns[..., 1], 0.8, atol=1e-5)
    training = played.training_reward.sum(axis=2).reshape(len(tasks), 4, 2)
    assert not training[..., 0].any() and np.allclose(training[..., 1], returns[..., 1])
    assert "bayes_optimal_trial" not in of.reference(tasks[0])


def slow_posterior_sampling(
    id_: int, sample: int, second: int, goals: tuple[int, int]
) -> tuple[float, float, set[int]]:
    """Returns of both episodes with given samples, and the ids that fit after the first; without a vector env."""
    totals, fitting = [], set(range(24))
    for episode, (believed, goal) in enumerate(zip((sample, second), goals, strict=True)):
        true = SlowCity("plain", id_, False, CORNERS[goal])
        total, done = 0.0, False
        while not done:
            cell = true.place[0] * 9 + true.place[1]
            action = int(city.shortest("plain", False)[believed, goal, cell])
            before = true.place
            reward, terminated, truncated = true.step(action)
            done = terminated or truncated
            if action == 5 and episode == 0 and not done:
                fitting = {n for n in fitting if SlowCity("plain", n, False, (0, 0)).bus[before] == true.place}
            total += reward
        totals.append(total)
    return totals[0], totals[1], fitting


def test_posterior_sampling_has_the_enumerated_returns() -> None:
    """All samples of the first episode, and all of the second that fit, for one task: ids are alike by symmetry."""
    first, second = [], []
    for sample, goal in ((s, g) for s in range(24) for g in range(4)):
        result = slow_posterior_sampling(5, sample, 5, (goal, 0))
        first.append(result[0])
        second.append(
            np.mean([slow_posterior_sampling(5, sample, s, (goal, g))[1] for s in result[2] for g in range(4)])
        )
    exact = np.array([np.mean(first), np.mean(second)])
    of = family("plain")
    tasks = [task for task in every_task(of) if task["id"] == 5]
    played = rollout(of, of.references["posterior_sampling"](tasks), tasks, seeding.split(9, np.arange(1)), 12_000, 2)
    returns = played.returns.reshape(-1, 2)
    assert (np.abs(returns.mean(axis=0) - exact) <= 4 * returns.std(axis=0) / len(returns) ** 0.5).all()


def test_ways_of_who_knows_are_shortest() -> None:
    """From every cell of some ids, walked against a search in breadth."""
    for number in (0, 100, 575):
        slow = SlowCity("distract", number, False, (0, 8))
        distance, queue = {(0, 8): 0}, [(0, 8)]
        for place in queue:
            x, y = place
            near = [(x + dx, y + dy) for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1))]
            near += [slow.bus[place]] if place in slow.bus else []
            for other in near:
                if other not in distance and 0 <= other[0] <= 8 and 0 <= other[1] <= 8:
                    distance[other] = distance[place] + 1
                    queue.append(other)
        cells = np.array([x * 9 + y for x, y in distance])
        steps, here = np.zeros(len(cells), dtype=int), cells
        for _ in range(20):
            steps += here != 8
            action = city.shortest("distract", False)[number, 2, here]
            here = np.where(here == 8, here, city.successors("distract", False)[number, here, action])
        assert steps.tolist() == list(distance.values())


def test_orders_are_numbered_as_published() -> None:
    places: list[tuple[int, int]] = [(0, 1), (0, 7), (8, 1), (8, 7)]
    assert [tuple(sorted_permutation(places, n)) for n in range(24)] == list(permutations(places))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "tram"}, "variant must be one of plain, distract, map, got 'tram'"),
        ({"horizon": 0}, "horizon must be at least 1, got 0"),
        ({"held_out": 53}, "held_out must be between 0 and 52, got 53"),
        ({"test_distribution": "new"}, "test_distribution must be 'same' or 'ood', got 'new'"),
        ({"free_exploration": True, "episodes_per_trial": 1}, "free_exploration needs an episode after the first"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bus.Settings(**settings)  # type: ignore[arg-type]
