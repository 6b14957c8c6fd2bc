"""Who is compared with whom: the learners that adapt on one kind of evidence on one family."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kshot.reporting.evidence import common
from kshot.reporting.families import FamilyInfo
from kshot.reporting.grid import Grid
from kshot.reporting.names import DEMONSTRATIONS, FROM_DEMONSTRATIONS, TRIAL_RETURN
from kshot.reporting.summary import Summary
from kshot.suites.run import RunKind
from kshot.types import Evidence


@dataclass(frozen=True)
class Section:
    """Learners that are compared among themselves alone, and the scripted policies beside them.

    Attributes:
        info: the family.
        evidence: what the learners adapt on; those from demonstrations are never shown among those from rewards.
        learners: names of all that were to run, whether or not they have results, in the suite's order.
        finished: names of those that have results.
        judged: of these, those whose scores on ``metric`` say what they do with evidence.
        references: names of the scripted policies with results. Those that learn from rewards are no yardstick for
            learners that are shown what is wanted, and left out there.
        metric: the measure that comes first. What a trial collects says nothing of learners from demonstrations, who
            play no evidence, nor of learners that adapt only after a trial; where there are no others, it is the return
            of single episodes.
        k: the K at which they are compared: the largest of the suite's that all of ``finished`` reach.
    """

    info: FamilyInfo
    evidence: Evidence
    learners: tuple[str, ...]
    finished: tuple[str, ...]
    judged: tuple[str, ...]
    references: tuple[str, ...]
    metric: str
    k: int

    @property
    def family(self) -> str:
        """Its name in the suite."""
        return self.info.name

    @property
    def demonstrated(self) -> bool:
        """Whether its learners adapt on demonstrations."""
        return self.evidence == DEMONSTRATIONS

    @property
    def title(self) -> str:
        """``point`` or ``point, from demonstrations``."""
        return f"{self.family}, {FROM_DEMONSTRATIONS}" if self.demonstrated else self.family

    @property
    def episode_metric(self) -> str:
        """The measure of single episodes."""
        return self.info.episode_metric

    @property
    def by_trial(self) -> bool:
        """Whether returns of whole trials are compared."""
        return self.metric == TRIAL_RETURN

    def at(self, k: int) -> Section:
        """The same learners, compared by single episodes after K = ``k``."""
        return replace(self, judged=self.finished, metric=self.episode_metric, k=k)

    @property
    def policies(self) -> list[tuple[str, RunKind]]:
        """(name, kind) of all learners, then of the scripted policies."""
        return [*((name, "algorithm") for name in self.learners), *((name, "reference") for name in self.references)]


def sections(grid: Grid, summary: Summary) -> tuple[Section, ...]:
    """Every section of a suite.

    Families without a single result are left out: nothing is known about them.
    """
    learners: dict[tuple[str, Evidence], list[str]] = {}
    for (family, name), run in grid.pairs.items():
        if run.kind == "algorithm" and family in summary.families:
            learners.setdefault((family, run.evidence), []).append(name)
    return tuple(
        _section(summary, summary.families[family], evidence, tuple(names))
        for (family, evidence), names in learners.items()
    )


def _section(summary: Summary, info: FamilyInfo, evidence: Evidence, learners: tuple[str, ...]) -> Section:
    family, demonstrated = info.name, evidence == DEMONSTRATIONS
    finished = summary.finished("algorithm", family, evidence)
    tests = {name: summary.tests[family, name] for name in finished}
    within = [name for name in finished if not demonstrated and tests[name].adapts_within(info.episodes_per_trial)]
    by_trial = info.headline == TRIAL_RETURN and bool(within)
    out = info.learning if demonstrated else frozenset[str]()
    return Section(
        info=info,
        evidence=evidence,
        learners=learners,
        finished=finished,
        judged=tuple(within) if by_trial else finished,
        references=tuple(name for name in summary.finished("reference", family) if name not in out),
        metric=info.headline if by_trial else info.episode_metric,
        k=common(info.k, tests.values()),
    )
