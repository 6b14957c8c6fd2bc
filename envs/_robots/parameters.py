"""Robots with other masses, inertias, damping and friction: a family's tasks, its models and its scripted policies.

As in the authors' code of the two families (dennisl88/rand_param_envs, rand_param_envs/base.py), each number of four
tables of a model is multiplied by a power of its own, with exponents U[-3, 3]: masses, inertias and friction by powers
of 1.5, damping by powers of 1.3. Multipliers are always those of the official model. What MuJoCo derives from masses
and inertias when it compiles a model (``mj_setConst``) is derived anew; in the authors' code it stays as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import mujoco
import numpy as np

from kshot import seeding
from kshot.envs._robots import gaits
from kshot.envs._robots.family import Ranged, spec_of
from kshot.envs._robots.gaits import Gaits
from kshot.envs._robots.simulation import Robot, RobotVectorEnv, State
from kshot.envs._scripted import Scripted, uniform_random
from kshot.types import Array, FamilySpec, ReferencePolicy, Split, Task

Healthy = Callable[[Array, Array], Array]
BASES = {"body_mass": 1.5, "body_inertia": 1.5, "dof_damping": 1.3, "geom_friction": 1.5}
"""By the names of the tables in MjModel."""
EXPONENT, OUTSIDE_EXPONENT = 3.0, 4.0
"""Exponents are within this of 0 inside the training range; outside it up to the second, and one at least beyond."""
SPLITS = {"train": 40, "validation": 20, "test": 40, "outside": 40}
"""Numbers of tasks. The authors of PEARL train on 40 and test on 10; a mean over ten tasks says little."""
CONTROL_COST = 1e-3
SUCCESS_SHARE = 0.8
"""The share of the oracle's return that counts as success, for an episode without a fall: kshot's definition."""
_RESETS = 4
"""Episodes per gait and task by which the oracle chooses."""


def parameters(robot: Robot, family: str, split: str, index: int) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """The multipliers of task ``index`` of a split, by table, in the order of the model's numbers."""
    stream = seeding.split(seeding.key(family, split), index)
    drawn, start = {}, 0
    for name in BASES:
        size = getattr(robot.model, name).size
        drawn[name] = 2.0 * seeding.uniform(stream, start + np.arange(size)) - 1.0
        start += size
    reach = OUTSIDE_EXPONENT if split == "outside" else EXPONENT
    if split == "outside" and all((np.abs(share) * reach <= EXPONENT).all() for share in drawn.values()):
        raise RuntimeError(f"{family}: task {index} of those outside the training range is within it")
    return tuple((name, tuple((base ** (reach * drawn[name])).tolist())) for name, base in BASES.items())


def multipliers(robot: Robot, task: Task) -> dict[str, Array]:
    """The multipliers of ``task``, in the shapes of the model's tables.

    Raises:
        ValueError: the task has too few or too many, or one is not a positive number.
    """
    found = {}
    for name in BASES:
        shape = getattr(robot.model, name).shape
        values = np.array(task[name], dtype=np.float64)
        if values.size != np.prod(shape):
            raise ValueError(
                f"{task.family}: task {task.id}: {name} has {np.prod(shape)} multipliers, got {values.size}"
            )
        bad = ~(np.isfinite(values) & (values > 0.0))
        if bad.any():
            raise ValueError(
                f"{task.family}: task {task.id}: multipliers must be positive numbers, but number {bad.argmax()} of"
                f" {name} is {values[bad.argmax()]}"
            )
        found[name] = values.reshape(shape)
    return found


_MODELS: dict[tuple[str, Any], mujoco.MjModel] = {}
_MOST_MODELS = 1000


def model_of(robot: Robot, task: Task) -> mujoco.MjModel:
    """The model of ``task``: a copy of the official one with other numbers, kept for the next that asks."""
    key = robot.file, task.params
    if key not in _MODELS:
        model = copy.copy(robot.model)
        for name, factor in multipliers(robot, task).items():
            getattr(model, name)[:] = getattr(robot.model, name) * factor
        mujoco.mj_setConst(model, mujoco.MjData(model))
        while len(_MODELS) >= _MOST_MODELS:
            del _MODELS[next(iter(_MODELS))]
        _MODELS[key] = model
    return _MODELS[key]


class RandomParametersFamily:
    """``kshot.types.TaskFamily`` of a robot that is paid for walking, and whose parameters nobody is told.

    Args:
        name: of the family, and of its file of gaits.
        robot: which.
        healthy: positions [N, nq] and velocities [N, nv] -> [N] whether a robot stands, as its official class has it.
        settings: of the family.
    """

    def __init__(self, name: str, robot: Robot, healthy: Healthy, settings: Ranged) -> None:
        self.name, self.robot, self.healthy, self.settings = name, robot, healthy, settings
        self._best: dict[Any, tuple[int, float]] = {}

    @cached_property
    def gaits(self) -> Gaits:
        """The scripted gaits; the first is the one that earns most on all training tasks together."""
        return gaits.load(self.name)

    @cached_property
    def spec(self) -> FamilySpec:
        """See ``spec_of``."""
        return spec_of(self.settings, self.robot)

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies.

        "random"; "task_blind", the gait that earns most on all training tasks together; "oracle", for each task
        the gait of the file that earns most there, which it finds out by playing them on the task's own model.
        """
        return {
            "random": lambda tasks: uniform_random(self.robot.action_space),
            "task_blind": lambda tasks: self.walks(np.zeros(len(tasks), dtype=np.int64)),
            "oracle": lambda tasks: self.walks(self.best_gaits(tasks)[0]),
        }

    def walks(self, chosen: Array) -> Scripted:
        """Gaits number ``chosen`` [T]."""
        return self.gaits.asked(np.zeros((len(chosen), 0)), chosen)

    def best_gaits(self, tasks: Sequence[Task]) -> tuple[Array, Array]:
        """The number [T] of the gait that earns most on each task, and what it earns [T], by playing all of them."""
        new = list({task.params: task for task in tasks if task.params not in self._best}.values())
        if new:
            n = len(self.gaits.weights)
            repeated = [task for task in new for _ in range(n)]
            env = self.plain_env(repeated, _RESETS)
            keys = seeding.split(seeding.key(self.name, "oracle"), np.tile(np.arange(_RESETS), len(repeated)))
            policy = self.walks(np.tile(np.arange(n), len(new)))
            returns = episode_returns(env, policy, _RESETS, (keys >> np.uint64(1)).tolist())
            earned = returns.reshape(len(new), n, _RESETS).mean(axis=2)
            for task, values in zip(new, earned, strict=True):
                self._best[task.params] = int(values.argmax()), float(values.max())
        found = [self._best[task.params] for task in tasks]
        return np.array([gait for gait, _ in found]), np.array([value for _, value in found])

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` of the tasks of a split (``SPLITS``), in an order drawn from ``seed``.

        Raises:
            ValueError: the split has fewer tasks.
        """
        drawn = self.settings.drawn_from(split)
        if n > SPLITS[drawn]:
            raise ValueError(f"{self.name}: {n} tasks asked for, the {split} split has {SPLITS[drawn]}")
        order = seeding.generator(self.name, split, seed).permutation(SPLITS[drawn])[:n].tolist()
        return [Task(self.name, split, i, parameters(self.robot, self.name, drawn, i), group=self.name) for i in order]

    def vector_env(self, tasks: Sequence[Task], copies: int) -> RandomParametersVectorEnv:
        """Raises ValueError for multipliers that are not positive."""
        env = self.plain_env(tasks, copies)
        env.needed = lambda: SUCCESS_SHARE * np.repeat(self.best_gaits(tasks)[1], copies)
        return env

    def plain_env(self, tasks: Sequence[Task], copies: int) -> RandomParametersVectorEnv:
        """Without success flags, which depend on what the gaits earn."""
        return RandomParametersVectorEnv(self.robot, self.healthy, tasks, copies, self.settings.horizon)

    def reference(self, task: Task) -> dict[str, float]:
        """Empty: no return is known in closed form."""
        return {}


class RandomParametersVectorEnv(RobotVectorEnv):
    """Robots that are paid for their speed and for standing, until they fall: the official rewards.

    Attributes:
        needed: -> [N] the return that counts as success, asked for when an episode reaches the horizon; None where
            nobody wants to know.
    """

    needed: Any = None

    def __init__(
        self,
        robot: Robot,
        healthy: Healthy,
        tasks: Sequence[Task],
        copies: int,
        horizon: int,
        threads: int | None = None,
    ) -> None:
        super().__init__(robot, tasks, copies, horizon, [model_of(robot, task) for task in tasks], threads)
        self._healthy, self._returns = healthy, np.zeros(self.num_envs)

    def begin(self, state: State) -> None:
        self._returns = np.zeros(self.num_envs)

    def outcome(self, before: State, after: State, action: Array) -> tuple[Array, Array, dict[str, Any]]:
        speed = (after.position[:, 0] - before.position[:, 0]) / self.robot.step_seconds
        stands = self._healthy(after.position, after.velocity)
        reward = (speed + stands) - CONTROL_COST * np.square(action).sum(axis=1)
        self._returns = self._returns + np.where(self.playing, reward, 0.0)
        success = np.zeros(self.num_envs, dtype=bool)
        if self.elapsed == self.horizon and self.needed is not None and (stands & self.playing).any():
            success = stands & self.playing & (self._returns >= self.needed())
        return reward, ~stands, {"success": success, "speed": speed}


def episode_returns(env: RobotVectorEnv, policy: Scripted, copies: int, seeds: Sequence[int]) -> Array:
    """[N] returns of an episode by ``policy``."""
    obs, _ = env.reset(seed=seeds)
    tasks = env.num_envs // copies
    memory = policy.start(tasks, copies)
    total = np.zeros(env.num_envs)
    for _ in range(env.horizon):
        action, _, memory = policy.act(obs.reshape(tasks, copies, -1), memory, None)
        obs, reward, terminated, truncated, _ = env.step(action.reshape(env.num_envs, -1))
        done = (terminated | truncated).reshape(tasks, copies)
        memory = policy.observe(memory, action, reward.reshape(tasks, copies), done)
        total += reward
    return total
