"""What does a policy with a memory make of its rewards? Shows it its own, none, or those of another task.

``python -m benchmarks.whose_rewards SUITE --family F --algorithm A --seed S`` takes the model of a trained run whose
policy reads the reward of every step (RL^2). Test tasks are played side by side; while the policy of each learns what
its actions earn on its own task, on none, or on the next one's, return and success stay those of its own. A policy that
adapts within an episode loses with another's rewards what it has beyond one that knows no goal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.whose_goal import chosen_run, parsed, restored
from kshot import seeding
from kshot.running.rollout import rollout
from kshot.suites.run import RunConfig
from kshot.types import Array, Memory, Policy


@dataclass(frozen=True)
class Told:
    """A policy that is told other rewards [T, C] than its own."""

    policy: Policy
    told: Callable[[Array], Array]

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        return self.policy.start(n_tasks, n_copies, keys)

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        return self.policy.act(obs, memory, noise)

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return self.policy.observe(memory, action, self.told(reward), done)


REWARDS: dict[str, Callable[[Array], Array]] = {
    "its own": lambda reward: reward,
    "none": np.zeros_like,
    "another task's": lambda reward: np.roll(reward, 1, axis=0),
}


def main() -> None:
    options = parsed(__doc__, k="number of the episode of the trial that is shown, from 0")
    show(chosen_run(options), options.root, options.k)


def show(run: RunConfig, root: Path, k: int) -> None:
    """Print one Markdown row for each kind of rewards: return and success of episode ``k`` of trials on test tasks."""
    family, learner = restored(run, root)
    tasks = family.tasks("test", 50, 0)
    keys = seeding.split(seeding.key("whose rewards", run.seed), np.arange(len(tasks)))
    print("| rewards it reads | return | success at any step | at the last step |\n|---|---|---|---|")
    for name, told in REWARDS.items():
        played = rollout(family, Told(learner.policy(), told), tasks, keys, 1, k + 1)
        shown = [float(x[:, k].mean()) for x in (played.returns, played.success_any, played.success_last)]
        print(f"| {name} | {shown[0]:.0f} | {shown[1]:.2f} | {shown[2]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
