"""From footage to a clip: takes side by side, each below a strip that says what is seen and what was scored."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kshot import registry
from kshot.errors import ConfigError
from kshot.rendering import drawings, graphics, scenes, video
from kshot.rendering.footage import Take, shoot
from kshot.suites.run import RunConfig
from kshot.types import Array

FRAMES = 50
"""Pictures of an episode, unless it has fewer steps."""
SECONDS = 6.0
"""How long an episode lasts, unless that would be more or less often than ``_RATES``."""
_RATES = (2.0, 20.0)
"""Fewest and most pictures per second."""
_LINE, _MARGIN, _GAP = 17, 6, 8


def render(
    run: RunConfig,
    root: Path,
    task: int,
    points: Sequence[int] | None,
    out: Path,
    frames: int = FRAMES,
    camera: str | None = None,
) -> str:
    """Write a clip of a run on one of its test tasks.

    Args:
        run: evaluated, or at least trained.
        root: folder of all results.
        task: its number among the tasks of the evaluation.
        points: amounts of evidence to show side by side; None for the least and the most.
        out: a .gif or .mp4 to write.
        frames: pictures of an episode, at most, besides the one at the end.
        camera: of Meta-World's; None for ``scenes.CAMERA``.

    Returns:
        What the clip shows, a line for each of its episodes.

    Raises:
        ConfigError: an argument is not possible for this run, or this machine cannot draw it.
        RecordError: the run has no usable model.
    """
    video.check(out)
    name = run.family_module
    drawing = drawings.drawing(name, registry.load("envs", name))
    if drawing is None and name not in graphics.SIMULATED:
        known = ", ".join(sorted({*drawings.DRAWN, *graphics.SIMULATED}))
        raise ConfigError([f"there is no picture of family {name!r}; there are of {known}, see docs/rendering.md"])
    footage = shoot(run, root, task, points)
    longest = max(take.steps for take in footage.takes)
    every = max(1, -(-longest // frames))
    with contextlib.ExitStack() as stack:
        draw = stack.enter_context(scenes.camera(camera or scenes.CAMERA)) if drawing is None else None

        def picture(take: Take, t: int) -> Array:
            if drawing is not None:
                return drawing(footage.task, take.observations, t)
            assert draw is not None
            return draw(take.scenes[t])

        unit = "demonstration" if run.evidence == "demonstrations" and run.kind == "algorithm" else "episode"
        panels = [
            [_panel(caption(take, t, unit), picture(take, t)) for t in _shown(take, every)] for take in footage.takes
        ]
    count = max(map(len, panels))
    group = f" ({footage.task.group})" if footage.task.group not in ("", name, run.family) else ""
    title = (
        f"{run.algorithm}, {'scripted' if run.kind == 'reference' else f'seed {run.seed}'}",
        f"{run.family}, {run.evaluation.split} task {task}{group}",
    )
    sheets = [_sheet(title, [panel[min(i, len(panel) - 1)] for panel in panels]) for i in range(count)]
    video.write(out, sheets, float(np.clip(count / SECONDS, *_RATES)))
    return "\n".join(
        f"K = {take.k}: {take.steps} steps, return {take.episode_return:.2f}; {scored(take)}" for take in footage.takes
    )


def default_path(run: RunConfig, task: int) -> Path:
    """Where a clip goes that is given no name."""
    return Path("reports", run.suite, "clips", run.family, f"{run.algorithm}-seed-{run.seed}-task-{task}.gif")


def _shown(take: Take, every: int) -> list[int]:
    """The steps of an episode that are shown: every so many, and the last."""
    return sorted({*range(0, take.steps, every), take.steps})


def caption(take: Take, t: int, unit: str) -> list[tuple[str, str]]:
    """The lines above a picture after ``t`` steps, each with its colour."""
    seen = take.success[:t]
    success = "yes" if t and seen[-1] else "earlier" if seen.any() else "no"
    so_far = take.episode_return if t == take.steps else float(take.reward[:t].sum())
    return [
        (f"K = {take.k} {unit}{'' if take.k == 1 else 's'} of the task seen", video.INK),
        (f"step {t} of {take.steps}, return so far {so_far:.2f}", video.INK),
        (f"success: {success}", video.GOOD if success == "yes" else video.INK),
        (scored(take), video.PALE),
    ]


def scored(take: Take) -> str:
    """What was recorded of the episode, in words."""
    if take.scored is None:
        return "not scored yet"
    success = "yes" if take.scored.success_last else "on the way" if take.scored.success_any else "no"
    text = f"scored: return {take.scored.episode_return:.2f}, success {success}"
    return text if take.as_scored else f"{text} (played again: {take.episode_return:.2f})"


def _panel(lines: Sequence[tuple[str, str]], picture: Array) -> Image.Image:
    """A picture, ``drawings.SIDE`` wide, below its lines."""
    image = Image.fromarray(picture)
    height = round(image.height * drawings.SIDE / image.width)
    image = image.resize((drawings.SIDE, height), Image.Resampling.LANCZOS)
    strip = _LINE * len(lines) + _MARGIN
    panel = Image.new("RGB", (drawings.SIDE, strip + height), video.PAPER)
    draw = ImageDraw.Draw(panel)
    for i, (text, colour) in enumerate(lines):
        draw.text((0, i * _LINE), text, colour, _font(bold=i == 0))
    panel.paste(image, (0, strip))
    return panel


def _sheet(title: Sequence[str], panels: Sequence[Image.Image]) -> Image.Image:
    """Panels side by side below a title."""
    top = _LINE * len(title) + 2 * _MARGIN
    width = sum(panel.width for panel in panels) + _GAP * (len(panels) + 1)
    sheet = Image.new("RGB", (width + width % 2, top + panels[0].height + _GAP), video.PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, line in enumerate(title):
        draw.text((_GAP, _MARGIN + i * _LINE), _shortened(line, width - 2 * _GAP), video.INK, _font())
    x = _GAP
    for panel in panels:
        sheet.paste(panel, (x, top))
        x += panel.width + _GAP
    return sheet


def _shortened(text: str, width: int) -> str:
    """As much of the text as fits in ``width`` pixels."""
    if _font().getlength(text) <= width:
        return text
    while text and _font().getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


@cache
def _font(bold: bool = False) -> ImageFont.FreeTypeFont:
    """The one that comes with matplotlib: the same everywhere."""
    name = f"DejaVuSans{'-Bold' if bold else ''}.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), 13)
