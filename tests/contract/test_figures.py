"""What is drawn stays readable: labels do not touch, legends fit."""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise

import pytest
from matplotlib.image import imread as read_png
from matplotlib.lines import Line2D

from kshot.reporting import style
from kshot.reporting.figures import _common


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
    with style.context():
        figure, ((axes, _),) = style.panels(1, 2)
        _common.evidence_axis(axes, ks)
        style.settle(figure)
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert [int(label.get_text()) for label in axes.get_xticklabels()] == [k for k in ks if k not in hidden]
    assert all(left.x1 + 1 < right.x0 for left, right in pairwise(boxes))


def test_names_of_references_end_within_the_saved_picture() -> None:
    with style.context():
        figure, ((_, axes),) = style.panels(1, 2)
        axes.plot([0, 1], [0, 1])
        style.end_labels(axes, [(1.0, "posterior-sampling", "black")])
        style.settle(figure)
        picture = read_png(BytesIO(style.render(figure, "png")))
    assert picture[:, :-1].min() < 0.5, "nothing was drawn"
    assert picture[:, -1].min() > 0.99, "something touches the right edge"


def test_a_legend_of_long_names_fits_the_figure() -> None:
    names = ["rl2-transformer", "before adaptation", "behaviour-cloning", "maxent-irl-linear", "maml", "anil"]
    with style.context():
        figure, _ = style.panels(1, 1)
        style.legend(figure, [Line2D([], [], label=name) for name in names])
        style.settle(figure)
        (legend,) = figure.legends
        box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert box.y0 >= 0
