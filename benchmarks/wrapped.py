"""How fast Gymnasium's environments step as families, beside the bare environments.

    python -m benchmarks.wrapped

prints a table, and a last line of JSON.
"""

from __future__ import annotations

import json
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from kshot.envs.gymnasium import Settings, build
from kshot.envs.gymnasium.vector import GymnasiumVectorEnv
from kshot.types import Array

CASES: dict[str, dict[str, Any]] = {
    "CartPole-v1": {"task": {"attributes": {"length": [0.25, 1.0], "gravity": [5.0, 15.0]}}},
    "Pendulum-v1": {"task": {"attributes": {"m": [0.5, 1.5], "l": [0.5, 1.0]}}},
    "HalfCheetah-v5": {"task": {"model": {"body_mass": [0.5, 2.0]}}},
}
"""Id -> what varies."""
SUB_ENVS, STEPS, ROUNDS = 32, 200, 5


def measured() -> dict[str, dict[str, float]]:
    """For each case, steps per second of processor time of the family and of the bare environment, and their ratio.

    Both step 32 environments one after the other with the same random actions, in turn, and begin new episodes where
    one ends; the bare ones are stepped in a plain loop, without wrappers or checks. The best of five rounds each, since
    other work on the machine can only slow one down.
    """
    return {name: _measured(name, values) for name, values in CASES.items()}


def _measured(name: str, values: dict[str, Any]) -> dict[str, float]:
    family = build(Settings(environment=name, **values))
    ours = family.vector_env(family.tasks("train", SUB_ENVS, 0), 1)
    bare = [gymnasium.make(name, disable_env_checker=True).unwrapped for _ in range(SUB_ENVS)]
    rng = np.random.default_rng(0)
    space = bare[0].action_space
    if isinstance(space, spaces.Discrete):
        chosen: Array = rng.integers(0, space.n, (STEPS, SUB_ENVS))
        given = chosen
    else:
        chosen = rng.uniform(-1, 1, (STEPS, SUB_ENVS, *(space.shape or ())))
        given = (chosen * space.high).astype(space.dtype)  # type: ignore[attr-defined]  # a Box, symmetric in all cases
    best = {"family": 0.0, "bare": 0.0}
    for _ in range(ROUNDS):
        best["family"] = max(best["family"], _family_round(ours, chosen))
        best["bare"] = max(best["bare"], _bare_round(bare, list(given)))
    return {**best, "share": best["family"] / best["bare"]}


def _family_round(env: GymnasiumVectorEnv, actions: Array) -> float:
    """Steps per second; all begin anew once all have ended, and what has ended is not counted."""
    seeds: Any = list(range(SUB_ENVS))
    env.reset(seed=seeds)
    active, steps = np.ones(SUB_ENVS, dtype=bool), 0
    begun = time.process_time()
    for action in actions:
        if not active.any():
            env.reset()
            active[:] = True
        _, _, terminated, truncated, _ = env.step(action)
        steps += int(active.sum())
        active &= ~(terminated | truncated)
    return steps / (time.process_time() - begun)


def _bare_round(envs: list[Any], actions: list[Array]) -> float:
    for i, env in enumerate(envs):
        env.reset(seed=i)
    begun = time.process_time()
    for action in actions:
        for env, one in zip(envs, action, strict=True):
            if env.step(one)[2]:
                env.reset()
    return len(actions) * len(envs) / (time.process_time() - begun)


def main() -> None:
    """Print the table."""
    found = measured()
    print("| environment | family, steps/s | bare, steps/s | share |\n|---|---|---|---|")
    for name, row in found.items():
        print(f"| {name} | {row['family']:,.0f} | {row['bare']:,.0f} | {row['share']:.2f} |")
    print(json.dumps({name: {key: round(value, 3) for key, value in row.items()} for name, row in found.items()}))


if __name__ == "__main__":
    main()
