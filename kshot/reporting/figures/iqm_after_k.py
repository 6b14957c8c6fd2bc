"""Interquartile mean of normalised scores after K episodes, over families."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kshot import seeding
from kshot.reporting import stats
from kshot.reporting.across import Comparison, comparisons
from kshot.reporting.figures import _across, _common, _curves
from kshot.reporting.figures._curves import Line
from kshot.reporting.looks import looks
from kshot.reporting.results import Array, Results
from kshot.reporting.schemas import Point
from kshot.reporting.sections import Section

NAME = "iqm_after_k"
TITLE = "IQM of normalised scores after K"
PLACES = {"together": 0}
CAPTION = (
    "Interquartile mean, over the runs of all families of a panel, of the normalised score of single episodes (0: "
    "random policy, 1: scripted oracle) after each K at which every one of these families was evaluated, by "
    f"{_common.ACTIONS}. Bands and whiskers: 95 % bootstrap interval over seeds, stratified by family, from five seeds "
    "on. Each panel holds learners with scores on the same families; those that share too few with others are left "
    "out. No line joins two K between which a learner would have adapted without having been evaluated; one that "
    "adapts on blocks of episodes acts, within a block, by what it learnt from the complete ones."
)


def concerns(results: Results) -> list[Section]:
    """The sections of all panels."""
    return _across.concerned(results, _comparisons(results, results.sections))


def draw(results: Results, sections: Sequence[Section]) -> Figure:
    return _across.draw(results, _comparisons(results, sections), _panel)


def _comparisons(results: Results, sections: Sequence[Section]) -> list[Comparison]:
    """Learners by the families on which they have scores; those that share several families and several K."""
    found = []
    for evidence in results.summary.evidences:
        scored: dict[str, list[Section]] = {}
        for section in (section for section in sections if section.evidence == evidence):
            random, oracle = results.summary.scale(section.family, section.episode_metric)
            for name in section.finished if oracle > random else ():
                scored.setdefault(name, []).append(section)
        found += [one for one in comparisons(scored) if len(_shared(one)) > 1]
    return found


def _shared(shown: Comparison) -> list[int]:
    """The K at which all families were evaluated."""
    first, *others = (section.info.k for section in shown.sections)
    return [k for k in first if all(k in ks for ks in others)]


def _panel(axes: Axes, results: Results, shown: Comparison) -> None:
    for name in shown.learners:
        curve = _curve(results, shown, name)
        blocks = [results.summary.tests[section.family, name].block for section in shown.sections]
        for piece in _pieces([int(k) for k in curve.x], blocks):
            part = Line(curve.x[piece], curve.values[:, piece])
            # Within a piece nothing is left out: it is one stretch, of steps where someone adapts on blocks.
            whole = 1 if max(blocks) == 1 else int(np.ptp(part.x)) + 2
            _curves.draw(axes, part, looks(results.grid.learners)[name], block=whole)
    _common.evidence_axis(axes, _shared(shown))
    axes.set_xlabel(_common.evidence_label(shown.sections[0].evidence))
    axes.set_ylabel("normalised score (IQM)")


def _curve(results: Results, shown: Comparison, name: str) -> Line:
    """Interquartile means, with their intervals, at every K that the learner reaches on all families."""
    ks, values = [], []
    for k in _shared(shown):
        strata = [_scores(results, section, name, k) for section in shown.sections]
        if all(scores.size for scores in strata):
            # The same draws of runs at every K.
            generator = seeding.generator("bootstrap", results.grid.suite, "families", name)
            found = stats.estimate(strata, stats.trimmed, generator)
            ks.append(k)
            # The range of few runs is one of means over a run's families: it need not hold the mean of the middle half.
            few = stats.is_range(min(map(len, strata)))
            values.append((found.value, *((np.nan, np.nan) if few else (found.lo, found.hi))))
    return Line(np.array(ks, dtype=np.float64), np.array(values).reshape(-1, 3).T)


def _scores(results: Results, section: Section, name: str, k: int) -> Array:
    """[runs] normalised scores of single episodes; none where the learner does not reach K."""
    point: Point | None = results.summary.point(section.family, name, section.episode_metric, k)
    return stats.normalise(results.scores.at(point), *results.summary.scale(section.family, section.episode_metric))


def _pieces(ks: Sequence[int], blocks: Sequence[int]) -> list[slice]:
    """The stretches of K between which no family's learner adapts, by blocks of so many episodes each."""
    breaks = [
        i + 1
        for i, (before, after) in enumerate(pairwise(ks))
        if any((after - 1) // block > before // block for block in blocks)
    ]
    return [slice(first, last) for first, last in zip([0, *breaks], [*breaks, len(ks)], strict=True)]
