"""Figures for papers: of one family each and of all, a column or the text wide, with text of one size."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator

from kshot import records
from kshot.reporting import figures, style, tex
from kshot.reporting.faults import Faults
from kshot.reporting.figures import _common
from kshot.reporting.labels import EndLabel, Label
from kshot.reporting.names import FROM_DEMONSTRATIONS, slug
from kshot.reporting.results import Results, load
from kshot.reporting.sections import Section
from kshot.suites.run import RunConfig

WIDTHS = {"column": 3.25, "text": 5.5}
"""Inches of one of two columns, and of a page's text: ICML's and NeurIPS's, the narrowest of the usual."""
ACROSS = "across families"
"""What a figure about several families is called, where others name theirs."""
PAGE = 9.0
"""Inches that a figure and its caption have on a page."""
FONT = 8.0
"""Points of all text."""
_SHARE = 0.5
"""Of the inches that a figure is high on screen, those that its panels have here."""
_LEAST = 1.0
"""Inches of the narrowest panel that is still read."""
_LINE, _BAR = 1.2, 3.0
"""Points of a line; lines of at least the latter are bars, and stay as they are."""
_POINTS, _SKIPS = 72.27, 24
"""TeX points of an inch, and those above and below a caption."""
_BEHIND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.3}
"""What names of lines stand on, where they stand on others' lines."""
_APART = 2.5
"""Points between labels of ticks."""
_MANY = 3
"""So many panels stand in one column."""
_LETTERS, _SCALE = 20, 0.4
"""So many letters of a title have room in an inch, and so many inches of a panel are left of its title."""
_TIE = "\N{NO-BREAK SPACE}"
_RC: Any = {
    # Like Times, in which most papers are set; a quarter narrower than DejaVu Sans, which has what letters it lacks.
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


@dataclass(frozen=True)
class Picture:
    """A figure for papers.

    Attributes:
        module: draws it.
        sections: what it shows: one, or all of one kind of evidence that the figure has something to show of.
        across: whether it is about several families; it then says so, where others name theirs.
    """

    module: ModuleType
    sections: Sequence[Section]
    across: bool

    @property
    def stem(self) -> str:
        """What its files begin with: ``point-demonstrations-headline``, ``across-families-iqm_after_k``."""
        shown = f", {FROM_DEMONSTRATIONS}" if self.sections[0].demonstrated else ""
        return f"{slug(f'{ACROSS}{shown}' if self.across else self.sections[0].title)}-{self.module.NAME}"


def pictures(results: Results, faults: Faults) -> list[Picture]:
    """Every figure for papers: by figure, of each section that it shows by itself, then across families."""
    found = []
    for figure in figures.shown(results, faults):
        found += [Picture(figure.module, [section], across=False) for section in figure.alone]
        for evidence in results.summary.evidences:
            sections = [section for section in figure.sections if section.evidence == evidence]
            if sections if figure.together else getattr(figure.module, "ACROSS", False) and len(sections) > 1:
                found.append(Picture(figure.module, sections, across=True))
    return found


def render_all(runs: Sequence[RunConfig], root: Path, out: Path) -> list[Path]:
    """Write every figure as ``out/<section>-<figure>-<width>.pdf``, and its float beside it.

    The float, ``out/<section>-<figure>.tex``, has a caption that says all that the figure does not. What several
    families share a figure of is called ``across-families`` in place of a section. A figure that cannot be drawn at a
    width, say because its panels do not fit there, costs that file: it is named in the log. Of what is not written,
    files of earlier runs are removed.

    Args:
        runs: the complete grid that the suite expects.
        root: folder of all results.
        out: folder of the figures for papers; it is there afterwards, even if no figure is.

    Raises:
        RecordError: the suite has not been aggregated since its runs last changed.
    """
    results, faults = load(runs, root), Faults()
    out.mkdir(parents=True, exist_ok=True)

    def write(picture: Picture) -> list[Path]:
        drawn: dict[str, bytes] = {}
        for width in WIDTHS:
            name = f"{picture.stem}-{width}"
            with faults.caught(f"figure {name} for papers"), context(name):
                drawn[width] = style.render(draw(picture, results, width), "pdf")
        files = {f"{picture.stem}-{width}.pdf": content for width, content in drawn.items()}
        if drawn:
            files[f"{picture.stem}.tex"] = as_float(picture, results, list(drawn)).encode()
        for name, content in files.items():
            records.write_bytes(out / name, content)
        return [out / name for name in files]

    paths = [path for written in faults.each(write, pictures(results, faults)) for path in written]
    for module in figures.modules(faults):
        for end in (*(f"-{width}.pdf" for width in WIDTHS), ".tex"):
            for path in out.glob(f"*-{module.NAME}{end}"):
                if path not in paths:
                    path.unlink()
    return paths


def as_float(picture: Picture, results: Results, widths: Sequence[str] = tuple(WIDTHS)) -> str:
    """The figure's float for LaTeX; a document's graphics path says where the PDF lies.

    Args:
        picture: what is shown.
        results: of the suite.
        widths: those at which it could be drawn; the float has the first.
    """
    name = picture.stem
    environment = "figure" if widths[0] == "column" else "figure*"
    both = "For a figure over all of the page, figure* and -text.pdf. " if len(widths) > 1 else ""
    lines = [
        f"% {both}Once the caption is read, cut it short.",
        rf"\begin{{{environment}}}[t]",
        r"\centering",
        rf"\includegraphics{{{name}-{widths[0]}.pdf}}",
        rf"\caption{{{tex.escape(caption(picture, results))}}}",
        rf"\label{{fig:{results.grid.suite}-{name}}}",
        rf"\end{{{environment}}}",
    ]
    return "\n".join(lines) + "\n"


def caption(picture: Picture, results: Results) -> str:
    """What its title would say, and how to read it."""
    *most, last = (section.family for section in picture.sections)
    families = f"{', '.join(most)} and {last}" if most else last
    kind = f", {FROM_DEMONSTRATIONS}" if picture.sections[0].demonstrated else ""
    return f"{families}{kind} ({_common.seeds(results.grid, *picture.sections)}). {picture.module.CAPTION}"


def draw(picture: Picture, results: Results, width: str) -> Figure:
    """The picture, laid out; call it inside ``context``, which names the figure.

    Raises:
        style.DrawingError: names and legend leave no room for the panels.
    """
    figure: Figure = picture.module.draw(results, picture.sections)
    _retitle(figure)
    height = _SHARE * figure.get_figheight() * _arrange(figure, width)
    for text in figure.findobj(Text):
        text.set_fontsize(FONT)
        if isinstance(text, Label):
            text.set_color(style.INK)  # that of the line is as pale as a line may be, and no text
            text.set_bbox(_BEHIND)
    for line in figure.findobj(Line2D):
        if _LINE < line.get_linewidth() < _BAR:
            line.set_linewidth(_LINE)
    below = tex.caption_height(caption(picture, results), _POINTS * WIDTHS[width]) + _SKIPS
    tallest = PAGE - below / _POINTS
    figure.set_size_inches(WIDTHS[width], min(height + 0.5, tallest))
    for legend in list(figure.legends):
        for handle, text in zip(legend.legend_handles, legend.texts, strict=True):
            assert handle is not None
            handle.set_label(text.get_text())
        legend.remove()
        style.legend(figure, list(legend.legend_handles), columns=6)
    _settle(figure, height, tallest)
    return figure


def _retitle(figure: Figure) -> None:
    """Leave out what the caption says: titles that do not tell panels apart."""
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes]
    for axes, title in zip(figure.axes, titles, strict=True):
        axes.set_title("")
        axes.set_title(title if len(set(titles)) > 1 else "", loc="left")


def _arrange(figure: Figure, width: str) -> float:
    """Put alike panels below each other in a column and, where there is room or they are many, in several columns.

    Returns:
        How many times higher the figure becomes by that.
    """
    panels = figure.axes
    grids = {id(spec.get_gridspec()): spec.get_gridspec() for axes in panels if (spec := axes.get_subplotspec())}
    if len(grids) != 1 or len(panels) < 2:
        return 1.0
    (grid,) = grids.values()
    if len(set(np.ravel(grid.get_height_ratios()).tolist())) > 1:
        return 1.0
    named = any(isinstance(text, EndLabel) for axes in panels for text in axes.texts)
    named |= any(isinstance(axes.yaxis.get_major_locator(), FixedLocator) for axes in panels)
    if width == "text":
        columns = 3 if len(panels) % 3 == 0 and not named else 2
    else:
        columns = 1 if len(panels) <= _MANY or named else 2
    rows = -(-len(panels) // columns)
    across = width == "text"  # or down, so that panels that stood below each other still do
    places = [divmod(i, columns) if across else divmod(i, rows)[::-1] for i in range(len(panels))]
    cells = GridSpec(rows, columns, figure=figure)
    standing = dict(zip(places, panels, strict=True))
    for (row, column), axes in standing.items():
        axes.set_subplotspec(cells[row, column])
        title = re.sub(r"\([^)]*\)", lambda found: found[0].replace(" ", _TIE), axes.get_title(loc="left"))
        letters = int(_LETTERS * (WIDTHS[width] / columns - _SCALE))
        axes.set_title(textwrap.fill(title, letters, break_on_hyphens=False), loc="left", linespacing=1.0)
        below = standing.get((row + 1, column))
        # What stands below both is said once. Not taken away: what names the scale would put it there again.
        axes.xaxis.label.set_visible(below is None or below.get_xlabel() != axes.get_xlabel())
    return rows / grid.nrows


def _settle(figure: Figure, height: float, tallest: float) -> None:
    """Lay the figure out as wide as it is, so high that its panels have ``height`` inches together.

    It gets no higher than ``tallest``.
    """
    for last in (False, False, True):
        for axes in figure.axes:
            axes.set_in_layout(True)  # a panel with a place of its own would keep it
        style.settle(figure, widen=False)
        if not last:
            for axes in figure.axes:
                _thin(axes)
        boxes = [axes.get_position() for axes in figure.axes]
        if not last:
            used = sum({round(box.y0, 3): box.height for box in boxes}.values()) * figure.get_figheight()
            figure.set_figheight(min(figure.get_figheight() + height - used, tallest))
    least = min((box.width for box in boxes), default=1.0) * figure.get_figwidth()
    if least < _LEAST or figure.get_figheight() > tallest:
        raise style.DrawingError(
            f"its names and legend leave {least:.1f} in for a panel, and {tallest:g} in of height do not hold it"
        )


def _thin(axes: Axes) -> None:
    """Leave out labels of evidence points that would touch the next one to the right."""
    if not isinstance(axes.xaxis.get_major_locator(), FixedLocator):
        return
    ticks = sorted(zip(axes.get_xticks(), axes.get_xticklabels(), strict=True), key=lambda tick: -tick[0])
    kept, end = [], float("inf")
    for place, label in ticks:
        box = label.get_window_extent()
        if box.x1 + _APART * axes.figure.dpi / 72 <= end:
            kept.append((place, label.get_text()))
            end = box.x0
    axes.set_xticks([place for place, _ in kept], [text for _, text in kept])
