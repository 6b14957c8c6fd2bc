"""How fast simulated robots step, and how much of that is the simulation.

    python -m benchmarks.robots NAME ... [--copies N]

plays uniform random actions in rounds and prints medians of environment steps per second, with one thread and with two,
and a last line of JSON. For robots, "physics" is ``mj_step`` alone from the same states under the same actions
(``benchmarks._physics``), and "share" is what the environment reaches of it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks._physics import BarePhysics
from kshot import registry
from kshot.envs._robots.simulation import RobotVectorEnv
from kshot.errors import suggest
from kshot.threads import VARIABLE

TASKS = 20
COPIES = 13
"""Together 260 sub-environments, as many as ``benchmarks.families`` has; learners step 200 to 400."""
STEPS = 60
"""Of an episode, from its beginning; those that end before count up to there, for all contenders."""


@dataclass(frozen=True)
class Family:
    """What is measured: settings of a family, and whether its simulation is timed by itself."""

    settings: dict[str, Any] = field(default_factory=dict)
    physics: bool = False


FAMILIES: dict[str, Family] = {
    "cheetah_vel": Family(physics=True),
    "cheetah_dir": Family(physics=True),
    "ant_goal": Family(physics=True),
    "hopper_rand_params": Family(physics=True),
    "walker_rand_params": Family(physics=True),
    "metaworld": Family({"task": "push-v3"}),
    "metaworld_physics": Family(),
}


def measure(name: str, copies: int, rounds: int) -> dict[str, float]:
    """Steps per second by contender."""
    module, entry = registry.load("envs", name), FAMILIES[name]
    family = module.build(module.Settings(**entry.settings))
    tasks: list[Any] = []
    while len(tasks) < TASKS:
        tasks += draw(family.tasks, TASKS - len(tasks))
    rng = np.random.default_rng(0)
    rates: dict[str, list[float]] = {}
    for _ in range(rounds):
        for threads in (1, 2):
            env = with_threads(threads, lambda: family.vector_env(tasks, copies))
            space = env.single_action_space
            actions = rng.uniform(-1, 1, (STEPS, env.num_envs, *space.shape)).astype(np.float32)
            env.reset(seed=list(range(env.num_envs)))
            physics = BarePhysics(env, threads) if entry.physics and isinstance(env, RobotVectorEnv) else None
            if physics is not None:
                physics.reset()
            begin, ongoing = time.perf_counter(), np.ones(env.num_envs, dtype=bool)
            played = []
            for action in actions:
                played.append(ongoing)
                _, _, terminated, truncated, _ = env.step(action)
                ongoing = ongoing & ~(terminated | truncated)
            steps = int(np.sum(played))
            rates.setdefault(f"{threads}", []).append(steps / (time.perf_counter() - begin))
            if physics is not None:
                for action, playing in zip(actions, played, strict=True):
                    physics.step(action, playing)
                rates.setdefault(f"physics {threads}", []).append(steps / physics.seconds)
    return {contender: statistics.median(values[1:] or values) for contender, values in rates.items()}


def with_threads(number: int, make: Callable[[], Any]) -> Any:
    """What ``make`` makes where ``$OMP_NUM_THREADS`` is ``number``; the variable is put back."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(number)
    try:
        return make()
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


def draw(tasks: Callable[[str, int, int], list[Any]], n: int) -> list[Any]:
    """Up to ``n`` training tasks: a family may be finite and small."""
    while True:
        try:
            return tasks("train", n, 0)
        except ValueError:
            n //= 2


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FAMILIES)}")
    parser.add_argument("--copies", type=int, default=COPIES, help=f"sub-environments of each of {TASKS} tasks")
    parser.add_argument("--rounds", type=int, default=4, help="the first of which does not count")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}; environment steps per second")
    print(f"{'':20} {'1 thread':>10} {'physics':>10} {'share':>6} {'2 threads':>10} {'physics':>10} {'share':>6}")
    results = {}
    for name in options.names or FAMILIES:
        if name not in FAMILIES:
            parser.error(f"unknown family {name!r}{suggest(name, FAMILIES)}")
        found = results[name] = measure(name, options.copies, options.rounds)
        cells = ""
        for threads in ("1", "2"):
            bare = found.get(f"physics {threads}", float("nan"))
            cells += f" {found[threads]:>10.0f} {bare:>10.0f} {found[threads] / bare:>6.2f}"
        print(f"{name:20}{cells}", flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
