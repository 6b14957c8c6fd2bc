"""Plays an environment before anything else does, and refuses what would spoil results"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from kshot import seeding
from kshot.envs.gymnasium.making import Env
from kshot.envs.gymnasium.vector import GymnasiumVectorEnv, Interface, Params, Success, fault
from kshot.types import Array

STEPS = 10
"""Of every task that is tried."""
SCALE_STEPS = 250
"""Of random actions, by which observations are scaled."""
_LARGE = 1e4
"""Bounds beyond this say nothing about what is observed."""


@dataclass(frozen=True)
class Probe:
    """What was found.

    Attributes:
        interface: what learners see.
        horizon: of an episode.
        center: [D] of observations.
        scale: [D] of observations.
    """

    interface: Interface
    horizon: int
    center: Array
    scale: Array


def probed(
    family: str,
    prepare: Callable[[Params], Env],
    options: Callable[[Params], dict[str, Any]],
    training: Sequence[Params],
    further: Sequence[Params],
    drop: Sequence[int],
    success: Success,
    horizon: int | None,
) -> Probe:
    """Make environments of ``training`` tasks and ``further`` ones and play some steps with random actions.

    Observations are scaled by those of the training tasks alone.

    Raises:
        ConfigError: as ``GymFamily``.
    """
    tasks = [*further, *training]
    envs = [prepare(params) for params in tasks]
    last = tasks[-1]
    interface = _interface(family, envs[-1], last, drop, success)
    for env, params in zip(envs, tasks, strict=True):
        for what in ("observation_space", "action_space"):
            if getattr(env, what) != getattr(envs[-1], what):
                text = f"its {what} is {getattr(env, what)}, that of another task {getattr(envs[-1], what)}"
                raise fault(family, params, f"{text}; all tasks of a family must have the same")
    length = horizon or _own_limit(envs[-1])
    if length is None:
        raise fault(family, last, "it names no time limit; set the family's horizon, after which episodes are cut")

    def batch(of: slice) -> GymnasiumVectorEnv:
        given = [options(params) for params in tasks[of]]
        return GymnasiumVectorEnv(interface, envs[of], tasks[of], given, length, lambda envs: None)

    _play(batch(slice(None)), min(STEPS, length))
    before = _global_state()
    first, again = (_play(batch(slice(-1, None)), min(STEPS, length)) for _ in range(2))
    if _global_state() != before:
        text = "it draws from the global generator of numpy or Python; from its own np_random, results repeat"
        raise fault(family, last, text)
    if first != again:
        raise fault(family, last, "two episodes after reset(seed=...) with the same seed and actions differ")
    center, scale = _constants(interface, batch(slice(-len(training), None)))
    for env in envs:
        env.close()
    return Probe(interface, length, center, scale)


def _interface(family: str, env: Env, params: Params, drop: Sequence[int], success: Success) -> Interface:
    if env.render_mode == "human":
        raise fault(family, params, "render_mode 'human' opens a window; environments are played without a display")
    actions = env.action_space
    if isinstance(actions, spaces.Box):
        if actions.dtype.kind != "f" or not (np.isfinite(actions.low) & np.isfinite(actions.high)).all():
            raise fault(
                family,
                params,
                f"actions {actions} have no finite real bounds; make it with a wrapper, by MODULE:FUNCTION",
            )
    elif not isinstance(actions, spaces.Discrete):
        raise fault(family, params, f"actions {actions} are neither Discrete nor a Box, which is all learners know")
    try:
        size = spaces.flatdim(env.observation_space)
        if not env.observation_space.is_np_flattenable:
            raise ValueError("of no fixed size")
    except (NotImplementedError, ValueError):
        text = f"observations {env.observation_space} cannot be made a list of numbers"
        text += "; make it with a wrapper, by MODULE:FUNCTION"
        raise fault(family, params, text) from None
    wrong = [index for index in drop if not 0 <= index < size]
    if wrong:
        raise fault(family, params, f"drop has {wrong[0]}, but observations have {size} entries, 0 to {size - 1}")
    kept = np.setdiff1d(np.arange(size), np.asarray(drop, dtype=np.int64))
    if not len(kept):
        raise fault(family, params, f"drop leaves nothing of the {size} entries of observations")
    return Interface(family, env.observation_space, actions, kept, success)


def _own_limit(env: Env) -> int | None:
    """The limit of a TimeLimit wrapper, or of the environment's spec."""
    layer: Any = env
    while layer is not None:
        limit = getattr(layer, "_max_episode_steps", None)
        if limit is not None:
            return int(limit)
        layer = layer.__dict__.get("env")
    return env.spec.max_episode_steps if env.spec is not None else None


def _play(env: GymnasiumVectorEnv, steps: int) -> bytes:
    """What the first episode shows with random actions."""
    seen = [env.reset(seed=0)[0]]
    keys = seeding.split(seeding.key("gymnasium probe"), np.arange(env.num_envs))
    for t in range(steps):
        obs, reward, terminated, truncated, _ = env.step(_random_actions(env, keys, t))
        seen += [obs, reward, terminated, truncated]
    return pickle.dumps(seen)


def _random_actions(env: GymnasiumVectorEnv, keys: seeding.Keys, step: int) -> Array:
    space = env.single_action_space
    if isinstance(space, spaces.Discrete):
        return np.asarray((seeding.uniform(keys, step) * int(space.n)).astype(np.int64))
    size = int(np.prod(space.shape or ()))
    return 2.0 * seeding.uniform(keys[:, None], step * size + np.arange(size)) - 1.0


def _global_state() -> bytes:
    return pickle.dumps((np.random.get_state(), random.getstate()))


def _constants(interface: Interface, env: GymnasiumVectorEnv) -> tuple[Array, Array]:
    """Center and scale [D] of observations: mean and deviation of those that random actions show.

    A deviation is no less than a twentieth of what the declared bounds span, where there are any: random actions see
    little of what learners get to.
    """
    space, size = interface.observations, len(interface.kept)
    span = np.zeros(size)
    if isinstance(space, spaces.Box):
        low, high = (bound.reshape(-1)[interface.kept].astype(np.float64) for bound in (space.low, space.high))
        bounded = (low > -_LARGE) & (high < _LARGE)
        span[bounded] = high[bounded] - low[bounded]
    seen = _seen(env)
    center = seen.mean(axis=0)
    scale = np.maximum(seen.std(axis=0), span / 20)
    # Three digits: what a model expects does not hang on the last bit of a simulation.
    return _rounded(center), _rounded(np.where(scale > 1e-3 * np.abs(center) + 1e-6, scale, 1.0))


def _seen(env: GymnasiumVectorEnv) -> Array:
    """[steps, D] observations of random actions."""
    seen: list[Array] = []
    keys = seeding.split(seeding.key("gymnasium scale"), np.arange(env.num_envs))
    over = np.ones(env.num_envs, dtype=bool)
    for t in range(SCALE_STEPS):
        if over.all():
            seen.append(env.reset(seed=None if seen else 0)[0])
            over[:] = False
        obs, _, terminated, truncated, _ = env.step(_random_actions(env, keys, t))
        seen.append(obs[~over])
        over |= terminated | truncated
    return np.concatenate(seen)


def _rounded(values: Array) -> Array:
    return np.array([float(f"{value:.3g}") for value in values])
