"""The candidates of ``benchmarks.task_blind``: for every family, scripted policies that see observations alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from benchmarks import _task_blind_robots as robots
from kshot import seeding
from kshot.envs import spritegrid
from kshot.envs._point import STEP_SIZE
from kshot.envs._scripted import Scripted, constant_action
from kshot.envs._target_prediction import fit_linear
from kshot.envs.bus import beliefs, city
from kshot.envs.gridnavi.grid import FIRST_PATH, GOALS, SECOND_PATH, action_towards
from kshot.envs.maze import views
from kshot.envs.maze.layouts import MOVES
from kshot.envs.metaworld_hand._world import STAY
from kshot.envs.nav2d_sparse import arc
from kshot.envs.offload_dag import plans
from kshot.envs.spritegrid import Layouts, pictures
from kshot.types import Array, Memory, ReferencePolicy, Split

Candidates = Mapping[str, ReferencePolicy]


@dataclass(frozen=True)
class Case:
    """What is searched.

    Attributes:
        family: module in ``envs``.
        candidates: family -> policies by name.
        settings: of the family.
        shipped: scripted policies of the family that are candidates, besides its "task_blind".
        split: whose tasks the choice is made on: "validation" where candidates are fitted to the training tasks.
        chosen_on: number of those tasks.
        test: number of test tasks to report on.
        copies: trials per task.
    """

    family: str
    candidates: Callable[[Any], Candidates]
    settings: dict[str, Any] = field(default_factory=dict)
    shipped: tuple[str, ...] = ()
    split: Split = "train"
    chosen_on: int = 128
    test: int = 128
    copies: int = 8


@dataclass(frozen=True)
class Timetable:
    """``rule`` (obs [T, C, D], episode of the trial [T, C], step of the episode [T, C]) -> action."""

    rule: Callable[[Array, Array, Array], Array]

    @property
    def trial_memory(self) -> bool:
        return True

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        return {name: np.zeros((n_tasks, n_copies), dtype=np.int64) for name in ("episode", "step")}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        return self.rule(obs, memory["episode"], memory["step"]), np.zeros(obs.shape[:2]), memory

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return {"episode": memory["episode"] + done, "step": np.where(done, 0, memory["step"] + 1)}


def scripted(rule: Callable[[Array, Array, Array], Array]) -> ReferencePolicy:
    return lambda tasks: Timetable(rule)


def constants(family: Any) -> dict[str, ReferencePolicy]:
    """Every action of a discrete family, always."""

    def always(action: int) -> ReferencePolicy:
        return lambda tasks: constant_action(np.full(len(tasks), action))

    return {f"always action {a}": always(a) for a in range(family.spec.action_space.n)}


def bandit(family: Any) -> Candidates:
    arms = family.settings.arms
    return constants(family) | {"each arm in turn": scripted(lambda obs, episode, step: episode % arms)}


def tabular(family: Any) -> Candidates:
    """Where dynamics are observed, also actions with the most and least certain outcome, and back to the start."""
    states, actions = family.settings.states, family.settings.actions
    found = constants(family) | {
        "each action in turn": scripted(lambda obs, episode, step: (episode + step) % actions),
        "action by state": scripted(lambda obs, episode, step: obs[..., :states].argmax(axis=-1) % actions),
    }
    if not family.settings.observe_dynamics:
        return found

    def by(value: Callable[[Array], Array]) -> ReferencePolicy:
        """The action with the largest ``value`` of the probabilities [..., A, S] in this state."""

        def rule(obs: Array, episode: Array, step: Array) -> Array:
            chance = obs[..., states:].reshape(*obs.shape[:2], states, actions, states)
            here = obs[..., :states].argmax(axis=-1)[..., None, None, None]
            return np.asarray(value(np.take_along_axis(chance, here, axis=2)[:, :, 0]).argmax(axis=-1))

        return scripted(rule)

    return found | {
        "most certain": by(lambda chance: chance.max(axis=-1)),
        "least certain": by(lambda chance: -chance.max(axis=-1)),
        "towards state 0": by(lambda chance: chance[..., 0]),
    }


def gridnavi(family: Any) -> Candidates:
    def wait(cell: tuple[int, int]) -> ReferencePolicy:
        return scripted(lambda obs, episode, step: action_towards(np.array(cell), obs))

    def follow(obs: Array, path: Array, step: Array) -> Array:
        return action_towards(path[np.minimum(step, len(path) - 1)], obs)

    def both(obs: Array, episode: Array, step: Array) -> Array:
        return np.where(episode % 2 == 0, follow(obs, FIRST_PATH, step), follow(obs, SECOND_PATH, step))

    return {
        **constants(family),
        **{f"wait at {goal}": wait(goal) for goal in GOALS},
        "sweep": scripted(lambda obs, episode, step: follow(obs, FIRST_PATH, step)),
        "sweep, then the rest": scripted(both),
    }


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


def place(position: Array) -> ReferencePolicy:
    """Go to ``position`` [2] of the plane and wait."""
    return scripted(lambda obs, episode, step: np.clip((position - obs) / STEP_SIZE, -1.0, 1.0))


def path(positions: Array) -> ReferencePolicy:
    """Be at ``positions`` [H, 2] after each step, as far as possible."""

    def rule(obs: Array, episode: Array, step: Array) -> Array:
        return np.clip((positions[np.minimum(step, len(positions) - 1)] - obs) / STEP_SIZE, -1.0, 1.0)

    return scripted(rule)


def nav2d(family: Any) -> Candidates:
    """Waiting, and three ways to pass through the small box that ends an episode."""
    goals = np.array([task["goal"] for task in family.tasks("train", 1000, 0)])
    angle = np.arange(family.settings.horizon) * 0.9
    lines = np.array([(x, y if i % 2 == 0 else -y) for i, x in enumerate(np.linspace(-0.45, 0.45, 10)) for y in ROW])
    return {
        **{
            f"wait at ({x:g}, {y:g})": place(np.array([x, y]))
            for x, y in product((-0.2, -0.05, 0.0, 0.05, 0.2), repeat=2)
        },
        "wait at the mean goal": place(goals.mean(axis=0)),
        "wait at the median goal": place(np.median(goals, axis=0)),
        "raster": path(lines),
        **{
            f"spiral out to {radius:g}": path(
                radius * np.sqrt(np.linspace(0, 1, len(angle)))[:, None] * arc.point(angle * 5**0.5)
            )
            for radius in (0.05, 0.1, 0.3)
        },
    }


ROW = np.linspace(-0.45, 0.45, 10)


def nav2d_sparse(family: Any) -> Candidates:
    """Waiting along the arc, at the radius with the largest reach; where most training goals are in reach; sweeping."""
    angles = np.array([task["angle"] for task in family.tasks("train", 80, 0)])
    radius = np.sqrt(1.0 - arc.GOAL_RADIUS**2)
    grid = np.linspace(0.0, np.pi, 361)
    within = (np.abs(grid[:, None] - angles) <= arc.HALF_WIDTH).sum(axis=1)
    return {
        **{f"wait at {degrees}°": place(radius * arc.point(np.radians(degrees))) for degrees in range(10, 180, 5)},
        "wait where most training goals are": place(radius * arc.point(grid[within.argmax()])),
        "wait at the mean goal": place(arc.point(angles).mean(axis=0)),
        **{f"sweep {i + 1} of search": path(way) for i, way in enumerate(arc.sweeps())},
    }


def sprites(family: Any) -> Candidates:
    """Seeking one of the sprites and avoiding the others, by whatever could give the goal away; and constants."""
    side = family.settings.side
    many = family.tasks("train", 4096, seeding.key("task-blind benchmark", "sprites"))
    shown = np.array([task["sprites"] for task in many])
    seen = np.bincount(shown.ravel(), minlength=pictures.N_SEEN + 2 * pictures.N_UNSEEN)
    wanted = np.bincount(shown[:, 0], minlength=len(seen))
    chance = (wanted + 1) / (seen + 3)
    covered = pictures.sprites()[0].sum(axis=(1, 2))

    def seek(value: Callable[[int, Array, Layouts, int], float]) -> ReferencePolicy:
        """The sprite with the largest ``value`` (sprite, its cells, the layouts, row) as the goal."""

        def reward_of(layouts: Layouts) -> Array:
            reward = spritegrid.OBSTACLE_REWARD * (layouts.sprite > 0) + spritegrid.GRASS_REWARD * layouts.ground
            for row, cells in enumerate(layouts.sprite):
                sprites = np.unique(cells[cells > 0])
                values = [value(int(s) - 1, np.flatnonzero(cells == s), layouts, row) for s in sprites]
                reward[row, cells == sprites[int(np.argmax(values))]] += (
                    spritegrid.GOAL_REWARD - spritegrid.OBSTACLE_REWARD
                )
            return np.asarray(reward)

        return lambda tasks: family.planning_policy(reward_of)

    def apart(places: Array, others: Array) -> float:
        """Mean distance, in moves, of ``places`` [n] to the nearest of ``others`` [m] elsewhere."""
        first, second = (np.stack(np.divmod(cells, side), axis=-1) for cells in (places, others))
        moves = np.abs(first[:, None] - second).max(axis=-1)
        return float(np.where(moves == 0, side, moves).min(axis=1).mean())

    def central(places: Array) -> float:
        return -float(np.abs(np.stack(np.divmod(places, side)) - (side - 1) / 2).max(axis=0).mean())

    def expected(layouts: Layouts) -> Array:
        gain = spritegrid.OBSTACLE_REWARD + (spritegrid.GOAL_REWARD - spritegrid.OBSTACLE_REWARD) * chance
        return np.where(layouts.sprite > 0, gain[layouts.sprite - 1], 0.0) + spritegrid.GRASS_REWARD * layouts.ground

    def objects(layouts: Layouts, row: int) -> Array:
        return np.flatnonzero(layouts.sprite[row])

    return constants(family) | {
        "avoids grass alone": lambda tasks: family.planning_policy(
            lambda layouts: spritegrid.GRASS_REWARD * layouts.ground
        ),
        "seeks the sprite on most cells": seek(lambda s, at, layouts, row: len(at)),
        "seeks the sprite on fewest cells": seek(lambda s, at, layouts, row: -len(at)),
        "seeks the smallest number": seek(lambda s, at, layouts, row: -s),
        "seeks the largest number": seek(lambda s, at, layouts, row: s),
        "seeks the most frequent goal in training": seek(lambda s, at, layouts, row: chance[s]),
        "plans for each sprite's mean in training": lambda tasks: family.planning_policy(expected),
        "seeks the largest picture": seek(lambda s, at, layouts, row: covered[s]),
        "seeks the smallest picture": seek(lambda s, at, layouts, row: -covered[s]),
        "seeks the most isolated": seek(lambda s, at, layouts, row: apart(at, objects(layouts, row))),
        "seeks the least isolated": seek(lambda s, at, layouts, row: -apart(at, objects(layouts, row))),
        "seeks the most clustered": seek(lambda s, at, layouts, row: -apart(at, at)),
        "seeks the most scattered": seek(lambda s, at, layouts, row: apart(at, at)),
        "seeks the most central": seek(lambda s, at, layouts, row: central(at)),
        "seeks the outermost": seek(lambda s, at, layouts, row: -central(at)),
        "seeks what stands on grass": seek(lambda s, at, layouts, row: layouts.ground[row, at].mean()),
        "seeks what stands on dirt": seek(lambda s, at, layouts, row: -layouts.ground[row, at].mean()),
    }


def guesses(seen: Array, places: Array, close: float = 0.05) -> dict[str, Callable[[Array], Array]]:
    """Ways to guess a place [3] from what is seen, out of training tasks' ``seen`` [n, D] and ``places`` [n, 3]."""
    spread = np.where(seen.std(axis=0) > 1e-6, seen.std(axis=0), np.inf)
    crowded = (np.linalg.norm(places[:, None] - places, axis=-1) < close).sum(axis=1).argmax()

    def nearest(new: Array) -> Array:
        gap = (((new[..., None, :] - seen) / spread) ** 2).sum(axis=-1)
        return np.asarray(places[gap.argmin(axis=-1)])

    def always(at: Array) -> Callable[[Array], Array]:
        return lambda new: np.broadcast_to(at, (*new.shape[:-1], 3))

    return {
        "the mean": always(places.mean(axis=0)),
        "the median": always(np.median(places, axis=0)),
        "where most training goals are": always(places[crowded]),
        "the nearest training task's": nearest,
        "linear in what is seen": fit_linear(seen, places),
    }


def linear(family: Any) -> Candidates:
    """Linear functions of the observation, of random weights, and what does not look at all."""
    dim, n_actions = family.spec.observation_dim, family.spec.action_dim
    discrete = family.spec.action_kind == "discrete"

    def policy(weights: Array) -> ReferencePolicy:
        """The action of the largest score, or the scores themselves."""
        if discrete:
            return lambda tasks: Scripted(lambda obs, step, noise: (obs @ weights).argmax(axis=-1))
        return lambda tasks: Scripted(lambda obs, step, noise: np.clip(obs @ weights, -1.0, 1.0))

    def held(value: float) -> ReferencePolicy:
        return lambda tasks: Scripted(lambda obs, step, noise: np.full((*obs.shape[:2], n_actions), value))

    drawn = seeding.generator("task-blind", "linear").standard_normal((12, dim, n_actions))
    found = {f"linear, draw {i}": policy(one) for i, one in enumerate(drawn / family.spec.observation_scale[:, None])}
    if discrete:
        return constants(family) | found | {"each in turn": scripted(lambda obs, episode, step: step % n_actions)}
    return found | {f"always {value:+.1f}": held(value) for value in (-1.0, 0.0, 1.0)}


def metaworld(family: Any) -> Candidates:
    names = sorted({task.group for split in ("train", "test") for task in family.tasks(split, 50, 0)})
    by_class = {name: guesses(*family.first_observations_and_targets(name)) for name in names}

    def expert_by(way: str) -> ReferencePolicy:
        return lambda tasks: family.experts_with_predicted_target(tasks, [by_class[task.group][way] for task in tasks])

    still = np.array([0.0, 0.0, 0.0, -1.0])
    return {
        "stays": lambda tasks: Scripted(lambda obs, step, noise: np.broadcast_to(still, (*obs.shape[:2], 4)).copy()),
        **{f"expert told {way}": expert_by(way) for way in by_class[names[0]]},
    }


def metaworld_hand(family: Any) -> Candidates:
    def going(guess: Callable[[Array], Array]) -> ReferencePolicy:
        return lambda tasks: family.go_to_predicted_end(guess)

    def beside(seen: Array, places: Array) -> Callable[[Array], Array]:
        offset = (places - seen).mean(axis=0)
        return lambda new: new + offset

    ways = guesses(*family.objects_and_ends) | {"the mean offset from the object": beside(*family.objects_and_ends)}
    return {
        "stays": lambda tasks: constant_action(np.full(len(tasks), STAY)),
        "goes to the object": going(lambda new: new),
        **{f"goes to {way}": going(guess) for way, guess in ways.items()},
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


ML1 = ("reach-v3", "push-v3", "pick-place-v3", "button-press-v3", "door-open-v3")
HAND = (
    "push-v3",
    "pick-place-v3",
    "button-press-v3",
    "drawer-open-v3",
    "drawer-close-v3",
    "window-open-v3",
    "door-close-v3",
)
_SPRITES: dict[str, Any] = {
    "family": "spritegrid",
    "candidates": sprites,
    "shipped": ("nearest", "rarest"),
}
_LARGE = {"side": 16, "horizon": 24, "copies": 14}
_ARM: dict[str, Any] = {
    "family": "metaworld",
    "candidates": metaworld,
    "split": "validation",
    "chosen_on": 50,
    "test": 50,
    "copies": 1,
}


def metaworld_physics(family: Any) -> Candidates:
    """Experts told the same guesses of the target as in family metaworld, and nothing of the physics."""
    ways = guesses(*family.first_observations_and_targets)

    def told(way: str) -> ReferencePolicy:
        return lambda tasks: family.experts(tasks, ways[way])

    return {f"expert told {way}": told(way) for way in ways}


_ROBOT: dict[str, Any] = {"chosen_on": 40, "test": 40, "copies": 2}
_CELLS: dict[str, Any] = {
    "family": "metaworld_hand",
    "candidates": metaworld_hand,
    "split": "validation",
    "chosen_on": 50,
    "test": 50,
    "copies": 1,
}
_PENDULUM: dict[str, Any] = {
    "environment": "kshot.envs.gymnasium.pendulum:geared",
    "task": {"make": {"gear": {"values": [-1.0, 1.0]}}, "attributes": {"m": [0.5, 1.5], "l": [0.5, 1.0]}},
    "oracle": "kshot.envs.gymnasium.pendulum:oracle",
    "task_blind": "kshot.envs.gymnasium.pendulum:task_blind",
}
"""The family ``pendulum`` of the suite ``gymnasium``."""
CASES: dict[str, Case] = {
    "bandit": Case("bandit", bandit, chosen_on=5000, test=5000, copies=1),
    "tabular_mdp": Case("tabular_mdp", tabular, chosen_on=500, test=500, copies=4),
    "tabular_mdp-observed": Case("tabular_mdp", tabular, {"observe_dynamics": True}, chosen_on=500, test=500, copies=4),
    "gridnavi": Case("gridnavi", gridnavi, chosen_on=21, test=21, copies=1),
    "gridnavi-held-out": Case("gridnavi", gridnavi, {"held_out": 5}, chosen_on=11, test=5, copies=1),
    "bus": Case("bus", buses, chosen_on=24, test=24),
    "bus_distract": Case("bus", buses, {"variant": "distract"}, chosen_on=42, test=128),
    "bus_map": Case("bus", buses, {"variant": "map"}, chosen_on=24, test=24),
    "gymnasium": Case("gymnasium", linear, chosen_on=64, test=64, copies=2),
    "maze": Case("maze", mazes, copies=1),
    "random_reward": Case("random_reward", random_rewards, split="validation", chosen_on=500, test=500, copies=1),
    "random_reward_table": Case(
        "random_reward", random_rewards, {"process": "table", "horizon": 10}, split="validation", copies=4
    ),
    "gymnasium-pendulum": Case("gymnasium", linear, _PENDULUM, chosen_on=64, test=64, copies=2),
    "nav2d": Case("nav2d", nav2d, chosen_on=1000, test=1000, copies=1),
    "nav2d_sparse": Case("nav2d_sparse", nav2d_sparse, split="validation", chosen_on=20, test=20, copies=1),
    "offload_dag": Case("offload_dag", offload, shipped=("all_local", "all_remote"), chosen_on=190, test=180, copies=4),
    "spritegrid": Case(**_SPRITES),
    "spritegrid-unseen": Case(settings={"test_sprites": "unseen"}, **_SPRITES),
    "spritegrid-16": Case(settings=_LARGE, **_SPRITES),
    "spritegrid-16-unseen": Case(settings={**_LARGE, "test_sprites": "unseen"}, **_SPRITES),
    **{
        f"ml1-{task[:-3]}": Case(settings={"task": task}, shipped=("sweep",) if task == "reach-v3" else (), **_ARM)
        for task in ML1
    },
    **{
        f"physics-{task[:-3]}": Case(
            **{**_ARM, "family": "metaworld_physics", "candidates": metaworld_physics}, settings={"task": task}
        )
        for task in ("push-v3", "door-open-v3")
    },
    "ml10": Case(settings={"benchmark": "ML10"}, **_ARM),
    "cheetah_vel": Case("cheetah_vel", robots.speeds, **_ROBOT),
    "cheetah_dir": Case("cheetah_dir", robots.directions, chosen_on=2, test=2, copies=20),
    "ant_goal": Case("ant_goal", robots.places, **_ROBOT),
    "hopper_rand_params": Case("hopper_rand_params", robots.every_gait, **_ROBOT),
    "walker_rand_params": Case("walker_rand_params", robots.every_gait, **_ROBOT),
    "reach-relative": Case(**_CELLS),
    **{f"hand-{task[:-3]}": Case(settings={"task": task}, **_CELLS) for task in HAND},
}
"""By the name that the command takes."""
