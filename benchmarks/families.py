"""How fast families without simulated physics step, side by side at many sub-environments.

    python -m benchmarks.families [NAME ...]

steps every family of ``CASES`` (or those named) with uniformly random actions, whole episodes with their resets, and
prints decisions per second of one core: by the wall clock and by the processor time of this process, which other
processes on the machine do not slow down. The last line is the same as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kshot import registry, seeding
from kshot.errors import suggest
from kshot.types import TaskFamily

SECONDS = 2.0
"""How long each case is stepped at the least."""


@dataclass(frozen=True)
class Case:
    """What is stepped.

    Attributes:
        family: module in ``envs``.
        settings: of the family.
        sub_envs: how many sub-environments side by side, each with a task of its own.
    """

    family: str
    settings: dict[str, Any] = field(default_factory=dict)
    sub_envs: int = 256


CASES: dict[str, Case] = {
    "bandit": Case("bandit"),
    "tabular_mdp": Case("tabular_mdp"),
    "gridnavi": Case("gridnavi", sub_envs=21),
    "nav2d": Case("nav2d"),
    "nav2d_sparse": Case("nav2d_sparse", sub_envs=80),
    "offload_dag": Case("offload_dag"),
    "offload_dag-1024": Case("offload_dag", sub_envs=1024),
    "offload_dag-ood": Case("offload_dag", {"test_tasks": "ood"}),
}
"""By the name that the command takes. Families of few tasks have as many sub-environments as tasks."""


def build(case: Case) -> TaskFamily:
    """The family of a case."""
    module = registry.load("envs", case.family)
    family: TaskFamily = module.build(module.Settings(**case.settings))
    return family


def measure(case: Case, seconds: float = SECONDS) -> dict[str, float]:
    """Decisions per second by wall clock and by processor time, and how many were made."""
    family = build(case)
    spec, n = family.spec, case.sub_envs
    keys = seeding.split(seeding.key("families benchmark"), np.arange(n))
    horizon = range(spec.horizon)
    noise = [seeding.noise(keys, t, spec.action_dim, spec.action_kind) for t in horizon]
    actions = [x.argmax(axis=-1) if spec.action_kind == "discrete" else np.tanh(x) for x in noise]
    seeds: Any = (keys >> np.uint64(1)).tolist()
    with contextlib.closing(family.vector_env(family.tasks("train", n, 0), 1)) as env:
        env.reset(seed=seeds)
        for action in actions:  # compiles what is compiled
            env.step(action)
        made, wall, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - wall < seconds:
            env.reset()
            for action in actions:
                env.step(action)
            made += n * spec.horizon
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"sub_envs": n, "decisions": made, "per_second": made / wall, "per_processor_second": made / cpu}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CASES)}")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in CASES:
            parser.error(f"unknown family {name!r}{suggest(name, CASES)}")
    print("| family | sub-envs | decisions/s | of processor time |\n|---|---|---|---|", flush=True)
    found = {}
    for name in arguments.names or CASES:
        found[name] = row = measure(CASES[name])
        rates = f"{row['per_second']:,.0f} | {row['per_processor_second']:,.0f}"
        print(f"| {name} | {row['sub_envs']} | {rates} |", flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
