"""Random rewards: networks against loops, dynamics against a slow walk, returns against brute force and play."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.special import ndtri

from kshot import seeding
from kshot.envs import random_reward
from kshot.envs.random_reward import discriminators
from kshot.running.rollout import rollout


def family(**settings: object) -> random_reward.RandomRewardFamily:
    return random_reward.build(random_reward.Settings(**settings))  # type: ignore[arg-type]


def log_softmax_first(logits: list[float]) -> float:
    return logits[0] - math.log(sum(math.exp(value) for value in logits))


def test_rewards_of_positions_are_those_of_a_network_in_loops() -> None:
    of = family(side=5, skills=3, scale=2.0)
    tasks = of.tasks("train", 4, 0)
    found = of.rewards(tasks)
    width = discriminators.HIDDEN
    for row, task in enumerate(tasks):
        numbers = ndtri(seeding.uniform(np.array(task["key"], dtype=np.uint64), np.arange(width * (3 + 3)))).tolist()
        for cell, (x, y) in enumerate(itertools.product(range(5), repeat=2)):
            position = (0.1 * (x - 2), 0.1 * (y - 2))
            hidden = [
                math.tanh(
                    discriminators.GAIN
                    * (position[0] * numbers[h] + position[1] * numbers[width + h] + numbers[2 * width + h])
                )
                for h in range(width)
            ]
            logits = [
                2.0 * sum(hidden[h] * numbers[3 * width + 3 * h + z] for h in range(width)) / math.sqrt(width)
                for z in range(3)
            ]
            assert found[row, cell] == pytest.approx(log_softmax_first(logits))


def test_rewards_of_states_are_those_of_a_table_in_loops() -> None:
    of = family(process="table", states=4, skills=3, scale=1.5)
    tasks = of.tasks("test", 3, 1)
    found = of.rewards(tasks)
    assert (found < 0).all()
    for row, task in enumerate(tasks):
        numbers = 1.5 * ndtri(seeding.uniform(np.array(task["key"], dtype=np.uint64), np.arange(12)))
        expected = [log_softmax_first(numbers[3 * state : 3 * state + 3].tolist()) for state in range(4)]
        np.testing.assert_allclose(found[row], expected)


def test_true_goals_are_seen_in_tasks_out_of_distribution_alone() -> None:
    for process, states in (("plane", 441), ("table", 10)):
        of = family(process=process, test_distribution="ood")
        tasks = of.tasks("test", states - 1, 0)
        assert {task["goal"] for task in tasks} == set(range(states)) - {of.process.start}
        with pytest.raises(ValueError, match=f"{states} tasks asked for, there are {states - 1} goals"):
            of.tasks("test", states, 0)
        assert all(task.params[0][0] == "key" for split in ("train", "validation") for task in of.tasks(split, 5, 0))
        best = of.rewards(tasks).argmax(axis=1)
        assert best.tolist() == [task["goal"] for task in tasks] and (of.rewards(tasks).max(axis=1) == 0).all()
    of = family(side=5, test_distribution="ood")
    (task,) = [task for task in of.tasks("test", 24, 0) if task["goal"] == 4]  # cell (0, 4)
    assert of.rewards([task])[0, 3 * 5 + 0] == pytest.approx(-math.hypot(0.3, 0.4))


def test_the_plane_equals_a_slow_walk() -> None:
    of = family(side=5, horizon=8)
    tasks = of.tasks("train", 3, 2)
    rewards = of.rewards(tasks)
    actions = np.random.default_rng(0).integers(0, 9, (8, 6))
    env = of.vector_env(tasks, 2)
    obs, _ = env.reset(seed=list(range(6)))
    places, totals = [(2, 2)] * 6, [0.0] * 6
    for t in range(8):
        for i in range(6):
            np.testing.assert_allclose(obs[i], [0.1 * (places[i][0] - 2), 0.1 * (places[i][1] - 2)])
        obs, reward, terminated, truncated, info = env.step(actions[t])
        for i in range(6):
            dx, dy = divmod(int(actions[t, i]), 3)
            x, y = places[i][0] + dx - 1, places[i][1] + dy - 1
            if 0 <= x < 5 and 0 <= y < 5:
                places[i] = (x, y)
            assert reward[i] == rewards[i // 2, 5 * places[i][0] + places[i][1]]
            totals[i] += reward[i]
        assert not terminated.any() and truncated.all() == (t == 7) and (t == 7 or not info["success"].any())
    for i in range(6):
        known = of.reference(tasks[i // 2])
        assert info["success"][i] == (totals[i] >= known["random"] + 0.9 * (known["oracle"] - known["random"]) - 1e-9)


def test_the_table_goes_where_its_probabilities_say() -> None:
    of = family(process="table", states=4, actions=2, horizon=3)
    probability = of.process.dynamics.probability
    assert probability is not None and probability.shape == (4, 2, 4)
    np.testing.assert_allclose(probability.sum(axis=-1), 1.0)
    env = of.vector_env(of.tasks("train", 1, 0), 20_000)
    obs, _ = env.reset(seed=list(range(20_000)))
    for t in range(3):
        before = obs.argmax(axis=1)
        action = np.arange(20_000) % 2
        obs, *_ = env.step(action)
        after = obs.argmax(axis=1)
        for state, a in itertools.product(range(4), range(2)):
            rows = after[(before == state) & (action == a)]
            if len(rows) > 100:
                share = np.bincount(rows, minlength=4) / len(rows)
                error = np.sqrt(probability[state, a] * (1 - probability[state, a]) / len(rows))
                assert (np.abs(share - probability[state, a]) <= 4.5 * error + 1e-3).all(), (t, state, a)


def test_the_best_of_all_ways_in_the_plane() -> None:
    of = family(side=5, horizon=3)
    tasks = of.tasks("test", 5, 0)
    for task, reward in zip(tasks, of.rewards(tasks), strict=True):
        totals = []
        for actions in itertools.product(range(9), repeat=3):
            x, y, total = 2, 2, 0.0
            for action in actions:
                dx, dy = divmod(action, 3)
                if 0 <= x + dx - 1 < 5 and 0 <= y + dy - 1 < 5:
                    x, y = x + dx - 1, y + dy - 1
                total += reward[5 * x + y]
            totals.append(total)
        known = of.reference(task)
        assert known["oracle"] == pytest.approx(max(totals))
        assert known["random"] == pytest.approx(np.mean(totals))
        assert known["task_blind"] == pytest.approx(3 * reward[12])


def test_the_best_of_all_policies_of_the_table() -> None:
    of = family(process="table", states=3, actions=2, horizon=3)
    probability = of.process.dynamics.probability
    assert probability is not None

    def value(state: int, left: int, reward: list[float], choices: tuple[int, ...] | None) -> float:
        """Of the best choice (None) or of one that is mixed or fixed."""
        if not left:
            return 0.0
        found = [
            sum(probability[state, a, n] * (reward[n] + value(n, left - 1, reward, choices)) for n in range(3))
            for a in (choices or (0, 1))
        ]
        return float(max(found) if choices is None else np.mean(found))

    for task, reward in zip(of.tasks("test", 5, 0), of.rewards(of.tasks("test", 5, 0)).tolist(), strict=True):
        known = of.reference(task)
        assert known["oracle"] == pytest.approx(value(0, 3, reward, None))
        assert known["random"] == pytest.approx(value(0, 3, reward, (0, 1)))
        assert known["task_blind"] == pytest.approx(value(0, 3, reward, (0,)))


@pytest.mark.parametrize("settings", [{"side": 7, "horizon": 6}, {"process": "table", "horizon": 10}])
def test_policies_earn_their_values(settings: dict[str, object]) -> None:
    of = family(**settings)
    tasks = of.tasks("test", 10_000, 0)
    keys = seeding.split(3, np.arange(len(tasks)))
    reward = of.rewards(tasks)
    exact = {
        "random": of.process.random(reward, of.settings.horizon),
        "oracle": of.process.optimal_return(reward, of.settings.horizon),
    }
    for name, values in exact.items():
        n = len(values)
        played = rollout(of, of.references[name](tasks[:n]), tasks[:n], keys[:n], 1)
        gap = played.returns[:, 0] - values
        assert abs(gap.mean()) <= 4 * gap.std() / n**0.5 + 1e-4
        assert [of.reference(task)[name] for task in tasks[:3]] == pytest.approx(values[:3].tolist())
    if of.settings.process == "plane":
        assert played.success_last.all() and not played.success[:, :, :-1].any()


def test_no_place_in_the_plane_is_better_on_average_than_the_middle() -> None:
    """The best that ignores rewards is optimal for their mean; on other tasks it earns no more than staying."""
    of = family()
    known, others = (of.rewards(of.tasks("train", 1000, seed)) for seed in (0, 1))
    actions = of.process.optimal_actions(known.mean(axis=0)[None], of.settings.horizon)
    state, total = of.process.start, np.zeros(len(others))
    for step in actions:
        state = int(of.process.successor[state, step[0, state]])
        total += others[:, state]
    gain = total - of.settings.horizon * others[:, of.process.start]
    assert gain.mean() <= 4 * gain.std() / len(gain) ** 0.5


def test_posterior_sampling_knows_nothing_first_and_everything_later() -> None:
    """Before rewards are seen all states are alike, so that any policy expects their mean; in the end it is optimal."""
    of = family(process="table", states=5, actions=3, horizon=10, episodes_per_trial=30)
    tasks = of.tasks("test", 1000, 0)
    played = rollout(of, of.references["posterior_sampling"](tasks), tasks, seeding.split(1, np.arange(1000)), 1, 30)
    first = played.returns[:, 0]
    many = of.rewards(of.tasks("train", 20_000, 0))
    assert abs(first.mean() - 10 * many.mean()) <= 4 * math.hypot(
        first.std() / 1000**0.5, 10 * many.std() / many.size**0.5
    )
    optimal = of.process.optimal_return(of.rewards(tasks), 10)
    gap = optimal - played.returns[:, -1]
    assert abs(gap.mean()) <= 4 * gap.std() / 1000**0.5 + 0.02 * (optimal.mean() - first.mean())
    assert (np.diff(played.returns.mean(axis=0)[:4]) > 0).all()


def test_demonstrations_are_better_than_chance_and_know_success() -> None:
    for process in ("plane", "table"):
        of = family(process=process, horizon=10)
        tasks = of.tasks("validation", 50, 0)
        shown = of.demonstrations(tasks, 8, seeding.split(2, np.arange(50)))
        assert of.spec.world is not None
        states, _ = of.spec.world.paths(shown)
        earned = of.rewards(tasks)[np.arange(50)[:, None, None], states[..., 1:]].sum(axis=-1)
        reward = of.rewards(tasks)
        low, high = of.process.random(reward, 10), of.process.optimal_return(reward, 10)
        assert earned.mean() > low.mean() + 0.7 * (high.mean() - low.mean())
        np.testing.assert_array_equal(shown.success_last, earned >= (low + 0.9 * (high - low))[:, None] - 1e-9)


def test_threads_make_no_difference() -> None:
    """Rewards, best returns and what is played have the same bytes, here and in the worlds beside this one."""
    code = """
import hashlib
import numpy as np
from kshot import registry, seeding
from kshot.running.rollout import rollout
digest = hashlib.sha256()
for name in ("bus", "maze", "random_reward"):
    module = registry.load("envs", name)
    family = module.build(module.Settings(episodes_per_trial=2))
    tasks = family.tasks("train", 24, 0)
    for policy in ("random", "task_blind", "oracle"):
        played = rollout(family, family.references[policy](tasks), tasks, seeding.split(1, np.arange(24)), 20, 2)
        for part in (played.obs, played.reward, played.success, played.optimal_return):
            digest.update(part.tobytes())
    digest.update(repr([family.reference(task) for task in tasks[:4]]).encode())
print(digest.hexdigest())
"""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | dict.fromkeys(names, str(threads)),
        ).stdout
        for threads in (1, 2)
    ]
    assert found[0] == found[1] and len(found[0]) == 65


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"process": "cube"}, "process must be 'plane' or 'table', got 'cube'"),
        ({"horizon": 0}, "horizon must be at least 1, got 0"),
        ({"side": 1}, "side must be at least 2, got 1"),
        ({"skills": 1}, "skills must be at least 2, got 1"),
        ({"scale": 0.0}, "scale must be positive and finite, got 0.0"),
        ({"scale": float("nan")}, "scale must be positive and finite, got nan"),
        ({"expert_beta": -1.0}, "expert_beta must be finite and not negative, got -1.0"),
        ({"test_distribution": "new"}, "test_distribution must be 'same' or 'ood', got 'new'"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        family(**settings)
