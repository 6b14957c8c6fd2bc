"""Two sets of results side by side: which learners differ, by how much, and what else differs between the two.

Every learner that both sides have is compared with itself, by the family's headline measure, at the largest K that both
sides were evaluated at and both of its versions reach: that is the test. (Reports compare learners with each other, at
the largest K that all of them reach; there, a learner that adapts on long blocks may not have adapted yet.) What it
reached at the other K is shown with its interval and not tested. ``compare_stats`` says how the test is made, and what
it holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from kshot.errors import ConfigError, suggest
from kshot.reporting.compare_sides import Side
from kshot.reporting.compare_stats import LEVEL, Contrast, TaskNoise, contrast, holm, task_noise
from kshot.reporting.evidence import common
from kshot.reporting.names import DEMONSTRATIONS, FROM_DEMONSTRATIONS, METRIC_NAMES, TRIAL_RETURN, policy_name
from kshot.reporting.schemas import Point
from kshot.reporting.stats import MINIMUM_RUNS
from kshot.types import Evidence

NAN = float("nan")
UNTESTED = f"no test: fewer than {MINIMUM_RUNS} seeds"


@dataclass(frozen=True)
class View:
    """One number of a learner on both sides.

    Attributes:
        metric: what is measured.
        k: after how many episodes or demonstrations; of a trial, its length.
        a: mean over the runs of A, None where it has none.
        b: the same of B.
        contrast: B - A; None where a side has none.
        noise: of the test tasks; likewise.
    """

    metric: str
    k: int
    a: Point | None
    b: Point | None
    contrast: Contrast | None = None
    noise: TaskNoise | None = None


@dataclass(frozen=True)
class Compared:
    """A learner on one family, as far as either side has it.

    Attributes:
        family: its name.
        evidence: what it adapts on.
        a: its name on side A, "" where A does not have it.
        b: its name on side B.
        headline: what is tested.
        by_k: what it reached at every K that both were evaluated at, by the measure of single episodes.
        corrected: p-value of the headline, corrected for all comparisons; NaN where there is no test.
    """

    family: str
    evidence: Evidence
    a: str
    b: str
    headline: View
    by_k: Sequence[View] = ()
    corrected: float = NAN

    @property
    def both(self) -> bool:
        return bool(self.a and self.b)

    @property
    def name(self) -> str:
        """As it is shown."""
        names = dict.fromkeys(policy_name(name) for name in (self.a, self.b) if name)
        return " / ".join(names)

    @property
    def section(self) -> str:
        """``point`` or ``point, from demonstrations``."""
        return f"{self.family}, {FROM_DEMONSTRATIONS}" if self.evidence == DEMONSTRATIONS else self.family

    @property
    def verdict(self) -> str:
        """``worse``, ``better``, or why neither."""
        found = self.headline.contrast
        if found is None:
            return f"only in {'A' if self.a else 'B'}" if not self.both else "not compared"
        if not found.tested:
            views = (self.headline.a, self.headline.b)
            few = any(point is not None and point.n_seeds < MINIMUM_RUNS for point in views)
            return UNTESTED if few else "no test: too few test tasks"
        if self.corrected >= LEVEL:
            return "not significant"
        return "worse" if found.difference < 0 else "better"


@dataclass(frozen=True)
class Comparison:
    """Everything that is shown of two sides.

    Attributes:
        a: what B is held against.
        b: the other.
        rows: every learner on every family that both have, in the order of A.
        notes: what a reader must know, a line each, with its severity as on the report's page.
    """

    a: Side
    b: Side
    rows: Sequence[Compared]
    notes: Sequence[tuple[str, str]] = field(default=())

    def with_verdict(self, verdict: str) -> list[Compared]:
        return [row for row in self.rows if row.verdict == verdict]

    @property
    def tested(self) -> int:
        """For how many comparisons p-values are corrected."""
        return sum(row.headline.contrast is not None and row.headline.contrast.tested for row in self.rows)

    @property
    def summary(self) -> str:
        """The outcome in one line."""
        if not self.tested:
            return f"nothing could be tested: it takes {MINIMUM_RUNS} seeds of a learner on each side"
        worse, better = (len(self.with_verdict(verdict)) for verdict in ("worse", "better"))
        return f"of {self.tested} comparisons, B is significantly worse in {worse} and better in {better}"


def compare(a: Side, b: Side, pairs: Sequence[str] = ()) -> Comparison:
    """Compare all learners that both sides have.

    Args:
        a: what B is held against.
        b: the other.
        pairs: ``<name in A>=<name in B>`` of learners that are to be compared although their names differ.

    Raises:
        ConfigError: the sides have no family in common, or a pair names a learner that a side does not have.
    """
    families = [family for family in a.families if family in b.families]
    if not families:
        theirs = ", ".join(b.families)
        raise ConfigError([f"{a.label} and {b.label} have no family in common: {', '.join(a.families)}; {theirs}"])
    renamed = _renamed(a, b, pairs)
    rows: list[Compared] = []
    for family in families:
        for evidence in dict.fromkeys([*a.learners(family).values(), *b.learners(family).values()]):
            rows += _section(a, b, family, evidence, renamed)
    tested = [row.headline.contrast.p if row.headline.contrast else NAN for row in rows]
    return Comparison(a, b, [replace(row, corrected=p) for row, p in zip(rows, holm(tested), strict=True)])


def _renamed(a: Side, b: Side, pairs: Sequence[str]) -> dict[str, str]:
    """B's name of every learner of A that has another one there."""
    found: dict[str, str] = {}
    for pair in pairs:
        names = pair.split("=")
        if len(names) != 2 or not all(names):
            raise ConfigError([f"--pair {pair}: expected two names, <name in A>=<name in B>"])
        for side, name, title in ((a, names[0], "A"), (b, names[1], "B")):
            known = {learner for family in side.families for learner in side.learners(family)}
            if name not in known:
                raise ConfigError([f"--pair {pair}: {title} has no learner {name!r}{suggest(name, known)}"])
        if names[0] in found or names[1] in found.values():
            raise ConfigError([f"--pair {pair}: one of them is in another pair already"])
        found[names[0]] = names[1]
    return found


def _section(a: Side, b: Side, family: str, evidence: Evidence, renamed: Mapping[str, str]) -> Iterator[Compared]:
    ours, theirs = (
        [name for name, adapts_on in side.learners(family).items() if adapts_on == evidence] for side in (a, b)
    )
    taken = {name for name in renamed.values() if name in theirs}
    pairs = []
    for name in ours:
        other = renamed.get(name, "" if name in taken else name)
        pairs.append((name, other if other in theirs else ""))
    matched = {other for _, other in pairs}
    pairs += [("", name) for name in theirs if name not in matched]
    ks = sorted(set(a.summary.families[family].k) & set(b.summary.families[family].k))
    headline = a.headline(family) or b.headline(family) or _guess(a, b, family)
    single = "return" if headline == TRIAL_RETURN else headline
    for name, other in pairs:
        metric = headline if headline == TRIAL_RETURN and _by_trial(a, b, family, name, other) else single
        sides = [(side, learner) for side, learner in ((a, name), (b, other)) if learner]
        at = common(ks, [side.summary.tests[family, learner] for side, learner in sides])
        shown = _view(a, b, family, name, other, metric, at)
        by_k = [_view(a, b, family, name, other, single, k) for k in ks] if name and other else []
        yield Compared(family, evidence, name, other, shown, [view for view in by_k if view.contrast is not None])


def _guess(a: Side, b: Side, family: str) -> str:
    """The headline measure where no suite says it: success where there is any, else return."""
    known = [side.summary.families_with_success for side in (a, b)]
    return "success_last" if any(family in families for families in known) else "return"


def _by_trial(a: Side, b: Side, family: str, name: str, other: str) -> bool:
    """Whether the return of a trial says what a learner does with evidence, on every side that has it."""
    lengths = set()
    for side, learner in ((a, name), (b, other)):
        if learner:
            point = side.point((family, learner), TRIAL_RETURN, 0)
            test = side.summary.tests[family, learner]
            if point is None or not test.adapts_within(point.k):
                return False
            lengths.add(point.k)
    return len(lengths) == 1


def _view(a: Side, b: Side, family: str, name: str, other: str, metric: str, k: int) -> View:
    first, second = (
        side.point((family, learner), metric, k) if learner else None for side, learner in ((a, name), (b, other))
    )
    k = next((point.k for point in (first, second) if point is not None and metric == TRIAL_RETURN), k)
    if first is None or second is None:
        return View(metric, k, first, second)
    noise = task_noise(_outcomes(a, first), _outcomes(b, second), _classes(a, b, family))
    return View(metric, k, first, second, contrast(a.scores.at(first), b.scores.at(second), noise), noise)


def _outcomes(side: Side, point: Point) -> pd.Series[float]:
    found = side.tasks.at(point)
    assert found is not None  # there is a point
    return found.set_axis(found.index.astype(str))


def _classes(a: Side, b: Side, family: str) -> pd.Series[str]:
    both = pd.concat([b.classes[family], a.classes[family]])
    return both[~both.index.duplicated(keep="last")]


def measure(view: View) -> str:
    """``return of a trial``, or ``return, K = 10``."""
    return METRIC_NAMES[view.metric] + ("" if view.metric == TRIAL_RETURN else f", K = {view.k}")


def numbers(comparison: Comparison) -> list[dict[str, Any]]:
    """Every number of a comparison, a row for each learner and measure: what ``compare.csv`` holds."""
    rows = []
    for row in comparison.rows:
        for kind, view in (("headline", row.headline), *(("by K", view) for view in row.by_k)):
            entry: dict[str, Any] = {"family": row.family, "evidence": row.evidence, "learner_a": row.a}
            entry |= {"learner_b": row.b, "source_a": comparison.a.source, "source_b": comparison.b.source}
            entry |= {"view": kind, "metric": view.metric, "k": view.k}
            for side, point in (("a", view.a), ("b", view.b)):
                taken = {"": "mean", "_lo": "mean_lo", "_hi": "mean_hi", "_seeds": "n_seeds", "_used_k": "k"}
                entry |= {f"{side}{end}": NAN if point is None else getattr(point, of) for end, of in taken.items()}
                entry[f"{side}_actions"] = "" if point is None else point.mode
            found, noise = view.contrast, view.noise
            entry |= {f"difference{end}": NAN for end in ("", "_lo", "_hi")} | {"over": "", "tasks": "", "df": NAN}
            if found is not None and noise is not None:
                entry |= {"difference": found.difference, "difference_lo": found.lo, "difference_hi": found.hi}
                over = "seeds and tasks" if found.tested else "tasks alone"
                entry |= {"over": over if np.isfinite(found.lo) else "", "df": found.df}
                entry["tasks"] = "the same" if noise.paired else "others"
            tested = kind == "headline" and found is not None
            entry |= {"p": found.p if tested and found else NAN, "p_corrected": row.corrected if tested else NAN}
            entry["verdict"] = row.verdict if kind == "headline" else ""
            rows.append(entry)
    return rows
