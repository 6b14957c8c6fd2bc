"""Draws the way of the data from a suite to a report, for docs/concepts.md: ``python -m docs.building.picture``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

FILE = Path(__file__).resolve().parents[1] / "pictures" / "data.svg"

WIDTH, PAD, LINE, GAP = 460, 14, 20, 34
# Words stand on light boxes of their own, and arrows are of a grey that shows on white as on black: the picture is put
# on pages of either scheme, and cannot know of which.
INK, BOX, EDGE, CHIP, ARROW = "#1b2430", "#eef2f7", "#5b7aa6", "#d3e1f5", "#7d8794"


class Step(NamedTuple):
    """A box: what is done, in a few words, and what it leaves behind."""

    title: str
    lines: tuple[str, ...]
    files: str
    chips: tuple[str, ...] = ()


STEPS = (
    Step(
        "Suite", ("algorithms, families, seeds and budgets;", "checked as a whole before anything runs"), "SUITE.yaml"
    ),
    Step(
        "Train",
        ("the learner asks for episodes of training tasks", "and improves, until its budget is spent"),
        "run.json  train.parquet  model.pt",
    ),
    Step(
        "Evaluate",
        ("from the model alone, on test tasks that nobody has", "trained on, the same for every learner and seed:"),
        "evaluate.json  curve.parquet",
        ("play: K = 0", "adapt", "play: K = 1", "adapt", "..."),
    ),
    Step(
        "Aggregate",
        ("a score for every run and K, means with intervals;", "what diverged or is missing stays in the list"),
        "cells.csv  scores.csv  summary.csv",
    ),
    Step("Report", ("K-curves and tables, between floor and ceiling", "with the origin of every number"), "index.html"),
)


def picture() -> str:
    """The picture as SVG."""
    parts, y = list[str](), 1.0
    for number, step in enumerate(STEPS):
        height = 2 * PAD + LINE * (2 + len(step.lines) + 1.6 * bool(step.chips)) - 4
        if number:
            parts.append(_arrow(y - GAP, y))
        parts.append(_box(step, y, height))
        y += height + GAP
    height = y - GAP + 1
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" role="img" font-family="system-ui, sans-serif" font-size="15">'
    )
    title = "<title>From a suite to a report: train, evaluate, aggregate</title>"
    return "\n".join([head, title, *parts, "</svg>", ""])


def _box(step: Step, y: float, height: float) -> str:
    """A box with its words; its upper edge at ``y``."""
    parts = [
        f'<rect x="1" y="{y:.0f}" width="{WIDTH - 2}" height="{height:.0f}" rx="8" fill="{BOX}" stroke="{EDGE}" '
        'stroke-width="1.5"/>'
    ]
    at = y + PAD + 13
    parts.append(_text(PAD, at, step.title, 'font-weight="700" font-size="17"'))
    for line in step.lines:
        at += LINE
        parts.append(_text(PAD, at, line))
    if step.chips:
        at += LINE * 1.6
        parts += _chips(step.chips, at)
    at += LINE + 2
    parts.append(_text(PAD, at, step.files, 'font-family="ui-monospace, monospace" font-size="13"'))
    return "\n".join(parts)


def _chips(words: tuple[str, ...], y: float) -> list[str]:
    """Words side by side, each on a plate, along the line at ``y``."""
    parts, x = list[str](), float(PAD)
    for word in words:
        width = 8.0 * len(word) + 14
        parts.append(f'<rect x="{x:.0f}" y="{y - 16:.0f}" width="{width:.0f}" height="23" rx="5" fill="{CHIP}"/>')
        parts.append(_text(x + width / 2, y, word, 'text-anchor="middle" font-size="14"'))
        x += width + 8
    return parts


def _arrow(top: float, bottom: float) -> str:
    x = WIDTH / 2
    line = f'<path d="M{x:.0f} {top + 4:.0f}V{bottom - 10:.0f}" stroke="{ARROW}" stroke-width="2.5"/>'
    head = f'<path d="M{x - 7:.0f} {bottom - 12:.0f}h14l-7 10z" fill="{ARROW}"/>'
    return line + head


def _text(x: float, y: float, text: str, style: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{INK}"{" " + style if style else ""}>{escape(text)}</text>'


def main() -> None:
    """Write the picture."""
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(picture(), encoding="utf-8")


if __name__ == "__main__":
    main()
