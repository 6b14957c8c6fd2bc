"""Ant to a goal: walk to a place in the plane that is not shown (Rakelly et al. 2019, PEARL, sec. 6.1).

Definition as in the authors' code (arXiv 1903.08254; katerakelly/oyster, rlkit/envs/ant_goal.py, whose tasks are those
of ProMP, jonasrothfuss/ProMP, ant_rand_goal.py): goals uniform in the disc of radius 3 around the start, reward
-|p - g|_1 - .1 |a|^2 - .0005 |f|^2 (squared norms), p the torso's place, f the contact forces, each within [-1, 1]; 200
steps, nothing terminates. The robot is Gymnasium's Ant-v5, with its position in the observation, as theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from kshot import seeding
from kshot.envs._robots import gaits
from kshot.envs._robots.family import Ranged, spec_of
from kshot.envs._robots.simulation import ANT, RobotVectorEnv, State
from kshot.envs._scripted import Scripted, uniform_random
from kshot.types import ActionKind, Array, Evidence, FamilySpec, ReferencePolicy, Split, Task

ACTIONS: ActionKind = "continuous"
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts"})
CONTROL_COST = 0.1
CONTACT_COST = 5e-4
SUCCESS_DISTANCE = 0.5
"""Metres (Euclidean) that count as success: kshot's definition."""
OUTSIDE = 4.0 / 3.0
"""Goals outside the training disc are on the ring up to this multiple of its radius."""
MAX_RADIUS = 20.0
"""Metres; goals further away are out of reach and refused."""


@dataclass(frozen=True)
class Settings(Ranged):
    """The range of goals, the lengths of an episode and of a trial, and where test tasks are.

    Attributes:
        radius: of the disc of training goals, in metres. Those outside are on the ring up to four thirds of it.

    Raises:
        ValueError: a number or name is out of range.
    """

    radius: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.radius * OUTSIDE <= MAX_RADIUS:
            raise ValueError(
                f"ant_goal: radius must be above 0 and at most {MAX_RADIUS / OUTSIDE} m, got {self.radius}"
            )


def build(settings: Settings) -> AntGoalFamily:
    """The family for ``settings``."""
    return AntGoalFamily(settings)


def headline(settings: Settings) -> Literal["return"]:
    """The figure of the paper."""
    return "return"


class AntGoalFamily:
    """``kshot.types.TaskFamily`` of ants with a goal."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def spec(self) -> FamilySpec:
        """See ``spec_of``."""
        return spec_of(self.settings, ANT)

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies.

        "random"; "task_blind", which stays where it is: the mean goal is the start, and actions cost; "oracle", which
        walks to the goal by a scripted gait (``kshot.envs._robots.gaits``), which no searched policy has to stay below.
        """
        still = np.zeros(ANT.model.nu)
        return {
            "random": lambda tasks: uniform_random(ANT.action_space),
            "task_blind": lambda tasks: Scripted(
                lambda obs, step, noise: np.broadcast_to(still, (*obs.shape[:2], len(still))).copy()
            ),
            "oracle": lambda tasks: walks_to(goals_of(tasks)),
        }

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` draws of the goal; each split and seed has a stream of its own, so splits share no task."""
        source = self.settings.drawn_from(split)
        keys = seeding.split(seeding.key("ant_goal", source, seed), np.arange(n))
        share, angle = seeding.uniform(keys, 0), 2.0 * np.pi * seeding.uniform(keys, 1)
        inner, outer = (1.0, OUTSIDE) if source == "outside" else (0.0, 1.0)
        radius = self.settings.radius * np.sqrt(inner**2 + (outer**2 - inner**2) * share)
        goals = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).tolist()
        return [Task("ant_goal", split, i, (("goal", tuple(goal)),), group="ant_goal") for i, goal in enumerate(goals)]

    def vector_env(self, tasks: Sequence[Task], copies: int) -> AntGoalVectorEnv:
        """Raises ValueError for a goal that is further away than ``MAX_RADIUS``."""
        return AntGoalVectorEnv(tasks, copies, self.settings.horizon)

    def reference(self, task: Task) -> dict[str, float]:
        """Empty: no return is known in closed form."""
        return {}


class AntGoalVectorEnv(RobotVectorEnv):
    """Ants that pay for their distance to the goal."""

    def __init__(self, tasks: Sequence[Task], copies: int, horizon: int, threads: int | None = None) -> None:
        super().__init__(ANT, tasks, copies, horizon, threads=threads)
        self._goals = np.repeat(goals_of(tasks), copies, axis=0)

    def outcome(self, before: State, after: State, action: Array) -> tuple[Array, Array, dict[str, Any]]:
        offset = after.place[:, :2] - self._goals
        costs = CONTROL_COST * np.square(action).sum(axis=1) + CONTACT_COST * np.square(after.force).sum(axis=1)
        reward = -np.abs(offset).sum(axis=1) - costs
        success = np.sqrt((offset**2).sum(axis=1)) <= SUCCESS_DISTANCE
        return reward, np.zeros(self.num_envs, dtype=bool), {"success": success}


def walks_to(goals: Array) -> Scripted:
    """The scripted gait to ``goals`` [T, 2]."""
    return gaits.load("ant_goal").policy(towards(goals), np.zeros(len(goals), dtype=np.int64))


def towards(goals: Array) -> Callable[[Array], Array]:
    """What an ant that observes [T, C, 107] asks of the gait to get to ``goals`` [T, 2]: a direction [T, C, 2].

    It is seen from the torso, and shorter than 1 within ``SUCCESS_DISTANCE`` of the goal, to walk slowly there.
    """

    def asks(obs: Array) -> Array:
        offset = goals[:, None] - obs[..., :2]
        w, x, y, z = np.moveaxis(obs[..., 3:7], -1, 0)  # the torso's orientation
        yaw = np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y**2 + z**2))
        ahead = np.cos(yaw) * offset[..., 0] + np.sin(yaw) * offset[..., 1]
        left = np.cos(yaw) * offset[..., 1] - np.sin(yaw) * offset[..., 0]
        length = np.maximum(np.sqrt((offset**2).sum(axis=-1)), SUCCESS_DISTANCE)
        return np.asarray(np.stack([ahead, left], axis=-1) / length[..., None])

    return asks


def goals_of(tasks: Sequence[Task]) -> Array:
    goals = np.array([task["goal"] for task in tasks], dtype=np.float64)
    if goals.shape != (len(tasks), 2):
        raise ValueError(f"ant_goal: a goal is a place (x, y), got {tasks[0]['goal']!r} in task {tasks[0].id}")
    for task, goal in zip(tasks, goals, strict=True):
        if not np.sqrt((goal**2).sum()) <= MAX_RADIUS:
            raise ValueError(f"ant_goal: task {task.id}: the goal must be within {MAX_RADIUS} m, got {tuple(goal)}")
    return goals
