"""How fast families of tasks step, and what their scripted policies reach.

    python -m benchmarks.families [NAME ...]

steps 256 sub-environments of every family and variant, or of those named, with random actions in one thread, and prints
steps per second of processor time: the best of five rounds, since other work on the machine can only slow one down.
Below it, what scripted policies earn in each episode of a trial on test tasks of seed 0, as Markdown: the mean return
with its standard error, and the share of episodes that end in success. Simulated robots have
``benchmarks.robots``, environments of Gymnasium ``benchmarks.wrapped``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kshot import registry, seeding
from kshot.errors import suggest
from kshot.running.rollout import rollout
from kshot.types import TaskFamily


@dataclass(frozen=True)
class Case:
    """What is stepped.

    Attributes:
        family: module in ``envs``.
        settings: of the family.
        tasks: how many tasks, each with ``sub_envs / tasks`` sub-environments.
        sub_envs: how many sub-environments side by side.
    """

    family: str
    settings: dict[str, Any] = field(default_factory=dict)
    tasks: int = 16
    sub_envs: int = 256


CASES: dict[str, Case] = {
    "bandit": Case("bandit"),
    "tabular_mdp": Case("tabular_mdp"),
    "gridnavi": Case("gridnavi"),
    "nav2d": Case("nav2d"),
    "nav2d_sparse": Case("nav2d_sparse"),
    "bus": Case("bus"),
    "bus_distract": Case("bus", {"variant": "distract"}),
    "bus_map": Case("bus", {"variant": "map"}),
    "maze": Case("maze"),
    "maze_pixels": Case("maze", {"observation": "pixels"}),
    "maze_larger": Case("maze", {"test_distribution": "larger"}),
    "maze_loops": Case("maze", {"test_distribution": "loops"}),
    "random_reward": Case("random_reward"),
    "random_reward_ood": Case("random_reward", {"test_distribution": "ood"}),
    "random_reward_table": Case("random_reward", {"process": "table", "horizon": 10}),
    "random_reward_table_ood": Case("random_reward", {"process": "table", "horizon": 10, "test_distribution": "ood"}),
    "offload_dag": Case("offload_dag", tasks=256),
    "offload_dag_1024": Case("offload_dag", tasks=1024, sub_envs=1024),
    "offload_dag_ood": Case("offload_dag", {"test_tasks": "ood"}, tasks=256),
}
"""By the name that the command takes: that of a family, or of a variant of it."""
STEPS, ROUNDS = 1000, 5
TRIALS = 1_000
"""Trials of every scripted policy, about; spread over up to 200 test tasks."""


def steps_per_second(family: TaskFamily, case: Case) -> float:
    """Steps per second of processor time, all sub-environments counted, resets included."""
    spec = family.spec
    env = family.vector_env(family.tasks("train", case.tasks, 0), case.sub_envs // case.tasks)
    seeds: Any = list(range(case.sub_envs))
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(64)]
    best = 0.0
    for _ in range(ROUNDS):
        env.reset(seed=seeds)
        begin = time.process_time()
        for t in range(STEPS):
            env.step(actions[t % 64])
            if (t + 1) % spec.horizon == 0:
                env.reset()
        best = max(best, case.sub_envs * STEPS / (time.process_time() - begin))
    env.close()
    return best


def as_many(tasks_of: Callable[[int], list[Any]], n: int) -> list[Any]:
    """``n`` tasks, or half as often as it takes for the split to have them."""
    while True:
        try:
            return tasks_of(n)
        except ValueError:
            if n == 1:
                raise
            n //= 2


def earned(family: TaskFamily, name: str) -> str:
    """Return and success at the last step of each episode of a trial, with the standard error of the return."""
    tasks = as_many(lambda n: family.tasks("test", n, 0), 200)
    episodes = family.spec.episodes_per_trial
    copies = max(1, min(TRIALS, family.spec.max_sub_envs) // len(tasks))
    keys = seeding.split(seeding.key("families benchmark"), np.arange(len(tasks)))
    played = rollout(family, family.references[name](tasks), tasks, keys, copies, episodes)
    returns = played.returns.reshape(-1, episodes)
    error = returns.std(axis=0) / len(returns) ** 0.5
    success = played.success_last.reshape(-1, episodes).mean(axis=0)
    return " | ".join(
        f"{mean:.3f} ± {e:.3f} ({rate:.2f})" for mean, e, rate in zip(returns.mean(axis=0), error, success, strict=True)
    )


def main() -> None:
    """Print a table for each family, and the speeds as a last line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CASES)}")
    parser.add_argument("--speed", action="store_true", help="speeds only")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in CASES:
            parser.error(f"unknown family {name!r}{suggest(name, CASES)}")
    speeds = dict[str, int]()
    for name in arguments.names or CASES:
        case = CASES[name]
        module = registry.load("envs", case.family)
        family: TaskFamily = module.build(module.Settings(**case.settings))
        speeds[name] = round(steps_per_second(family, case))
        print(f"\n{name}: {speeds[name]:,} steps/s", flush=True)
        if arguments.speed:
            continue
        episodes = range(1, family.spec.episodes_per_trial + 1)
        print("\n| policy |" + "".join(f" episode {e} |" for e in episodes))
        print("|---|" + "---|" * len(episodes), flush=True)
        for policy in family.references:
            print(f"| {policy} | {earned(family, policy)} |", flush=True)
    print(json.dumps({"steps_per_second": speeds}))


if __name__ == "__main__":
    main()
