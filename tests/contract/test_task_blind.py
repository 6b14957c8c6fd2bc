"""Floors: no policy that only looks, shipped or tried by ``benchmarks.task_blind``, is better than "task_blind"."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import task_blind as search
from benchmarks._task_blind import CASES
from kshot import registry, seeding
from kshot.running.rollout import rollout
from kshot.types import Array, ReferencePolicy, Task, TaskFamily

SIMULATED = ("metaworld", "cheetah", "ant", "hopper", "walker")
PLAYED = [name for name, case in CASES.items() if not case.family.startswith(SIMULATED) and not name.endswith("unseen")]
"""Cases whose episodes take no simulation; those with unseen sprites have the training tasks of the others."""


def test_every_family_is_searched() -> None:
    assert {case.family for case in CASES.values()} == set(registry.names("envs"))


def per_task(family: TaskFamily, headline: str, make: ReferencePolicy, tasks: list[Task], copies: int) -> Array:
    """[T] the headline of each task."""
    episodes = family.spec.episodes_per_trial if headline == "trial_return" else 1
    keys = seeding.split(seeding.key("floors"), np.arange(len(tasks)))
    played = rollout(family, make(tasks), tasks, keys, copies, episodes)
    return np.asarray((played.success_last if headline == "success_last" else played.returns).mean(axis=1))


@pytest.mark.parametrize("name", PLAYED)
def test_no_candidate_is_better_than_the_floor(name: str) -> None:
    case = CASES[name]
    family, headline, candidates = search.opened(case)
    tasks = search.drawn(family, "train", min(case.chosen_on, 32))
    scores = {row: per_task(family, headline, make, tasks, 2) for row, make in candidates.items()}
    for row, values in scores.items():
        gain = values - scores["task_blind"]
        noise = gain.std() / len(tasks) ** 0.5
        assert gain.mean() <= 4.0 * noise + 1e-6, (row, gain.mean(), noise)
