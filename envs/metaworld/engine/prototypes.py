"""One official environment object per class: it places tasks, and its code is translated once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import mujoco
import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from kshot.envs.metaworld._tasks import Goal, official_task
from kshot.envs.metaworld.engine.kernel import STATE
from kshot.envs.metaworld.engine.symbols import Unsupported
from kshot.envs.metaworld.engine.translation import FIELDS, Translation, translate
from kshot.types import Array

_MOST_DRAWS = 100
"""Resets ask for the frozen placement a few times; one that is refused forever is asked for without end."""


@dataclass(frozen=True)
class Snapshot:
    """Everything a sub-environment needs to begin an episode of one goal.

    Attributes:
        obs: [39] as ``reset`` returns it.
        target: [3] where the target is.
        state: [S] integration state of the simulation.
        places: [L] positions of all bodies, then of all sites, in the model.
        params: [P] row of ``Translation.params``.
    """

    obs: Array
    target: Array
    state: Array
    places: Array
    params: Array


class Prototype:
    """What all sub-environments of one class share.

    Attributes:
        env: official environment; only used for resets.
        model_file: classes with the same file can share models.
        limits: [2, 3] lowest and highest place of the mocap body, in metres.
        action_scale: metres per unit of action.
    """

    def __init__(self, name: str, goal_observable: bool) -> None:
        self.name = name
        self.env: Any = ALL_V3_ENVIRONMENTS[name]()
        self.model_file: str = self.env.model_name
        self.limits = np.stack([self.env.mocap_low, self.env.mocap_high]).astype(np.float64)
        self.action_scale: float = self.env.action_scale
        self._goal_observable = goal_observable
        self._places = self.env.model.body_pos.copy(), self.env.model.site_pos.copy()
        self._translations: dict[bool, Translation] = {}
        self._snapshots: dict[tuple[float, ...], Snapshot] = {}

    def translation(self, single: bool) -> Translation:
        """Machine code for float32 (``single``) or float64 actions; the environment must have been reset before."""
        if single not in self._translations:
            try:
                made = translate(self.env, single)
            except Unsupported as error:
                text = f"metaworld: the engine cannot step {self.name} exactly ({error}); the official backend can"
                raise Unsupported(text) from error
            if any(other.params != made.params for other in self._translations.values()):
                raise RuntimeError(f"metaworld: {self.name} reads other attributes with other types of actions")
            self._translations[single] = made
        return self._translations[single]

    def missing(self, goal: Goal) -> bool:
        """Whether ``snapshot`` would have to place the goal first."""
        return goal[1] not in self._snapshots

    def snapshot(self, goal: Goal) -> Snapshot:
        """The state after a reset to ``goal``; kept, so that every goal is placed once per process.

        A reset does not depend on what the environment did before, because ``SawyerXYZEnv.reset`` places the task twice
        with ``mj_resetData`` in between.

        Raises:
            ValueError: the goal does not fit the class.
        """
        _, rand_vec = goal
        if rand_vec not in self._snapshots:
            self._snapshots[rand_vec] = self._place(goal)
        return self._snapshots[rand_vec]

    def draw(self, n: int, stream: np.random.RandomState) -> list[tuple[float, ...]]:
        """``n`` new placements out of ``stream``, as the class itself draws them at a reset."""
        env = self.env
        env._freeze_rand_vec, env.seeded_rand_vec, env._set_task_called = False, True, True
        env.np_random = stream
        self._restore_model()
        # Only the random numbers of these resets matter: bodies are put in their places, but nothing moves.
        env.do_simulation = lambda *_: mujoco.mj_kinematics(env.model, env.data)
        env._reset_hand = partial(env._reset_hand, steps=1)
        try:
            drawn = []
            for _ in range(n):
                env.reset()
                drawn.append(tuple(env._last_rand_vec.tolist()))
        finally:
            del env.do_simulation, env._reset_hand
            env._freeze_rand_vec, env.seeded_rand_vec = True, False
        return drawn

    def _place(self, goal: Goal) -> Snapshot:
        env = self.env
        self._restore_model()
        obs = reset_to(env, goal, self._goal_observable)
        state = np.empty(mujoco.mj_stateSize(env.model, STATE))
        mujoco.mj_getState(env.model, env.data, state, STATE)
        places = np.concatenate([env.model.body_pos.ravel(), env.model.site_pos.ravel()])
        target = np.array(env._target_pos, dtype=np.float64)  # a copy: some classes hold a view of the simulation
        return Snapshot(obs, target, state, places, self._params())

    def _restore_model(self) -> None:
        """Steps use this model too: they leave the places of other goals, and of other classes with the same file."""
        self.env.model.body_pos[:], self.env.model.site_pos[:] = self._places

    def _params(self) -> Array:
        """Attributes of the environment that the translated code reads."""
        first = self.translation(single=True)
        row = np.full(first.n_params, np.nan)
        for name, (start, size) in first.params.items():
            value = getattr(self.env, name)
            if self._is_live(value):
                raise RuntimeError(f"metaworld: {self.name}.{name} became a view of the simulation")
            row[start : start + size] = np.nan if value is None else value
        for name, value in first.constants.items():
            if getattr(self.env, name) != value:
                raise RuntimeError(f"metaworld: {self.name}.{name} was taken for a constant and changed")
        return row

    def _is_live(self, value: Any) -> bool:
        return isinstance(value, np.ndarray) and any(
            np.shares_memory(getattr(self.env.data, field), value) for field in FIELDS
        )


@cache
def prototype(name: str, goal_observable: bool, /) -> Prototype:
    """The process's prototype of class ``name``."""
    return Prototype(name, goal_observable)


def place_all(goals: Sequence[Goal], goal_observable: bool, threads: int) -> None:
    """Fill the snapshots of ``goals``, classes side by side."""
    by_class: defaultdict[str, list[Goal]] = defaultdict(list)
    for goal in dict.fromkeys(goals):
        if prototype(goal[0], goal_observable).missing(goal):
            by_class[goal[0]].append(goal)

    def place(own: list[Goal]) -> None:
        for goal in own:
            prototype(goal[0], goal_observable).snapshot(goal)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(place, by_class.values()))


def reset_to(env: Any, goal: Goal, goal_observable: bool) -> Array:
    """Set ``env`` to ``goal`` and reset it; the observation [39] after the reset.

    Raises:
        ValueError: the goal's vector has the wrong length, or its object and target are closer to each other than the
            class allows, for which the official reset would look for another placement without end.
    """
    name, rand_vec = goal
    space = env._random_reset_space
    if len(rand_vec) != space.low.size or not np.isfinite(rand_vec).all():
        raise ValueError(
            f"metaworld: a goal of {name} is {space.low.size} finite numbers (rand_vec), got {list(rand_vec)}"
        )
    draws = 0

    def draw() -> Array:
        nonlocal draws
        draws += 1
        if draws > _MOST_DRAWS:
            raise ValueError(
                f"metaworld: the goal {list(rand_vec)} of {name} cannot be placed: its object and its target are closer"
                " than the class allows, so the official reset would never return"
            )
        frozen: Array = type(env)._get_state_rand_vec(env)
        return frozen

    env.set_task(official_task(goal, goal_observable))
    env._get_state_rand_vec = draw
    try:
        obs: Array = env.reset()[0]
    finally:
        del env._get_state_rand_vec
    return obs


def observation_bounds(envs: Sequence[SawyerXYZEnv], goal_observable: bool) -> tuple[Array, Array]:
    """Lowest and highest observation [39] over the classes of ``envs``."""
    low, high = [], []
    for env in envs:
        space = env.sawyer_observation_space
        low.append(space.low.copy())
        high.append(space.high.copy())
        if goal_observable:
            assert env.goal_space is not None
            low[-1][-3:], high[-1][-3:] = env.goal_space.low, env.goal_space.high
    return np.min(low, axis=0), np.max(high, axis=0)
