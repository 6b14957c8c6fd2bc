"""HalfCheetah forwards or backwards: run as fast as possible in a hidden direction (Finn et al. 2017, MAML, sec. 5.3).

Definition as in the code of MAML (cbfinn/maml_rl, rllab/envs/mujoco/half_cheetah_env_rand_direc.py) and PEARL (arXiv
1903.08254; katerakelly/oyster, rlkit/envs/half_cheetah_dir.py): reward d v - .05 |a|^2 (squared norm), d = 1 or
-1, v the mean speed over a step of .05 s, 200 steps, nothing terminates. The robot is Gymnasium's HalfCheetah-v5.

There are two tasks, and all splits hold both: a learner that was trained here has seen the test tasks. Scores say how
it finds out which of two known tasks it plays, and nothing about tasks that are new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from kshot.envs._robots import gaits
from kshot.envs._robots.family import Lengths, spec_of
from kshot.envs._robots.simulation import CHEETAH, RobotVectorEnv, State
from kshot.envs._scripted import Scripted, uniform_random
from kshot.types import ActionKind, Array, Evidence, FamilySpec, ReferencePolicy, Split, Task

ACTIONS: ActionKind = "continuous"
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts"})
CONTROL_COST = 0.05
SUCCESS_SPEED = 1.0
"""Metres per second in the right direction, on average over the episode: kshot's definition."""


@dataclass(frozen=True)
class Settings(Lengths):
    """The lengths of an episode and of a trial.

    Attributes:
        episodes_per_trial: as in ``Lengths``; the direction is known after one episode.
    """

    episodes_per_trial: int = 2


def build(settings: Settings) -> CheetahDirFamily:
    """The family for ``settings``."""
    return CheetahDirFamily(settings)


def headline(settings: Settings) -> Literal["return"]:
    """The figure of both papers."""
    return "return"


class CheetahDirFamily:
    """``kshot.types.TaskFamily`` of HalfCheetahs with a direction."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def spec(self) -> FamilySpec:
        """See ``spec_of``."""
        return spec_of(self.settings, CHEETAH, shared_tasks=True)

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies.

        "random"; "task_blind", which does nothing: whichever way it runs, it loses in one task what it earns in the
        other, and pays for its actions; "oracle", which runs the task's way by a scripted gait.
        """
        return {
            "random": lambda tasks: uniform_random(CHEETAH.action_space),
            "task_blind": lambda tasks: runs(np.zeros(len(tasks))),
            "oracle": lambda tasks: runs(directions(tasks)),
        }

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """The two tasks, in turn by ``seed``, the same in every split. Raises ValueError for more than two."""
        if n > 2:
            raise ValueError(f"cheetah_dir: {n} tasks asked for, there are two")
        chosen = [(seed + i) % 2 for i in range(n)]
        return [Task("cheetah_dir", split, i, (("direction", 1 - 2 * i),), group="cheetah_dir") for i in chosen]

    def vector_env(self, tasks: Sequence[Task], copies: int) -> CheetahDirVectorEnv:
        """Raises ValueError for a direction that is neither 1 nor -1."""
        return CheetahDirVectorEnv(tasks, copies, self.settings.horizon)

    def reference(self, task: Task) -> dict[str, float]:
        """Doing nothing earns nothing but what the noise of the reset makes the robot slide: no value is exact."""
        return {}


class CheetahDirVectorEnv(RobotVectorEnv):
    """HalfCheetahs that are paid for their speed in a direction."""

    def __init__(self, tasks: Sequence[Task], copies: int, horizon: int, threads: int | None = None) -> None:
        super().__init__(CHEETAH, tasks, copies, horizon, threads=threads)
        self._directions = np.repeat(directions(tasks), copies)

    def begin(self, state: State) -> None:
        self._start = state.position[:, 0]

    def outcome(self, before: State, after: State, action: Array) -> tuple[Array, Array, dict[str, Any]]:
        seconds = self.robot.step_seconds
        speed = (after.position[:, 0] - before.position[:, 0]) / seconds
        reward = self._directions * speed - CONTROL_COST * np.square(action).sum(axis=1)
        mean = (after.position[:, 0] - self._start) / (self.elapsed * seconds)
        success = self._directions * mean >= SUCCESS_SPEED
        return reward, np.zeros(self.num_envs, dtype=bool), {"success": success, "speed": speed}


def runs(directions: Array) -> Scripted:
    """The scripted gait in ``directions`` [T]: 1 forwards, -1 backwards, 0 does nothing."""
    gait = gaits.load("cheetah_dir").asked(directions[:, None])
    return Scripted(lambda obs, step, noise: np.abs(directions)[:, None, None] * gait.rule(obs, step, noise))


def directions(tasks: Sequence[Task]) -> Array:
    """[T] of ``tasks``. Raises ValueError for one that is neither 1 nor -1."""
    found = np.array([task["direction"] for task in tasks], dtype=np.float64)
    for task, direction in zip(tasks, found, strict=True):
        if direction not in (1.0, -1.0):
            raise ValueError(f"cheetah_dir: task {task.id}: the direction must be 1 or -1, got {direction}")
    return found
