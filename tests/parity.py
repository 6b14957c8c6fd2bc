"""Ours and Metaworld's own classes side by side, every bit of every step: ``python -m tests.parity``.

Three comparisons, each a function that returns a ``Report``; the tests call the same functions with fewer steps:

* ``compare_class``: goals of one class, played by ``MetaWorldVectorEnv`` and then, action by action, by an official
  environment object;
* ``compare_benchmark``: a benchmark's environment beside the official vector environment with the same seed, through
  autoresets and the drawing of goals;
* ``interleave``: resets of some sub-environments, new goals and steps in random order.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import metaworld  # registers the official vector environments
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from metaworld.env_dict import ALL_V3_ENVIRONMENTS

import kshot.environments  # registers ours
from kshot.envs.metaworld._goals import Source, goals
from kshot.envs.metaworld._references import expert_with_target
from kshot.envs.metaworld._tasks import Goal, official_task
from kshot.envs.metaworld._vector import MetaWorldVectorEnv
from kshot.envs.metaworld.engine import INFO_KEYS, prototype
from kshot.types import Array

CLASSES = tuple(ALL_V3_ENVIRONMENTS)
MODES = ("random", "expert", "noisy")
DTYPES = ("float32", "float64")
REGISTERED = (metaworld.__name__, kshot.__name__)
_NOISE = 0.3
_BENCHMARKS = {"ML1": 10, "ML10": 20, "ML45": 45}
"""Number of sub-environments by benchmark."""
_INTERLEAVED = (
    ("reach-v3", "push-v3", "door-open-v3", "dial-turn-v3", "basketball-v3", "stick-pull-v3"),
    ("pick-place-v3", "drawer-close-v3", "faucet-open-v3", "peg-insert-side-v3", "soccer-v3", "hammer-v3"),
    # Classes that share their model files in pairs.
    (
        "plate-slide-side-v3",
        "plate-slide-back-side-v3",
        "handle-press-side-v3",
        "handle-pull-side-v3",
        "plate-slide-v3",
    ),
)

Player = Callable[[Array, int], Array]


@dataclass
class Report:
    """How many steps of single environments were compared, in how many places they differ, and where first."""

    title: str
    steps: int = 0
    mismatches: int = 0
    first: str = ""

    def compare(self, ours: Mapping[str, Array], theirs: Mapping[str, Array], where: str, rows: str) -> None:
        """Compare arrays by name, bit by bit; ``rows`` says what their first axis is."""
        found = [(int(i), key) for key in theirs for i in np.flatnonzero(_differ(ours[key], theirs[key]))]
        self.mismatches += len(found)
        if found and not self.first:
            i, key = min(found)
            self.first = f"{where}, {rows} {i}, {key}: ours {ours[key][i]}, official {theirs[key][i]}"


def _differ(ours: Array, theirs: Array) -> Array:
    """Which rows differ in any bit; the sign of a zero counts, and so does the type."""
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    a, b = (np.ascontiguousarray(x).reshape(len(x), -1).view(np.uint8) for x in (ours, theirs))
    unequal: Array = (a != b).any(axis=1)
    return unequal


def player(goal: Goal, mode: str, stream: Sequence[int]) -> Player:
    """(obs [39], step) -> action [4] in one of ``MODES``; random actions exceed the action range at times."""
    rng = np.random.default_rng(stream)
    if mode == "random":
        return lambda obs, t: rng.uniform(-1.5, 1.5, 4)
    control = expert_with_target(goal[0], prototype(goal[0], False).snapshot(goal).target)

    def expert(obs: Array, t: int) -> Array:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the experts' gains exceed the action range
            return control(obs, t)

    return expert if mode == "expert" else lambda obs, t: expert(obs, t) + rng.normal(0.0, _NOISE, 4)


def players(chosen: Sequence[Goal], modes: Sequence[str], seed: int) -> Callable[[Array, int], Array]:
    """(obs [N, ...], step) -> actions [N, 4], float32 and float64 by turns."""
    single = [player(goal, mode, (seed, i)) for i, (goal, mode) in enumerate(zip(chosen, modes, strict=True))]

    def act(obs: Array, t: int) -> Array:
        actions = np.array([play(row[:39], t) for play, row in zip(single, obs, strict=True)])
        return actions.astype(DTYPES[t // 100 % 2])

    return act


def record(
    played: Sequence[tuple[Goal, str]], dtype: str, steps: int, threads: int
) -> tuple[Array, dict[str, Array], Array]:
    """Play (goal, mode) pairs; returns actions [T, N, 4], what came of them [T, N, ...] and the first observations."""
    env = MetaWorldVectorEnv([goal for goal, _ in played], threads=threads, autoreset_mode="Disabled")
    first, _ = env.reset()
    single = [player(goal, mode, (i, DTYPES.index(dtype))) for i, (goal, mode) in enumerate(played)]
    actions = np.zeros((steps, len(played), 4), dtype)
    rows, obs = [], first
    for t in range(steps):
        for i, act in enumerate(single):
            actions[t, i] = act(obs[i], t)
        obs, reward, _, truncated, info = env.step(actions[t])
        rows.append((obs, reward, truncated, *(np.asarray(info[key], dtype=float) for key in INFO_KEYS)))
    env.close()
    return actions, _columns(rows), first


def replay(env: Any, goal: Goal, actions: Array) -> tuple[dict[str, Array], Array]:
    """The same by official environment ``env``: what comes of ``actions`` [T, 4], and the first observation."""
    first = reset_official(env, goal)
    rows = []
    for action in actions:
        obs, reward, _, truncated, info = env.step(action.copy())
        rows.append((obs, float(reward), truncated, *official_info(info)))
    return _columns(rows), first


def reset_official(env: Any, goal: Goal) -> Array:
    """Tell ``env`` the goal and begin an episode."""
    env.set_task(official_task(goal))
    obs: Array = env.reset()[0]
    return obs


def official_info(info: Mapping[str, Any]) -> list[float]:
    """The seven values in order; the classes return all kinds of numbers."""
    return [float(np.asarray(info[key]).item()) for key in INFO_KEYS]


def _columns(rows: Sequence[tuple[Any, ...]]) -> dict[str, Array]:
    names = ("obs", "reward", "truncated", *INFO_KEYS)
    return {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def compare_class(
    name: str,
    tasks: int = 5,
    steps: int = 500,
    threads: int = 2,
    modes: Sequence[str] = MODES,
    dtypes: Sequence[str] = DTYPES,
) -> Report:
    """``tasks`` training and as many test goals of ML1, each played once per mode and type of action."""
    source = Source("ML1", name, 0)
    chosen = [*goals(source, "train")[:tasks], *goals(source, "test")[:tasks]]
    played = [(goal, mode) for goal in chosen for mode in modes]
    official = ALL_V3_ENVIRONMENTS[name]()
    report = Report(name)
    for dtype in dtypes:
        actions, ours, first = record(played, dtype, steps, threads)
        for i, (goal, mode) in enumerate(played):
            theirs, their_first = replay(official, goal, actions[:, i])
            where = f"{name}, goal {i // len(modes)}, {mode}, {dtype}"
            report.compare({"obs": first[[i]]}, {"obs": their_first[None]}, f"{where}, reset", "row")
            report.compare({key: values[:, i] for key, values in ours.items()}, theirs, where, "step")
            report.steps += steps
    return report


def compare_vectors(
    report: Report,
    ours: MetaWorldVectorEnv,
    theirs: VectorEnv[Any, Any, Any],
    act: Callable[[Array, int], Array],
    steps: int,
) -> tuple[int, int]:
    """Step two vector environments that have just been reset; with autoreset disabled, reset what has finished.

    Returns:
        How many episodes terminated, and how many were truncated.
    """
    obs, terminations, truncations = ours._observation(), 0, 0
    for t in range(steps):
        actions = act(obs, t)
        mine, other = ours.step(actions), theirs.step(actions)
        obs, expected = mine[0], returned(other)
        found = {key: value.astype(expected[key].dtype) for key, value in returned(mine).items()}
        report.compare(found, expected, f"{report.title}, step {t}", "sub-environment")
        report.steps += ours.num_envs
        terminations, truncations = terminations + int(mine[2].sum()), truncations + int(mine[3].sum())
        finished = mine[2] | mine[3]
        if finished.any() and ours.metadata["autoreset_mode"] is AutoresetMode.DISABLED:
            obs, again = (env.reset(options={"reset_mask": finished})[0] for env in (ours, theirs))
            report.compare({"obs": obs}, {"obs": again}, f"{report.title}, reset after step {t}", "sub-environment")
    return terminations, truncations


def returned(result: tuple[Any, ...]) -> dict[str, Array]:
    """What ``VectorEnv.step`` returned as arrays [N, ...] by name, masks included; zero where there is nothing.

    Gymnasium gives an info array the type of the first sub-environment's number, so that the official array may hold
    rounded numbers: compare in that type.
    """
    obs, reward, terminated, truncated, info = result
    n = len(reward)
    found = {"obs": obs, "reward": reward, "terminated": terminated, "truncated": truncated}
    for prefix, part in (("", info), ("final_info.", info.get("final_info", {}))):
        for key in INFO_KEYS:
            found[prefix + key] = np.asarray(part.get(key, np.zeros(n))).reshape(n)
            found[f"{prefix}_{key}"] = part.get(f"_{key}", np.zeros(n, dtype=bool))
    for key in ("_final_obs", "_final_info"):
        found[key] = info.get(key, np.zeros(n, dtype=bool))
    last = info.get("final_obs", [None] * n)
    found["final_obs"] = np.stack([np.zeros_like(obs[0]) if row is None else row for row in last])
    return found


def compare_benchmark(
    benchmark: str,
    steps: int = 1050,
    seed: int = 3,
    threads: int = 2,
    num_envs: int = 0,
    horizon: int = 500,
    new_goal_each_episode: bool = False,
) -> Report:
    """A benchmark with the official faults beside the official vector environment, goals drawn by both."""
    n = num_envs or _BENCHMARKS[benchmark]
    named = {"env_name": "reach-v3"} if benchmark == "ML1" else {}
    theirs: Any = gym.make_vec(
        f"Meta-World/{benchmark}-train", meta_batch_size=n, seed=seed, max_episode_steps=horizon, **named
    )
    theirs.call("toggle_sample_tasks_on_reset", new_goal_each_episode)
    ours: Any = gym.make_vec(
        f"kshot/{benchmark}-train",
        num_envs=n,
        seed=seed,
        defects=("shared-seed", "ml1-train-is-test"),
        terminate_on_success=benchmark == "ML1",  # as its test split, which is what "ML1-train" builds
        threads=threads,
        horizon=horizon,
        new_goal_each_episode=new_goal_each_episode,
        **named,
    )
    report = Report(benchmark)

    def draw(times: int) -> None:
        for k in range(times):
            obs = np.stack([result[0] for result in theirs.call("sample_tasks")])
            report.compare({"obs": ours.sample_goals()[0]}, {"obs": obs}, f"{benchmark}, draw {k}", "sub-environment")

    draw(3)
    modes = [MODES[0] if i % 2 == 0 else MODES[2] for i in range(n)]
    act = players(ours.goals, modes, seed)
    compare_vectors(report, ours, theirs, act, steps)
    draw(60 // max(n // 10, 1))  # for ML1 and ML10 more draws than a sub-environment has goals
    ours.close()
    theirs.close()
    return report


def interleave(names: Sequence[str], operations: int, seed: int, threads: int = 2, horizon: int = 60) -> Report:
    """Operations on all sub-environments, one of each class: a step, or new goals and a reset of some of them."""
    rng = np.random.default_rng(seed)
    pools = [goals(Source("ML1", name, seed), "train")[:12] for name in names]

    def drawn() -> list[Goal]:
        return [pool[rng.integers(len(pool))] for pool in pools]

    env = MetaWorldVectorEnv(drawn(), threads=threads, autoreset_mode="Disabled", horizon=horizon)
    official: list[Any] = [ALL_V3_ENVIRONMENTS[name]() for name in names]
    finished, elapsed = np.ones(len(names), dtype=bool), np.zeros(len(names), dtype=int)
    theirs: dict[str, Array] = {"obs": np.zeros((len(names), 39))}
    report = Report(f"interleaved, seed {seed}")
    for k in range(operations):
        where = f"{report.title}, operation {k}"
        if finished.any() or rng.random() < 0.05:
            mask = finished | (rng.random(len(names)) < 0.2)
            mask[rng.integers(len(names))] = True
            env.set_goals(drawn())
            obs, _ = env.reset(options=None if mask.all() else {"reset_mask": mask})
            for i in np.flatnonzero(mask):
                if rng.random() < 0.03:
                    official[i] = ALL_V3_ENVIRONMENTS[names[i]]()
                theirs["obs"][i] = reset_official(official[i], env.goals[i])
            elapsed[mask], finished = 0, finished & ~mask
            report.compare({"obs": obs}, {"obs": theirs["obs"]}, where, "sub-environment")
            continue
        actions = rng.uniform(-1.5, 1.5, (len(names), 4)).astype(rng.choice(DTYPES))
        obs, reward, _, finished, info = env.step(actions)
        rows = []
        elapsed += 1
        for single, action, length in zip(official, actions, elapsed, strict=True):
            expected, gained, _, _, known = single.step(action.copy())
            rows.append((expected, float(gained), bool(length == horizon), *official_info(known)))
        theirs = _columns(rows)
        ours = {"obs": obs, "reward": reward, "truncated": finished}
        ours |= {key: np.asarray(info[key], dtype=float) for key in INFO_KEYS}
        report.compare(ours, theirs, where, "sub-environment")
        report.steps += len(names)
    env.close()
    return report


def main() -> int:
    """Run what the command line asks for, in several processes; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=5, help="training goals per class, and as many test goals")
    parser.add_argument("--steps", type=int, default=500, help="steps per episode")
    parser.add_argument("--classes", nargs="*", choices=CLASSES, default=CLASSES, metavar="CLASS")
    parser.add_argument("--benchmarks", nargs="*", choices=_BENCHMARKS, default=tuple(_BENCHMARKS))
    parser.add_argument("--vector-steps", type=int, default=1050, help="steps of each benchmark")
    parser.add_argument("--interleavings", type=int, default=0, help="random resets and steps, 10000 for a full check")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--threads", type=int, default=2, help="threads of our environments in each process")
    given = parser.parse_args()

    work: list[tuple[int, Callable[..., Report], tuple[Any, ...]]] = []  # expected steps, function, arguments
    for benchmark in given.benchmarks:
        arguments: tuple[Any, ...] = (benchmark, given.vector_steps, 3, given.threads)
        work.append((_BENCHMARKS[benchmark] * given.vector_steps, compare_benchmark, arguments))
    for name in given.classes:
        per_class = 2 * given.tasks * len(MODES) * len(DTYPES) * given.steps
        work.append((per_class, compare_class, (name, given.tasks, given.steps, given.threads)))
    chunks = [len(part) for part in np.array_split(np.arange(given.interleavings), 10) if len(part)]
    for seed, operations in enumerate(chunks):
        names = _INTERLEAVED[seed % len(_INTERLEAVED)]
        work.append((operations * len(names), interleave, (names, operations, seed, given.threads)))

    begin, steps, mismatches, first = time.monotonic(), 0, 0, ""
    left = sum(expected for expected, _, _ in work)
    with ProcessPoolExecutor(given.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(function, *arguments): expected for expected, function, arguments in work}
        for done in as_completed(running):
            report = done.result()
            steps, mismatches = steps + report.steps, mismatches + report.mismatches
            left -= running[done]
            rate = steps / (time.monotonic() - begin)
            print(
                f"{report.title}: {report.steps} steps, {report.mismatches} mismatches; {rate:.0f} steps/s,"
                f" {left / max(rate, 1e-9) / 60:.1f} min left",
                flush=True,
            )
            if report.first and not first:
                first = report.first
                print(f"first mismatch: {first}", flush=True)
    print(f"compared {steps} steps: {mismatches} mismatches")
    return int(mismatches > 0)


if __name__ == "__main__":
    sys.exit(main())
