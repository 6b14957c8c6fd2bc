"""What collecting experience on ML10 costs: steps per second, and the share of each part of the loop.

``python -m benchmarks.collection`` plays RL² (20 sub-environments, GRU 256 after a layer of 256) and MAML (20 tasks of
10 copies, 2 x 512) through ``kshot.running.rollout`` with untrained policies of the reference sizes, once per
combination of threads for the policy and threads for the physics, round by round in one process.

Parts: "loop" is the stepping of all sub-environments, of which "physics" is MuJoCo and "reward" the translated
observation and reward code, timed by itself on the same states; "policy" is ``act`` and ``observe``; "env" is the
vector environment around the loop; "rollout" is everything else: noise, buffers, masks. The rows "official" play the
same through metaworld's own environment objects, as kshot did before it had the engine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numba
import numpy as np

from benchmarks import Clock
from kshot import seeding
from kshot.algorithms import maml, rl2
from kshot.envs import metaworld
from kshot.envs.metaworld._vector import MetaWorldVectorEnv
from kshot.envs.metaworld.engine import kernel
from kshot.running.rollout import rollout
from kshot.types import Array, FamilySpec, Memory, Policy, Task

PARTS = ("loop", "physics", "reward", "policy", "env", "rollout")


class TimedPolicy:
    """A policy whose calls are timed."""

    def __init__(self, policy: Policy, clock: Clock) -> None:
        self._policy = policy
        self.act = clock.timed("policy", policy.act)
        self.observe = clock.timed("policy", policy.observe)

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        return self._policy.start(n_tasks, n_copies, keys)


class TimedFamily:
    """The metaworld family with a chosen number of physics threads and timed environments."""

    def __init__(self, family: metaworld.MetaWorldFamily, threads: int, clock: Clock) -> None:
        self.spec = family.spec
        self._family = family
        self._threads = threads
        self._clock = clock

    def vector_env(self, tasks: Sequence[Task], copies: int) -> MetaWorldVectorEnv:
        os.environ["OMP_NUM_THREADS"] = str(self._threads)  # where the environment looks for its threads
        env = self._family.vector_env(tasks, copies)
        backend: Any = env._backend
        env.step = self._clock.timed("env", env.step)  # type: ignore[method-assign]
        env.reset = self._clock.timed("env", env.reset)  # type: ignore[method-assign]
        if env.backend_name == "engine":
            backend._pool = _Timed(backend._pool, self._clock.timed("loop", backend._pool.run))
        else:
            backend.step = self._clock.timed("loop", backend.step)
        self.last = backend
        return env


class _Timed:
    def __init__(self, pool: Any, run: Callable[..., Any]) -> None:
        self._pool = pool
        self.run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)


def reward_share(batch: Any, rounds: int = 30) -> float:
    """Share of the compiled loop that is observation and reward: its time without the physics over its whole time.

    The simulation functions are exchanged for one that does nothing, so the same states are evaluated again.
    """
    pool = batch._pool
    order, n = np.arange(len(batch._names)), len(batch._names)
    delta, obs = np.zeros((n, 3)), np.zeros((n, 39))
    idle = pool.c_functions.copy()
    idle[[kernel.SET_STATE, kernel.GET_STATE, kernel.MJ_STEP, kernel.FORWARD]] = nothing.address
    best = {}
    for label, functions in (("reward", idle), ("all", pool.c_functions)):
        times = []
        for _ in range(rounds):
            arguments = [delta, batch._limits, batch._action, True, obs, batch._out, batch._fault]
            state = [batch._class_index, batch._state.copy(), batch._positions, batch._params.copy()]
            counter = np.zeros(1, dtype=np.int64)
            begin = time.perf_counter()
            kernel.simulate(0, counter, order, pool._table[0], functions, *state, *arguments)
            times.append(time.perf_counter() - begin)
        best[label] = min(times)
    return best["reward"] / best["all"]


@numba.cfunc("void(int64, int64)")
def nothing(model: int, data: int) -> None:
    """In place of a MuJoCo function."""


def policies(spec: FamilySpec) -> dict[str, tuple[Policy, int, int]]:
    """Untrained policies of the reference sizes, each with its numbers of tasks and of copies."""
    recurrent = rl2.build(spec, rl2.Settings(hidden=256, encoder=(256,)), seed=0, device="cpu")
    gradient = maml.build(spec, maml.Settings(hidden=(512, 512)), seed=0, device="cpu")
    return {"RL2": (recurrent.policy(), 20, 1), "MAML": (gradient.policy(), 20, 10)}


def measure(
    name: str, family: metaworld.MetaWorldFamily, policy_threads: int, physics_threads: int
) -> dict[str, float]:
    """Steps per second of one rollout of one episode per sub-environment, and seconds by part."""
    clock = Clock()
    timed = TimedFamily(family, physics_threads, clock)
    policy, n_tasks, copies = policies(family.spec)[name]
    tasks = family.tasks("train", n_tasks, 0)
    keys = seeding.split(np.arange(n_tasks, dtype=np.uint64), 0)
    begin = time.perf_counter()
    rollout(timed, TimedPolicy(policy, clock), tasks, keys, copies, policy_threads=policy_threads)  # type: ignore[arg-type]
    total = time.perf_counter() - begin
    share = reward_share(timed.last) if family.settings.backend == "engine" else float("nan")
    spent = clock.spent
    return {
        "rate": n_tasks * copies * family.spec.horizon / total,
        "physics": spent["loop"] * (1 - share) / total,
        "reward": spent["loop"] * share / total,
        "policy": spent["policy"] / total,
        "loop": spent["loop"] / total,
        "env": (spent["env"] - spent["loop"]) / total,
        "rollout": (total - spent["env"] - spent["policy"]) / total,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learners", nargs="+", choices=("RL2", "MAML"), default=["RL2", "MAML"])
    parser.add_argument("--horizon", type=int, default=200, help="steps per episode")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    settings = metaworld.Settings(benchmark="ML10", horizon=options.horizon)
    families = {name: metaworld.build(replace(settings, backend=name)) for name in ("official", "engine")}
    contenders = [("official", 1, 1), *(("engine", p, e) for p in (1, 2) for e in (1, 2))]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}; steps per second and shares, median of rounds")
    print(f"{'':5} {'backend':8} policy physics {'steps/s':>8}  " + " ".join(f"{part:>8}" for part in PARTS))
    results = []
    for name in options.learners:
        rounds: dict[tuple[str, int, int], list[dict[str, float]]] = {row: [] for row in contenders}
        for i in range(options.rounds + 1):
            for row in contenders:
                found = measure(name, families[row[0]], *row[1:])
                if i > 0:  # the first round compiles, places goals and builds objects
                    rounds[row].append(found)
        for row, kept in rounds.items():
            middle = {key: statistics.median(one[key] for one in kept) for key in kept[0]}
            shares = " ".join(f"{middle[part]:>8.3f}" for part in PARTS)
            print(f"{name:5} {row[0]:8} {row[1]:>6} {row[2]:>7} {middle['rate']:>8.0f}  {shares}", flush=True)
            threads = {"policy_threads": row[1], "physics_threads": row[2]}
            results.append({"learner": name, "backend": row[0], **threads, **middle})
    print(json.dumps({"cores": os.cpu_count(), "horizon": options.horizon, "results": results}))


if __name__ == "__main__":
    main()
