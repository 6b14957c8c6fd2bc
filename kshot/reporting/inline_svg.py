"""Figures as parts of a page: real text, colours of the page's scheme, and parts that say what they stand for.

An SVG within the page takes part in it, where one shown as an image does not: its text can be searched and selected,
its colours follow the page's variables, and scripts can find a policy's curve. Every point holds its numbers as a
``<title>``, which browsers show without any script.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable, Mapping

import matplotlib
from markupsafe import escape
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from kshot.reporting import style
from kshot.reporting.marks import Mark, marked

PAPER = {"light": "#ffffff", "dark": "#171b20"}
"""What figures stand on; page.css names them as well."""
_VARIABLES = {
    style.INK: "--ink",
    style.GREY: "--soft",
    "#e5e7eb": "--line",
    "#ffffff": "--paper",
    "#f3f4f6": "--ground",
}
"""Colours that are the scheme's, and the variables of page.css that they become."""
CONTRAST = 3.0
"""Of what is drawn against what it stands on: Web Content Accessibility Guidelines 2.2, criterion 1.4.11."""
_HEAD = re.compile(r"^.*?<svg [^>]*?viewBox=\"(?P<box>[^\"]*)\"[^>]*>", re.DOTALL)
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>|\s*<style type=\"text/css\">[^<]*</style>", re.DOTALL)
_FONT = re.compile(r"font: (?:(?P<weight>bold|700) )?(?P<size>[\d.]+px) [^;\"]*")
_COLOUR = re.compile(r"#[0-9a-f]{6}\b")
_ID = re.compile(r'(\bid="|url\(#|href="#)([^")]+)')
_USE = re.compile(r"<use ([^>]*?)/>")


def inline(figure: Figure, prefix: str, label: str) -> str:
    """A laid-out figure as an ``<svg>`` element.

    Args:
        figure: as ``kshot.reporting.figures.draw`` returns it, inside ``style.context``.
        prefix: begins every id in it; unique on the page.
        label: what the figure shows, for those who do not see it.
    """
    found = list(marked(figure))
    for i, (artist, _) in enumerate(found):
        artist.set_gid(f"mark-{i}")
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        svg = style.render(figure, "svg").decode()
    for artist, _ in found:
        artist.set_gid(None)
    head = _HEAD.match(svg)
    assert head is not None
    svg = _METADATA.sub("", svg[head.end() :])
    for i, (_, mark) in enumerate(found):
        svg = _said(svg, f'<g id="mark-{i}">', mark)
    svg = _ID.sub(rf"\1{prefix}-\2", svg)
    svg = _FONT.sub(lambda font: f"font-size: {font['size']}" + "; font-weight: bold" * bool(font["weight"]), svg)
    svg = _COLOUR.sub(lambda colour: f"var({_variable(colour[0])})", svg)
    lines = "\n".join(line.strip() for line in svg.splitlines() if line.strip())
    return f'<svg viewBox="{head["box"]}" role="img" aria-label="{escape(label)}">\n{lines}'


def _said(svg: str, group: str, mark: Mark) -> str:
    """The picture with what a group of it stands for: whose it is, and a title for each of its points."""
    begin = svg.find(group)
    if begin < 0:
        return svg  # an artist that draws nothing
    end = _end_of_group(svg, begin)
    inside = svg[begin + len(group) : end]
    if mark.texts:
        texts = iter(mark.texts)
        inside = _USE.sub(lambda use: f"<use {use[1]}><title>{escape(next(texts, ''))}</title></use>", inside)
    attributes = f'data-policy="{escape(mark.policy)}"' + ' data-other=""' * mark.other
    return f"{svg[:begin]}<g {attributes}>{inside}{svg[end:]}"


def _end_of_group(svg: str, begin: int) -> int:
    """Where the ``</g>`` stands that closes the ``<g>`` at ``begin``."""
    depth = 0
    for tag in re.finditer(r"<g[ >]|</g>", svg[begin:]):
        depth += 1 if tag[0] != "</g>" else -1
        if depth == 0:
            return begin + tag.start()
    raise ValueError("a group is not closed")


def _variable(colour: str) -> str:
    return _VARIABLES.get(colour, f"--c{colour[1:]}")


def colours(pictures: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The variables that pictures use for colours of their own: (in the light scheme, in the dark one) by name.

    In the dark scheme a colour that would hardly be seen is made lighter, of the same hue.
    """
    used = sorted({name for svg in pictures for name in re.findall(r"var\(--c([0-9a-f]{6})\)", svg)})
    return {f"--c{name}": (f"#{name}", readable(f"#{name}", PAPER["dark"])) for name in used}


def readable(colour: str, ground: str, ratio: float = CONTRAST) -> str:
    """The nearest lighter colour of the same hue and saturation that stands out against a dark ground."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*to_rgb(colour))
    while contrast(colour, ground) < ratio and lightness < 1:
        lightness = min(1.0, lightness + 0.01)
        rgb = colorsys.hls_to_rgb(hue, lightness, saturation)
        colour = "#" + "".join(f"{round(255 * part):02x}" for part in rgb)
    return colour


def contrast(a: str, b: str) -> float:
    """The contrast ratio of two colours, from 1 to 21 (Web Content Accessibility Guidelines 2.2, "contrast ratio")."""
    low, high = sorted(_luminance(colour) for colour in (a, b))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def spoken(title: str, where: str, marks: Mapping[str, str]) -> str:
    """An alternative text: what a figure is, of what, and the last number of every policy in it."""
    ends = "; ".join(marks.values())
    return f"{title}: {where}." + (f" {ends}." if ends else "")


def last_numbers(figure: Figure) -> dict[str, str]:
    """The last text of every policy in a figure."""
    return {mark.policy: mark.texts[-1] for _, mark in marked(figure) if mark.texts}
