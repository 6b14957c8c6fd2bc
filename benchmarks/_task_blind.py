"""The candidates of ``benchmarks.task_blind``: for every family, scripted policies that see observations alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from benchmarks import _task_blind_robots as robots
from benchmarks import _task_blind_worlds as worlds
from benchmarks._task_blind_base import Candidates, Case, constants, scripted
from kshot import seeding
from kshot.envs import spritegrid
from kshot.envs._point import STEP_SIZE
from kshot.envs._scripted import Scripted, constant_action
from kshot.envs._target_prediction import fit_linear
from kshot.envs.gridnavi.grid import FIRST_PATH, GOALS, SECOND_PATH, action_towards
from kshot.envs.metaworld_hand._world import STAY
from kshot.envs.nav2d_sparse import arc
from kshot.envs.spritegrid import Layouts, pictures
from kshot.types import Array, ReferencePolicy


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
    "bus": Case("bus", worlds.buses, chosen_on=24, test=24),
    "bus_distract": Case("bus", worlds.buses, {"variant": "distract"}, chosen_on=42, test=128),
    "bus_map": Case("bus", worlds.buses, {"variant": "map"}, chosen_on=24, test=24),
    "gymnasium": Case("gymnasium", linear, chosen_on=64, test=64, copies=2),
    "maze": Case("maze", worlds.mazes, copies=1),
    "random_reward": Case(
        "random_reward", worlds.random_rewards, split="validation", chosen_on=500, test=500, copies=1
    ),
    "random_reward_table": Case(
        "random_reward", worlds.random_rewards, {"process": "table", "horizon": 10}, split="validation", copies=4
    ),
    "gymnasium-pendulum": Case("gymnasium", linear, _PENDULUM, chosen_on=64, test=64, copies=2),
    "nav2d": Case("nav2d", nav2d, chosen_on=1000, test=1000, copies=1),
    "nav2d_sparse": Case("nav2d_sparse", nav2d_sparse, split="validation", chosen_on=20, test=20, copies=1),
    "offload_dag": Case(
        "offload_dag", worlds.offload, shipped=("all_local", "all_remote"), chosen_on=190, test=180, copies=4
    ),
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
