"""What is put into papers: figures that fit and are read without colours, tables that fit and that any LaTeX takes."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from kshot import cli, commands
from kshot.reporting import figures, looks, paper, style, tables, tex
from kshot.reporting.faults import Faults
from kshot.reporting.labels import EndLabel, TopLabel
from kshot.reporting.results import Results, load
from kshot.reporting.sections import Section
from kshot.reporting.table_latex import latex
from kshot.reporting.table_layout import COLUMN, TEXT, lay_out, split
from kshot.suites.reading import load_suite
from kshot.suites.run import RunConfig
from tests import in_papers, shipped

pytestmark = pytest.mark.contract

LEAST_POINTS = 7
Drawn = list[tuple[paper.Picture, str, Figure]]
"""(picture, width, figure), laid out."""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[RunConfig], Path]:
    root = tmp_path_factory.mktemp("results")
    return in_papers.write(root), root


@pytest.fixture(scope="module")
def data(suite: tuple[list[RunConfig], Path]) -> Results:
    return load(*suite)


@pytest.fixture(scope="module")
def drawn(data: Results) -> Drawn:
    found: Drawn = []
    for picture in paper.pictures(data, Faults()):
        for width in paper.WIDTHS:
            with paper.context(picture.stem):
                figure = paper.draw(picture, data, width)
                figure.draw_without_rendering()  # what is in a legend has no place before
            found.append((picture, width, figure))
    return found


def texts(figure: Figure) -> list[Text]:
    """All that is read, but for ticks outside their axes; inside ``context``, as ticks hang on its sizes."""
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    ticks: set[Any] = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            every = [label for minor in (True, False) for label in axis.get_ticklabels(minor=minor)]
            low, high = sorted(axis.get_view_interval())
            ticks |= {label for label in every if not low <= label.get_position()[axis is axes.yaxis] <= high}
    return [text for text in shown if text not in ticks]


# Figures


def test_figures_are_as_wide_as_their_place_and_leave_room_for_their_caption(drawn: Drawn, data: Results) -> None:
    assert {picture.module.NAME for picture, *_ in drawn} == {module.NAME for module in figures.modules(Faults())}
    for picture, width, figure in drawn:
        name = f"{picture.stem}, {width}"
        assert figure.get_figwidth() == paper.WIDTHS[width], name
        caption = tex.caption_height(paper.caption(picture, data), 72.27 * paper.WIDTHS[width])
        assert figure.get_figheight() + caption / 72.27 <= paper.PAGE, name
        with paper.context(name):
            whole = figure.get_tightbbox()
        assert whole.x0 >= -0.02 and whole.y0 >= -0.02, name
        assert whole.x1 <= figure.get_figwidth() + 0.02 and whole.y1 <= figure.get_figheight() + 0.02, name


def test_all_text_is_of_one_size_and_dark(drawn: Drawn) -> None:
    for picture, _, figure in drawn:
        with paper.context(picture.stem):
            found = texts(figure)
        for text in found:
            assert text.get_fontsize() == paper.FONT >= LEAST_POINTS, f"{picture.stem}: {text}"
            if isinstance(text, (EndLabel, TopLabel)):
                assert text.get_color() == style.INK


def test_the_caption_says_what_titles_would(drawn: Drawn, data: Results) -> None:
    for picture, _, figure in drawn:
        titles = {axes.get_title(loc="left") for axes in figure.axes}
        assert len(figure.axes) > 1 or titles == {""}, picture.stem
        caption = paper.as_float(picture, data)
        assert caption.count(r"\caption{") == 1
        assert all(tex.escape(section.family) in caption for section in picture.sections) and "3 seeds" in caption
        assert ("from demonstrations" in caption) == picture.sections[0].demonstrated


def test_what_is_about_several_families_is_drawn_once_for_each_evidence(data: Results) -> None:
    """Those that stand together on the page, and the headline; beside one of each section where it is shown alone."""
    across = {picture.stem: len(picture.sections) for picture in paper.pictures(data, Faults()) if picture.across}
    assert across == {
        "across-families-headline": 2,
        "across-families-iqm_after_k": 2,
        "across-families-performance_profiles": 2,
        "across-families-demonstrations-performance_profiles": 1,
    }
    alone = [picture.stem for picture in paper.pictures(data, Faults()) if picture.module.NAME == "headline"]
    assert alone == [
        "bandit_5.10-headline",
        "ml1-reach-headline",
        "grid_shown-demonstrations-headline",
        "across-families-headline",
    ]


def test_no_text_touches_another(drawn: Drawn) -> None:
    for picture, width, figure in drawn:
        with paper.context(picture.stem):
            boxes = [(text.get_text(), Text.get_window_extent(text)) for text in texts(figure)]
        for (one, a), (other, b) in combinations(boxes, 2):
            # Lines of text overlap by what letters have above and below them.
            assert not a.shrunk(0.98, 0.75).overlaps(b.shrunk(0.98, 0.75)), (
                f"{picture.stem}, {width}: {one!r} and {other!r}"
            )


def panels(drawn: Drawn) -> Iterator[tuple[str, Axes, Section]]:
    for picture, _, figure in drawn:
        yield from ((picture.module.NAME, axes, section) for axes in figure.axes for section in picture.sections)


def test_every_learner_has_its_marker_wherever_it_has_its_colour(drawn: Drawn, data: Results) -> None:
    seen = set()
    for name, axes, section in panels(drawn):
        for learner in section.finished:
            look = looks.looks(data.grid.learners)[learner]
            lines = [line for line in axes.lines if to_hex(line.get_color()) == look.color]
            coloured = [*lines, *(patch for patch in axes.patches if to_hex(patch.get_edgecolor()) == look.color)]
            if coloured:
                seen.add((name, learner))
                assert look.marker in [line.get_marker() for line in lines], f"{name}: {learner} by its colour alone"
    assert len({name for name, _ in seen}) >= 7


@pytest.mark.parametrize("path", shipped.SUITES, ids=lambda path: path.stem)
def test_learners_differ_without_their_colours(path: Path) -> None:
    names = {run.algorithm for run in load_suite(path).runs() if run.kind == "algorithm"}
    found = looks.looks(names)
    assert len({(look.marker, look.dashes) for look in found.values()}) == len(names)


def test_looks_differ_without_their_colours_and_are_dark_enough() -> None:
    every = [*looks.known().values(), *looks.spare()]
    assert len({(look.marker, look.dashes) for look in every}) == len(every)
    assert len({(look.color, look.marker) for look in every}) == len(every)
    assert max(luminance(look.color) for look in every) < 0.6  # of white's, so that lines are seen on it


def luminance(color: str) -> float:
    """Relative, by WCAG 2.1: what a grey printer makes of a colour."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_stages_and_numbers_of_demonstrations_get_darker_one_by_one(drawn: Drawn) -> None:
    for picture, _, figure in drawn:
        if picture.module.NAME in ("furthest_stage", "inner_steps"):
            handles = [handle for legend in figure.legends for handle in legend.legend_handles]
            colors: list[Any] = [h.get_facecolor() if hasattr(h, "get_facecolor") else h.get_color() for h in handles]
            shades = [luminance(to_hex(color)) for color in colors]
            assert all(before > after for before, after in pairwise(shades)), picture.stem


def test_the_command_writes_pdfs_with_letters_of_a_readable_size(
    suite: tuple[list[RunConfig], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, root = suite
    (module,) = [module for module in figures.modules(Faults()) if module.NAME == "headline"]
    monkeypatch.setattr(figures, "modules", lambda faults: [module])
    monkeypatch.setattr(commands, "load_recorded", lambda options: load_made_up(runs))
    for folder in ("first", "again"):
        command = ["figures", "made_up", "--paper", "--root", str(root), "--out", str(tmp_path / folder)]
        assert cli.main(command) == 0
    files = sorted((tmp_path / "first" / "paper_figures").iterdir())
    assert [path.name for path in files] == sorted(
        f"{name}-headline{end}"
        for name in ("bandit_5.10", "ml1-reach", "grid_shown-demonstrations", "across-families")
        for end in ("-column.pdf", "-text.pdf", ".tex")
    )
    for path in files:
        assert path.read_bytes() == (tmp_path / "again" / "paper_figures" / path.name).read_bytes()
        if path.suffix == ".pdf":
            content = path.read_bytes()
            assert b"/Subtype /Type3" not in content and b"/FontFile2" in content
            streams = [inflated(part) for part in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)]
            sizes = {float(size) for part in streams for size in re.findall(rb"/F\S+ ([\d.]+) Tf", part)}
            assert sizes and min(sizes) >= LEAST_POINTS, f"{path.name}: {sizes}"


def inflated(part: bytes) -> bytes:
    """A stream of a PDF; nothing where it is not compressed as its pages are."""
    try:
        return zlib.decompress(part)
    except zlib.error:
        return b""


class load_made_up:
    """What the command line asks of a suite."""

    name = "made_up"

    def __init__(self, runs: list[RunConfig]):
        self.runs = lambda: runs


def test_a_figure_that_cannot_be_drawn_costs_that_figure(
    suite: tuple[list[RunConfig], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(results: Results, sections: Sequence[Section]) -> Figure:
        raise ValueError("no such thing")

    module = ModuleType("bars")
    module.NAME, module.CAPTION, module.draw = "bars", "Bars.", fails  # type: ignore[attr-defined]  # as files have them
    monkeypatch.setattr(figures, "modules", lambda faults: [module])
    stale = [tmp_path / name for name in ("ml1-reach-bars-column.pdf", "gone-bars-text.pdf", "gone-bars.tex")]
    own = [tmp_path / name for name in ("notes.tex", "bars.pdf", "ml1-other-column.pdf")]
    for path in (*stale, *own):
        path.write_text("as it was")
    assert paper.render_all(*suite, tmp_path) == []
    assert set(tmp_path.iterdir()) == set(own)


# Tables


def test_tables_fit_by_the_estimate(data: Results) -> None:
    for table in [*tables.build(data), in_papers.ODD]:
        for part in table.parts:
            layout = lay_out(part)
            room = COLUMN if layout.environment == "table" else TEXT
            for panel in layout.panels:
                by_column = zip(panel.head, *panel.rows, strict=True)
                widths = [max(line.width(layout.size) for lines in column for line in lines) for column in by_column]
                assert sum(widths) + 6 * (len(widths) - 1) <= room, f"{table.name}: {part.title}"
            shown = {line.text for panel in layout.panels for row in panel.rows for lines in row for line in lines}
            words = {word for text in shown for word in text.split()}
            assert {word for row in part.rows for word in row.name.split() if len(word) < 20} <= words
            assert [len(panel.rows) for panel in layout.panels] == [len(part.rows)] * len(layout.panels)


def test_a_table_in_parts_has_every_row_once(data: Results) -> None:
    (classes,) = [table for table in tables.build(data) if table.name == "classes"]
    layout = lay_out(classes.parts[0])
    floats = split(layout, 150)
    assert len(floats) > len(layout.panels)
    rows = [row[0] for part, _ in floats for row in part.panels[0].rows]
    assert rows == [row[0] for panel in layout.panels for row in panel.rows]


def test_floats_are_labelled_by_suite_family_and_table(data: Results) -> None:
    for table in tables.build(data):
        text = latex(table, "made_up")
        labels = re.findall(r"\\label{([^}]+)}", text)
        assert len(set(labels)) == len(labels) == text.count(r"\caption{") == text.count(r"\begin{table")
        assert all(re.fullmatch(rf"tab:made_up-[\w.-]*{table.name}(-\d)?", label) for label in labels), labels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RL² ± 0.1", r"RL$^2$ $\pm$ 0.1"),
        ("-0.5 to −2, task-blind, 1-2", "$-$0.5 to $-$2, task-blind, 1-2"),  # noqa: RUF001
        ("K = 10, K, K-curve, rank", "$K = 10$, $K$, K-curve, rank"),
        ("95 % of a_b & {c} #1 $", r"95\,\% of a\_b \& \{c\} \#1 $\$$"),
        ('"so", `a_b`, it`s', r"``so'', \texttt{a\_b}, it's"),
        ("\\input{x}~^", r"\textbackslash{}input\{x\}\textasciitilde{}\textasciicircum{}"),
        ("é ß 中 α\n", r"\'{e} \ss{} [U+4E2D] $\alpha$"),  # noqa: RUF001
        ("10^9", "10$^{9}$"),
    ],
)
def test_any_text_is_escaped(text: str, expected: str) -> None:
    assert tex.escape(text) == expected
