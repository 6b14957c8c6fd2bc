"""A batch of environments side by side, each with a task of its own"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from kshot.envs._streams import Streams
from kshot.envs.gymnasium.making import Env, told
from kshot.errors import ConfigError, suggest
from kshot.types import Array

Params = Mapping[str, Hashable]


@dataclass(frozen=True)
class Success:
    """When a step counts as a success: exactly one of the two is given, or none, and then none counts.

    Attributes:
        info: a key of ``info``, whose value is one.
        threshold: of the return of the episode so far, from which on it is one.
    """

    info: str = ""
    threshold: float | None = None


@dataclass(frozen=True)
class Interface:
    """What an environment declares, and what learners see of it.

    Attributes:
        family: its name, for messages.
        observations: space of the environment.
        actions: space of the environment.
        kept: [D] indices of the flattened observation that are shown.
        success: when a step counts as one.
    """

    family: str
    observations: spaces.Space[Any]
    actions: spaces.Box | spaces.Discrete
    kept: Array
    success: Success

    @property
    def action_space(self) -> spaces.Box | spaces.Discrete:
        """Actions as learners choose them: numbers from 0, or coordinates in [-1, 1]."""
        if isinstance(self.actions, spaces.Discrete):
            return spaces.Discrete(int(self.actions.n))
        return spaces.Box(-1.0, 1.0, (int(np.prod(self.actions.shape)),), np.float64)

    def to_env(self, actions: Array) -> list[Any]:
        """[N, A] or [N] actions as learners choose them -> one for each environment; out of range, they are clipped."""
        space = self.actions
        if isinstance(space, spaces.Discrete):
            chosen = np.clip(np.asarray(actions, dtype=np.int64), 0, int(space.n) - 1) + int(space.start)
            return [int(action) for action in chosen]
        share = 0.5 + 0.5 * np.clip(np.asarray(actions, dtype=np.float64), -1.0, 1.0)
        low, high = space.low.astype(np.float64).reshape(-1), space.high.astype(np.float64).reshape(-1)
        # Rounding may pass a bound by the last bit.
        scaled = np.clip(low + (high - low) * share, low, high).astype(space.dtype)
        return list(scaled.reshape(-1, *space.shape))

    def flat(self, obs: Any) -> Array:
        """[D] what learners see of an observation. Raises ValueError if it is another than is declared."""
        space = self.observations
        if isinstance(space, spaces.Box):
            if not isinstance(obs, np.ndarray):
                raise ValueError(f"its observation is a {type(obs).__name__}, declared is an array {space}")
            if obs.shape != space.shape:
                raise ValueError(f"its observation has the shape {obs.shape}, declared is {space.shape}")
            if obs.dtype != space.dtype:
                raise ValueError(f"its observation is of {obs.dtype}, declared is {space.dtype}")
            values = obs.reshape(-1)
        else:
            try:
                values = np.asarray(spaces.flatten(space, obs))
            except Exception as error:  # a value of another structure may fail in any way
                raise ValueError(f"its observation is none of the declared {space}: {told(error)}") from None
        return values[self.kept].astype(np.float64)

    def succeeded(self, info: Mapping[str, Any], episode_return: float, over: bool) -> bool:
        """Whether a step is a success. Raises ValueError if ``info`` does not say so at the end of an episode."""
        if self.success.threshold is not None:
            return episode_return >= self.success.threshold
        if self.success.info and over and self.success.info not in info:
            known = suggest(self.success.info, map(str, info))
            raise ValueError(f"info of its last step has no {self.success.info!r}, by which success is told{known}")
        return bool(self.success.info) and bool(info.get(self.success.info, False))


class GymnasiumVectorEnv(VectorEnv[Array, Array, Array]):
    """N environments, stepped one after the other; those whose episode has ended wait for the others.

    Each has a stream of random numbers, from which it is seeded anew in every episode: how an episode begins depends
    on the sub-environment's seed and on the number of the episode, and on nothing that was played before.

    Args:
        interface: of all of them.
        envs: N environments, set to their tasks.
        params: [N] the parameters of their tasks, for messages.
        options: [N] what ``reset`` is given.
        horizon: steps after which an episode is truncated.
        give_back: called with the environments on closing.
    """

    def __init__(
        self,
        interface: Interface,
        envs: Sequence[Env],
        params: Sequence[Params],
        options: Sequence[dict[str, Any]],
        horizon: int,
        give_back: Callable[[Sequence[Env]], None],
    ) -> None:
        self.num_envs = len(envs)
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (len(interface.kept),), np.float64)
        self.single_action_space = interface.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._interface, self._envs, self._params, self._options = interface, list(envs), params, options
        self._horizon, self._give_back = horizon, give_back
        self._streams = Streams(interface.family, self.num_envs, "the environments")
        self._obs: Array = np.zeros((self.num_envs, len(interface.kept)))
        self._over = np.ones(self.num_envs, dtype=bool)
        self._steps, self._returns = 0, np.zeros(self.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin the next episode; with ``seed``, one integer per environment or one to count from, the first."""
        self._streams.reset(seed)
        # 31 bits: what every generator takes as a seed.
        seeds = self._streams.keys(self._streams.episode) >> np.uint64(33)
        obs = np.zeros_like(self._obs)
        for i, env in enumerate(self._envs):
            try:
                result = env.reset(seed=int(seeds[i]), options=dict(self._options[i]) or None)
            except Exception as error:  # an environment may fail in any way
                raise self._fault(i, f"reset raises {told(error)}") from error
            if not isinstance(result, tuple) or len(result) != 2:
                raise self._fault(i, "reset does not return (observation, info), as Gymnasium's environments do")
            obs[i] = self._seen(i, result[0])
        self._check("observation", obs)
        self._obs, self._steps = obs, 0
        self._over, self._returns = np.zeros(self.num_envs, dtype=bool), np.zeros(self.num_envs)
        return self._obs, {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """``actions`` [N] or [N, A]. Those whose episode has ended keep their observation and earn nothing."""
        n = self.num_envs
        obs = self._obs.copy()  # the caller may keep the previous one
        reward, success = np.zeros(n), np.zeros(n, dtype=bool)
        terminated, truncated = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        self._steps += 1
        late = self._steps >= self._horizon
        for i, action in enumerate(self._interface.to_env(actions)):
            if self._over[i]:
                continue
            try:
                result = self._envs[i].step(action)
            except Exception as error:  # an environment may fail in any way
                raise self._fault(i, f"step {self._steps} raises {told(error)}") from error
            if not isinstance(result, tuple) or len(result) != 5:
                raise self._fault(i, "step does not return the five values of Gymnasium's environments")
            obs[i] = self._seen(i, result[0])
            reward[i] = self._earned(i, result[1])
            terminated[i], truncated[i] = bool(result[2]), bool(result[3]) or late
            self._returns[i] += reward[i]
            over = bool(terminated[i] or truncated[i])
            try:
                success[i] = self._interface.succeeded(result[4], float(self._returns[i]), over)
            except ValueError as error:
                raise self._fault(i, str(error)) from None
        self._check("observation", obs)
        self._check("reward", reward)
        self._obs = obs
        self._over = self._over | terminated | truncated
        return obs, reward, terminated, truncated, {"success": success}

    def close_extras(self, **kwargs: Any) -> None:
        envs, self._envs = self._envs, []
        self._give_back(envs)

    def _seen(self, i: int, obs: Any) -> Array:
        try:
            return self._interface.flat(obs)
        except ValueError as error:
            raise self._fault(i, str(error)) from None

    def _earned(self, i: int, reward: Any) -> float:
        try:
            return float(reward)
        except (TypeError, ValueError):
            raise self._fault(i, f"its reward is {reward!r}, not a number") from None

    def _check(self, what: str, values: Array) -> None:
        """Raise ConfigError if a value is not finite."""
        if not np.isfinite(values).all():
            i = int(np.argmax(~np.isfinite(values).reshape(self.num_envs, -1).all(axis=1)))
            when = f"after step {self._steps}" if self._steps else "after reset"
            raise self._fault(i, f"its {what} {when} is not finite: {values[i].tolist()}")

    def _fault(self, i: int, what: str) -> ConfigError:
        return fault(self._interface.family, self._params[i], what)


def fault(family: str, params: Params, what: str) -> ConfigError:
    """The error of an environment that cannot be used, with its family and task."""
    task = ", ".join(f"{name} = {value}" for name, value in params.items()) or "the only one"
    return ConfigError([f"{family}: task ({task}): {what}"])
