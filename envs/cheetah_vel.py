"""HalfCheetah at a speed: run as fast as a hidden target speed, and no faster (Finn et al. 2017, MAML, sec. 5.3).

Definition as in the code of MAML (cbfinn/maml_rl, rllab/envs/mujoco/half_cheetah_env_rand.py) and PEARL (arXiv
1903.08254; katerakelly/oyster, rlkit/envs/half_cheetah_vel.py): reward -|v - v*| - .05 |a|^2 (squared norm), v the mean
speed over a step of .05 s, 200 steps, nothing terminates. Target speeds are U[0, 3] as in PEARL's code (MAML: U[0, 2]).
The robot is Gymnasium's HalfCheetah-v5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from kshot import seeding
from kshot.envs._robots import gaits
from kshot.envs._robots.family import Ranged, spec_of
from kshot.envs._robots.simulation import CHEETAH, RobotVectorEnv, State
from kshot.envs._scripted import Scripted, uniform_random
from kshot.types import ActionKind, Array, Evidence, FamilySpec, ReferencePolicy, Split, Task

ACTIONS: ActionKind = "continuous"
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts"})
CONTROL_COST = 0.05
SUCCESS_GAP = 0.2
"""Metres per second by which the mean speed over the last ``WINDOW`` steps may miss the target: kshot's definition."""
WINDOW = 100
OUTSIDE = 4.0 / 3.0
"""Target speeds outside the training range reach up to this multiple of it."""
GAIT_WIDTH, GAITS = 0.5, 8
"""Each scripted gait but the first is for a part of the speeds, this wide in metres per second; how many there are."""
MAX_SPEED = 10.0
"""Metres per second; a faster target is out of reach and refused."""


@dataclass(frozen=True)
class Settings(Ranged):
    """The range of speeds, the lengths of an episode and of a trial, and where test tasks are.

    Attributes:
        fastest: the largest target speed of training in metres per second (PEARL's code: 3; MAML: 2). Those outside
            reach up to four thirds of it.

    Raises:
        ValueError: a number or name is out of range.
    """

    fastest: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.fastest * OUTSIDE <= MAX_SPEED:
            raise ValueError(
                f"cheetah_vel: fastest must be above 0 and at most {MAX_SPEED / OUTSIDE} m/s, got {self.fastest}"
            )


def build(settings: Settings) -> CheetahVelFamily:
    """The family for ``settings``."""
    return CheetahVelFamily(settings)


def headline(settings: Settings) -> Literal["return"]:
    """The figure of both papers."""
    return "return"


class CheetahVelFamily:
    """``kshot.types.TaskFamily`` of HalfCheetahs with a target speed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def spec(self) -> FamilySpec:
        """See ``spec_of``."""
        return spec_of(self.settings, CHEETAH)

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies.

        "random"; "task_blind", which runs at the middle of the training speeds; "oracle", which runs at the task's.
        Both run by a scripted gait (``kshot.envs._robots.gaits``), which no searched policy has to stay below.
        """
        return {
            "random": lambda tasks: uniform_random(CHEETAH.action_space),
            "task_blind": lambda tasks: runs_at(np.full(len(tasks), self.settings.fastest / 2.0)),
            "oracle": lambda tasks: runs_at(_speeds(tasks)),
        }

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` draws of the speed; each split and seed has a stream of its own, so splits share no task."""
        source = self.settings.drawn_from(split)
        share = seeding.uniform(seeding.split(seeding.key("cheetah_vel", source, seed), np.arange(n)), 0)
        speeds = self.settings.fastest * (1.0 + (OUTSIDE - 1.0) * share if source == "outside" else share)
        return [
            Task("cheetah_vel", split, i, (("speed", speed),), group="cheetah_vel")
            for i, speed in enumerate(speeds.tolist())
        ]

    def vector_env(self, tasks: Sequence[Task], copies: int) -> CheetahVelVectorEnv:
        """Raises ValueError for a speed that is not between 0 and ``MAX_SPEED``."""
        return CheetahVelVectorEnv(tasks, copies, self.settings.horizon)

    def reference(self, task: Task) -> dict[str, float]:
        """Empty: no return is known in closed form."""
        return {}


class CheetahVelVectorEnv(RobotVectorEnv):
    """HalfCheetahs that pay for the difference between their speed and the target."""

    def __init__(self, tasks: Sequence[Task], copies: int, horizon: int, threads: int | None = None) -> None:
        super().__init__(CHEETAH, tasks, copies, horizon, threads=threads)
        self._speeds = np.repeat(_speeds(tasks), copies)
        self._places: list[Array] = []

    def begin(self, state: State) -> None:
        self._places = [state.position[:, 0]]

    def outcome(self, before: State, after: State, action: Array) -> tuple[Array, Array, dict[str, Any]]:
        seconds = self.robot.step_seconds
        speed = (after.position[:, 0] - before.position[:, 0]) / seconds
        reward = -np.abs(speed - self._speeds) - CONTROL_COST * np.square(action).sum(axis=1)
        self._places.append(after.position[:, 0])
        window = min(WINDOW, self.horizon)
        success = np.zeros(self.num_envs, dtype=bool)
        if self.elapsed >= window:
            mean = (self._places[-1] - self._places[-1 - window]) / (window * seconds)
            success = np.abs(mean - self._speeds) <= SUCCESS_GAP
        return reward, np.zeros(self.num_envs, dtype=bool), {"success": success, "speed": speed}


def runs_at(speeds: Array) -> Scripted:
    """The scripted gait at ``speeds`` [T] in metres per second."""
    part = np.clip(np.floor(speeds / GAIT_WIDTH), 0, GAITS - 1).astype(np.int64)
    return gaits.load("cheetah_vel").asked(_requests(speeds), 1 + part)


def requests(tasks: Sequence[Task]) -> Array:
    """[T, 2] what ``tasks`` ask of the scripted gait."""
    return _requests(_speeds(tasks))


def _requests(speeds: Array) -> Array:
    """The speed and its square, -1 to 1 and 0 to 1 from 0 to 3 m/s."""
    share = speeds / 1.5 - 1.0
    return np.stack([share, share**2], axis=1)


def _speeds(tasks: Sequence[Task]) -> Array:
    speeds = np.array([task["speed"] for task in tasks], dtype=np.float64)
    for task, speed in zip(tasks, speeds, strict=True):
        if not 0.0 <= speed <= MAX_SPEED:
            raise ValueError(
                f"cheetah_vel: task {task.id}: the speed must be between 0 and {MAX_SPEED} m/s, got {speed}"
            )
    return speeds
