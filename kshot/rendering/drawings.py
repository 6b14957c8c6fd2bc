"""Drawings of the families that are worlds in the plane: grids and points.

A drawing is a function of a task, the path of an episode [steps + 1, D] and the step t to show, and gives an image
[SIDE, SIDE, 3] of uint8. A family in ``KSHOT_PATH`` has one if its module has such a function called ``picture``.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
from PIL import Image, ImageDraw

from kshot.rendering.video import PAPER
from kshot.types import Array, Task

Drawing = Callable[[Task, Array, int], Array]
SIDE = 320
"""Pixels along the side of a picture."""
_FINE = 3
"""Drawn so many times larger and reduced, so that edges are smooth."""
_LINES, _TRAIL, _AGENT = "#c9c9c9", "#0072b2", "#d55e00"
_GOAL, _REACH, _AVOID = "#009e73", "#bfe5d9", "#dd0000"


def drawing(name: str, module: ModuleType) -> Drawing | None:
    """The drawing of a family's module, by its name; None where there is none."""
    own: Drawing | None = getattr(module, "picture", None)
    return own or _DRAWINGS.get(name)


class _Sheet:
    """A square of the plane, from ``low`` to ``high`` in both coordinates, with y upwards."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._scale = low, SIDE * _FINE / (high - low)
        self.image = Image.new("RGB", (SIDE * _FINE, SIDE * _FINE), PAPER)
        self.draw = ImageDraw.Draw(self.image)

    def at(self, point: Array) -> tuple[float, float]:
        x, y = (point - self._low) * self._scale
        return float(x), float(SIDE * _FINE - y)

    def disc(self, center: Array, radius: float, fill: str | None, outline: str | None = None) -> None:
        x, y = self.at(center)
        size = radius * self._scale
        self.draw.ellipse((x - size, y - size, x + size, y + size), fill=fill, outline=outline, width=2 * _FINE)

    def square(self, center: Array, half: float, fill: str | None, outline: str, width: float = 1.0) -> None:
        (left, bottom), (right, top) = self.at(center - half), self.at(center + half)
        self.draw.rectangle((left, top, right, bottom), fill=fill, outline=outline, width=round(width * _FINE))

    def line(self, points: Array, colour: str = _TRAIL, width: float = 2.0) -> None:
        if len(points) > 1:
            self.draw.line([self.at(point) for point in points], colour, round(width * _FINE), joint="curve")

    def array(self) -> Array:
        return np.asarray(self.image.resize((SIDE, SIDE), Image.Resampling.BOX))


def gridnavi(task: Task, path: Array, t: int) -> Array:
    """The goal's cell, the agent and where it has been."""
    from kshot.envs.gridnavi import grid

    sheet = _Sheet(-0.55, grid.SIDE - 0.45)
    for cell in grid.CELLS:
        sheet.square(cell, 0.5, _REACH if tuple(cell) == tuple(task["goal"]) else PAPER, _LINES)
    sheet.line(path[: t + 1])
    sheet.disc(path[t], 0.22, _AGENT)
    return sheet.array()


def spritegrid(task: Task, path: Array, t: int) -> Array:
    """The pixels that learners see; cells with the goal's sprite framed in white, with an obstacle's in red."""
    from kshot.envs.spritegrid import Layouts, pictures

    layout = Layouts.decode(path[:1, 2:])
    states = layout.sprite.shape[1]
    side = round(states**0.5)
    pixels = pictures.render(layout.sprite, layout.ground, layout.keys)[0]
    # [x, y, row, column, 3] -> rows from the top (the largest y), columns by x.
    cells = pixels.reshape(side, side, pictures.SIDE, pictures.SIDE, 3).transpose(1, 2, 0, 3, 4)[::-1]
    whole = np.rint(255 * cells.reshape(side * pictures.SIDE, side * pictures.SIDE, 3)).astype(np.uint8)
    sheet = _Sheet(-0.5, side - 0.5)
    sheet.image.paste(Image.fromarray(whole).resize(sheet.image.size, Image.Resampling.NEAREST))
    for number, sprite in enumerate(layout.sprite[0]):
        if sprite > 0:
            colour = PAPER if sprite == 1 + task["sprites"][0] else _AVOID
            sheet.square(np.array(divmod(number, side)), 0.47, None, colour, 2.0)
    positions = path[: t + 1, :2]
    sheet.line(positions, "#ffffff", 4.0)
    sheet.line(positions, "#000000", 2.0)
    sheet.disc(positions[-1], 0.3, "#ffffff", "#000000")
    return sheet.array()


def nav2d(task: Task, path: Array, t: int) -> Array:
    """The square of possible goals, the goal with the distance that counts as success, and the path."""
    from kshot.envs.nav2d import GOAL_BOUND, SUCCESS_DISTANCE

    sheet = _Sheet(*_bounds(path, 1.6 * GOAL_BOUND))
    sheet.square(np.zeros(2), GOAL_BOUND, None, _LINES, 1.5)
    return _points(sheet, np.array(task["goal"]), SUCCESS_DISTANCE, path, t)


def nav2d_sparse(task: Task, path: Array, t: int) -> Array:
    """The half circle of possible goals, the part of the plane in which this one is felt, and the path."""
    from kshot.envs.nav2d_sparse.arc import GOAL_RADIUS, point

    sheet = _Sheet(*_bounds(path, 1.35))
    sheet.line(point(np.linspace(0.0, np.pi, 100)), _LINES, 1.5)
    return _points(sheet, point(np.array(task["angle"])), GOAL_RADIUS, path, t)


def _points(sheet: _Sheet, goal: Array, radius: float, path: Array, t: int) -> Array:
    sheet.disc(goal, radius, _REACH)
    width = float(sheet.image.width) / sheet._scale
    sheet.disc(goal, 0.008 * width, _GOAL)
    sheet.line(path[: t + 1])
    sheet.disc(path[0], 0.008 * width, _LINES)
    sheet.disc(path[t], 0.02 * width, _AGENT)
    return sheet.array()


def _bounds(path: Array, usual: float) -> tuple[float, float]:
    """From where to where to draw: the usual square, or one that holds the whole path."""
    furthest = 1.05 * float(np.abs(path).max())
    bound = usual if furthest <= usual else float(np.ceil(furthest))  # the same for many paths, to compare them
    return -bound, bound


_DRAWINGS: dict[str, Drawing] = {
    "gridnavi": gridnavi,
    "spritegrid": spritegrid,
    "nav2d": nav2d,
    "nav2d_sparse": nav2d_sparse,
}
DRAWN = tuple(sorted(_DRAWINGS))
"""The families that are drawn here."""
