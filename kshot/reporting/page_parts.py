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
from kshot.reporting.verdict import Matrix, matrix, verdict
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
PLACES = (*TABS, TOGETHER)
"""Where on the page figures and tables can stand."""


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
    """

    id: str
    title: str
    caption: str
    links: Sequence[tuple[str, str]]
    svg: str = ""
    part: Part | None = None
    sources: Sequence[tuple[str, str]] = ()

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
        verdict: what came out, in a sentence.
        tabs: with its figures and tables.
        split: of its tasks.
    """

    id: str
    title: str
    family: str
    description: str
    verdict: str
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


def half(
    results: Results,
    out: Path,
    drawn: Sequence[Shown],
    built: Sequence[Table],
    faults: Faults,
    evidences: Sequence[Evidence],
) -> Half:
    """Everything about learners that adapt on some kinds of evidence.

    Args:
        results: of the suite.
        out: folder of the page; figures and tables in it are linked.
        drawn: the figures that have something to show.
        built: all tables of the suite.
        faults: takes note of what fails.
        evidences: of the learners.
    """
    sections = [section for section in results.sections if section.evidence in evidences]
    pictures = [(figure, _place(figure.module.NAME, getattr(figure.module, "PLACES", {}))) for figure in drawn]
    placed = [(table, _place(table.name, table.places)) for table in built]
    cards = []
    for section in sections:
        found: dict[str, list[tuple[int, Item]]] = {}
        for figure, (place, order) in pictures:
            if section in figure.alone:
                item = _picture(figure.module, results, out, [section], slug(section.title), faults)
                found.setdefault(place, []).extend([(order, item)] if item else [])
        for table, (place, order) in placed:
            if place != TOGETHER:
                parts = [part for part in table.parts if part.title == section.title]
                found.setdefault(place, []).extend((order, _table(table, part, results, out)) for part in parts)
        tabs = [
            Tab(f"tab--{slug(section.title)}--{place}", title, _ordered(found[place]))
            for place, title in TABS.items()
            if found.get(place)
        ]
        description = page_facts.description(results, section)
        said = verdict(results, section)
        names = (slug(section.title), section.title, section.family)
        cards.append(Card(*names, description, said, tabs, section.info.split))
    return Half(
        matrix(results, sections), cards, _together(results, out, pictures, placed, sections, evidences, faults)
    )


Placed = tuple[str, int]
"""A place, and the order in it."""


def _place(name: str, places: Mapping[str, int]) -> Placed:
    """Where a figure or table stands, and its order there. Raises ValueError for a place that there is not."""
    if unknown := set(places) - set(PLACES):
        raise ValueError(f"{name}: {unknown.pop()!r} is no place on the page; there are {', '.join(PLACES)}")
    return next(iter(places.items()), ("more", 0))


def _together(
    results: Results,
    out: Path,
    drawn: Iterable[tuple[Shown, Placed]],
    placed: Iterable[tuple[Table, Placed]],
    sections: Sequence[Section],
    evidences: Sequence[Evidence],
    faults: Faults,
) -> list[Item]:
    """What is about all families together."""
    found: list[tuple[int, Item]] = []
    for figure, (place, order) in drawn:
        shown = [section for section in sections if section in figure.sections]
        if place == TOGETHER and shown:
            item = _picture(figure.module, results, out, shown, f"{TOGETHER}-{shown[0].evidence}", faults)
            found += [(order, item)] if item else []
    titles = {section.title for section in results.sections}
    for table, (place, order) in placed:
        for part in table.parts:
            # A part that belongs to no section has no other place.
            if part.evidence in evidences and (place == TOGETHER or part.title not in titles):
                found.append((order, _table(table, part, results, out)))
    return _ordered(found)


def _ordered(items: Iterable[tuple[int, Item]]) -> list[Item]:
    return [item for _, item in sorted(items, key=lambda pair: pair[0])]


def _picture(
    module: ModuleType, results: Results, out: Path, sections: Sequence[Section], where: str, faults: Faults
) -> Item | None:
    """A figure of some sections; None where it fails."""
    title = str(getattr(module, "TITLE", f"{module.NAME} ".replace("_", " ").replace(" k ", " K ").strip()))
    title = title[0].upper() + title[1:]
    files = links.existing([out / "figures" / f"{module.NAME}.{format}" for format in style.FORMATS], out)
    name = f"{where}--{slug(module.NAME)}"
    with faults.caught(f"figure {module.NAME}"), style.context(module.NAME):
        figure = figures.draw(module, results, sections)
        titles = ", ".join(section.title for section in sections)
        label = inline_svg.spoken(title, titles, inline_svg.last_numbers(figure))
        return Item(name, title, module.CAPTION, files, svg=inline_svg.inline(figure, name, label))
    return None


def _table(table: Table, part: Part, results: Results, out: Path) -> Item:
    sources = [(name, links.link(results.grid.folder / name, out)) for name in table.sources]
    files = links.existing([out / "tables" / f"{table.name}{suffix}" for suffix in tables.SUFFIXES], out)
    name = f"{slug(part.title) or f'{TOGETHER}-{part.evidence}'}--{slug(table.name)}-table"
    return Item(name, table.title, table.caption, files, part=part, sources=sources)


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
