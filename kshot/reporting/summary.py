"""What every policy reached: look-ups in ``summary.csv`` by policy, metric and evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from kshot.reporting import csv_files
from kshot.reporting.evidence import IntendedTest, answering
from kshot.reporting.families import FamilyInfo
from kshot.reporting.names import LIKELIHOOD, ORACLE, RANDOM, TRIAL_RETURN, At, Pair
from kshot.reporting.schemas import ALL, MADE_BY, SUMMARY_COLUMNS, Point
from kshot.suites.run import RunKind
from kshot.types import Evidence

Curve = tuple[Point, ...]
"""Points of one policy on one metric, for growing k."""


@dataclass(frozen=True)
class Summary:
    """Means over runs, with their intervals.

    Attributes:
        points: the rows of ``summary.csv``.
        tests: how every policy with results is meant to be tested.
        families: by name.
    """

    points: tuple[Point, ...]
    tests: Mapping[Pair, IntendedTest]
    families: Mapping[str, FamilyInfo]

    def finished(self, kind: RunKind, family: str, evidence: Evidence | None = None) -> tuple[str, ...]:
        """Names of a family's policies that have results, in the suite's order."""
        found = self._finished.get((kind, family), {})
        return tuple(name for name, of in found.items() if evidence in (None, of))

    @cached_property
    def _finished(self) -> dict[tuple[str, str], dict[str, Evidence]]:
        """The evidence of every policy, by kind and family."""
        found: dict[tuple[str, str], dict[str, Evidence]] = {}
        for point in self.points:
            found.setdefault((point.kind, point.family), {})[point.algorithm] = point.evidence
        return found

    @cached_property
    def evidences(self) -> list[Evidence]:
        """The kinds of evidence that learners with results adapt on; never ranked against each other."""
        return list(dict.fromkeys(point.evidence for point in self.points if point.kind == "algorithm"))

    @cached_property
    def families_with_success(self) -> frozenset[str]:
        """Families in which something, be it the oracle, ever succeeds: others define no success."""
        return frozenset(point.family for point in self.points if point.metric == "success_any" and point.mean > 0)

    def mode(self, family: str, policy: str, metric: str) -> str:
        """The kind of actions that a policy is compared by: that which it is meant for.

        Trials are played with sampled actions by definition; how likely demonstrations are hangs on no action and
        stands beside the mean ones.
        """
        if metric in (TRIAL_RETURN, LIKELIHOOD):
            return "sampled" if metric == TRIAL_RETURN else "mean"
        test = self.tests.get((family, policy))
        return "mean" if test is None else test.actions

    def curve(self, family: str, policy: str, metric: str, mode: str | None = None, group: str = ALL) -> Curve:
        """Points for growing k, with the actions that the policy is meant to be tested by, or with others."""
        return self._curves.get((family, policy, metric, mode or self.mode(family, policy, metric), group), ())

    @cached_property
    def _curves(self) -> dict[tuple[str, ...], Curve]:
        found: dict[tuple[str, ...], list[Point]] = {}
        for point in sorted(self.points, key=lambda point: point.k):
            key = (point.family, point.algorithm, point.metric, point.mode, point.group)
            found.setdefault(key, []).append(point)
        return {key: tuple(points) for key, points in found.items()}

    def point(self, family: str, policy: str, metric: str, at: At, group: str = ALL) -> Point | None:
        """The point that answers for K episodes of evidence; None where the policy does not reach so far.

        Its ``k`` is the evidence that the policy has used, which within a block is less than K. Returns of trials have
        one point, whatever ``at`` is.
        """
        curve = self.curve(family, policy, metric, group=group)
        if not curve:
            return None
        last = curve[-1]
        if at == "all" or metric == TRIAL_RETURN:
            return last
        remembers = policy in self.families[family].learning
        if not self.tests[family, policy].reaches(at) or (remembers and at > last.k):
            return None
        used = answering((point.k for point in curve), at)
        return next(point for point in curve if point.k == used)

    def scale(self, family: str, metric: str) -> tuple[float, float]:
        """(random, oracle) on a metric: from their runs, else the values the family knows; NaN when neither exists."""
        info, ends = self.families[family], []
        for name in (RANDOM, ORACLE):
            point = self.point(family, name, metric, "all")
            if point is not None:
                ends.append(point.mean)
            elif metric in ("return", TRIAL_RETURN) and name in info.known:
                ends.append(info.known[name] * (info.episodes_per_trial if metric == TRIAL_RETURN else 1))
            else:
                ends.append(np.nan)
        return ends[0], ends[1]


def read_points(folder: Path) -> tuple[Point, ...]:
    """The rows of a suite's ``summary.csv``. Raises RecordError where it is missing or damaged."""
    frame = csv_files.read(folder / "summary.csv", SUMMARY_COLUMNS, MADE_BY)
    columns = [frame[name].tolist() for name in SUMMARY_COLUMNS]
    return tuple(Point(*values) for values in zip(*columns, strict=True))
