"""The report: one self-contained HTML page that opens from disk and asks the network for nothing.

Figures and tables say themselves where they stand (``PLACES``); the page and its template name none of them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import jinja2

from kshot import records, yaml_text
from kshot.errors import RecordError
from kshot.reporting import figures, links, looks, page_facts, provenance, style, tables, values
from kshot.reporting.faults import Faults
from kshot.reporting.names import DEMONSTRATIONS, policy_name
from kshot.reporting.results import Results, load
from kshot.reporting.sections import Section
from kshot.reporting.values import Part, Table
from kshot.suites.run import RunConfig

PLACES = {
    "families": "on the card of every family, at the top: figures to the left, tables to the right",
    "headline": "below these cards, of learners from rewards",
    "curves": "scores for growing K",
    "success": "how to read success",
    "tasks": "task by task",
    "together": "all families together",
    "training": "learning curves",
    "demonstrations": "everything about learners from demonstrations, below the cards of their families",
}
"""Where on the page figures and tables can stand. All but the first and the last hold learners from rewards alone."""
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Picture:
    """A figure as it stands on the page: its images by their titles, and links to its files."""

    name: str
    caption: str
    images: Mapping[str, str]
    links: Sequence[tuple[str, str]]
    places: Mapping[str, int]
    kind: str = "picture"

    @property
    def content(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.images)


@dataclass(frozen=True)
class ShownTable:
    """A table as it stands on the page: its parts, and links to where it comes from and to its files."""

    name: str
    title: str
    caption: str
    parts: Sequence[Part]
    sources: Sequence[tuple[str, str]]
    links: Sequence[tuple[str, str]]
    places: Mapping[str, int]
    kind: str = "table"

    @property
    def content(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.parts)

    @property
    def wide(self) -> bool:
        """Whether two parts do not fit side by side."""
        return max(1 + len(part.columns) for part in self.parts) > 6


Item = Picture | ShownTable


@dataclass(frozen=True)
class Card:
    """What stands at the top of the page about one section.

    Attributes:
        name: of the family.
        description: its tasks and episodes in words.
        images: (name of the figure, image).
        parts: of tables.
        title: of the section.
    """

    name: str
    description: str
    images: Sequence[tuple[str, str]]
    parts: Sequence[Part]
    title: str


@dataclass(frozen=True)
class Half:
    """What the page shows of learners that adapt on one kind of evidence.

    Attributes:
        cards: one for every section.
        items: figures and tables by place, in their order; those that have nothing to show here are None.
        others: figures and tables that name no place.
    """

    cards: Sequence[Card]
    items: Mapping[str, Sequence[Item | None]]
    others: Sequence[Item]


def write_page(
    suite: Mapping[str, Any],
    runs: Sequence[RunConfig],
    root: Path,
    out: Path,
    partial: bool = False,
    alone: bool = False,
) -> Path:
    """Write ``out/index.html``.

    Args:
        suite: the resolved suite, to be shown.
        runs: the complete grid that the suite expects.
        root: folder of all results.
        out: folder of the report. Figures and tables found in its ``figures`` and ``tables`` are linked.
        partial: accept that runs are missing; the page says which.
        alone: the page is to be kept without ``root``: the suite's CSV files are copied beside it, and it links to
            files in ``out`` alone.

    Returns:
        The path of the page.

    Raises:
        RecordError: runs are missing and ``partial`` is False, or the suite has not been aggregated since its runs
            last changed.
    """
    results = load(runs, root)
    grid = results.grid
    if grid.missing and not partial:
        raise RecordError(f"{grid.missing} of {len(runs)} runs are missing; {grid.folder / 'cells.csv'} lists them")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "value": values.html,
        "duration": page_facts.duration,
        "count": page_facts.count,
        "policy": policy_name,
    }
    faults = Faults()
    built = tables.made(results, faults)
    drawn = figures.modules(faults)
    halves = [_half(results, out, drawn, built, faults, demonstrated) for demonstrated in (False, True)]
    html = environment.get_template("page.html.j2").render(
        suite=grid.suite,
        description=str(suite.get("description") or ""),
        facts=page_facts.facts(grid),
        notices=page_facts.notices(results, faults.lines),
        halves=halves,
        colours={policy_name(name): look.color for name, look in looks.looks(grid.learners).items()},
        incomplete=grid.cells[grid.cells["state"] != "ok"].to_dict("records"),
        excluded=[page_facts.excluded(item) for item in suite.get("exclude") or ()],
        config=yaml_text.dump(json.loads(json.dumps(suite)), width=100),
        provenance=provenance.provenance(grid, out),
        files=links.data_files(grid.folder, out),
    )
    path = out / "index.html"
    if alone:
        for name in links.DATA_FILES:
            if name.endswith(".csv"):
                records.write_bytes(out / name, (grid.folder / name).read_bytes())
        html = links.kept(html, out)
    records.write_text(path, html)
    return path


def _half(
    results: Results,
    out: Path,
    drawn: Sequence[ModuleType],
    built: Sequence[Table],
    faults: Faults,
    demonstrated: bool,
) -> Half:
    """Everything about learners from demonstrations, or about all others: the two are never seen side by side."""
    sections = [section for section in results.sections if section.demonstrated == demonstrated]
    pictures = [_picture(module, results, out, sections, faults) for module in drawn]
    shown = [_table(table, results, out, demonstrated) for table in built]
    items: list[Item] = [*pictures, *shown]
    for item in items:
        if unknown := set(item.places) - set(PLACES):
            raise ValueError(f"{item.name}: {unknown.pop()!r} is no place on the page; there are {', '.join(PLACES)}")
    placed = {
        place: sorted((item for item in items if place in item.places), key=lambda item: item.places[place])
        for place in PLACES
    }
    return Half(
        [_card(results, section, placed["families"]) for section in sections],
        {place: [item if item.content else None for item in found] for place, found in placed.items()},
        [item for item in items if item.content and not item.places],
    )


def _card(results: Results, section: Section, items: Sequence[Item]) -> Card:
    images = [
        (item.name, item.images[section.title])
        for item in items
        if isinstance(item, Picture) and section.title in item.images
    ]
    parts = [part for item in items if isinstance(item, ShownTable) for part in item.parts]
    own = [part for part in parts if part.title == section.title]
    return Card(section.family, page_facts.description(results, section), images, own, section.title)


def _picture(module: ModuleType, results: Results, out: Path, sections: Sequence[Section], faults: Faults) -> Picture:
    """A figure as images: one for each of the sections, or for all of them, that it has something to show of."""
    images = {}
    with faults.caught(f"figure {module.NAME}"), style.context(module.NAME):
        for title, shown in figures.pictures(module, results).items():
            if shown[0] in sections:
                svg = style.render(figures.draw(module, results, shown), "svg")
                images[title] = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    files = [out / "figures" / f"{module.NAME}.{format}" for format in style.FORMATS]
    return Picture(module.NAME, module.CAPTION, images, links.existing(files, out), getattr(module, "PLACES", {}))


def _table(table: Table, results: Results, out: Path, demonstrated: bool) -> ShownTable:
    """The parts of a table that are of learners from demonstrations, or all others."""
    parts = [part for part in table.parts if (part.evidence == DEMONSTRATIONS) == demonstrated]
    sources = [(name, links.link(results.grid.folder / name, out)) for name in table.sources]
    files = [out / "tables" / f"{table.name}{suffix}" for suffix in tables.SUFFIXES]
    existing = links.existing(files, out)
    return ShownTable(table.name, table.title, table.caption, parts, sources, existing, table.places)
