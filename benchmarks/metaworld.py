"""How fast Meta-World steps: metaworld's own vector environments, kshot's, and the bare physics, side by side.

``python -m benchmarks.metaworld`` measures all of them in turn, round by round in one process, and prints medians,
ratios and a last line of JSON. Actions are uniform random float32; every window begins after a reset and ends before
the end of the episode. The physics limit is five ``mj_step`` and one ``mj_forward`` per step, called by the same kind
of compiled loop, one simulation per sub-environment.
"""

from __future__ import annotations

import sys
from pathlib import Path

if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # else this file would be "metaworld"

import argparse
import contextlib
import copy
import json
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, zip_longest
from queue import SimpleQueue
from typing import Any

import gymnasium as gym
import metaworld
import mujoco
import numba
import numpy as np
import psutil
from metaworld.env_dict import ALL_V3_ENVIRONMENTS

from kshot import environments
from kshot.envs.metaworld._goals import Source, goals
from kshot.envs.metaworld._tasks import Goal, official_task
from kshot.envs.metaworld._vector import MetaWorldVectorEnv
from kshot.envs.metaworld.engine import kernel, prototype

Stepper = Callable[[np.ndarray[Any, Any]], Any]
REGISTERED = environments.__name__  # importing it is what registers the environments
SOURCES = {
    "reach": Source("ML1", "reach-v3"),
    "push": Source("ML1", "push-v3"),
    "ML10": Source("ML10"),
    "ML45": Source("ML45"),
}
ACTIONS = 64
EPISODE = 500


def chosen_goals(name: str, n: int) -> list[Goal]:
    """``n`` training goals, class by class in turn, then sorted by class as metaworld's vector environments are."""
    columns: dict[str, list[Goal]] = {}
    for goal in goals(SOURCES[name], "train"):
        columns.setdefault(goal[0], []).append(goal)
    rows = chain.from_iterable(zip_longest(*columns.values()))
    found = [goal for goal in rows if goal is not None]
    found = (found * (n // len(found) + 1))[:n]
    return sorted(found, key=lambda goal: list(columns).index(goal[0]))


@contextlib.contextmanager
def official(strategy: str, chosen: list[Goal]) -> Iterator[tuple[Callable[[], Any], Stepper]]:
    """What ``metaworld.make_ml_envs`` builds (``_make_ml_envs_inner``), for any list of goals."""
    makers = [
        partial(
            metaworld._init_each_env,
            env_cls=ALL_V3_ENVIRONMENTS[goal[0]],
            tasks=[official_task(goal)],
            seed=0,
            task_select="pseudorandom",
        )
        for goal in chosen
    ]
    vectorizer = getattr(gym.vector, f"{strategy.capitalize()}VectorEnv")
    env = vectorizer(makers, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)
    try:
        yield lambda: env.call("sample_tasks"), env.step
    finally:
        env.close()


@contextlib.contextmanager
def ours(threads: int, chosen: list[Goal]) -> Iterator[tuple[Callable[[], Any], Stepper]]:
    env = MetaWorldVectorEnv(chosen, threads=threads)
    try:
        yield env.reset, env.step
    finally:
        env.close()


@numba.njit(nogil=True)
def bare_physics(end: int, counter: Any, models: Any, simulations: Any, bodies: Any, places: Any, calls: Any) -> None:
    """The loop of ``kernel.simulate`` with nothing but the physics in it."""
    n, taken = len(simulations), 0
    while kernel.count_up(counter.ctypes.data) < n:
        i = taken if end == 0 else n - 1 - taken
        taken += 1
        kernel.call(calls[kernel.COPY], (bodies[i], places[i].ctypes.data, places.shape[1] * 8))
        for _ in range(5):
            kernel.call(calls[kernel.MJ_STEP], (models[i], simulations[i]))
        kernel.call(calls[kernel.FORWARD], (models[i], simulations[i]))


@contextlib.contextmanager
def limit(threads: int, chosen: list[Goal]) -> Iterator[tuple[Callable[[], Any], Stepper]]:
    """Bare physics from the same states under the same actions; a model per (class, thread), data per goal."""
    protos = {name: prototype(name, False) for name, _ in chosen}
    models = [{name: copy.copy(proto.env.model) for name, proto in protos.items()} for _ in range(threads)]
    snapshots = [protos[goal[0]].snapshot(goal) for goal in chosen]
    simulations = [mujoco.MjData(models[0][goal[0]]) for goal in chosen]
    pointers = [np.array([table[name]._address for name, _ in chosen], dtype=np.int64) for table in models]
    bodies = [np.array([table[name].body_pos.ctypes.data for name, _ in chosen], dtype=np.int64) for table in models]
    sizes = [3 * models[0][name].nbody for name, _ in chosen]
    places = np.zeros((len(chosen), min(sizes)))
    for row, snapshot in zip(places, snapshots, strict=True):
        row[:] = snapshot.positions[: len(row)]
    data = np.array([simulation._address for simulation in simulations], dtype=np.int64)
    calls = kernel.c_functions()
    low, high = (np.stack([protos[name].limits[i] for name, _ in chosen]) for i in (0, 1))

    def reset() -> None:
        for goal, snapshot, simulation in zip(chosen, snapshots, simulations, strict=True):
            mujoco.mj_setState(models[0][goal[0]], simulation, snapshot.state, kernel.STATE)

    def step(actions: np.ndarray[Any, Any]) -> None:
        for i, simulation in enumerate(simulations):
            simulation.mocap_pos[0] = np.clip(simulation.mocap_pos[0] + 0.01 * actions[i, :3], low[i], high[i])
            simulation.ctrl[:] = actions[i, 3], -actions[i, 3]
        begin = time.perf_counter()
        counter = np.zeros(1, dtype=np.int64)
        for queue in jobs:
            queue.put(counter)
        bare_physics(0, counter, pointers[0], data, bodies[0], places, calls)
        for _ in jobs:
            done.get()
        step.seconds += time.perf_counter() - begin  # type: ignore[attr-defined]

    def work(queue: SimpleQueue[Any]) -> None:
        while (counter := queue.get()) is not None:
            bare_physics(1, counter, pointers[1], data, bodies[1], places, calls)
            done.put(None)

    jobs: list[SimpleQueue[Any]] = [SimpleQueue() for _ in range(threads - 1)]
    done: SimpleQueue[None] = SimpleQueue()
    for queue in jobs:
        threading.Thread(target=work, args=(queue,), daemon=True).start()
    step.seconds = 0.0  # type: ignore[attr-defined]  # the preparation in Python above does not count
    yield reset, step
    for queue in jobs:
        queue.put(None)


def rate(reset: Callable[[], Any], step: Stepper, actions: np.ndarray[Any, Any], seconds: float) -> float:
    """Environment steps per second over a window of about ``seconds``."""
    reset()
    step(actions[0])
    if hasattr(step, "seconds"):
        step.seconds = 0.0
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds and count < EPISODE - 2:
        step(actions[count % ACTIONS])
        count += 1
    spent = step.seconds if hasattr(step, "seconds") else time.perf_counter() - begin
    return float(count * actions.shape[1] / spent)


def measure(name: str, n: int, options: argparse.Namespace) -> dict[str, Any]:
    """Rates of all contenders for one benchmark and one number of sub-environments."""
    chosen = chosen_goals(name, n)
    actions = np.random.default_rng(0).uniform(-1, 1, (ACTIONS, n, 4)).astype(np.float32)
    contenders: dict[str, Any] = {
        "kshot 1": ours(1, chosen),
        "kshot 2": ours(2, chosen),
        "limit 1": limit(1, chosen),
        "limit 2": limit(2, chosen),
    }
    if n <= options.official_up_to:
        # The one that forks comes first, while the process is still small.
        contenders = {f"official {strategy}": official(strategy, chosen) for strategy in ("async", "sync")} | contenders
    rates: dict[str, list[float]] = {label: [] for label in contenders}
    with contextlib.ExitStack() as stack:
        entered = {}
        for label, contender in contenders.items():
            try:
                entered[label] = stack.enter_context(contender)
            except (OSError, EOFError) as error:  # a process per sub-environment can be more than a machine bears
                print(f"{name} {n}: {label} could not be built ({type(error).__name__}: {error})", flush=True)
        for reset, step in entered.values():  # not counted: compilation, first placements
            rate(reset, step, actions, 0.05)
        for _ in range(options.rounds):
            for label, (reset, step) in entered.items():
                rates[label].append(rate(reset, step, actions, options.seconds))
    return {label: statistics.median(values) for label, values in rates.items() if values}


def construct(n: int) -> dict[str, float]:
    """Seconds and memory of ``n`` sub-environments of ML10-train in a new process: goals drawn and placed, one step."""
    process = psutil.Process()
    metaworld_loaded = process.memory_info().rss
    begin = time.perf_counter()
    env = gym.make_vec("kshot/ML10-train", num_envs=n, seed=0, threads=2)
    env.reset()
    env.step(np.zeros((n, 4), dtype=np.float32))
    seconds = time.perf_counter() - begin
    memory = process.memory_info().rss
    env.close()
    return {"n": n, "seconds": seconds, "added_mb": (memory - metaworld_loaded) / 1e6, "total_mb": memory / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmarks", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--sizes", nargs="+", type=int, default=[20, 50, 100, 200], help="numbers of sub-environments")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one window")
    parser.add_argument("--official-up-to", type=int, default=200, help="measure the official ones up to this size")
    parser.add_argument("--construct", type=int, help="only build this many sub-environments and print what it took")
    options = parser.parse_args()
    if options.construct:
        print(json.dumps(construct(options.construct)))
        return
    fresh = subprocess.run(
        [sys.executable, "-m", "benchmarks.metaworld", "--construct", "200"], check=True, capture_output=True, text=True
    ).stdout
    built = json.loads(fresh.splitlines()[-1])
    load = os.getloadavg()[0]
    print(
        f"{os.cpu_count()} cores, load {load:.2f}, {options.rounds} rounds of {options.seconds} s; env steps per second"
    )
    header = f"{'':6}{'N':>4} {'sync':>7} {'async':>7} {'kshot 1':>8} {'kshot 2':>8} {'limit 1':>8} {'limit 2':>8}"
    print(header + f" {'x official':>11} {'of limit':>9}")
    results = []
    for name in options.benchmarks:
        for n in options.sizes:
            found = measure(name, n, options)
            best = max(found.get("official sync", 0.0), found.get("official async", 0.0))
            ratio = found["kshot 2"] / best if best else float("nan")
            share = found["kshot 2"] / found["limit 2"]
            cells = [found.get(f"official {strategy}", float("nan")) for strategy in ("sync", "async")]
            cells += [found[label] for label in ("kshot 1", "kshot 2", "limit 1", "limit 2")]
            row = "".join(f" {cell:>{width}.0f}" for cell, width in zip(cells, (7, 7, 8, 8, 8, 8), strict=True))
            print(f"{name:6}{n:>4}{row} {ratio:>11.1f} {share:>9.2f}", flush=True)
            results.append({"benchmark": name, "n": n, **found, "ratio": ratio, "of_limit": share})
    print(
        f"ML10, {built['n']} sub-environments from nothing to the first step: {built['seconds']:.1f} s,"
        f" {built['added_mb']:.0f} MB ({built['total_mb']:.0f} MB the whole process)"
    )
    print(json.dumps({"cores": os.cpu_count(), "load": load, "results": results, "construction": built}))


if __name__ == "__main__":
    main()
