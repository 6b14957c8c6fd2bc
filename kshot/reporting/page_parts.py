"""What stands on the report page: a card for every family, with tabs, and what concerns all families together.

Figures and tables say themselves where they stand (``PLACES``); the page and its template name none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from kshot.reporting import figures, inline_svg, links, page_facts, style, tables
from kshot.reporting.faults import Faults
from kshot.reporting.figures import TOGETHER, Shown
from kshot.reporting.names import policy_name, slug
from kshot.reporting.results import Results
from kshot.reporting.sections import Section
from kshot.reporting.values import Cell, Part, RunCount, Table
from kshot.reporting.verdict import Matrix, matrix, verdicts
from kshot.types import Evidence

TABS = {
    "headline": "Headline",
    "curves": "K-curves",
    "success": "Success",
    "tasks": "Task by task",
    "inner": "Inner steps",
    "training": "Training",
    "official": "Official evaluation",
    "cost": "Cost",
    "more": "More",
}
"""What the card of a family is divided into. A figure or table that names no place stands in the last."""
POINTS_PER_INCH = 72
"""The unit of an SVG that matplotlib writes."""
FILES = "files"
PLACES = (*TABS, TOGETHER, FILES)
"""Where on the page figures and tables can stand; in the last they are files alone, not on the page."""


Placed = tuple[str, int]
"""A place, and the order in it."""


@dataclass(frozen=True)
class Item:
    """A figure, or a part of a table.

    Attributes:
        id: its place on the page, for links.
        title: what it is.
        caption: how to read it.
        links: (label, link) of its files.
        svg: of a figure.
        part: of a table.
        sources: (name, link) of the files that it was made from.
        error: of a figure that could not be drawn.
    """

    id: str
    title: str
    caption: str
    links: Sequence[tuple[str, str]]
    svg: str = ""
    part: Part | None = None
    sources: Sequence[tuple[str, str]] = ()
    error: str = ""

    @property
    def wide(self) -> bool:
        """Whether nothing fits beside it: a figure with panels side by side, or a table with many columns."""
        if self.part is not None:
            return len(self.part.columns) > 6
        box = re.search(r'viewBox="0 0 ([0-9.]+)', self.svg)
        return box is not None and float(box[1]) > 1.3 * POINTS_PER_INCH * style.PANEL_WIDTH


@dataclass(frozen=True)
class Tab:
    """A tab of a card, with at least one item."""

    id: str
    title: str
    items: Sequence[Item]


@dataclass(frozen=True)
class Card:
    """All that is about one section.

    Attributes:
        id: its place on the page, for links.
        title: of the section.
        family: its name.
        description: its tasks and episodes in words.
        verdicts: what came out, in a sentence, by K, and under None where the learners are compared.
        tabs: with its figures and tables.
        split: of its tasks.
    """

    id: str
    title: str
    family: str
    description: str
    verdicts: Mapping[int | None, str]
    tabs: Sequence[Tab]
    split: str


@dataclass(frozen=True)
class Half:
    """What the page shows of learners that adapt on one kind of evidence; the two are never seen side by side."""

    matrix: Matrix
    cards: Sequence[Card]
    together: Sequence[Item]

    @property
    def svgs(self) -> Iterator[str]:
        """Every picture."""
        items = [*self.together, *(item for card in self.cards for tab in card.tabs for item in tab.items)]
        return (item.svg for item in items if item.svg)


@dataclass(frozen=True)
class Picture:
    """A figure of some sections, as the page shows it.

    Attributes:
        module: draws it.
        sections: one, or all of a half.
        place: where it stands, and its order there.
    """

    module: ModuleType
    sections: Sequence[Section]
    place: Placed

    @property
    def id(self) -> str:
        """Its place on the page, for links."""
        first = self.sections[0]
        where = f"{TOGETHER}-{first.evidence}" if self.place[0] == TOGETHER else slug(first.title)
        return f"{where}--{slug(self.module.NAME)}"


def pictures(
    results: Results, drawn: Iterable[Shown], kinds: Iterable[Sequence[Evidence]], faults: Faults
) -> list[Picture]:
    """All pictures of the page.

    Args:
        results: of the suite.
        drawn: the figures that have something to show.
        kinds: of evidence, of each half.
        faults: takes note of figures that stand nowhere.
    """
    found = []
    for figure in drawn:
        place: Placed | None = None
        with faults.caught(f"figure {figure.module.NAME}"):
            place = place_of(getattr(figure.module, "PLACES", {}))
        if place is None or place[0] == FILES:
            continue
        found += [Picture(figure.module, [section], place) for section in figure.alone]
        for evidences in kinds if figure.together else ():
            sections = [section for section in figure.sections if section.evidence in evidences]
            found += [Picture(figure.module, sections, place)] if sections else []
    return found


def placed(built: Iterable[Table], faults: Faults) -> list[tuple[Table, Placed]]:
    """Tables with where they stand; ``faults`` takes note of those that stand nowhere."""
    found = []
    for table in built:
        with faults.caught(f"table {table.name}"):
            found.append((table, place_of(table.places)))
    return [(table, place) for table, place in found if place[0] != FILES]


def half(
    results: Results,
    out: Path,
    drawn: Sequence[tuple[Picture, Item]],
    placed: Sequence[tuple[Table, Placed]],
    evidences: Sequence[Evidence],
) -> Half:
    """Everything about learners that adapt on some kinds of evidence.

    Args:
        results: of the suite.
        out: folder of the page; tables in it are linked.
        drawn: all pictures of the page.
        placed: all tables of the suite, and where they stand.
        evidences: of the learners.
    """
    sections = [section for section in results.sections if section.evidence in evidences]
    cards = []
    for section in sections:
        found: dict[str, list[tuple[int, Item]]] = {}
        for picture, item in drawn:
            place, order = picture.place
            if place != TOGETHER and list(picture.sections) == [section]:
                found.setdefault(place, []).append((order, item))
        for table, (place, order) in placed:
            if place != TOGETHER:
                parts = [part for part in table.parts if part.title == section.title]
                found.setdefault(place, []).extend((order, _table(table, part, results, out)) for part in parts)
        tabs = [
            Tab(f"tab--{slug(section.title)}--{place}", _titled(section, place, title), _ordered(found[place]))
            for place, title in TABS.items()
            if found.get(place)
        ]
        description = page_facts.description(results, section)
        said = verdicts(results, section)
        names = (slug(section.title), section.title, section.family)
        cards.append(Card(*names, description, said, tabs, section.info.split))
    return Half(matrix(results, sections), cards, _together(results, out, drawn, placed, evidences))


def _titled(section: Section, place: str, title: str) -> str:
    """``Headline, K = 10``: what the first tab shows does not follow the page's choice of K."""
    return f"{title}, K = {section.k}" if place == "headline" and not section.by_trial else title


def place_of(places: Mapping[str, int]) -> Placed:
    """Where a figure or table stands, and its order there. Raises ValueError for a place that there is not."""
    if unknown := set(places) - set(PLACES):
        raise ValueError(f"{unknown.pop()!r} is no place on the page; there are {', '.join(PLACES)}")
    return next(iter(places.items()), ("more", 0))


def _together(
    results: Results,
    out: Path,
    drawn: Iterable[tuple[Picture, Item]],
    placed: Iterable[tuple[Table, Placed]],
    evidences: Sequence[Evidence],
) -> list[Item]:
    """What is about all families together."""
    found = [
        (picture.place[1], item)
        for picture, item in drawn
        if picture.place[0] == TOGETHER and picture.sections[0].evidence in evidences
    ]
    titles = {section.title for section in results.sections}
    for table, (place, order) in placed:
        for part in table.parts:
            # A part that belongs to no section has no other place.
            if part.evidence in evidences and (place == TOGETHER or part.title not in titles):
                found.append((order, _table(table, part, results, out)))
    return _ordered(found)


def _ordered(items: Iterable[tuple[int, Item]]) -> list[Item]:
    return [item for _, item in sorted(items, key=lambda pair: pair[0])]


def draw(picture: Picture, results: Results, out: Path, faults: Faults) -> Item:
    """The picture, or why it fails, of which ``faults`` takes note. Its files in ``out`` are linked."""
    module = picture.module
    title = str(getattr(module, "TITLE", f"{module.NAME} ".replace("_", " ").replace(" k ", " K ").strip()))
    title = title[0].upper() + title[1:]
    files = links.existing([out / "figures" / f"{module.NAME}.{format}" for format in style.FORMATS], out)
    with faults.caught(f"figure {module.NAME}") as failed, style.context(module.NAME):
        figure = figures.draw(module, results, picture.sections)
        titles = ", ".join(section.title for section in picture.sections)
        label = inline_svg.spoken(title, titles, inline_svg.last_numbers(figure))
        return Item(picture.id, title, module.CAPTION, files, svg=inline_svg.inline(figure, picture.id, label))
    return Item(picture.id, title, module.CAPTION, files, error=failed[0])


def _table(table: Table, part: Part, results: Results, out: Path) -> Item:
    sources = [(name, links.link(results.grid.folder / name, out)) for name in table.sources]
    files = links.existing([out / "tables" / f"{table.name}{suffix}" for suffix in tables.SUFFIXES], out)
    name = f"{slug(part.title) or f'{TOGETHER}-{part.evidence}'}--{slug(table.name)}-table"
    title = ": ".join(filter(None, [table.title, part.measure]))
    return Item(name, title, table.caption, files, part=part, sources=sources)


def policies(halves: Iterable[Half]) -> list[str]:
    """Every learner in the matrices, as displayed, once."""
    return list(dict.fromkeys(policy_name(name) for half in halves for name in half.matrix.learners))


def splits(halves: Iterable[Half]) -> list[str]:
    """Every split that a card's tasks are of, once."""
    return list(dict.fromkeys(card.split for half in halves for card in half.cards))


def attributes(value: Any) -> dict[str, str]:
    """What a cell of a table is sorted by and copied as."""
    number = value.value if isinstance(value, Cell) else value.counted if isinstance(value, RunCount) else None
    return {"text": str(value)} | ({} if number is None else {"value": f"{number:.10g}"})
