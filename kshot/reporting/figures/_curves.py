"""Curves over K that claim nothing about evidence that nobody evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from kshot.reporting.looks import Look
from kshot.reporting.marks import mark
from kshot.reporting.names import policy_name
from kshot.reporting.schemas import Point
from kshot.reporting.values import Cell, digits_for

Array = NDArray[np.float64]

READING = (
    "A learner that adapts on blocks of episodes acts, within a block, by what it learnt from the complete ones: its "
    "curve is a step, held until the next block. Where numbers of episodes (or demonstrations) between two points were "
    "not evaluated, no line joins them, and the interval is a whisker."
)
"""How to read a curve, for captions."""
MARKS = 6
"""About so many markers tell whose a line with many points is."""
THIN = 0.9
"""Points of a line by actions that a learner is not compared by."""
BAND, WHISKER = 0.15, 0.6
"""How opaque intervals are drawn, as an area and as a line."""


@dataclass(frozen=True)
class Line:
    """What a curve is drawn from.

    Attributes:
        x: [n] evaluated points, increasing.
        values: [3, n] means, and the lower and upper ends of their intervals.
        texts: the numbers of each point in words; or none.
    """

    x: Array
    values: Array
    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, points: Iterable[Point]) -> Line:
        """A policy's points over K, with their intervals over runs."""
        points = tuple(points)
        rows = np.array([(p.k, p.mean, p.mean_lo, p.mean_hi) for p in points], dtype=np.float64).reshape(-1, 4)
        digits = digits_for(rows[:, 1])
        return cls(rows[:, 0], rows[:, 1:].T, tuple(_in_words(point, digits) for point in points))

    @classmethod
    def of_frame(cls, frame: pd.DataFrame, x: str, mean: str, low: str, high: str) -> Line:
        """The same from columns of a table."""
        return cls(frame[x].to_numpy(dtype=np.float64), frame[[mean, low, high]].to_numpy(dtype=np.float64).T)

    def pieces(self, block: int) -> list[Line]:
        """The stretches between which nothing that could be evaluated was left out."""
        found = pieces([int(k) for k in self.x], block)
        return [Line(self.x[piece], self.values[:, piece], self.texts[piece]) for piece in found]

    def held(self, block: int, end: int) -> Line:
        """The last point repeated where a step is held until the next block or the end."""
        last = min(self.x[-1] + block, end)
        if block <= 1 or last <= self.x[-1]:
            return self
        return Line(np.append(self.x, last), np.concatenate([self.values, self.values[:, -1:]], axis=1), self.texts)


def pieces(ks: Sequence[int], block: int = 1) -> list[slice]:
    """The stretches of evaluated points between which nothing that could be evaluated was left out.

    Args:
        ks: evaluated points, increasing.
        block: the step from one policy to the next: so many episodes are adapted on at a time.
    """
    breaks = [i + 1 for i in range(len(ks) - 1) if ks[i + 1] - ks[i] > block]
    return [slice(first, last) for first, last in zip([0, *breaks], [*breaks, len(ks)], strict=True) if last > first]


def _in_words(point: Point, digits: int) -> str:
    """``learner, K = 10: 0.84 [0.72 to 0.92], 3 runs, sampled actions``."""
    runs = "scripted" if point.kind == "reference" else f"{point.n_seeds} run{'' if point.n_seeds == 1 else 's'}"
    value = Cell(point.mean, digits, point.mean_lo, point.mean_hi, point.n_seeds)
    return f"{policy_name(point.algorithm)}, K = {point.k}: {value}, {runs}, {point.mode} actions"


def marked(points: int, place: int, of: int) -> list[int]:
    """The points of a long line that have its marker: about ``MARKS``, and not those of the other lines.

    Args:
        points: how many there are.
        place: of the line among those that are drawn, from 0.
        of: how many lines there are.
    """
    step = max(1, points // MARKS)
    return list(range(place * step // of, points, step))


def draw(axes: Axes, line: Line, look: Look, policy: str = "", *, block: int = 1, end: int = 0) -> None:
    """A curve's points, joined as far as they were evaluated, with their intervals.

    Args:
        axes: where.
        line: the points.
        look: how they are drawn.
        policy: whose they are.
        block: as in ``pieces``; steps are held for so many.
        end: no step is held beyond this.
    """
    for piece in line.pieces(block):
        held = piece.held(block, end)
        mean, low, high = held.values
        if len(held.x) == 1:
            ends = [held.x[0], held.x[0]], [low[0], high[0]]
            mark(axes.plot(*ends, color=look.color, alpha=WHISKER, linewidth=1.2), policy)
        else:
            step: Literal["post"] | None = "post" if block > 1 else None
            mark(axes.fill_between(held.x, low, high, step=step, color=look.color, alpha=BAND, linewidth=0), policy)
        options: dict[str, Any] = {"drawstyle": "steps-post" if block > 1 else "default"}
        points = list(range(len(piece.x)))  # what a step is held to was not evaluated by itself
        options |= {"color": look.color, "marker": look.marker, "linestyle": look.dashes, "markevery": points}
        mark(axes.plot(held.x, mean, **options), policy, piece.texts)


def draw_thin(axes: Axes, line: Line, look: Look, policy: str, *, block: int, end: int) -> None:
    """The same without intervals, as a thin line; a point that nothing joins is a small one."""
    for piece in line.pieces(block):
        held = piece.held(block, end)
        options: dict[str, Any] = {"drawstyle": "steps-post" if block > 1 else "default"}
        options |= {"marker": look.marker, "markersize": 2.5} if len(held.x) == 1 else {}
        options |= {"color": look.color, "linewidth": THIN, "alpha": 0.45, "linestyle": look.dashes}
        mark(axes.plot(held.x, held.values[0], **options), policy, other=True)
