"""Figures as a paper includes them: of one family each, one or two columns wide, text of one size, and no title."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.text import Text

from kshot import records
from kshot.reporting import figures, style, tex
from kshot.reporting.faults import Faults
from kshot.reporting.figures import _common
from kshot.reporting.labels import EndLabel
from kshot.reporting.names import slug
from kshot.reporting.results import Results, load
from kshot.reporting.sections import Section
from kshot.suites.run import RunConfig

WIDTHS = {"column": 3.25, "text": 5.5}
"""Inches of one of two columns, and of a page's text: those of ICML and NeurIPS, which others are no narrower than."""
TALLEST = 8.0
"""Inches that leave a page room for the caption."""
FONT = 8.0
"""Points of all text."""
_SHARE = 0.5
"""Of the inches that a figure is high on screen, those that its panels have here."""
_LEAST = 1.0
"""Inches of the narrowest panel that is still read."""
_LINE, _BAR = 1.2, 3.0
"""Points of a line; lines of at least the latter are bars, and stay as they are."""
_RC: dict[str, Any] = {
    # Like Times, in which most papers are set, and a quarter narrower than DejaVu Sans, which has what letters it lacks.
    "font.family": ["STIXGeneral", "DejaVu Sans"],
    "font.size": FONT,
    "axes.titlesize": FONT,
    "axes.titleweight": "normal",
    "axes.labelsize": FONT,
    "axes.labelpad": 2.0,
    "xtick.labelsize": FONT,
    "ytick.labelsize": FONT,
    "xtick.major.pad": 2.0,
    "ytick.major.pad": 2.0,
    "legend.fontsize": FONT,
    "legend.columnspacing": 1.2,
    "legend.handletextpad": 0.5,
    "legend.labelspacing": 0.25,
    "lines.linewidth": _LINE,
    "lines.markersize": 4.0,
    "grid.linewidth": 0.5,
}


@contextmanager
def context(name: str) -> Iterator[None]:
    """Drawing the figure ``name`` for a paper happens inside this; otherwise like ``style.context``."""
    with style.context(name):
        matplotlib.rcParams.update(_RC)
        yield


def render_all(runs: Sequence[RunConfig], root: Path, out: Path) -> list[Path]:
    """Write every figure of every section as ``out/<section>-<figure>-<width>.pdf``, and its float beside it.

    The float, ``out/<section>-<figure>.tex``, has a caption that says all that the figure does not. A figure that cannot
    be drawn costs that figure: it is named in the log, and its files are removed.

    Args:
        runs: the complete grid that the suite expects.
        root: folder of all results.
        out: folder of the figures for papers.

    Raises:
        RecordError: the suite has not been aggregated since its runs last changed.
    """
    results, faults = load(runs, root), Faults()
    paths: list[Path] = []
    for module in figures.modules(faults):
        for section in figures.concerned(module, results):
            stem = f"{slug(section.title)}-{module.NAME}"
            files: dict[Path, bytes] = {}
            with faults.caught(f"figure {stem} for papers"):
                for width in WIDTHS:
                    with context(stem):
                        drawn = style.render(draw(module, results, section, width), "pdf")
                    files[out / f"{stem}-{width}.pdf"] = drawn
                files[out / f"{stem}.tex"] = as_float(module, results, section).encode()
            for path in [out / f"{stem}.tex", *(out / f"{stem}-{width}.pdf" for width in WIDTHS)]:
                if len(files) > len(WIDTHS):
                    records.write_bytes(path, files[path])
                    paths.append(path)
                else:
                    path.unlink(missing_ok=True)
    return paths


def as_float(module: ModuleType, results: Results, section: Section) -> str:
    """The figure's float for LaTeX; a document says with ``\\graphicspath`` where the PDF lies."""
    stem = f"{slug(section.title)}-{module.NAME}"
    caption = f"{section.title} ({_common.seeds(results.grid, section)}). {module.CAPTION}"
    lines = [
        "% For a figure over all of the page, figure* and -text.pdf. Once the caption is read, cut it short.",
        r"\begin{figure}[t]",
        r"\centering",
        rf"\includegraphics{{{stem}-column.pdf}}",
        rf"\caption{{{tex.escape(caption)}}}",
        rf"\label{{fig:{results.grid.suite}-{stem}}}",
        r"\end{figure}",
    ]
    return "\n".join(lines) + "\n"


def draw(module: ModuleType, results: Results, section: Section, width: str) -> Figure:
    """The module's figure of one section, laid out; call it inside ``context``, which names the figure.

    Raises:
        style.DrawingError: names and legend leave no room for the panels.
    """
    figure: Figure = module.draw(results, [section])
    _retitle(figure)
    height = _SHARE * figure.get_figheight() * _arrange(figure, width)
    for text in figure.findobj(Text):
        text.set_fontsize(FONT)
    for line in figure.findobj(Line2D):
        if _LINE < line.get_linewidth() < _BAR:
            line.set_linewidth(_LINE)
    figure.set_size_inches(WIDTHS[width], min(height + 0.5, TALLEST))
    for legend in list(figure.legends):
        for handle, text in zip(legend.legend_handles, legend.texts, strict=True):
            assert handle is not None
            handle.set_label(text.get_text())
        legend.remove()
        style.legend(figure, list(legend.legend_handles), columns=6)
    _settle(figure, height)
    return figure


def _retitle(figure: Figure) -> None:
    """Leave out what the caption says; titles that tell panels apart stay, broken into lines that are short enough."""
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes]
    for axes, title in zip(figure.axes, titles, strict=True):
        axes.set_title("")
        axes.set_title(textwrap.fill(title, 28) if len(set(titles)) > 1 else "", loc="left")


def _arrange(figure: Figure, width: str) -> float:
    """Put the panels below each other in a column and, across a page, in two or three columns where they are alike.

    Returns:
        How many times higher the figure becomes by that.
    """
    grids = {id(spec.get_gridspec()): spec.get_gridspec() for axes in figure.axes if (spec := axes.get_subplotspec())}
    if len(grids) != 1 or len(figure.axes) < 2:
        return 1.0
    (grid,) = grids.values()
    columns, ratios = 1, grid.get_height_ratios()
    if width == "text":
        named = any(isinstance(text, EndLabel) for axes in figure.axes for text in axes.texts)
        columns = 3 if len(figure.axes) % 3 == 0 and not named else 2
    if len(set(ratios)) > 1:
        return 1.0
    rows = -(-len(figure.axes) // columns)
    places = GridSpec(rows, columns, figure=figure)
    for i, axes in enumerate(figure.axes):
        axes.set_subplotspec(places[divmod(i, columns)])
    for above, below in zip(figure.axes, figure.axes[columns:], strict=False):
        # What stands below both is said once. Not taken away: what names the scale would put it there again.
        above.xaxis.label.set_visible(above.get_xlabel() != below.get_xlabel())
    return rows / grid.nrows


def _settle(figure: Figure, height: float) -> None:
    """Lay the figure out as wide as it is, so high that its panels have ``height`` inches together."""
    for last in (False, False, True):
        for axes in figure.axes:
            axes.set_in_layout(True)  # a panel with a place of its own would keep it
        style.settle(figure, widen=False)
        boxes = [axes.get_position() for axes in figure.axes]
        if not last:
            used = sum({round(box.y0, 3): box.height for box in boxes}.values()) * figure.get_figheight()
            figure.set_figheight(min(figure.get_figheight() + height - used, TALLEST))
    least = min((box.width for box in boxes), default=1.0) * figure.get_figwidth()
    if least < _LEAST or figure.get_figheight() > TALLEST:
        raise style.DrawingError(
            f"its names and legend leave {least:.1f} in for a panel, and {TALLEST:g} in of height do not hold it"
        )
