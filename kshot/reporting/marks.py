"""What parts of a figure stand for: whose they are, and the numbers behind their points.

Pictures in files are not changed by it. Where a figure stands on a page, its parts can be told apart by policy, and say
their numbers (``kshot.reporting.inline_svg``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.figure import Figure

_ATTRIBUTE = "_kshot_mark"


@dataclass(frozen=True)
class Mark:
    """What an artist stands for.

    Attributes:
        policy: whose it is, as it is displayed.
        texts: a line of text for each of its points, in their order; none for what has no points of its own.
        other: whether it shows actions that the policy is not compared by.
    """

    policy: str
    texts: tuple[str, ...] = ()
    other: bool = False


def mark(artist: Artist | Sequence[Artist], policy: str, texts: Sequence[str] = (), other: bool = False) -> None:
    """Note what an artist, or each of several, stands for."""
    for one in [artist] if isinstance(artist, Artist) else artist:
        setattr(one, _ATTRIBUTE, Mark(policy, tuple(texts), other))


def marked(figure: Figure) -> Iterator[tuple[Artist, Mark]]:
    """Every artist of a figure that stands for something, in the order of drawing."""
    for artist in figure.findobj():
        found = getattr(artist, _ATTRIBUTE, None)
        if isinstance(found, Mark):
            yield artist, found
