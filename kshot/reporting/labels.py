"""Names of lines, beside them: to the right of the axes, above them, or at the end of a curve; and names of points.

A label keeps the value of its line and stands there by itself, whatever the limits and the scale come to be. What would
overlap is moved apart by ``place``, when limits and layout are final.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.transforms import Transform

Array = npt.NDArray[np.float64]

FONT = 7.5
LINE = 1.25 * FONT
"""Points from one label to the next that is moved out of its way; n labels move by at most n - 1 of these."""
ASIDE = 9
"""Points from the right end of the axes to a label: room for a leader."""
TIER, OVER = 9, 3
"""Points from one line of names above the axes to the next, and from the axes to the first."""
DOT, GAP, RINGS = 5, 1, 8
"""Points from the middle of a marker within which no name stands; around a name; the distances tried for one."""
_TOUCHING = 0.5
"""Points within which a label counts as standing at its line."""


class LostLine(ValueError):
    """A label's line lies where nobody sees it."""


class Label(Annotation):
    """The name of a line.

    Attributes:
        value: where the line stands, in data units: the height of a level, the x of a vertical line.
    """

    def __init__(
        self,
        axes: Axes,
        text: str,
        value: float,
        at: tuple[float, float],
        coords: Transform,
        color: str,
        start: tuple[float, float] = (0, 0.5),
    ):
        leader = {"arrowstyle": "-", "linewidth": 0.6, "color": color, "shrinkA": 1, "shrinkB": 0, "relpos": start}
        super().__init__(
            text,
            at,
            xytext=(0, 0),
            xycoords=coords,
            textcoords="offset points",
            arrowprops=leader,
            annotation_clip=False,
            color=color,
            fontsize=FONT,
        )
        self.value = float(value)
        self.set_clip_on(False)
        axes.add_artist(self)
        self._leader = self.arrowprops, self.arrow_patch
        self.lead(False)

    def lead(self, visible: bool) -> None:
        """Whether a thin line joins the label to its line."""
        # Taken away, not hidden: how far a hidden one would reach is worked out all the same, at ten times the cost.
        self.arrowprops, self.arrow_patch = self._leader if visible else (None, None)


class EndLabel(Label):
    """A name at the height of its line: right of the axes or, with ``x``, right of where its curve ends."""

    def __init__(self, axes: Axes, height: float, text: str, color: str, x: float | None = None):
        at, coords = ((1, height), axes.get_yaxis_transform()) if x is None else ((x, height), axes.transData)
        super().__init__(axes, text, height, at, coords, color)
        self.set_verticalalignment("center")
        self.x, self.aside = x, ASIDE if x is None else ASIDE / 2
        self.move(0)

    def move(self, points: float) -> None:
        """Stand so many points above the line, joined to it where that is not at its height."""
        self.set_position((self.aside, points))
        self.lead(abs(points) > _TOUCHING)


class TopLabel(Label):
    """A name above the axes at a vertical line."""

    def __init__(self, axes: Axes, x: float, text: str, color: str):
        super().__init__(axes, text, x, (x, 1), axes.get_xaxis_transform(), color)
        self.set_horizontalalignment("center")
        self.set_verticalalignment("bottom")
        self.move(0, 0)

    def move(self, points: float, tier: int) -> None:
        """Stand so many points right of the line, in a tier from 0."""
        self.set_position((points, OVER + TIER * tier))


class PointLabel(Label):
    """The name of a point, beside it within the axes."""

    def __init__(self, axes: Axes, x: float, y: float, text: str, color: str):
        super().__init__(axes, text, y, (x, y), axes.transData, color, start=(0.5, 0.5))
        self.set_horizontalalignment("center")
        self.set_verticalalignment("center")
        self.set_in_layout(False)  # it finds its place in the layout as it is
        self.x = x

    def move(self, right: float, up: float, led: bool) -> None:
        """Stand with the middle so many points right of and above the point; ``led`` joins the two by a line."""
        self.set_position((right, up))
        self.lead(led)


def place(figure: Figure) -> bool:
    """Move apart what would overlap in the layout as it is.

    Returns:
        Whether a panel's title had to make way, so that the figure has to be laid out, and this be done, again.

    Raises:
        LostLine: a label's line lies outside the axes' limits, where nobody sees it.
    """
    pushed = False
    for axes in figure.axes:
        ends = [artist for artist in axes.texts if isinstance(artist, EndLabel)]
        tops = [artist for artist in axes.texts if isinstance(artist, TopLabel)]
        points = [artist for artist in axes.texts if isinstance(artist, PointLabel)]
        _check_inside(axes, [*ends, *points], tops)
        if points:
            _place_points(axes, points)
        if ends:
            _place_ends(axes, ends)
        if tops:
            _place_tops(axes, tops)
            pushed = True
    return pushed


def _check_inside(axes: Axes, ends: Sequence[EndLabel | PointLabel], tops: Sequence[TopLabel]) -> None:
    places = [(label, label.value, axes.get_ylim()) for label in ends]
    places += [(label, label.x, axes.get_xlim()) for label in ends if label.x is not None]
    for label, at, limits in [*places, *((label, label.value, axes.get_xlim()) for label in tops)]:
        if not min(limits) <= at <= max(limits):
            reach = f"{limits[0]:g} to {limits[1]:g}"
            raise LostLine(f"the line of {label.get_text()} at {at:g} lies outside the axes, {reach}")


def _place_ends(axes: Axes, labels: list[EndLabel]) -> None:
    points = 72 / axes.figure.dpi
    heights = np.array([points * _display(axes, label.value, 1) for label in labels])
    box = axes.get_window_extent()
    order = np.argsort(heights, kind="stable")
    apart = spread(heights[order], LINE, points * box.y0, points * box.y1)
    for i, height in zip(order, apart, strict=True):
        labels[i].move(float(height - heights[i]))


def spread(heights: Array, gap: float, low: float, high: float) -> Array:
    """The places nearest to ``heights`` (by least squares) that are at least ``gap`` apart, within [low, high].

    None moves by more than (n - 1) ``gap``. Where there is no room for that, gaps shrink. This is isotonic regression
    of what is left of the heights when each is lowered by the gaps below it, by pooling adjacent violators (Barlow et
    al., Statistical Inference under Order Restrictions, 1972, section 1.2); clipping it keeps it the nearest.

    Args:
        heights: [n], increasing, within [low, high].
        gap: as in the first sentence, in the unit of the heights.
        low: the lowest place allowed.
        high: the highest.
    """
    below = min(gap, (high - low) / max(1, len(heights) - 1)) * np.arange(len(heights))
    pools: list[tuple[float, int]] = []  # (mean, members)
    for value in heights - below:
        mean, members = float(value), 1
        while pools and pools[-1][0] > mean:
            other, count = pools.pop()
            mean, members = (mean * members + other * count) / (members + count), members + count
        pools.append((mean, members))
    level = np.repeat([mean for mean, _ in pools], [members for _, members in pools])
    return np.asarray(np.clip(level, low, high - below[-1]) + below)


def _place_tops(axes: Axes, labels: list[TopLabel]) -> None:
    """In as many tiers as it takes; none sticks out of the axes sideways where that can be helped."""
    points = 72 / axes.figure.dpi
    box = axes.get_window_extent()
    ends: list[float] = []  # the right end of the last name of each tier
    for label in sorted(labels, key=lambda item: (_display(axes, item.value, 0), item.get_text())):
        at = points * _display(axes, label.value, 0)
        label.lead(False)
        half = points * label.get_window_extent().width / 2
        middle = max(min(at, points * box.x1 - half), points * box.x0 + half)
        tier = next((i for i, end in enumerate(ends) if middle - half > end + FONT / 3), len(ends))
        ends[tier : tier + 1] = [middle + half]
        label.move(middle - at, tier)
    axes.set_title(axes.get_title(loc="left"), loc="left", pad=OVER + TIER * len(ends) + 4)


def _place_points(axes: Axes, labels: list[PointLabel]) -> None:
    """Each as near to its point as it can be without touching another name, a point, or the axes' edge.

    Places are tried from the nearest on, first right of the point, then left, above and below. Where none is free,
    the one that covers the least is taken.
    """
    scale = 72 / axes.figure.dpi
    box = axes.get_window_extent()
    inside = np.array([box.x0, box.y0, box.x1, box.y1]) * scale
    at = scale * axes.transData.transform([(label.x, label.value) for label in labels])
    lines = np.array([_line_box(line) for line in axes.lines if np.size(line.get_xdata()) > 1]).reshape(-1, 4) * scale
    taken = [np.array([x - DOT, y - DOT, x + DOT, y + DOT]) for x, y in at]
    for i in np.lexsort((-at[:, 0], -at[:, 1])):
        label = labels[i]
        label.lead(False)
        extent = label.get_window_extent()
        half = scale * np.array([extent.width, extent.height]) / 2
        best, least = (half[0] + DOT, 0.0, False), np.inf
        others = np.array([*taken[:i], *taken[i + 1 :]]).reshape(-1, 4)
        for ring, right, up in _places(half):
            middle = at[i] + (right, up)
            own = np.concatenate([middle - half - GAP, middle + half + GAP])
            outside = np.maximum(inside[:2] - own[:2], 0).sum() + np.maximum(own[2:] - inside[2:], 0).sum()
            covered, crossed = _shared(own, others), _shared(own, lines)
            led = at[i] + np.linspace(0, 1, 9)[:, None] * (right, up) if ring else at[i][None]
            through = ((led[:, None] > others[:, :2]) & (led[:, None] < others[:, 2:])).all(axis=2).any(axis=0)
            # A line behind a name, or a name behind its leader, can be lived with, but is worth a few steps aside.
            badness = 100 * (outside + covered.sum()) + 3 * (crossed > 0).sum() + 2 * through.sum() + ring
            if badness < least:
                best, least = (right, up, ring > 0), badness
        label.move(*best)
        middle = at[i] + best[:2]
        taken.append(np.concatenate([middle - half, middle + half]))


def _places(half: Array) -> Iterator[tuple[int, float, float]]:
    """(steps away, right, up) of the middle of a name around its point, given half its width and height."""
    for ring in range(RINGS):
        x, y = half + DOT + ring * FONT
        for right, up in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)):
            yield ring, right * x, up * y


def _line_box(line: Line2D) -> Array:
    """Left, lower, right and upper end of a line in pixels, with its width."""
    ends = line.get_transform().transform(np.column_stack(line.get_data()).astype(np.float64))
    return np.concatenate([ends.min(axis=0) - 1, ends.max(axis=0) + 1])


def _shared(box: Array, others: Array) -> Array:
    """[n] area that a box has in common with each of ``others`` [n, 4]."""
    both = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return np.asarray(np.clip(both, 0, None).prod(axis=1))


def _display(axes: Axes, value: float, axis: int) -> float:
    """Pixels from the figure's left or lower end."""
    blended = (axes.get_xaxis_transform(), axes.get_yaxis_transform())[axis]
    point = (value, 0) if axis == 0 else (0, value)
    return float(blended.transform(point)[axis])
