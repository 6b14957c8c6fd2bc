"""One official environment object per class, whose resets place the goals and whose code is translated."""

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

_MAX_DRAWS = 100
"""A reset asks for the placement until it accepts it. It does so within a few times, or never."""


@dataclass(frozen=True)
class Snapshot:
    """Everything a sub-environment needs to begin an episode of one goal.

    Attributes:
        obs: [39] as ``reset`` returns it.
        target: [3] position of the target in metres.
        state: [S] integration state of the simulation.
        positions: [L] positions of all bodies, then of all sites, in the model.
        params: [P] parameters as ``Translation.params`` has them.
    """

    obs: Array
    target: Array
    state: Array
    positions: Array
    params: Array


class Prototype:
    """What all sub-environments of one class share.

    Attributes:
        env: official environment; only used for resets.
        model_file: classes with the same file can share models.
        limits: [2, 3] lowest and highest position of the mocap body, in metres.
        action_scale: metres per unit of action.
    """

    def __init__(self, name: str, goal_observable: bool) -> None:
        self.name = name
        self.env: Any = ALL_V3_ENVIRONMENTS[name]()
        self.model_file: str = self.env.model_name
        self.limits = np.stack([self.env.mocap_low, self.env.mocap_high]).astype(np.float64)
        self.action_scale: float = self.env.action_scale
        self._goal_observable = goal_observable
        self._positions = self.env.model.body_pos.copy(), self.env.model.site_pos.copy()
        self._translations: dict[bool, Translation] = {}
        self._snapshots: dict[tuple[float, ...], Snapshot] = {}

    def translation(self, single: bool) -> Translation:
        """Machine code for float32 (``single``) or float64 actions; the environment must have been reset before."""
        if single not in self._translations:
            try:
                translation = translate(self.env, single)
            except Unsupported as error:
                text = f"metaworld: the engine cannot step {self.name} exactly ({error}); the official backend can"
                raise Unsupported(text) from error
            if any(other.params != translation.params for other in self._translations.values()):
                raise RuntimeError(f"metaworld: {self.name} reads other attributes with other types of actions")
            self._translations[single] = translation
        return self._translations[single]

    def needs_placing(self, goal: Goal) -> bool:
        """Whether the goal has no snapshot yet."""
        return goal[1] not in self._snapshots

    def snapshot(self, goal: Goal) -> Snapshot:
        """The state after a reset to ``goal``, which takes place once per process.

        It does not depend on what the environment did before, because ``SawyerXYZEnv.reset`` places the task twice,
        with ``mj_resetData`` in between.

        Raises:
            ValueError: the goal does not fit the class.
        """
        _, rand_vec = goal
        if rand_vec not in self._snapshots:
            self._snapshots[rand_vec] = self._place(goal)
        return self._snapshots[rand_vec]

    def draw(self, n: int, stream: np.random.RandomState) -> list[tuple[float, ...]]:
        """``n`` rand_vecs, drawn from ``stream`` as the class draws them at a reset."""
        env = self.env
        env._freeze_rand_vec, env.seeded_rand_vec, env._set_task_called = False, True, True
        env.np_random = stream
        self._restore_model()
        # Only the random numbers of these resets matter: bodies are placed, but nothing is simulated.
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
        positions = np.concatenate([env.model.body_pos.ravel(), env.model.site_pos.ravel()])
        target = np.array(env._target_pos, dtype=np.float64)  # a copy: some classes hold a view of the simulation
        return Snapshot(obs, target, state, positions, self._params())

    def _restore_model(self) -> None:
        """Undo what steps did to this model: they leave it with positions of other goals, and of other classes."""
        self.env.model.body_pos[:], self.env.model.site_pos[:] = self._positions

    def _params(self) -> Array:
        """[P] the environment's attributes that the machine code reads."""
        translation = self.translation(single=True)
        params = np.full(translation.n_params, np.nan)
        for name, (start, size) in translation.params.items():
            value = getattr(self.env, name)
            if self._is_view_of_simulation(value):
                raise RuntimeError(f"metaworld: {self.name}.{name} became a view of the simulation")
            params[start : start + size] = np.nan if value is None else value
        for name, value in translation.constants.items():
            if getattr(self.env, name) != value:
                raise RuntimeError(f"metaworld: {self.name}.{name} was taken for a constant and changed")
        return params

    def _is_view_of_simulation(self, value: Any) -> bool:
        return isinstance(value, np.ndarray) and any(
            np.shares_memory(getattr(self.env.data, field), value) for field in FIELDS
        )


@cache
def prototype(name: str, goal_observable: bool, /) -> Prototype:
    """The process's prototype of class ``name``."""
    return Prototype(name, goal_observable)


def place_all(goals: Sequence[Goal], goal_observable: bool, threads: int) -> None:
    """Make the snapshots of ``goals``, classes in parallel."""
    by_class: defaultdict[str, list[Goal]] = defaultdict(list)
    for goal in dict.fromkeys(goals):
        if prototype(goal[0], goal_observable).needs_placing(goal):
            by_class[goal[0]].append(goal)

    def place(goals_of_class: list[Goal]) -> None:
        for goal in goals_of_class:
            prototype(goal[0], goal_observable).snapshot(goal)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(place, by_class.values()))


def reset_to(env: Any, goal: Goal, goal_observable: bool) -> Array:
    """Set ``env`` to ``goal`` and reset it; returns the observation [39].

    Raises:
        ValueError: the goal's vector has the wrong length, or its object and target are closer to each other than the
            class allows. The official reset would then look for another placement without end.
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
        if draws > _MAX_DRAWS:
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
