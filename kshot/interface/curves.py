"""K-curves of tables of results, as the reports draw them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from kshot import seeding
from kshot.interface.frames import COLUMNS, METRICS
from kshot.reporting import stats, style
from kshot.reporting.figures import _common, _curves
from kshot.reporting.looks import looks, reference_line
from kshot.reporting.names import DEMONSTRATIONS, METRIC_NAMES, ORACLE, RANDOM, TASK_BLIND, TRIAL_RETURN, policy_name

Array = NDArray[np.float64]
_CHOICES = ("family", "group")
"""Columns of which a curve shows one value."""
_UNLEARNING = (RANDOM, TASK_BLIND, ORACLE)
"""Scripted policies that are the same in every episode of a trial."""


def plot_k_curve(frame: pd.DataFrame, ax: Axes | None = None, *, metric: str = "return") -> Axes:
    """Draw what policies of one family reach after K episodes of evidence: the mean over runs, with its interval.

    The band is the 95 % bootstrap interval over runs from five runs on, and the range of three or four; fewer have
    neither. A learner that takes in blocks of episodes is a step, held until the next block. Where amounts of evidence
    between two points were not evaluated, no line joins them, and the interval is a whisker.

    Args:
        frame: rows of ``load_results`` or ``evaluate``, or several of these tables put together by ``pandas.concat``;
            of one family, and with actions of one kind for each policy.
        ax: where to draw; axes of a new figure in kshot's look if left out.
        metric: the score, one of the columns of the frame.

    Returns:
        The axes.

    Raises:
        ValueError: the frame is no such table, has no row with that score, or rows of several families, classes of
            tasks, kinds of evidence or of actions: the message says which to choose from.

    Examples:
        >>> frame = kshot.load_results("laptop")
        >>> kshot.plot_k_curve(frame[frame["family"] == "nav2d"])
    """
    rows = _checked(frame, metric)
    resolution = plt.rcParams["figure.dpi"]
    with style.look():
        if ax is None:
            size = (style.PANEL_WIDTH + 1.6, style.PANEL_HEIGHT + 0.4)  # room for the legend beside the panel
            ax = plt.subplots(figsize=size, dpi=resolution, layout="constrained")[1]
        learners, scripted = (rows[rows["kind"] == kind] for kind in ("algorithm", "reference"))
        shown = learners if len(learners) else scripted
        ks = sorted({0, *shown["k"]})
        handles = _draw_learners(ax, learners, metric, ks[-1])
        handles += _draw_scripted(ax, scripted, metric, ks[-1], bool((learners["evidence"] == DEMONSTRATIONS).any()))
        if len(ks) > 1:
            _common.evidence_axis(ax, ks)
        ax.set_xlabel(_common.evidence_label(shown["evidence"].iloc[0]))
        style.say_scale(ax.xaxis, ", ")
        ax.set_ylabel(METRIC_NAMES[metric])
        ax.set_title(f"{rows['family'].iloc[0]} ({_counts(shown)})")
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return ax


def _checked(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows that have the score, with the name of each line. Raises ValueError as ``plot_k_curve``."""
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise ValueError(f"expected a table of kshot.load_results or kshot.evaluate; this one has no {missing[0]!r}")
    if metric == TRIAL_RETURN or metric not in METRICS:
        known = ", ".join(name for name in METRICS if name != TRIAL_RETURN)
        raise ValueError(f"metric {metric!r} is no score that depends on K; expected one of {known}")
    rows = frame[frame[metric].notna()]
    if not len(rows):
        raise ValueError(f"no row of the frame has a {metric}")
    for column in _CHOICES:
        _check_one(rows, column)
    _check_one(rows[rows["kind"] == "algorithm"], "evidence")
    several = rows["suite"].nunique() > 1
    names = [
        f"{name} ({suite})" if several else name for name, suite in zip(rows["algorithm"], rows["suite"], strict=True)
    ]
    rows = rows.assign(line=names)
    for _, of in rows.groupby("line", sort=False):
        _check_one(of, "actions")
    if rows.duplicated(["line", "kind", "seed", "k"]).any():
        raise ValueError("a run has several rows at one k: was a table put together with itself?")
    return rows


def _check_one(rows: pd.DataFrame, column: str) -> None:
    values = list(dict.fromkeys(rows[column]))
    if len(values) > 1:
        text = f"the frame has rows of several values of {column!r} ({', '.join(map(repr, values))})"
        raise ValueError(f"{text}; choose one, for example frame[frame[{column!r}] == {values[0]!r}]")


def _draw_learners(ax: Axes, rows: pd.DataFrame, metric: str, last: int) -> list[Line2D]:
    names = list(dict.fromkeys(rows["line"]))
    found, handles = looks(names), []
    for name in names:
        of = rows[rows["line"] == name]
        limit = of["limit"].min()
        end = last if pd.isna(limit) else min(last, int(limit))
        _curves.draw(ax, _line(of, metric), found[name], policy_name(name), block=int(of["block"].iloc[0]), end=end)
        handles.append(_common.legend_line(found[name], policy_name(name)))
    return handles


def _draw_scripted(ax: Axes, rows: pd.DataFrame, metric: str, last: int, demonstrated: bool) -> list[Line2D]:
    """Scripted policies: a level each, or a curve where they may learn over the episodes of a trial."""
    handles = []
    for name in dict.fromkeys(rows["line"]):
        of = rows[rows["line"] == name].sort_values("k")
        policy = str(of["algorithm"].iloc[0])
        color, dashes = reference_line(policy)
        options: dict[str, Any] = {"color": color, "linestyle": dashes, "linewidth": 1.2, "zorder": 1.5}
        # Where K counts demonstrations, the episodes of a trial have no place on the axis.
        if demonstrated or len(of) == 1 or policy in _UNLEARNING:
            ax.axhline(float(of[metric].mean()), **options)
        else:
            within = of[of["k"] <= last]
            ax.plot(within["k"], within[metric], **options)
        handles.append(Line2D([], [], color=color, linestyle=dashes, linewidth=1.2, label=policy_name(str(name))))
    return handles


def _line(rows: pd.DataFrame, metric: str) -> _curves.Line:
    """The curve of one learner: at each k the mean over its runs, with the interval that reports give."""
    suite, family, algorithm = (str(rows[name].iloc[0]) for name in ("suite", "family", "algorithm"))
    points: list[tuple[int, stats.Estimate]] = []
    for k, of in rows.sort_values(["k", "seed"]).groupby("k"):
        # The draws of runs are those of the reports, and the same at every point: intervals can be compared.
        generator = seeding.generator("bootstrap", suite, family, algorithm)
        points.append((int(str(k)), stats.estimate([of[metric].to_numpy()], stats.mean, generator)))
    values = np.array([(found.value, found.lo, found.hi) for _, found in points], dtype=np.float64)
    return _curves.Line(np.array([k for k, _ in points], dtype=np.float64), values.T)


def _counts(rows: pd.DataFrame) -> str:
    """``5 seeds``, or ``3 to 5 seeds``."""
    counts: Sequence[int] = rows.groupby("line")["seed"].nunique().tolist()
    low, high = min(counts), max(counts)
    return f"{low if low == high else f'{low} to {high}'} seed{'' if high == 1 else 's'}"
