"""``MetaWorldVectorEnv``: Gymnasium's vector interface over any list of Meta-World goals."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from gymnasium import spaces
from gymnasium.error import ClosedEnvironmentError
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from kshot.envs.metaworld._cameras import Cameras
from kshot.envs.metaworld._official_backend import OfficialEnvs
from kshot.envs.metaworld._tasks import Goal, check_goals
from kshot.envs.metaworld.engine import INFO_KEYS, Batch, why_inexact
from kshot.errors import suggest
from kshot.threads import asked, cores
from kshot.types import Array

OBSERVATION_DIM = 39

ACTION_SPACE = spaces.Box(-1.0, 1.0, (4,), np.float32)
MAX_HORIZON: int = SawyerXYZEnv.max_path_length
"""Official environments refuse a step after this many (500) without a reset."""
BACKENDS = ("engine", "official")
_RECURRENT_DIM = 6  # previous action, reward and end of episode
OBJECT_ENTRIES = [*range(4, 18), *range(22, 36)]
"""Entries of the observation that belong to objects, in the present frame and the one before."""
OBJECT_IRRELEVANT = frozenset({"reach-v3", "reach-wall-v3"})
"""Classes whose reward and success depend on the hand and the target alone (their ``compute_reward``)."""


class Backend(Protocol):
    """What steps the sub-environments: the engine's ``Batch``, or ``OfficialEnvs``. N sub-environments."""

    @property
    def info(self) -> Array:
        """[N, 7] of the last step, in the order of ``INFO_KEYS``."""
        ...

    @property
    def unstable(self) -> Array:
        """[N] whether MuJoCo reset a diverged simulation in the last step."""
        ...

    def observation_bounds(self) -> tuple[Array, Array]:
        """Lowest and highest observation [39] over all classes."""
        ...

    def reset(self, chosen: Sequence[int], goals: Sequence[Goal], obs: Array) -> None:
        """Begin an episode of ``goals[i]`` in each sub-environment ``i`` of ``chosen``; write its ``obs[i]``."""
        ...

    def step(self, chosen: Array, actions: Array, obs: Array, reward: Array) -> None:
        """Step the sub-environments ``chosen`` [n] by ``actions`` [N, 4]; write their ``obs[i]`` and ``reward[i]``."""
        ...

    def state(self, i: int) -> Array:
        """Integration state of the simulation of sub-environment ``i``."""
        ...

    def close(self) -> None:
        """Release what is held; no other method may be called afterwards."""
        ...


class MetaWorldVectorEnv(VectorEnv[Array, Array, Array]):
    """One sub-environment per goal; bit-identical to Metaworld's own classes whatever the number of threads.

    Observations are float64 [N, 39], actions [N, 4] in float32 or float64 (in some classes the last digits of the
    reward depend on which, as they do officially). ``info`` holds Metaworld's seven values as arrays [N], ``success``
    as bool, and ``unstable``: whether the simulation diverged, so that MuJoCo reset it, which official environments
    hide.

    Args:
        goals: (class name, rand_vec) of every sub-environment.
        horizon: steps until truncation, at most 500.
        threads: for the physics; default ``$OMP_NUM_THREADS``, else all cores. Not part of the result.
        autoreset_mode: "NextStep", "SameStep" or "Disabled" (``gymnasium.vector.AutoresetMode``). When disabled,
            finished sub-environments are reset with ``reset(options={"reset_mask": mask})``.
        goal_observable: put the target's position into the last three entries of the observation.
        mask_irrelevant_objects: zero the objects' entries in classes whose reward does not depend on any object
            (reach-v3, reach-wall-v3), where all they do is name the task.
        terminate_on_success: end an episode at its first success, as Metaworld does for testing.
        recurrent_info: append the previous action, reward / 10 and end of episode to the observation. After a SAME_STEP
            autoreset they describe the step that ended the previous episode.
        lost_final_step: zeros instead after an autoreset, as in Metaworld's own wrapper, which hides the last reward.
        clip_actions: first cast actions to float32 and clip them to [-1, 1], the action space. Metaworld itself clips
            the motion but not the gripper's effort.
        backend: "engine", or "official" for one official environment per sub-environment (slower; for comparison).
        reward_version: "v2", or "v1" with the official backend.
        render_mode: "rgb_array" to allow ``render``.
        camera_name: camera of the scene that ``render`` looks through.

    Raises:
        ValueError: an argument is out of range, or a goal or a class is unknown.
    """

    def __init__(
        self,
        goals: Sequence[Goal],
        *,
        horizon: int = MAX_HORIZON,
        threads: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        goal_observable: bool = False,
        mask_irrelevant_objects: bool = False,
        terminate_on_success: bool = False,
        recurrent_info: bool = False,
        lost_final_step: bool = False,
        clip_actions: bool = False,
        backend: str = "engine",
        reward_version: Literal["v1", "v2"] = "v2",
        render_mode: str | None = None,
        camera_name: str = "corner4",
    ) -> None:
        check_goals(goals)
        _check_arguments(horizon, threads, backend, reward_version, render_mode)
        self.goals: list[Goal] = list(goals)
        self._current_goals = list(goals)  # ``goals`` may already hold those of the next episode
        self.names = [name for name, _ in goals]
        self.num_envs = len(self.goals)
        self.render_mode = render_mode
        self._cameras = Cameras(camera_name, goal_observable)
        self.backend_name = _exact_backend(backend)
        self._backend: Backend
        if self.backend_name == "engine":
            self._backend = Batch(self.names, threads or default_threads(), goal_observable)
        else:
            self._backend = OfficialEnvs(self.names, goal_observable, reward_version)
        mode = AutoresetMode(autoreset_mode)
        self.metadata = {"autoreset_mode": mode, "render_modes": ["rgb_array"], "render_fps": 80}
        self._mode = mode
        self._horizon = horizon
        self._terminate_on_success = terminate_on_success
        self._recurrent_info = recurrent_info
        self._lost_final_step = lost_final_step
        self._clip_actions = clip_actions
        self._mask_objects = np.array([mask_irrelevant_objects and name in OBJECT_IRRELEVANT for name in self.names])

        n = self.num_envs
        self._started = False
        self._obs: Array = np.zeros((n, OBSERVATION_DIM))
        self._recurrent = np.zeros((n, _RECURRENT_DIM))
        self._elapsed = np.zeros(n, dtype=np.int64)
        self._finished = np.ones(n, dtype=bool)  # until its first reset an episode counts as ended
        low, high = self._backend.observation_bounds()
        if recurrent_info:
            unbounded = np.full(_RECURRENT_DIM, np.inf)
            low, high = np.append(low, -unbounded), np.append(high, unbounded)
        self.single_observation_space = spaces.Box(low, high, dtype=np.float64)
        self.single_action_space = ACTION_SPACE
        self.observation_space = batch_space(self.single_observation_space, n)
        self.action_space = batch_space(self.single_action_space, n)

    def set_goals(self, goals: Sequence[Goal]) -> None:
        """Set the goals of the sub-environments, from the next reset of each.

        Raises:
            ValueError: the number of goals is wrong, or one is of another class than its sub-environment.
        """
        check_goals(goals)
        if len(goals) != self.num_envs:
            raise ValueError(f"metaworld: {len(goals)} goals for {self.num_envs} sub-environments")
        for i, ((name, _), own_name) in enumerate(zip(goals, self.names, strict=True)):
            if name != own_name:
                raise ValueError(f"metaworld: sub-environment {i} is of class {own_name}, got a goal of {name}")
        self.goals = list(goals)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin an episode in all sub-environments, or where ``options["reset_mask"]`` [N] is true.

        ``seed`` is accepted and ignored: an episode has no randomness of its own.

        Raises:
            ValueError: the mask has a wrong shape or type, or selects nothing.
            gymnasium.error.ClosedEnvironmentError: the environment is closed.
        """
        self._check_open()
        mask = (options or {}).get("reset_mask")
        if mask is None:
            chosen = np.arange(self.num_envs)
        else:
            mask = np.asarray(mask)
            if mask.shape != (self.num_envs,) or mask.dtype != bool or not mask.any():
                raise ValueError(
                    f"metaworld: reset_mask must be {self.num_envs} booleans, at least one of them true, got shape"
                    f" {mask.shape} of {mask.dtype}"
                )
            chosen = np.flatnonzero(mask)
        self._obs = self._obs.copy()
        self._begin_episodes(chosen)
        self._recurrent[chosen] = 0.0
        self._started = True
        return self._observation(), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """``actions`` is [N, 4]; see ``gymnasium.vector.AutoresetMode`` for what happens after the end of an episode.

        Raises:
            ValueError: ``actions`` has a wrong shape or type, or a sub-environment has finished and was not reset.
            FloatingPointError: an action is not finite; MuJoCo would answer that by resetting the simulation.
            RuntimeError: the official reward code raises in a sub-environment's state.
            gymnasium.error.ClosedEnvironmentError: the environment is closed.
        """
        self._check_open()
        actions = self._checked_actions(actions)
        n = self.num_envs
        waiting = self._finished  # for a reset, which this step performs in mode NEXT_STEP
        if waiting.any() and not (self._started and self._mode is AutoresetMode.NEXT_STEP):
            raise ValueError(
                f"metaworld: sub-environment {int(waiting.argmax())} has finished its episode: call reset() first, or"
                ' reset with options={"reset_mask": mask} for some of them'
            )
        played = np.flatnonzero(~waiting)
        # New arrays each step: the caller may keep the previous ones without copying.
        self._obs = self._obs.copy() if waiting.any() else np.empty_like(self._obs)
        reward, terminated, truncated = np.zeros(n), np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        self._backend.step(played, actions, self._obs, reward)
        self._elapsed[played] += 1
        info = self._info(~waiting)
        if self._terminate_on_success:
            terminated[played] = info["success"][played]
        truncated[played] = self._elapsed[played] >= self._horizon
        self._finished = terminated | truncated
        if self._recurrent_info:
            self._recurrent[:, :4] = actions
            self._recurrent[:, 4], self._recurrent[:, 5] = reward / 10.0, self._finished
        if waiting.any():
            self._begin_episodes(np.flatnonzero(waiting))
            self._recurrent[waiting] = 0.0
        if self._mode is AutoresetMode.SAME_STEP and self._finished.any():
            ended = self._finished
            info = self._with_final(info, ended)
            self._begin_episodes(np.flatnonzero(ended))
            if self._lost_final_step:
                self._recurrent[ended] = 0.0
        return self._observation(), reward, terminated, truncated, info

    def render(self, index: int | None = None) -> Any:
        """Picture [height, width, 3] of sub-environment ``index``; without it a tuple of the pictures of all.

        Raises:
            ValueError: the environment was made without ``render_mode="rgb_array"``, or was not reset yet.
            RuntimeError: there is no OpenGL to draw with.
        """
        self._check_open()
        if self.render_mode != "rgb_array":
            raise ValueError('metaworld: pass render_mode="rgb_array" to render')
        if not self._started:
            raise ValueError("metaworld: call reset() before render(): there is no state to show yet")
        chosen = range(self.num_envs) if index is None else [index]
        frames = tuple(self._cameras.picture(self._current_goals[i], self._backend.state(i)) for i in chosen)
        return frames if index is None else frames[0]

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedEnvironmentError("metaworld: this environment is closed; make another one")

    def close_extras(self, **kwargs: Any) -> None:
        """Close cameras and backend."""
        self._cameras.close()
        self._backend.close()

    def _begin_episodes(self, chosen: Array) -> None:
        """Reset the sub-environments ``chosen`` and write their entries of ``_obs`` in place."""
        self._backend.reset([int(i) for i in chosen], self.goals, self._obs)
        for i in chosen:
            self._current_goals[i] = self.goals[i]
        self._elapsed[chosen] = 0
        self._finished = self._finished.copy()
        self._finished[chosen] = False

    def _observation(self) -> Array:
        obs = self._obs
        if self._mask_objects.any():
            obs = obs.copy()
            obs[np.ix_(self._mask_objects, OBJECT_ENTRIES)] = 0.0
        if not self._recurrent_info:
            return obs
        extended: Array = np.concatenate([obs, self._recurrent], axis=1)
        return extended

    def _info(self, valid: Array) -> dict[str, Any]:
        """Arrays [N] by name, each with its mask ``_<name>``, which is ``valid``, as Gymnasium has them."""
        values = np.where(valid[:, None], self._backend.info, 0.0)
        info: dict[str, Any] = {key: values[:, i] for i, key in enumerate(INFO_KEYS)}
        info["success"] = info["success"] == 1.0
        info["unstable"] = self._backend.unstable & valid
        return info | {f"_{key}": valid for key in info}

    def _with_final(self, info: dict[str, Any], ended: Array) -> dict[str, Any]:
        """``info`` in mode SAME_STEP: ``final_obs`` and ``final_info`` have the last step of ``ended`` episodes [N]."""
        final_obs = np.full(self.num_envs, None, dtype=object)
        observation = self._observation()
        for i in np.flatnonzero(ended):
            final_obs[i] = observation[i].copy()
        keys = [key for key in info if not key.startswith("_")]
        final_info = {key: np.where(ended, info[key], np.zeros_like(info[key])) for key in keys}
        ongoing = info["_success"] & ~ended
        ongoing_info = {key: np.where(ongoing, info[key], np.zeros_like(info[key])) for key in keys}
        return {
            **ongoing_info,
            **{f"_{key}": ongoing for key in keys},
            "final_obs": final_obs,
            "_final_obs": ended,
            "final_info": final_info | {f"_{key}": ended for key in keys},
            "_final_info": ended,
        }

    def _checked_actions(self, actions: Any) -> Array:
        """``actions`` as a float array [N, 4]; see ``step`` for what is refused."""
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs, 4):
            raise ValueError(f"metaworld: actions must have the shape ({self.num_envs}, 4), got {actions.shape}")
        if actions.dtype != np.float32 and actions.dtype != np.float64:
            if actions.dtype.kind not in "fiu":
                raise ValueError(f"metaworld: actions must be numbers, got {actions.dtype}")
            actions = actions.astype(np.float64)
        finite = np.isfinite(actions)
        if not finite.all():
            i = int(np.flatnonzero(~finite.all(axis=1))[0])
            raise FloatingPointError(f"metaworld: the action of sub-environment {i} is not finite: {actions[i]}")
        clipped: Array = np.clip(actions.astype(np.float32), -1.0, 1.0) if self._clip_actions else actions
        return clipped


def default_threads() -> int:
    """``$OMP_NUM_THREADS``, which the pipeline sets to the threads of a job, else all cores of this process."""
    return asked() or cores()


def _check_arguments(horizon: int, threads: int | None, backend: str, version: str, render_mode: str | None) -> None:
    if not 1 <= horizon <= MAX_HORIZON:
        raise ValueError(f"metaworld: horizon must be between 1 and {MAX_HORIZON}, got {horizon}")
    if threads is not None and threads < 1:
        raise ValueError(f"metaworld: threads must be at least 1, got {threads}")
    if backend not in BACKENDS:
        raise ValueError(f"metaworld: unknown backend {backend!r}{suggest(backend, BACKENDS)}")
    if version not in ("v1", "v2"):
        raise ValueError(f"metaworld: reward_version must be 'v1' or 'v2', got {version!r}")
    if version == "v1" and backend == "engine":
        raise ValueError('metaworld: the engine has reward v2 only; v1 needs backend="official"')
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"metaworld: render_mode must be None or 'rgb_array', got {render_mode!r}")


def _exact_backend(backend: str) -> str:
    """``backend``, or with a warning "official" where the engine would not be exact on this machine."""
    reason = why_inexact() if backend == "engine" else None
    if reason is None:
        return backend
    warnings.warn(
        f"metaworld: the engine would not be exact on this machine ({reason}); using the slower official classes",
        RuntimeWarning,
        stacklevel=3,
    )
    return "official"
