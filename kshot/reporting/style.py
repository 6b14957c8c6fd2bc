"""The look of the figures, their layout, and files that come out byte-identical."""

from __future__ import annotations

import gc
import io
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.scale import SymmetricalLogTransform

from kshot import records
from kshot.reporting import labels

FORMATS = ("pdf", "svg", "png")
PANEL_WIDTH, PANEL_HEIGHT = 4.6, 2.9
"""Inches of one panel. Text of 9 pt in a panel this wide stays readable when a phone shows it 350 px wide."""
LEAST_WIDTH, LEAST_HEIGHT = 1.6, 0.35
"""Inches of a panel within its axes; a figure in which names and legends leave less is made larger."""
_GROWTH, _GROWTHS = 1.2, 12
_COLUMN = 0.05
"""Panels that start within this share of the figure's width from its leftmost one stand in its first column."""
INK, GREY = "#22262b", "#6b7280"

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same glyphs everywhere
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    # A title stands on its axes, where nothing else is: matplotlib would measure all ticks to find that out.
    "axes.titley": 1.0,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-7, 10),  # no power of ten above the axes
    "axes.labelsize": 9,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "text.color": INK,
    "figure.facecolor": "white",
    "pdf.fonttype": 42,  # TrueType: text stays text in papers
    "svg.hashsalt": "kshot",  # element ids that do not change from run to run
    "figure.dpi": 200,  # laid out as it is saved: hinted text is wider at one resolution than at another
    "savefig.dpi": 200,
}
# What would carry the date or the library's version into the file.
_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}


class DrawingError(RuntimeError):
    """A figure cannot be drawn as it should be; the message names it."""


@contextmanager
def look() -> Iterator[None]:
    """What is drawn inside this has the look of the figures; the caller's matplotlib settings stay as they were."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        settings: Any = sns.axes_style("whitegrid") | _RC
        matplotlib.rcParams.update(settings)
        yield


@contextmanager
def context(name: str) -> Iterator[None]:
    """Drawing and saving the figure ``name`` happen inside this; the caller's matplotlib settings stay as they were.

    Whatever warns is an error: nobody sees a warning, and the picture goes out all the same. Only what libraries say
    about their own next versions is let through.

    Raises:
        DrawingError: something warned, or a label names a line that nobody sees.
    """
    with look(), warnings.catch_warnings():
        warnings.simplefilter("error")
        for coming in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", coming)
        collects = gc.isenabled()
        gc.disable()  # a figure is a web of cycles, needed until it is saved: searching it takes a tenth of the time
        try:
            yield
        except (Warning, labels.LostLine) as problem:
            raise DrawingError(f"figure {name}: {' '.join(str(problem).split())}") from problem
        finally:
            if collects:
                gc.enable()


def panels(rows: int, columns: int, height: float = PANEL_HEIGHT, **kwargs: Any) -> tuple[Figure, list[list[Axes]]]:
    """An empty figure with a grid of axes."""
    figure = _measured(Figure(figsize=(PANEL_WIDTH * columns, height * rows + 0.4)))
    axes = figure.subplots(rows, columns, squeeze=False, **kwargs)
    return figure, [list(row) for row in axes]


def legend(figure: Figure, handles: list[Any], columns: int = 4) -> None:
    """One legend below all panels, where it covers nothing; as many columns as the figure is wide enough for."""
    for count in range(min(columns, len(handles)), 0, -1):
        drawn = figure.legend(handles=handles, loc="outside lower center", ncols=count, handlelength=2.2)
        if drawn.get_window_extent().width <= figure.bbox.width - 0.25 * figure.dpi:
            break
        if count > 1:
            drawn.remove()


def empty(message: str) -> Figure:
    """A figure that says why there is nothing to see."""
    figure = _measured(Figure(figsize=(PANEL_WIDTH, 1.2)))
    figure.text(0.5, 0.5, textwrap.fill(message, 50), ha="center", va="center", color=GREY)
    return figure


def _measured(figure: Figure) -> Figure:
    """The figure with a renderer of its own.

    Without one, matplotlib makes a new renderer, of the whole picture's size, for every text that it measures, and the
    text keeps it: a figure of thirty panels took 1.9 GB.
    """
    if not isinstance(figure.canvas, FigureCanvasAgg):
        FigureCanvasAgg(figure)
    return figure


def settle(figure: Figure, widen: bool = True) -> None:
    """Lay the figure out once and for all: scales are named, labels stand at their lines.

    It may grow for that, but only in height where it is not to ``widen``.

    The constraint solver behind matplotlib's layout returns positions that differ in their last bits from one process
    to the next, which would change every element id in an SVG: they are rounded to a millionth of the figure.

    Raises:
        kshot.reporting.labels.LostLine: a line that has a label lies outside its axes.
    """
    _measured(figure).set_layout_engine("none")  # with one of its own, matplotlib draws a figure twice for every file
    for axes in figure.axes:
        say_scale(axes.xaxis, ", ")
        say_scale(axes.yaxis, ",\n")  # beside a panel there is less room than below it
    labels.place(figure)
    _lay_out(figure, widen)
    if labels.place(figure):  # they take room of their own
        _lay_out(figure, widen)
    left = min((axes.get_position().x0 for axes in figure.axes), default=0.0)
    for axes in figure.axes:
        box = axes.get_position()
        if box.x0 < left + _COLUMN:
            # Ticks hang on the panel's size, and the layout on the ticks: it can end with wider ones than it made room
            # for, which would stick out of the figure.
            tight = axes.get_tightbbox()
            if tight is not None and tight.x0 < 0:
                box.x0 -= tight.x0 / figure.bbox.width
        axes.set_position((round(box.x0, 6), round(box.y0, 6), round(box.width, 6), round(box.height, 6)))
    labels.place(figure)


def _lay_out(figure: Figure, widen: bool) -> None:
    """Give every panel its place; the figure grows until names, legends and titles leave room for all panels.

    Where there is no room at all, matplotlib leaves everything where it is, overlapping, and warns.
    """
    if not figure.axes:
        return
    engine = ConstrainedLayoutEngine()
    for _ in range(_GROWTHS):
        with warnings.catch_warnings(record=True) as caught:
            warnings.filterwarnings("always", "constrained_layout not applied")
            engine.execute(figure)
        boxes = [axes.get_position() for axes in figure.axes]
        width, height = figure.get_size_inches()
        narrow = widen and (bool(caught) or any(box.width * width < LEAST_WIDTH for box in boxes))
        low = bool(caught) or any(box.height * height < LEAST_HEIGHT for box in boxes)
        if not (narrow or low):
            return
        figure.set_size_inches(width * (_GROWTH if narrow else 1), height * (_GROWTH if low else 1))
    engine.execute(figure)


def say_scale(axis: Axis, gap: str) -> None:
    """Name a scale other than linear behind the axis's label."""
    scale = axis.get_scale()
    if scale == "linear":
        return
    text = f"{scale.removeprefix('sym')} scale"
    if scale == "symlog":
        transform = axis.get_transform()
        assert isinstance(transform, SymmetricalLogTransform)
        text += f" beyond {transform.linthresh:g}"
    if not (label := axis.get_label_text()).endswith(text):
        axis.set_label_text(f"{label}{gap}{text}" if label else text)


def render(figure: Figure, format: str) -> bytes:
    """The file's bytes; equal for equal figures."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=format, metadata=_METADATA[format])
    return buffer.getvalue()


def save(figure: Figure, stem: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write ``<stem>.pdf``, ``.svg`` and ``.png``, or some of them."""
    paths = []
    for format in formats:
        path = stem.with_name(f"{stem.name}.{format}")
        records.write_bytes(path, render(figure, format))
        paths.append(path)
    return paths
