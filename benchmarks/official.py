"""How much Metaworld's own evaluation adds to the success of policies that do not know the goal.

    python -m benchmarks.official

Two scripted policies on the 50 test goals of reach-v3, with episodes of 200 steps: by the official function, and once
per goal. Nothing adapts, and both see the same goals; only what is counted differs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from kshot import seeding
from kshot.envs.metaworld import MetaWorldFamily, Settings
from kshot.running import official
from kshot.running.rollout import rollout
from kshot.types import Policy, Task

HORIZON, GOALS = 200, 50


class Scripted:
    """A scripted policy as a learner that never adapts."""

    adaptation_episodes, max_evidence = 1, None

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def policy(self) -> Policy:
        return self._policy


def main() -> None:
    """Print success at any step by both counts, and at the last step."""
    warnings.simplefilter("ignore", UserWarning)  # metaworld's experts warn at nearly every step
    family = MetaWorldFamily(Settings(horizon=HORIZON))
    tasks: list[Task] = family.tasks("test", GOALS, 0)
    print("| policy | official | per goal | per goal, last step |\n|---|---|---|---|")
    for name in ("task_blind", "sweep"):
        make: Callable[[list[Task]], Policy] = family.references[name]
        # The policies do not depend on the task, so any ten tasks stand for the ten sub-environments.
        learner: Any = Scripted(make(tasks[:10]))
        found, _ = official.measure(learner, family, family.spec, 0, evidence=0)
        played = rollout(family, make(tasks), tasks, seeding.split(0, np.arange(GOALS)), copies=1)
        ours = played.success_any.mean(), played.success_last.mean()
        print(f"| {name} | {found['mean_success']:.2f} | {ours[0]:.2f} | {ours[1]:.2f} |")


if __name__ == "__main__":
    main()
