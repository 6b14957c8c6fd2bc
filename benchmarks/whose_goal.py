"""Whose goal does the hand seek? Exchanges what names a task in ML1-reach, and sees which of the two learners follow.

``python -m benchmarks.whose_goal SUITE --family F --algorithm A --seed S`` takes the model of a trained run. In reach
the object means nothing, but each of the 50 training goals comes with an object position of its own. Every training
goal is paired with another one; the object's entries of the second replace those of the first in what the policy sees,
in its evidence, in both, or nowhere; rewards always stay the first goal's. A learner that has learnt to read rewards
goes on seeking the first goal; one that has learnt which object belongs to which goal seeks the second.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kshot import seeding
from kshot.envs.metaworld._vector import OBJECT_ENTRIES
from kshot.envs.metaworld.engine import prototype
from kshot.running import build, checkpoint
from kshot.running.rollout import rollout
from kshot.suites.reading import find_suite, load_suite
from kshot.suites.run import RunConfig
from kshot.types import Array, Memory, MetaLearner, Policy, TaskFamily

HAND = slice(0, 3)


@dataclass(frozen=True)
class Deceived:
    """A policy that sees the object entries of another task: ``objects`` [T, entries]."""

    policy: Policy
    objects: Array

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        return self.policy.start(n_tasks, n_copies, keys)

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        return self.policy.act(exchanged(obs, self.objects), memory, noise)

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return self.policy.observe(memory, action, reward, done)


def exchanged(obs: Array, objects: Array) -> Array:
    """``obs`` [T, ..., 39] with the object entries of other tasks [T, entries]."""
    seen = obs.copy()
    seen[..., OBJECT_ENTRIES] = objects.reshape(len(objects), *(1,) * (obs.ndim - 2), -1)
    return seen


def main() -> None:
    options = parsed(__doc__, k="episodes of evidence")
    show(chosen_run(options), options.root, options.k)


def parsed(doc: str, k: str) -> argparse.Namespace:
    """Options that name a trained run, and ``--k``, whose help is given."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("suite")
    parser.add_argument("--family", required=True)
    parser.add_argument("--algorithm", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--k", type=int, default=1, help=k)
    parser.add_argument("--root", type=Path, default=Path("results"))
    return parser.parse_args()


def chosen_run(options: argparse.Namespace) -> RunConfig:
    """The run that the options name."""
    suite = load_suite(find_suite(options.suite, options.root), only=(options.family, options.algorithm))
    wanted = (options.family, options.algorithm, options.seed)
    return next(run for run in suite.runs() if (run.family, run.algorithm, run.seed) == wanted)


def restored(run: RunConfig, root: Path) -> tuple[TaskFamily, MetaLearner]:
    """The family and the trained learner of a run."""
    family = build.family(run)
    learner = build.learner(run, family.spec)
    model = checkpoint.load_model(run.directory(root) / checkpoint.MODEL, run, family.spec)
    checkpoint.restore(learner, model, run.directory(root) / checkpoint.MODEL)
    return family, learner


def show(run: RunConfig, root: Path, k: int) -> None:
    """Print one Markdown row for each way of exchanging; distances are the hand's at the end of an episode."""
    family, learner = restored(run, root)
    tasks = family.tasks("train", 50, 0)
    snapshots = [prototype(task["env_name"], False).snapshot((task["env_name"], task["rand_vec"])) for task in tasks]
    goals = np.array([snapshot.target for snapshot in snapshots])
    others = np.roll(np.arange(len(tasks)), 1)
    objects = np.array([snapshot.obs[OBJECT_ENTRIES] for snapshot in snapshots])[others]

    keys = seeding.split(seeding.key("whose goal", run.seed), np.arange(len(tasks)))
    print("| exchanged in | return | metres to its goal | to the other | nearer the other |\n|---|---|---|---|---|")
    for label, acting, evidence in (
        ("nothing", False, False),
        ("observations", True, False),
        ("evidence", False, True),
        ("both", True, True),
    ):
        policy = learner.policy()
        for episode in range(0, k, learner.adaptation_episodes):
            player = Deceived(policy, objects) if acting else policy
            shown = rollout(family, player, tasks, seeding.split(keys, episode), learner.adaptation_episodes)
            if evidence:
                shown = replace(shown, obs=exchanged(shown.obs, objects), final_obs=exchanged(shown.final_obs, objects))
            policy = learner.adapt(policy, shown.as_evidence())
        player = Deceived(policy, objects) if acting else policy
        played = rollout(family, player, tasks, seeding.split(keys, k), 4, mode="mean")
        hand = played.final_obs[..., HAND]
        to_own, to_other = (np.linalg.norm(hand - g[:, None], axis=-1) for g in (goals, goals[others]))
        nearer = float((to_other < to_own).mean())
        print(f"| {label} | {played.returns.mean():.0f} | {to_own.mean():.3f} | {to_other.mean():.3f} | {nearer:.2f} |")


if __name__ == "__main__":
    main()
