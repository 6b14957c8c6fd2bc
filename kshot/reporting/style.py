"""The look of the figures: one colour per algorithm name everywhere, and files that come out byte-identical."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import LineStyleType

from kshot import records

FORMATS = ("pdf", "svg", "png")
PANEL_WIDTH, PANEL_HEIGHT = 4.6, 2.9
"""Inches of one panel. Text of 9 pt in a panel this wide stays readable when a phone shows it 350 px wide."""
INK, GREY = "#22262b", "#6b7280"

# Seaborn's "colorblind" palette, whose yellow is too pale for lines on white and is left out.
_BLUE, _ORANGE, _GREEN, _RED, _PINK, _BROWN, _ROSE, _SILVER, _SKY = (
    sns.color_palette("colorblind").as_hex()[i] for i in (0, 1, 2, 3, 4, 5, 6, 7, 9)
)

_INDIGO, _OLIVE, _TEAL, _WINE, _DARK = "#4c4fa3", "#7a8b00", "#00808a", "#8c1d40", "#5e5e5e"


@dataclass(frozen=True)
class Look:
    """How an algorithm is drawn. Marker and dashes differ as well, for readers who do not see the colours."""

    color: str
    marker: str
    dashes: LineStyleType


_KNOWN: dict[str, Look] = {
    "maml": Look(_BLUE, "o", "-"),
    "fomaml": Look(_SKY, "s", "-"),
    "reptile": Look(_GREEN, "^", "-"),
    "rl2": Look(_RED, "D", "-"),
    "pearl": Look(_PINK, "v", "-"),
    "mandril": Look(_BROWN, "P", "-"),
    "anil": Look(_ORANGE, "X", "-"),
    "untrained": Look(_SILVER, "x", (0, (4, 1.5))),
    # Learners from demonstrations, as the suites call them; browns are MandRIL with another meta-gradient.
    "mandril-detached": Look("#8a5a2b", "X", (0, (4, 1.5))),
    "mandril-first": Look("#4a2c12", "s", (0, (1, 1))),
    "maxent-irl": Look(_INDIGO, "*", "-"),
    "maxent-irl-linear": Look(_DARK, "d", (0, (4, 1.5))),
    "pretrained-irl": Look(_WINE, "p", "-"),
    "contextual-irl": Look(_ROSE, "h", "-"),
    "behaviour-cloning": Look(_TEAL, ">", "-"),
    "replay": Look(_OLIVE, "<", "-"),
}
_SPARE = (
    Look(_ROSE, "h", "-"),
    Look(_INDIGO, "*", "-"),
    Look(_OLIVE, "<", "-"),
    Look(_TEAL, ">", "-"),
    Look(_WINE, "p", "-"),
    Look(_DARK, "d", "-"),
)
_REFERENCES: dict[str, tuple[str, LineStyleType]] = {
    "oracle": ("#22262b", "--"),
    "bayes_optimal_trial": ("#22262b", (0, (1, 1))),
    "task_blind": ("#6b7280", "-."),
    "random": ("#9ca3af", ":"),
}

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same glyphs everywhere
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
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
    "figure.constrained_layout.use": True,
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


@contextmanager
def context() -> Iterator[None]:
    """Drawing and saving happen inside this; the caller's matplotlib settings stay as they were."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        settings: Any = sns.axes_style("whitegrid") | _RC
        matplotlib.rcParams.update(settings)
        yield


def looks(names: Iterable[str]) -> Mapping[str, Look]:
    """A look for each algorithm: fixed for the well-known names, for others derived from the name alone.

    Two unknown names that would get the same look get different ones while there are spare ones left.
    """
    chosen: dict[str, Look] = {}
    taken: set[int] = set()
    for name in sorted(set(names)):
        if (known := name.replace("_", "-")) in _KNOWN:
            chosen[name] = _KNOWN[known]
            continue
        start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
        order = [(start + i) % len(_SPARE) for i in range(len(_SPARE))]
        index = next((i for i in order if i not in taken), order[0])
        taken.add(index)
        chosen[name] = _SPARE[index]
    return chosen


def reference_line(name: str) -> tuple[str, LineStyleType]:
    """(colour, dashes) of a scripted policy's line."""
    return _REFERENCES.get(name, ("#6b7280", (0, (3, 1, 1, 1, 1, 1))))


def panels(rows: int, columns: int, height: float = PANEL_HEIGHT, **kwargs: Any) -> tuple[Figure, list[list[Axes]]]:
    """An empty figure with a grid of axes."""
    figure = Figure(figsize=(PANEL_WIDTH * columns, height * rows + 0.4))
    axes = figure.subplots(rows, columns, squeeze=False, **kwargs)
    return figure, [list(row) for row in axes]


def end_labels(axes: Axes, labels: Iterable[tuple[float, str, str]]) -> None:
    """Names to the right of the axes at the height of their lines, moved apart where they would overlap.

    Args:
        axes: finished axes: their limits are final.
        labels: (height in data units, text, colour).
    """
    height = axes.figure.get_figheight() / max(1, axes.get_subplotspec().get_gridspec().nrows)  # type: ignore[union-attr]  # placed by subplots
    gap = 0.15 / height
    fraction = axes.transScale + axes.transLimits  # of the axes' height, whatever their scale
    placed: list[float] = []
    for value, text, color in sorted(labels):
        at = float(fraction.transform((0.0, value))[1])
        y = max(at, placed[-1] + gap) if placed else at
        placed.append(y)
        axes.annotate(
            text,
            xy=(1, value),
            xytext=(1.02, y),
            xycoords=("axes fraction", "data"),
            textcoords="axes fraction",
            color=color,
            fontsize=7.5,
            va="center",
            annotation_clip=False,
        )


def legend(figure: Figure, handles: list[Any], columns: int = 4) -> None:
    """One legend below all panels, where it covers nothing; as many columns as the figure is wide enough for."""
    for count in range(min(columns, len(handles)), 0, -1):
        drawn = figure.legend(handles=handles, loc="outside lower center", ncols=count, handlelength=2.2)
        if drawn.get_window_extent().width <= figure.bbox.width:
            break
        if count > 1:
            drawn.remove()


def empty(message: str) -> Figure:
    """A figure that says why there is nothing to see."""
    figure = Figure(figsize=(PANEL_WIDTH, 1.2))
    figure.text(0.5, 0.5, message, ha="center", va="center", color=GREY)
    return figure


def settle(figure: Figure) -> None:
    """Lay the figure out once and for all.

    The constraint solver behind matplotlib's layout returns positions that differ in their last bits from one process
    to the next, which would change every element id in an SVG: they are rounded to a millionth of the figure.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        box = axes.get_position()
        axes.set_position((round(box.x0, 6), round(box.y0, 6), round(box.width, 6), round(box.height, 6)))


def render(figure: Figure, format: str) -> bytes:
    """The file's bytes; equal for equal figures."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=format, metadata=_METADATA[format])
    return buffer.getvalue()


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write ``<stem>.pdf``, ``.svg`` and ``.png``."""
    paths = []
    for format in FORMATS:
        path = stem.with_name(f"{stem.name}.{format}")
        records.write_bytes(path, render(figure, format))
        paths.append(path)
    return paths
