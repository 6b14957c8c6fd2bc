"""The candidates of ``benchmarks.task_blind`` in worlds of buses, mazes, random rewards and graphs to offload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks._task_blind_base import Candidates, constants, scripted
from kshot import seeding
from kshot.envs.bus import beliefs, city
from kshot.envs.maze import views
from kshot.envs.maze.layouts import MOVES
from kshot.envs.offload_dag import plans
from kshot.types import Array, ReferencePolicy


def buses(family: Any) -> Candidates:
    """Every action always, walking along either axis first, and taking one bus and walking on from where it leads."""

    def walk(obs: Array, turned: bool = False) -> Array:
        cell, goal = beliefs.cell_of(obs), city.GOALS[beliefs.goal_of(obs)]
        along_x = city.action_towards(goal, cell)
        # Along y: the same with the goal's x replaced by one's own.
        along_y = city.action_towards(cell - cell % city.SIDE + goal % city.SIDE, cell)
        return np.where(turned & (along_y != city.STAY), along_y, along_x)

    def bus(stop: int) -> ReferencePolicy:
        def rule(obs: Array, episode: Array, step: Array) -> Array:
            to_stop = city.action_towards(np.array(stop), beliefs.cell_of(obs))
            away = np.abs(np.array(city.CELLS[stop]) - city.CELLS[city.START]).sum()
            return np.select([step < away, step == away], [to_stop, city.RIDE], walk(obs))

        return scripted(rule)

    stops = city.STOPS + (city.USELESS_STOPS if family.settings.variant == "distract" else ())
    return {
        **constants(family),
        "walks along y first": scripted(lambda obs, episode, step: walk(obs, turned=True)),
        **{f"takes the bus at {x, y}": bus(x * city.SIDE + y) for x, y in stops},
    }


def mazes(family: Any) -> Candidates:
    """Every action always, towards the goal where it is seen and along walls else, and ways to draw a map."""
    view = family.settings.view
    half = view // 2

    def beside(obs: Array) -> tuple[Array, Array]:
        """[T, C, 4] whether one can move in each direction, and whether the goal is seen on that side."""
        wall, goal = (part.reshape(*obs.shape[:2], view, view) for part in views.read(obs, view))
        free = ~np.stack([wall[..., half + dx, half + dy] for dx, dy in MOVES], axis=-1)
        axis = np.arange(view) - half
        sides = [goal & (dx * axis[:, None] + dy * axis > 0) for dx, dy in MOVES]
        return free, np.stack([side.any(axis=(-2, -1)) for side in sides], axis=-1)

    def preferring(order: list[int]) -> ReferencePolicy:
        """In the direction of the goal if that is possible, else the first possible direction, changing with time."""

        def rule(obs: Array, episode: Array, step: Array) -> Array:
            free, side = beside(obs)
            turn = (np.array(order) + step[..., None] // 7) % len(MOVES)
            ranked = np.take_along_axis(free * 1.0 + 2.0 * (free & side), turn, axis=-1)
            return np.asarray(np.take_along_axis(turn, ranked.argmax(axis=-1)[..., None], axis=-1)[..., 0])

        return scripted(rule)

    def drawing(outward: int) -> ReferencePolicy:
        return lambda tasks: family.explorer(tasks, keeps=False, outward=outward)

    return {
        **constants(family),
        "prefers up, right, down, left in turn": preferring([0, 1, 2, 3]),
        "prefers left, down, right, up in turn": preferring([3, 2, 1, 0]),
        **{f"draws a map, outward {outward}": drawing(outward) for outward in (1, 2, 4)},
    }


def random_rewards(family: Any) -> Candidates:
    """Every action always, and the best way for the mean reward of training tasks."""
    horizon = family.settings.horizon
    mean = family.rewards(family.tasks("train", 1000, seeding.key("task-blind benchmark", "mean"))).mean(axis=0)
    actions = family.process.optimal_actions(mean[None], horizon)[:, 0]  # [H, S]
    return {
        **constants(family),
        "optimal for the mean reward": scripted(
            lambda obs, episode, step: actions[np.minimum(step, horizon - 1), family.spec.world.state(obs)]
        ),
    }


def offload(family: Any) -> Candidates:
    """Planning for assumed resources, those of the most similar training task, shares of the nodes; constants."""
    links, train = family.settings.links, family.tasks("train", 190, 0)
    resources = np.array([[task["bandwidth"], task["processor_ratio"]] for task in train])
    shown = np.array([7.0, 10.0])  # what observations show in place of hidden resources
    kinds = np.array([[task["fat"], task["density"]] for task in train])

    def planned(plan_of: plans.PlanOf) -> ReferencePolicy:
        return lambda tasks: family.blind(plan_of, len(tasks))

    def assuming(bandwidth: float, ratio: float, plan_of: plans.PlanOf) -> ReferencePolicy:
        factors = plans.resource_factors(np.array(bandwidth), np.array(ratio), shown[0], shown[1])
        return planned(lambda nodes, times, parents: plan_of(nodes, times * factors, parents))

    def like_training(nodes: Array, times: Array, parents: Array) -> Array:
        """The plan for the resources of the training task whose graphs are most like this one, by two rough guesses."""
        level, edges = np.zeros(parents.shape, dtype=np.int64), np.zeros(len(parents))
        for i in range(parents.shape[1]):
            before = ((parents[:, i, None] >> np.arange(i)) & 1).astype(bool)
            level[:, i] = np.where(before, level[:, :i] + 1, 0).max(axis=1, initial=0)
            edges += before.sum(axis=1)
        width = nodes / (level.max(axis=1) + 1)
        guess = np.stack([np.log(width) / np.log(nodes), edges / (nodes * width)], axis=-1)
        nearest = ((guess[:, None] - kinds) ** 2).sum(axis=-1).argmin(axis=1)
        bandwidth, ratio = resources[nearest].T
        factors = plans.resource_factors(bandwidth, ratio, shown[0], shown[1])
        return plans.heft(links)(nodes, times * factors[:, None], parents)

    def share(part: float, key: Callable[[Array, Array], Array]) -> ReferencePolicy:
        """Offload the nodes with the smallest ``key`` (times, parents) until they are this part of all the work."""

        def plan_of(nodes: Array, times: Array, parents: Array) -> Array:
            order = np.argsort(key(times, parents), axis=1, kind="stable")
            work = np.take_along_axis(times[..., 0], order, axis=1)
            plan = np.zeros(parents.shape, dtype=np.int64)
            np.put_along_axis(
                plan, order, (work.cumsum(axis=1) - work / 2 <= part * work.sum(axis=1)[:, None]) * 1, axis=1
            )
            return plan

        return planned(plan_of)

    means = resources.mean(axis=0)
    return {
        **constants(family),
        "in turns": scripted(lambda obs, episode, step: step % 2),
        "one in three": scripted(lambda obs, episode, step: (step % 3 == 2) * 1),
        **{
            f"heft at {b:g} Mbit/s": assuming(b, 10.0, plans.heft(links))
            for b in (2.5, 3.5, 4.0, 4.5, 5.0, 6.0, 8.5, 14.5)
        },
        "heft at the mean resources": assuming(means[0], means[1], plans.heft(links)),
        "optimal at 4.5 Mbit/s": assuming(4.5, 10.0, plans.optimal(links)),
        "heft at a similar training task's": planned(like_training),
        **{
            f"offloads {part:.0%}, small first": share(part, lambda times, _: times[..., 0]) for part in (0.2, 0.3, 0.4)
        },
        **{
            f"offloads {part:.0%}, late first": share(
                part, lambda times, _: -np.arange(times.shape[1]) + 0 * times[..., 0]
            )
            for part in (0.2, 0.3)
        },
        "offloads 30%, small results first": share(
            0.3, lambda times, _: times[..., 3] / np.maximum(times[..., 0], 1e-9)
        ),
    }
