"""What is drawn says what it is: labels stand at their lines and do not touch, lines join what was evaluated."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgb, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.image import imread as read_png
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from kshot import registry
from kshot.places import ROOT
from kshot.reporting import fidelity_picture, figures, looks, style
from kshot.reporting.faults import Faults
from kshot.reporting.fidelity import FILED, PICTURE
from kshot.reporting.figures import _common, _curves
from kshot.reporting.labels import LINE, EndLabel, TopLabel, spread
from kshot.reporting.names import policy_name
from kshot.reporting.results import Results
from kshot.reporting.sections import Section
from kshot.suites.reading import load_suite
from tests import shipped

Drawn = list[tuple[str, Results, Sequence[Section], Figure]]
"""(name, what it is drawn from, the sections that it shows, figure), laid out."""


def on_the_page(figure: figures.Shown) -> list[list[Section]]:
    """The sections of every picture of a figure that the page has."""
    if not figure.together:
        return [[section] for section in figure.alone]
    groups = [[s for s in figure.sections if s.demonstrated == demonstrated] for demonstrated in (0, 1)]
    return [group for group in groups if group]


@pytest.fixture(scope="module", params=shipped.SUITES, ids=lambda path: path.stem)
def drawn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """Every figure of a suite; of the smallest also as the page has it, picture by picture."""
    data = shipped.made_up(request.param, tmp_path_factory.mktemp(request.param.stem))
    found: Drawn = []
    for figure in figures.shown(data, Faults()):
        module = figure.module
        for shown in (figure.sections, *(on_the_page(figure) if data.grid.suite == "smoke" else [])):
            with style.context(module.NAME):
                found.append((module.NAME, data, shown, figures.draw(module, data, shown)))
    return found


def text_box(label: Text) -> Bbox:
    """Of the text alone, without a leader."""
    return Text.get_window_extent(label)


def panels(drawn: Drawn) -> Iterator[tuple[str, Axes]]:
    return ((name, axes) for name, _, _, figure in drawn for axes in figure.axes)


def curves(drawn: Drawn) -> Iterator[tuple[Results, Section, str, Axes]]:
    """The panels with curves over K, and what each shows: section and metric."""
    shown = {"return_after_k": ["return"], "success_after_k": ["success_last", "success_any"]}
    shown["value_difference"] = ["value_difference"]
    for name, data, sections, figure in drawn:
        if name in shown and figure.axes:
            content = [(section, metric) for section in sections for metric in shown[name]]
            for (section, metric), axes in zip(content, figure.axes, strict=True):
                yield data, section, metric, axes


# Labels


def stand_at_their_lines(panels: Iterable[tuple[str, Axes]]) -> int:
    """How many names there are beside (figure, panel), each of which has been checked."""
    seen = 0
    for name, axes in panels:
        labels = [label for label in axes.texts if isinstance(label, EndLabel)]
        box, gap = axes.get_window_extent(), LINE * axes.figure.dpi / 72
        middles = {label: (text_box(label).y0 + text_box(label).y1) / 2 for label in labels}
        for label in labels:
            seen += 1
            lines = [line for line in axes.lines if line.get_color() == label.get_color()]
            ends = [line for line in lines if np.asarray(line.get_ydata())[-1] == label.value]
            assert ends, f"{name}: no line of its colour ends where {label.get_text()} says"
            height = axes.transData.transform((axes.get_xlim()[1], label.value))[1]
            assert box.y0 <= height <= box.y1
            assert box.y0 - 1 <= middles[label] <= box.y1 + 1
            moved = abs(middles[label] - height)
            if moved > 2:
                assert label.arrow_patch is not None, f"{name}: {label.get_text()} is moved and not led to its line"
                assert moved <= (len(labels) - 1) * gap + 1
                others = [abs(middles[label] - y) for other, y in middles.items() if other is not label]
                assert min(others) <= 1.1 * gap, f"{name}: {label.get_text()} is moved out of nobody's way"
            else:
                assert label.arrow_patch is None or moved > 0.5
        assert all(low + 0.9 * gap < high for low, high in pairwise(sorted(middles.values())))
    return seen


def test_labels_stand_at_the_heights_of_their_lines(drawn: Drawn) -> None:
    assert stand_at_their_lines(panels(drawn))


def test_labels_of_the_yardsticks_stand_at_the_heights_of_their_lines() -> None:
    with style.context(PICTURE):
        figure = fidelity_picture.draw(ROOT / FILED)
        style.settle(figure)
    assert stand_at_their_lines((PICTURE, axes) for axes in figure.axes)


def test_labels_name_the_levels_of_the_policies(drawn: Drawn) -> None:
    for data, section, metric, axes in curves(drawn):
        found = {label.get_text(): label.value for label in axes.texts if isinstance(label, EndLabel)}
        for policy in section.references:
            curve = data.summary.curve(section.family, policy, metric)
            if curve:
                value = found.pop(policy_name(policy))
                within = [point.mean for point in curve if point.k <= section.info.k[-1]]
                assert value == pytest.approx(np.mean([point.mean for point in curve])) or value == within[-1]
        assert not found


def test_names_above_a_panel_stand_at_their_lines_and_do_not_touch(drawn: Drawn) -> None:
    seen = 0
    for name, axes in panels(drawn):
        labels = [label for label in axes.texts if isinstance(label, TopLabel)]
        boxes = [text_box(label) for label in labels]
        for label, box in zip(labels, boxes, strict=True):
            seen += 1
            at = axes.transData.transform((label.value, 0))[0]
            lines = [line for line in axes.lines if np.array_equal(np.asarray(line.get_xdata()), [label.value] * 2)]
            assert label.get_color() in [line.get_color() for line in lines], name
            assert box.x0 - 1 <= at <= box.x1 + 1
            inside = axes.get_window_extent()
            at_the_edge = min(box.x0 - inside.x0, inside.x1 - box.x1) < 2
            assert at_the_edge or abs((box.x0 + box.x1) / 2 - at) < 2
        assert not any(a.shrunk(0.98, 0.8).overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
        if labels:
            heading = axes._left_title.get_window_extent()  # type: ignore[attr-defined]  # no public way to the artist
            assert heading.y0 >= max(box.y1 for box in boxes) - 2
    assert seen


def test_labels_that_would_overlap_move_as_little_as_they_can() -> None:
    assert spread(np.array([1.0, 5.0]), 2, 0, 10).tolist() == [1, 5]
    assert spread(np.array([4.0, 5.0]), 2, 0, 10).tolist() == [3.5, 5.5]
    assert spread(np.array([0.0, 0.0, 9.0]), 2, 0, 10).tolist() == [0, 2, 9]
    assert spread(np.array([10.0, 10.0]), 2, 0, 10).tolist() == [8, 10]
    assert spread(np.array([0.0, 0.0, 1.0]), 2, 0, 1).tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("missing", [0.4, 0.9, 5])
def test_labels_that_are_a_little_too_close_are_moved_as_well(missing: float) -> None:
    """Lines that lack so many points to the distance of two labels."""
    with style.context("trial"):
        figure, ((axes,),) = style.panels(1, 1)
        axes.set_ylim(0, 1)
        style.settle(figure)
        height = axes.get_window_extent().height * 72 / figure.dpi
        low, high = (EndLabel(axes, value, "name", "black") for value in (0.5, 0.5 + (LINE - missing) / height))
        style.settle(figure)
        apart = (text_box(high).y0 - text_box(low).y0) * 72 / figure.dpi
    assert apart == pytest.approx(LINE, abs=0.1)


def test_texts_of_a_figure_are_measured_by_one_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is as large as the picture: one for every text was 1.9 GB for a figure of thirty panels."""
    alive: weakref.WeakSet[RendererAgg] = weakref.WeakSet()
    make: Any = RendererAgg.__init__

    def counted(self: RendererAgg, *size: float) -> None:
        make(self, *size)
        alive.add(self)

    monkeypatch.setattr(RendererAgg, "__init__", counted)
    with style.context("trial"):
        figure, grid = style.panels(2, 2)
        for axes in (axes for row in grid for axes in row):
            axes.plot([0, 1], [0, 1])
            for at in (0.2, 0.8):
                EndLabel(axes, at, "oracle", "black")
                TopLabel(axes, at, "oracle", "black")
        style.settle(figure)
    gc.collect()
    assert len(alive) == 1


# Panels


def test_panels_have_room_and_nothing_is_cut_off(drawn: Drawn) -> None:
    for name, _, _, figure in drawn:
        for axes in figure.axes:
            box = axes.get_window_extent()
            assert box.width >= 0.99 * style.LEAST_WIDTH * figure.dpi, name
            assert box.height >= 0.99 * style.LEAST_HEIGHT * figure.dpi, name
        with style.context(name):  # how many ticks there are hangs on the size of their text
            whole = figure.get_tightbbox()  # in inches
        assert whole.x0 >= -0.02 and whole.y0 >= -0.02, name
        assert whole.x1 <= figure.get_figwidth() + 0.02 and whole.y1 <= figure.get_figheight() + 0.02, name


@pytest.mark.parametrize(("columns", "names"), [(1, 40), (3, 40), (4, 2)])
def test_a_figure_grows_until_names_and_legend_leave_room_for_its_panels(columns: int, names: int) -> None:
    with style.context("trial"):
        figure, grid = style.panels(2, columns)
        for axes in (axes for row in grid for axes in row):
            axes.set_yticks([0, 1], ["a name as long as a panel is wide, and longer by some, and by some more"] * 2)
            EndLabel(axes, 0.5, "posterior-sampling-with-a-long-name", "black")
        style.legend(figure, [Line2D([], [], label=f"learner-of-a-long-name-{i}") for i in range(names)])
        style.settle(figure)
        boxes = [axes.get_window_extent() for axes in figure.axes]
    assert min(box.width for box in boxes) >= 0.99 * style.LEAST_WIDTH * figure.dpi
    assert min(box.height for box in boxes) >= 0.99 * style.LEAST_HEIGHT * figure.dpi
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_scales_that_are_not_linear_are_named(drawn: Drawn) -> None:
    for name, axes in panels(drawn):
        for axis in (axes.xaxis, axes.yaxis):
            assert ("log scale" in axis.get_label_text()) == (axis.get_scale() != "linear"), name


def test_a_warning_while_drawing_is_an_error_that_names_the_figure() -> None:
    with pytest.raises(style.DrawingError, match=r"^figure bars: too wide$"), style.context("bars"):
        warnings.warn("too\n  wide", stacklevel=1)
    lost = r"^figure bars: the line of oracle at 2 lies outside"
    with pytest.raises(style.DrawingError, match=lost), style.context("bars"):
        figure, ((axes,),) = style.panels(1, 1)
        axes.set_ylim(0, 1)
        EndLabel(axes, 2, "oracle", "black")
        style.settle(figure)
    with style.context("bars"):
        warnings.warn("will be removed", DeprecationWarning, stacklevel=1)


# Lines


@pytest.mark.parametrize(
    ("ks", "block", "expected"),
    [
        ((0, 1, 2, 5, 10, 11), 1, [(0, 1, 2), (5,), (10, 11)]),
        ((0, 10, 20, 40), 10, [(0, 10, 20), (40,)]),
        ((0,), 1, [(0,)]),
        ((), 1, []),
    ],
)
def test_lines_join_neighbours_alone(ks: Sequence[int], block: int, expected: list[tuple[int, ...]]) -> None:
    assert [tuple(ks[piece]) for piece in _curves.pieces(ks, block)] == expected


def test_no_line_crosses_evidence_that_nobody_evaluated(drawn: Drawn) -> None:
    """What a curve says at K is what the tables say there: what the policy at the last complete block does."""
    for data, section, metric, axes in curves(drawn):
        family = section.family
        for algorithm in section.finished:
            look = looks.looks(data.grid.learners)[algorithm]
            block = data.summary.tests[family, algorithm].block
            curve = {point.k: point.mean for point in data.summary.curve(family, algorithm, metric)}
            drawn_at: set[int] = set()
            for line in axes.lines:
                own = (line.get_color(), line.get_marker()) == (look.color, look.marker)  # two rows may share a colour
                if not own or line.get_alpha() is not None:
                    continue
                x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
                joined = "steps-post" if block > 1 else "default"
                assert len(x) == 1 or line.get_drawstyle() == joined, f"{section.title}: {algorithm}"
                for k, value in zip(x, y, strict=True):
                    at = int(k) // block * block if int(k) not in curve else int(k)
                    held = at if at in curve else max(p for p in curve if p <= k)
                    where = f"{section.title}: {algorithm} at {k}"
                    assert value == curve[held] or (k == x[-1] and value == y[-2]), where
                assert (np.diff(x) <= block).all(), f"{section.title}: {algorithm} joins {x}"
                marked: Any = line.get_markevery()
                drawn_at |= {int(k) for k in x[list(range(len(x)) if marked is None else marked)]}
            assert drawn_at == set(curve), f"{section.title}: {algorithm}"


# Looks


def test_names_that_ship_have_one_look_everywhere_and_share_it_with_nobody() -> None:
    suites = {path.stem: {policy_name(run.algorithm) for run in load_suite(path).runs() if run.kind == "algorithm"}
              for path in shipped.SUITES}  # fmt: skip
    modules = {name.replace("_", "-") for name in registry.names("algorithms")}
    known = looks.looks(modules)
    assert "rl2-transformer" in modules
    assert not set(known.values()) & set(looks.spare())
    assert len({(look.color, look.marker) for look in known.values()}) == len(modules)
    everywhere: dict[str, looks.Look] = {}
    for suite, names in suites.items():
        found = looks.looks(names | modules)
        assert len(names - modules) <= len(looks.spare())
        assert len({(look.color, look.marker) for look in found.values()}) == len(found), suite
        for name, look in looks.looks(names).items():
            assert everywhere.setdefault(name, look) == look, f"{suite}: {name} has another look than elsewhere"
            assert name not in looks.known() or look == looks.known()[name]


def test_spare_looks_are_unlike_all_others_and_last_for_as_many_as_is_said() -> None:
    known, spare = looks.known(), looks.spare()
    assert len({(look.color, look.marker) for look in known.values()}) == len(known)
    assert not {look.color for look in known.values()} & {look.color for look in spare}
    names = [f"variant-{i}" for i in range(len(spare))]
    assert len(set(looks.looks(names).values())) == len(spare) == 24
    assert looks.looks(names) == looks.looks(names[::-1])
    assert len({look.color for look in looks.looks(names[:8]).values()}) == 8


# Ticks and legends


@pytest.mark.parametrize(
    ("ks", "hidden"),
    [
        ((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20), set()),
        ((0, 1, 2, 3, 40, 80, 120), set()),
        ((0, 1, 2, 3, 5, 7, 10, 15, 19, 20, 40), {19}),
        ((0, 10, 50, 99, 100), {99}),
    ],
)
def test_labels_of_k_do_not_touch_and_hide_no_more_than_they_must(ks: tuple[int, ...], hidden: set[int]) -> None:
    with style.context("trial"):
        figure, ((axes, _),) = style.panels(1, 2)
        _common.evidence_axis(axes, ks)
        style.settle(figure)
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert [int(label.get_text()) for label in axes.get_xticklabels()] == [k for k in ks if k not in hidden]
    assert all(left.x1 + 1 < right.x0 for left, right in pairwise(boxes))


def test_names_of_references_end_within_the_saved_picture() -> None:
    with style.context("trial"):
        figure, ((_, axes),) = style.panels(1, 2)
        axes.plot([0, 1], [0, 1])
        EndLabel(axes, 1.0, "posterior-sampling", "black")
        style.settle(figure)
        picture = read_png(BytesIO(style.render(figure, "png")))
    assert picture[:, :-1].min() < 0.5, "nothing was drawn"
    assert picture[:, -1].min() > 0.99, "something touches the right edge"


def test_legends_name_those_alone_that_are_drawn(drawn: Drawn) -> None:
    """Every learner has a colour of its own."""
    for name, data, _, figure in drawn:
        found = looks.looks(data.grid.learners)
        colors = {policy_name(learner): to_rgb(found[learner].color) for learner in data.grid.learners}
        labels = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
        inside = {to_rgb(line.get_color()) for axes in figure.axes for line in axes.lines if len(line.get_xdata())}
        parts = [part for axes in figure.axes for part in (*axes.collections, *axes.patches)]
        inside |= {to_rgb(color) for part in parts for color in to_rgba_array(part.get_facecolor())}
        assert {colors[label] for label in labels if label in colors} <= inside, name


def test_a_legend_of_long_names_fits_the_figure() -> None:
    names = ["rl2-transformer", "before adaptation", "behaviour-cloning", "maxent-irl-linear", "maml", "anil"]
    with style.context("trial"):
        figure, _ = style.panels(1, 1)
        style.legend(figure, [Line2D([], [], label=name) for name in names])
        style.settle(figure)
        (legend,) = figure.legends
        box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert box.y0 >= 0
