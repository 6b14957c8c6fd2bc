"""Meta-World with another mass, friction and damping in every task: the question of sim-to-real.

Classes push-v3 and door-open-v3 of Meta-World (Yu et al. 2019, arXiv 1910.10897) with its goals, observations, rewards
and success flags. Each task has a goal and three factors on the official model's numbers besides, which nobody is told,
as in domain randomisation (Peng et al. 2018, arXiv 1710.06537): in the training range for training, validation and
test, outside it where the settings ask for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from kshot import seeding
from kshot.envs import metaworld
from kshot.envs._scripted import uniform_random
from kshot.envs._target_prediction import TargetPredictor
from kshot.envs.metaworld._references import ExpertsWithPredictedTarget, TargetController, target_conditioned_expert
from kshot.envs.metaworld._vector import ACTION_SPACE, MAX_HORIZON
from kshot.envs.metaworld.engine import prototype
from kshot.envs.metaworld.engine.batch import SimulationPool
from kshot.envs.metaworld_physics._engine import PhysicsVectorEnv
from kshot.envs.metaworld_physics._models import OBJECT_JOINT, Physics
from kshot.errors import suggest
from kshot.types import ActionKind, Array, Evidence, FamilySpec, ReferencePolicy, Split, Task

ACTIONS: ActionKind = "continuous"
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts"})
RANGE = 2.0
"""Inside the training range factors are between 1 / RANGE and RANGE, their logarithms uniform; outside it all three are
beyond, up to 1 / RANGE^2 or RANGE^2."""
AT_TARGET = {"push-v3": (slice(0, 3), 0.03), "door-open-v3": (slice(0, 1), 0.05)}
"""By which coordinates, and within how many metres, experts take the object to be at its target: success is within .05
(push-v3) and within .08 along the first one (door-open-v3), as their ``evaluate_state`` has it."""
OBJECT = slice(4, 7)
"""Where an observation has the place of the object."""


@dataclass(frozen=True)
class Settings:
    """Which class, which physics, and how long.

    Attributes:
        task: "push-v3" or "door-open-v3".
        horizon: steps per episode, at most Metaworld's 500.
        episodes_per_trial: length of a trial, in episodes, for learners with memory.
        goal_seed: seed of the benchmark object, which decides all goals.
        goal_observable: show the target, so that the physics alone is hidden.
        test_tasks: "inside" the training range of physics, or "outside" it; goals are the test goals in both.

    Raises:
        ValueError: a name is unknown or a number is out of range.
    """

    task: str = "push-v3"
    horizon: int = MAX_HORIZON
    episodes_per_trial: int = 10
    goal_seed: int = 0
    goal_observable: bool = False
    test_tasks: Literal["inside", "outside"] = "inside"

    def __post_init__(self) -> None:
        if self.task not in OBJECT_JOINT:
            raise ValueError(f"metaworld_physics: unknown task {self.task!r}{suggest(self.task, OBJECT_JOINT)}")
        if self.test_tasks not in ("inside", "outside"):
            raise ValueError(f"metaworld_physics: test_tasks must be 'inside' or 'outside', got {self.test_tasks!r}")
        _ = self.plain

    @property
    def plain(self) -> metaworld.Settings:
        """Of the family with Meta-World's own physics. Raises ValueError for numbers that it refuses."""
        return metaworld.Settings(
            task=self.task,
            horizon=self.horizon,
            episodes_per_trial=self.episodes_per_trial,
            goal_seed=self.goal_seed,
            goal_observable=self.goal_observable,
        )


def build(settings: Settings) -> MetaWorldPhysicsFamily:
    """The family for ``settings``; draws the training and test goals (half a second)."""
    return MetaWorldPhysicsFamily(settings)


def headline(settings: Settings) -> Literal["success_last"]:
    """As in family metaworld."""
    return metaworld.headline(settings.plain)


class MetaWorldPhysicsFamily:
    """``kshot.types.TaskFamily`` of one class of Meta-World with other physics in every task."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._plain = metaworld.build(settings.plain)

    @cached_property
    def spec(self) -> FamilySpec:
        """Observations are normalised as in family metaworld."""
        return replace(self._plain.spec, name="metaworld_physics")

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies, by Metaworld's experts, which know no physics, and ``stopping_expert``.

        "random"; "task_blind", the expert with a target predicted from the first observation, as in family metaworld;
        "oracle", the expert with the true target. It corrects itself by what it sees, and is no ceiling.
        """
        return {
            "random": lambda tasks: uniform_random(ACTION_SPACE),
            "task_blind": lambda tasks: self.experts(tasks, self._plain._predictor(self.settings.task)),
            "oracle": lambda tasks: ExpertsWithPredictedTarget(
                [stopping_expert(task.group) for task in tasks], [_always(self.target(task)) for task in tasks]
            ),
        }

    def experts(self, tasks: Sequence[Task], predictor: TargetPredictor) -> ExpertsWithPredictedTarget:
        """Experts with the target that ``predictor`` finds in the first observation."""
        return ExpertsWithPredictedTarget([stopping_expert(task.group) for task in tasks], [predictor] * len(tasks))

    @property
    def first_observations_and_targets(self) -> tuple[Array, Array]:
        """First observations [50, 39] and targets [50, 3] of the training goals, in Meta-World's own physics."""
        return self._plain.first_observations_and_targets(self.settings.task)

    def target(self, task: Task) -> Array:
        """[3] the true target of ``task``, in metres."""
        with SimulationPool.lock:  # a goal's first placement changes the class's own simulation
            return prototype(task["env_name"], False).snapshot((task["env_name"], task["rand_vec"])).target

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` of the split's 50 goals, each with physics of its own, in an order drawn from ``seed``.

        Raises:
            ValueError: the split has fewer than ``n`` goals.
        """
        outside = split == "test" and self.settings.test_tasks == "outside"
        found = []
        for task in self._plain.tasks(split, n, seed):
            drawn = physics("outside" if outside else split, task.group, task.index)
            factors = tuple((name, getattr(drawn, name)) for name in ("mass", "friction", "damping"))
            found.append(replace(task, family="metaworld_physics", params=(*task.params, *factors)))
        return found

    def vector_env(self, tasks: Sequence[Task], copies: int) -> PhysicsVectorEnv:
        """Raises ValueError for factors that are not positive."""
        goals, all_physics = [], []
        for task in tasks:
            try:
                found = Physics(task["mass"], task["friction"], task["damping"])
            except ValueError as error:
                raise ValueError(f"{error}, in task {task.id}") from None
            goals += [(task["env_name"], task["rand_vec"])] * copies
            all_physics += [found] * copies
        return PhysicsVectorEnv(goals, all_physics, self.settings.horizon, self.settings.goal_observable)

    def reference(self, task: Task) -> dict[str, float]:
        """Empty: no return is known in closed form."""
        return {}


def stopping_expert(name: str) -> TargetController:
    """Metaworld's expert of class ``name``, but the hand stops while the object is at the target.

    Without that experts go on, and success at the last step is a matter of luck (docs/families/metaworld.md).
    """
    expert, (coordinates, near) = target_conditioned_expert(name), AT_TARGET[name]

    def act(obs: Array, target: Array) -> Array:
        action = expert(obs, target)
        if np.linalg.norm((obs[OBJECT] - target)[coordinates]) < near:
            action = np.append(np.zeros(3), action[3])
        return action

    return act


def _always(target: Array) -> TargetPredictor:
    return lambda obs: np.broadcast_to(target, (*obs.shape[:-1], 3))


def physics(split: str, class_name: str, index: int) -> Physics:
    """The physics of a goal, by the number of the goal in its split."""
    key = seeding.split(seeding.key("metaworld_physics", class_name, split), index)
    share = 2.0 * seeding.uniform(key, np.arange(3)) - 1.0
    exponent = np.sign(share) * (1.0 + np.abs(share)) if split == "outside" else share
    return Physics(*(RANGE**exponent).tolist())
