"""Sparse 2D navigation: a goal on the half circle that is felt only nearby (Rakelly et al. 2019, PEARL).

Definition as in the authors' code (arXiv 1903.08254; katerakelly/oyster, rlkit/envs/point_robot.py,
``SparsePointEnv``, with configs/sparse-point-robot.json and the action scaling of rlkit/envs/wrappers.py): 100 goals
evenly spaced on the unit half circle, shuffled, 80 for training and 20 for testing; start s = (0, 0),
s' = s + 0.1 clip(a, -1, 1), 20 steps, reward 1 - |s' - g| within .2 of the goal and 0 elsewhere. In meta-training, and
there alone, the authors' actor and critic learn from the dense reward -|s' - g| (``Episodes.training_reward``). The
observation is the position alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from kshot import seeding
from kshot.envs._point import STEP_SIZE, PointVectorEnv
from kshot.envs._scripted import Scripted, uniform_random
from kshot.envs.nav2d_sparse.arc import GOAL_RADIUS, TOLERANCE, PosteriorSampling, Search, action_towards, point
from kshot.types import ActionKind, Array, Evidence, FamilySpec, ReferencePolicy, Split, Task

ACTIONS: ActionKind = "continuous"
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts"})
N_GOALS = 100
N_TRAIN = 80
N_VALIDATION = 20
SHUFFLE_SEED = 1337
"""The authors' seed: with it the split is theirs, goal by goal."""
TASK_BLIND_POSITION = np.sqrt(0.5 - 0.5 * GOAL_RADIUS**2) * np.array([-1.0, 1.0])
"""Where "task_blind" waits. At radius sqrt(1 - .2^2) the largest possible share of the arc is within ``GOAL_RADIUS``,
2 arcsin(.2) / pi. On the diagonal that radius is reached soonest, both coordinates moving at full speed."""


@dataclass(frozen=True)
class Settings:
    """The lengths of an episode and of a trial, and which reward meta-training may optimise.

    Attributes:
        horizon: steps after which an episode is truncated.
        episodes_per_trial: length of a trial, in episodes, for learners with memory; the authors evaluate on 20.
        dense_training: offer -|s' - g| as ``training_reward``, as the authors do.

    Raises:
        ValueError: one of the lengths is smaller than 1.
    """

    horizon: int = 20
    episodes_per_trial: int = 20
    dense_training: bool = True

    def __post_init__(self) -> None:
        for name in ("horizon", "episodes_per_trial"):
            if getattr(self, name) < 1:
                raise ValueError(f"nav2d_sparse: {name} must be at least 1, got {getattr(self, name)}")


def build(settings: Settings) -> SparseNav2DFamily:
    """The family for ``settings``."""
    return SparseNav2DFamily(settings)


def headline(settings: Settings) -> Literal["success_last"]:
    """Whether the goal is found; the return says besides only how early in the episode."""
    return "success_last"


class SparseNav2DFamily:
    """``kshot.types.TaskFamily`` of sparse 2D navigation."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.spec = FamilySpec(
            name="nav2d_sparse",
            observation_dim=2,
            action_space=spaces.Box(-1.0, 1.0, (2,), np.float64),
            horizon=settings.horizon,
            episodes_per_trial=settings.episodes_per_trial,
        )

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies.

        "random"; "task_blind", which ignores rewards and waits where the most goals are in reach; "posterior_sampling"
        and "search", which learn over a trial (``arc``); "oracle", which goes to the goal.
        """
        return {
            "random": lambda tasks: uniform_random(self.spec.action_space),
            "task_blind": lambda tasks: Scripted(lambda obs, step, noise: action_towards(TASK_BLIND_POSITION, obs)),
            "posterior_sampling": lambda tasks: PosteriorSampling(),
            "search": lambda tasks: Search(),
            "oracle": lambda tasks: _to_goal(_goals(tasks)),
        }

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` of the goals of a split (train 80, validation 20, test 20), in an order drawn from ``seed``.

        Raises:
            ValueError: the split has fewer goals.
        """
        angles = _split_angles()[split]
        if n > len(angles):
            raise ValueError(f"nav2d_sparse: {n} tasks asked for, the {split} split has {len(angles)}")
        order = seeding.generator("nav2d_sparse", split, seed).permutation(len(angles))[:n].tolist()
        return [Task("nav2d_sparse", split, i, (("angle", angles[i]),), group="nav2d_sparse") for i in order]

    def vector_env(self, tasks: Sequence[Task], copies: int) -> SparseNav2DVectorEnv:
        goals = np.repeat(_goals(tasks), copies, axis=0)
        return SparseNav2DVectorEnv(goals, self.settings.horizon, self.settings.dense_training)

    def reference(self, task: Task) -> dict[str, float]:
        """Episode returns (of the sparse reward): "random" by quadrature, the others from their known paths."""
        goal, horizon = point(np.array(task["angle"])), self.settings.horizon
        return {
            "random": random_return(goal, horizon),
            "task_blind": path_return(straight_path(TASK_BLIND_POSITION, horizon), goal),
            "oracle": path_return(straight_path(goal, horizon), goal),
        }


class SparseNav2DVectorEnv(PointVectorEnv):
    """Points rewarded near their goals only; episodes end by the time limit alone."""

    def __init__(self, goals: Array, horizon: int, dense_training: bool = True) -> None:
        super().__init__(goals, horizon)
        self._dense_training = dense_training

    def outcome(self, offset: Array) -> tuple[Array, Array, dict[str, Any]]:
        distance = np.sqrt((offset**2).sum(axis=1))
        info: dict[str, Any] = {"success": distance <= GOAL_RADIUS + TOLERANCE}
        if self._dense_training:
            info["training_reward"] = -distance
        return sparse_reward(distance), np.zeros(self.num_envs, dtype=bool), info


def sparse_reward(distance: Array) -> Array:
    """[...] rewards at distances [...] from the goal: 1 - d within ``GOAL_RADIUS``, 0 elsewhere."""
    return np.where(distance <= GOAL_RADIUS + TOLERANCE, 1.0 - distance, 0.0)


@cache
def _split_angles() -> dict[Split, tuple[float, ...]]:
    """The angles of the goals of each split.

    The authors have no validation goals; ours are every fifth of the midpoints between neighbouring goals.
    """
    angles = np.linspace(0.0, np.pi, N_GOALS)
    order = np.arange(N_GOALS)
    np.random.RandomState(SHUFFLE_SEED).shuffle(order)
    midpoints = ((angles[1:] + angles[:-1]) / 2.0)[2 :: N_GOALS // N_VALIDATION]
    return {
        "train": tuple(angles[order[:N_TRAIN]].tolist()),
        "validation": tuple(midpoints.tolist()),
        "test": tuple(angles[order[N_TRAIN:]].tolist()),
    }


def _goals(tasks: Sequence[Task]) -> Array:
    return point(np.array([task["angle"] for task in tasks], dtype=np.float64))


def _to_goal(goals: Array) -> Scripted:
    """Go to the goals [T, 2] and stay."""
    return Scripted(lambda obs, step, noise: action_towards(goals[:, None], obs))


def straight_path(target: Array, horizon: int) -> Array:
    """[H, 2] positions after each step when each coordinate moves to the target's as fast as allowed and stays there.

    No path to the goal has a larger return: after t steps no policy can have coordinate i closer to the goal than
    max(0, |g_i| - 0.1 t), this one attains both bounds at every t, and the reward decreases with the distance.
    """
    steps = STEP_SIZE * np.arange(1, horizon + 1)[:, None]
    return np.asarray(np.sign(target) * np.minimum(np.abs(target), steps))


def path_return(path: Array, goal: Array) -> float:
    """Return of an episode along ``path`` [H, 2] for ``goal`` [2]."""
    return float(sparse_reward(np.sqrt(((path - goal) ** 2).sum(axis=1))).sum())


def random_return(goal: Array, horizon: int) -> float:
    """Expected return of uniform random actions, by quadrature over the disc around the goal (error below 1e-6).

    Each coordinate after t steps is a sum of t uniform numbers, whose density is a B-spline (Irwin-Hall). It is smooth
    from t = 6 on, the earliest step at which the disc can be reached.
    """
    x, y, weight, reward = _disc_nodes(goal)
    return float(sum((_density(x, t) * _density(y, t) * weight * reward).sum() for t in range(1, horizon + 1)))


def _disc_nodes(goal: Array) -> tuple[Array, Array, Array, Array]:
    """x, y, weight and reward of quadrature nodes [24, 48]: Gauss-Legendre along the radius, equal angles around."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    radius = (0.5 * GOAL_RADIUS * (nodes + 1.0))[:, None]
    angle = 2.0 * np.pi * np.arange(48)[None] / 48
    weight = 0.5 * GOAL_RADIUS * weights[:, None] * radius * 2.0 * np.pi / 48
    return goal[0] + radius * np.cos(angle), goal[1] + radius * np.sin(angle), weight, 1.0 - radius


def _density(x: Array, steps: int) -> Array:
    """Density at ``x`` of the sum of ``steps`` uniform numbers in [-STEP_SIZE, STEP_SIZE]."""
    from scipy.interpolate import BSpline  # here: slow to import, and every process of every suite would pay for it

    width = 2.0 * STEP_SIZE
    unit = BSpline.basis_element(np.arange(steps + 1.0), extrapolate=False)
    return np.nan_to_num(unit((x + STEP_SIZE * steps) / width)) / width
