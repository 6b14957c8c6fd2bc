"""How normalised scores are spread over runs and families: the share of them above every threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kshot import seeding
from kshot.reporting import stats
from kshot.reporting.across import Comparison, comparisons
from kshot.reporting.figures import _across, _curves
from kshot.reporting.looks import looks
from kshot.reporting.results import Results
from kshot.reporting.sections import Section

NAME = "performance_profiles"
PLACES = {"together": 5}
CAPTION = (
    "Share of runs, of all families of a panel (which count equally), whose normalised headline score is above the "
    "value on the axis: 0 is the random policy, 1 the scripted oracle. Higher is better; a curve that is nowhere below "
    "another one's has the better scores throughout. Bands: pointwise 95 % bootstrap interval over seeds, stratified "
    "by family, from five seeds on (Agarwal et al. 2021). Each panel holds learners with scores on the same families; "
    "those that share too few with others are left out. What a curve lacks to 1 at the left edge lies below it."
)
LEAST, MARGIN = -0.5, 0.03
"""The lowest score on the axis, and the room beside its ends."""
MARKS = 5
"""Markers along a curve."""


def concerns(results: Results) -> list[Section]:
    """The sections of all panels."""
    return _across.concerned(results, _comparisons(results, results.sections))


def draw(results: Results, sections: Sequence[Section]) -> Figure:
    return _across.draw(results, _comparisons(results, sections), _panel)


def _comparisons(results: Results, sections: Sequence[Section]) -> list[Comparison]:
    """Learners by what they have normalised scores on; one family is enough where there are no more."""
    found = []
    for evidence in results.summary.evidences:
        scored: dict[str, list[Section]] = {}
        for section in (section for section in sections if section.evidence == evidence):
            for name in section.finished:
                if np.isfinite(results.normalised_scores(section, name)).any():
                    scored.setdefault(name, []).append(section)
        families = {section.family for of in scored.values() for section in of}
        found += comparisons(scored, least=min(2, len(families)))
    return found


def _panel(axes: Axes, results: Results, shown: Comparison) -> None:
    strata = {name: [results.normalised_scores(section, name) for section in shown.sections] for name in shown.learners}
    everything = np.concatenate([scores for of in strata.values() for scores in of])
    left = max(LEAST, min(0.0, everything.min())) - MARGIN
    right = max(1.0, everything.max()) + MARGIN
    for i, (name, of) in enumerate(strata.items()):
        look = looks(results.grid.learners)[name]
        # The share is that of scores above a threshold: it falls at every score, and is constant in between. Markers
        # stand elsewhere for every learner, so that those of equal curves can be seen.
        marks = left + (right - left) * (np.arange(MARKS) + (i + 0.5) / len(strata)) / MARKS
        scores = np.concatenate(of)
        at = np.unique(np.concatenate([[left, right], marks, scores[scores > left]]))
        share, low, high = stats.profile(of, at, seeding.generator("bootstrap", results.grid.suite, "families", name))
        axes.fill_between(at, low, high, step="post", color=look.color, alpha=_curves.BAND, linewidth=0)
        style: dict[str, Any] = {"color": look.color, "marker": look.marker, "linestyle": look.dashes}
        axes.plot(at, share, drawstyle="steps-post", markevery=np.searchsorted(at, marks).tolist(), **style)
    axes.set_xlim(left, right)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("normalised score")
    axes.set_ylabel("share of runs above it")
