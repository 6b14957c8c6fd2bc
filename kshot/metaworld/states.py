"""States of batches of Meta-World: taken at one moment, put back at another, into the same batch or one like it.

All that decides what a batch does next belongs to it: the simulations with the solver's warm start, the positions in
their models, what the classes keep from the reset and from the step before, the steps played, the goals of this episode
and of the next, and the random numbers that goals are drawn with.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from kshot.envs.metaworld._benchmarks import BenchmarkVectorEnv
from kshot.envs.metaworld._vector import MetaWorldVectorEnv
from kshot.metaworld.multitask import MultiTaskVectorEnv

FORMAT = 1
"""Raised whenever what a state holds changes."""
KINDS = (MetaWorldVectorEnv, BenchmarkVectorEnv, MultiTaskVectorEnv)
"""The environments whose states are known completely; what is derived from them may have more."""

# By attributes: what changes while an environment is used, and what was decided when it was made.
CHANGING = ("goals", "_current_goals", "_started", "_obs", "_recurrent", "_elapsed", "_finished")
DRAWING = ("_pools", "_rngs", "_shuffled", "_next_index", "_waiting")
"""Of benchmarks, which draw goals."""
OPTIONS = {
    "horizon": "_horizon",
    "autoreset_mode": "_mode",
    "terminate_on_success": "_terminate_on_success",
    "recurrent_info": "_recurrent_info",
    "lost_final_step": "_lost_final_step",
    "clip_actions": "_clip_actions",
    "new_goal_each_episode": "_new_goal_each_episode",
    "shared_seed": "_shared_seed",
}
"""Options by the attribute that keeps them."""


@dataclass(frozen=True)
class BatchState:
    """The state of N sub-environments, as ``get_state`` returns it. A value: pickle keeps it in files.

    Attributes:
        names: [N] the classes of the sub-environments.
        versions: what it was made by; only the same can go on from it.
        options: of the environment, by name; only an environment with the same can go on from it.
        environment: what the vector environment keeps, by attribute.
        engine: what its engine keeps, by attribute; ``_state`` [N, S] has MuJoCo's integration states, in classes
            with smaller ones followed by zeros.
    """

    names: tuple[str, ...]
    versions: Mapping[str, str]
    options: Mapping[str, Any]
    environment: Mapping[str, Any]
    engine: Mapping[str, Any]


def get_state(env: Any) -> BatchState:
    """The state of a vector environment of Meta-World (N sub-environments), to be put back by ``set_state``.

    It is exact: the same actions bring the same bits. What wrappers of the environment keep is not part of it, nor are
    its spaces' own random numbers (``env.action_space.seed``).

    Args:
        env: made by ``gymnasium.make_vec("kshot/...")``, or a ``MetaWorldVectorEnv``; before its first reset, too.

    Raises:
        TypeError: it is another environment.
        ValueError: it steps the official objects (``backend="official"``), whose state cannot be put back exactly.
        gymnasium.error.ClosedEnvironmentError: it is closed.
    """
    env = _checked(env)
    engine = env._backend.__getstate__()
    engine.pop("threads")  # not part of the result
    changing = CHANGING + (DRAWING if isinstance(env, BenchmarkVectorEnv) else ())
    return BatchState(
        names=tuple(env.names),
        versions=dict(versions()),
        options=_options(env),
        environment={name: _copied(getattr(env, name)) for name in changing},
        engine={name: _copied(value) for name, value in engine.items()},
    )


def set_state(env: Any, state: BatchState) -> None:
    """Put ``state`` back into ``env``: the one it was taken of, or one of the same classes with the same options.

    Threads and pictures may differ. The next ``step`` continues what was going on when the state was taken; if the
    environment was not reset then, it has to be reset now.

    Args:
        env: as for ``get_state``.
        state: stays as it is, and can be put back any number of times.

    Raises:
        TypeError: it is another environment, or not a state.
        ValueError: the state is of another number of sub-environments, of other classes or options, or was made by
            other versions; or the environment steps the official objects.
        gymnasium.error.ClosedEnvironmentError: the environment is closed.
    """
    env = _checked(env)
    if not isinstance(state, BatchState):
        raise TypeError(f"metaworld: a state is what get_state returns, got {type(state).__name__}")
    _check_fit(env, state)
    for name, value in state.environment.items():
        setattr(env, name, _copied(value))
    threads = env._backend.__getstate__()["threads"]
    env._backend.__setstate__({name: _copied(value) for name, value in state.engine.items()} | {"threads": threads})


@cache
def versions() -> Mapping[str, str]:
    """What has to be the same for states to mean the same."""
    made_by = {name: importlib.metadata.version(name) for name in ("metaworld", "mujoco")}
    return {"format": str(FORMAT)} | made_by


def _checked(env: Any) -> Any:
    """The environment within its wrappers; see ``get_state`` for what is refused."""
    env = getattr(env, "unwrapped", env)
    if type(env) not in KINDS:
        raise TypeError(
            f"metaworld: only kshot's vector environments of Meta-World have states, got {type(env).__name__}"
        )
    env._check_open()
    if env.backend_name != "engine":
        raise ValueError('metaworld: official environments have no state that can be put back; backend="engine" has')
    return env


def _options(env: Any) -> dict[str, Any]:
    masked = tuple(env._mask_objects.tolist())
    options = {"kind": type(env).__name__, "goal_observable": env._backend._goal_observable, "masked_objects": masked}
    return options | {name: getattr(env, attribute, None) for name, attribute in OPTIONS.items()}


def _check_fit(env: Any, state: BatchState) -> None:
    for name, now in versions().items():
        if state.versions.get(name) != now:
            what = "kshot's format of states" if name == "format" else name
            raise ValueError(
                f"metaworld: the state was made by {what} {state.versions.get(name)}, here is {now}: take it anew here"
            )
    if len(state.names) != env.num_envs:
        raise ValueError(
            f"metaworld: the state is of {len(state.names)} sub-environments, this environment has {env.num_envs}"
        )
    for i, (name, own) in enumerate(zip(state.names, env.names, strict=True)):
        if name != own:
            raise ValueError(f"metaworld: in the state sub-environment {i} is of class {name}, here it is {own}")
    for name, here in _options(env).items():
        if state.options.get(name) != here:
            raise ValueError(
                f"metaworld: the state is of an environment with {name}={state.options.get(name)}, this one has"
                f" {name}={here}: make it with the same options"
            )


def _copied(value: Any) -> Any:
    """``value`` for keeping: what it holds is copied where it can change. Goals are tuples, and cannot."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, list):
        return [_copied(item) for item in value]
    if isinstance(value, np.random.Generator):
        return _copied_generator(value)
    return value


def _copied_generator(generator: np.random.Generator) -> np.random.Generator:
    bits = type(generator.bit_generator)()
    bits.state = generator.bit_generator.state
    return np.random.Generator(bits)
