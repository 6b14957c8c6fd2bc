"""What several figures share: panels by family and evidence, names, the lines of scripted policies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kshot.reporting import style
from kshot.reporting.data import BAYES, DEMONSTRATIONS, METRIC_NAMES, Data, Section
from kshot.reporting.figures import _curves
from kshot.reporting.labels import EndLabel
from kshot.reporting.layout import part_title, title

OTHER = {"sampled": "mean", "mean": "sampled"}
"""The kind of actions that a curve is not compared by."""
BANDS = "95 % bootstrap interval over runs (the range of the runs where there are three or four)"
"""What bands and bars show, for captions."""
ACTIONS = "the actions that each learner is meant to be tested with (sampled or mean, as the tables say)"
WIDE = 25
"""From this ratio of the largest to the smallest evidence on, the axis is logarithmic beyond 1."""


def sections(data: Data) -> list[Section]:
    """The sections in which a learner has results."""
    return [(family, evidence) for family, evidence, _ in data.sections if data.algorithms(family, evidence)]


def sections_with_success(data: Data) -> list[Section]:
    """Sections of the families in which something, be it the oracle, ever succeeds: others define no success."""
    rows = data.summary[data.summary["metric"] == "success_any"]
    defined = set(rows.loc[rows["mean"] > 0, "family"])
    return [section for section in sections(data) if section[0] in defined]


def heading(data: Data, section: Section) -> str:
    """``ml10 (5 seeds)``, with the evidence, on a second line, where it is not the usual one."""
    family, evidence = section
    lines = part_title(family, evidence).replace(", ", ",\n")
    return f"{lines} ({seeds(data, section)})"


def seeds(data: Data, section: Section) -> str:
    """``5 seeds``; ``3 to 5 of 5 seeds`` where some runs did not make it."""
    family, evidence = section
    rows = data.summary
    rows = rows[(rows["family"] == family) & (rows["kind"] == "algorithm") & (rows["evidence"] == evidence)]
    rows = rows[rows["metric"] == "return"]
    low, high, expected = rows["n_seeds"].min(), rows["n_seeds"].max(), rows["n_seeds_expected"].max()
    plural = "" if expected == 1 else "s"
    if low == high == expected:
        return f"{expected} seed{plural}"
    return f"{low if low == high else f'{low} to {high}'} of {expected} seed{plural}"


def evidence_label(evidence: str) -> str:
    return "demonstrations seen, K" if evidence == DEMONSTRATIONS else "episodes of experience, K"


def learner_handles(data: Data, shown: Sequence[Section]) -> list[Line2D]:
    """Legend entries of the learners in the sections that a figure shows."""
    looks, present = style.looks(data.names), {name for section in shown for name in data.algorithms(*section)}
    return [
        Line2D([], [], color=look.color, marker=look.marker, linestyle=look.dashes, label=title(name))
        for name, look in ((name, looks[name]) for name in data.algorithms() if name in present)
    ]


def draw_curve(axes: Axes, data: Data, section: Section, metric: str) -> None:
    """The learners' curves over K by the actions that each is meant to be tested with; the other kind as thin lines."""
    family, evidence = section
    looks, ks = style.looks(data.names), data.families[family].k
    for name in data.algorithms(family, evidence):
        tested = data.tested(family, name)
        end = ks[-1] if tested.limit is None else min(ks[-1], tested.limit)
        other = data.curve(family, name, metric, OTHER[data.mode(family, name, metric)])
        _curves.draw_thin(axes, other, looks[name], block=tested.block, end=end)
        rows, ends = data.curve(family, name, metric), ("mean_lo", "mean_hi")
        _curves.draw(axes, rows, looks[name], block=tested.block, end=end, ends=ends)
    evidence_axis(axes, ks)
    axes.set_xlabel(evidence_label(evidence))


def evidence_axis(axes: Axes, ks: Sequence[int]) -> None:
    """The scale and the labels of an axis of K."""
    last = max(ks)
    if last > WIDE * min((k for k in ks if k > 0), default=1):
        # Some learners adapt on single episodes, others on blocks of dozens: a linear axis would hide the former.
        axes.set_xscale("symlog", linthresh=1, linscale=0.5)
        axes.set_xlim(-0.15, 1.15 * last)
        axes.minorticks_off()
    else:
        axes.set_xlim(-0.02 * last, 1.02 * last)
    shown = _ticks(ks, axes.xaxis.get_transform().transform(ks))
    axes.set_xticks(shown, [str(k) for k in shown])


def draw_references(axes: Axes, data: Data, section: Section, metric: str) -> None:
    """Scripted policies, named: a level each, or a curve where they get better within the trial that they play."""
    family = section[0]
    for name in data.references(section):
        color, dashes = style.reference_line(name)
        rows = data.curve(family, name, metric, data.mode(family, name, metric))
        if rows.empty:
            continue
        if (level := reference_level(data, section, name, metric)) is not None:
            axes.axhline(level, color=color, linestyle=dashes, linewidth=1.2, zorder=1.5)
            EndLabel(axes, level, title(name), color)
        else:
            rows = rows[rows["k"] <= data.families[family].k[-1]]  # a trial may be longer than the axis
            for piece in _curves.pieces([int(k) for k in rows["k"]]):
                part = rows.iloc[piece]
                axes.plot(part["k"], part["mean"], color=color, linestyle=dashes, linewidth=1.2, zorder=1.5)
            last = rows.iloc[-1]
            EndLabel(axes, last["mean"], title(name), color, x=float(last["k"]))


def reference_level(data: Data, section: Section, name: str, metric: str) -> float | None:
    """The level at which a scripted policy is drawn; None where it is a curve, or has no results."""
    rows = data.curve(section[0], name, metric, data.mode(section[0], name, metric))
    if rows.empty:
        return None
    # Where K counts demonstrations, a scripted policy's episodes have no place on the axis.
    flat = section[1] == DEMONSTRATIONS or is_flat(rows["mean"], rows["task_se"], data.scale(section[0], metric))
    return float(rows["mean"].mean()) if flat else None


def is_flat(means: Any, errors: Any, scale: tuple[float, float] = (np.nan, np.nan)) -> bool:
    """Whether a scripted policy's episodes show no learning.

    They differ by no more than the test tasks' noise; and, as few tasks have much of it, the last is not a fifth of the
    way from random to oracle (``scale``) better than the first.
    """
    values = np.asarray(means, dtype=np.float64)
    within_noise = np.ptp(values) <= 4 * np.nanmax(np.append(np.asarray(errors, dtype=np.float64), 0.0))
    gained = values[-1] - values[0] > 0.2 * abs(scale[1] - scale[0])  # False where the scale is not known
    return bool(within_noise and not gained)


def known_value(data: Data, family: str) -> tuple[str, float] | None:
    """The closed-form value of the best possible trial, where the family knows it."""
    value = data.families[family].known.get(BAYES)
    return None if value is None else (BAYES, value)


def metric_label(metric: str) -> str:
    return METRIC_NAMES[metric]


def _ticks(ks: Sequence[int], places: npt.NDArray[np.float64]) -> list[int]:
    """The evidence points whose labels do not touch, from the largest down; `places` are theirs along the axis."""
    ordered = sorted(zip(places, ks, strict=True), reverse=True)
    span = ordered[0][0] - ordered[-1][0]
    kept = ordered[:1]
    for place, k in ordered[1:]:
        if kept[-1][0] - place >= (0.012 + 0.018 * len(str(kept[-1][1]))) * span:
            kept.append((place, k))
    return [k for _, k in reversed(kept)]
