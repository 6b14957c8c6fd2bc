"""Curves over K that claim nothing about evidence that nobody evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from kshot.reporting.style import Look

READING = (
    "A learner that adapts on blocks of episodes acts, within a block, by what it learnt from the complete ones: its "
    "curve is a step, held until the next block. Where numbers of episodes (or demonstrations) between two points were "
    "not evaluated, no line joins them, and the interval is a whisker."
)
"""How to read a curve, for captions."""
BAND, WHISKER = 0.15, 0.6
"""How opaque intervals are drawn, as an area and as a line."""


def pieces(ks: Sequence[int], block: int = 1) -> list[slice]:
    """The stretches of evaluated points between which nothing that could be evaluated was left out.

    Args:
        ks: evaluated points, increasing.
        block: the step from one policy to the next: so many episodes are adapted on at a time.
    """
    breaks = [i + 1 for i in range(len(ks) - 1) if ks[i + 1] - ks[i] > block]
    return [slice(first, last) for first, last in zip([0, *breaks], [*breaks, len(ks)], strict=True) if last > first]


def draw(
    axes: Axes, rows: pd.DataFrame, look: Look, *, block: int = 1, end: int = 0, x: str = "k", ends: tuple[str, str]
) -> None:
    """Points of ``rows``, joined as far as they were evaluated, with their intervals.

    Args:
        axes: where.
        rows: columns ``x``, mean and ``ends``; by increasing ``x``.
        look: how they are drawn.
        block: as in ``pieces``; steps are held for so many.
        end: no step is held beyond this.
        x: the column of the evaluated points.
        ends: the columns of the ends of their intervals.
    """
    for piece in pieces([int(k) for k in rows[x]], block):
        part = rows.iloc[piece]
        at, values = _held(part, x, ["mean", *ends], block, end)
        if len(at) == 1:
            axes.plot([at[0], at[0]], values[1:, 0], color=look.color, alpha=WHISKER, linewidth=1.2)
        else:
            step: Literal["post"] | None = "post" if block > 1 else None
            axes.fill_between(at, values[1], values[2], step=step, color=look.color, alpha=BAND, linewidth=0)
        options: dict[str, Any] = {"drawstyle": "steps-post" if block > 1 else "default"}
        points = list(range(len(part)))  # what a step is held to was not evaluated by itself
        axes.plot(
            at, values[0], color=look.color, marker=look.marker, linestyle=look.dashes, markevery=points, **options
        )


def draw_thin(axes: Axes, rows: pd.DataFrame, look: Look, *, block: int, end: int) -> None:
    """The same without intervals, as a thin line; a point that nothing joins is a small one."""
    for piece in pieces([int(k) for k in rows["k"]], block):
        at, values = _held(rows.iloc[piece], "k", ["mean"], block, end)
        options: dict[str, Any] = {"drawstyle": "steps-post" if block > 1 else "default"}
        options |= {"marker": look.marker, "markersize": 2.5} if len(at) == 1 else {}
        axes.plot(at, values[0], color=look.color, linewidth=0.9, alpha=0.45, linestyle=look.dashes, **options)


def _held(part: pd.DataFrame, x: str, columns: list[str], block: int, end: int) -> tuple[Any, Any]:
    """Places and [columns, places] values, the last repeated where a step is held until the next block or the end."""
    at, values = part[x].to_numpy(dtype=np.float64), part[columns].to_numpy(dtype=np.float64).T
    last = min(at[-1] + block, end)
    if block > 1 and last > at[-1]:
        at, values = np.append(at, last), np.concatenate([values, values[:, -1:]], axis=1)
    return at, values
