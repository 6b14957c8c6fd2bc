"""How a learner is to be tested, and how much evidence it has used when K episodes have been played."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kshot.errors import RecordError
from kshot.suites.run import RunConfig

_COUNTS = ("adaptation_episodes", "max_evidence")


@dataclass(frozen=True)
class IntendedTest:
    """What an evaluation noted about the policy that it tested.

    Attributes:
        actions: the actions by which it is meant to be tested, "sampled" or "mean".
        block: how many episodes (or demonstrations) it adapts on at a time; 0 for a scripted policy.
        limit: the most of them that it can use on one task; None without a limit.
    """

    actions: str
    block: int = 0
    limit: int | None = None

    def reaches(self, k: int) -> bool:
        """Whether there is a policy after ``k`` episodes: a learner trained on short trials has none beyond them."""
        return self.limit is None or k <= self.limit

    def adapts_within(self, episodes: int) -> bool:
        """Whether any episode of a trial can be better for what the trial showed."""
        return self.block < episodes


def noted(path: Path, record: Mapping[str, Any], run: RunConfig) -> IntendedTest:
    """From the ``evaluate.json`` of a finished run.

    Raises:
        RecordError: it is of a time when evaluations noted none of this.
    """
    block = record.get("adaptation_episodes", 0)
    if run.kind == "algorithm" and not block:
        raise RecordError(f"{path}: does not say how much the policy adapts on at a time; run the evaluation again")
    limit = record.get("max_evidence")
    return IntendedTest(run.test_actions, int(block), None if limit is None else int(limit))


def of_cell(cell: Mapping[Any, Any]) -> IntendedTest:
    """The same from a row of ``cells.csv`` of a run that is ok, read or about to be written."""
    block, limit = (None if cell[name] == "" or cell[name] != cell[name] else int(cell[name]) for name in _COUNTS)
    return IntendedTest(str(cell["test_actions"]), block or 0, limit)


def answering(played: Iterable[int], k: int) -> int:
    """Of the points at which a policy was scored, from 0, the one that answers for ``k`` episodes.

    A learner on blocks acts, within a block, by what it learnt from the complete ones; a scripted policy always alike.
    """
    return max(point for point in played if point <= k)


def common(points: Sequence[int], learners: Iterable[IntendedTest]) -> int:
    """The largest of a suite's evidence points that all learners reach; they all reach 0."""
    everyone = list(learners)
    return max((k for k in points if all(learner.reaches(k) for learner in everyone)), default=0)
