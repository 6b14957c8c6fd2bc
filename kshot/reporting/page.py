"""The report: one self-contained HTML page that opens from disk and asks the network for nothing.

It answers first: a sentence for every family and a matrix of learners by families; then a card with tabs for
each family, and at the end where everything came from. Without scripts all of it can be read, below each other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kshot import records, yaml_text
from kshot.errors import RecordError
from kshot.reporting import figures, inline_svg, links, looks, page_facts, page_parts, provenance, tables, templating
from kshot.reporting.faults import Faults
from kshot.reporting.names import DEMONSTRATIONS, policy_name
from kshot.reporting.results import load
from kshot.reporting.values import marks_said
from kshot.reporting.verdict import BEYOND_CHANCE
from kshot.suites.run import RunConfig

TIED_K = "K\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"


def write_page(
    suite: Mapping[str, Any],
    runs: Sequence[RunConfig],
    root: Path,
    out: Path,
    partial: bool = False,
    alone: bool = False,
) -> Path:
    """Write ``out/index.html``, and beside it what could not be shown, if anything.

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
    environment = templating.environment()
    environment.filters |= {
        "attributes": page_parts.attributes,
        "variable": _variable,
        "duration": page_facts.duration,
        "count": page_facts.count,
        "policy": policy_name,
        "tied": lambda text: text.replace("K = ", TIED_K),
    }
    faults = Faults()
    placed = page_parts.placed(tables.made(results, faults), faults)
    kinds = [[kind for kind in results.summary.evidences if kind != DEMONSTRATIONS], [DEMONSTRATIONS]]
    pictures = page_parts.pictures(results, figures.shown(results, faults), kinds, faults)
    drawn = faults.each(lambda picture: page_parts.draw(picture, results, out, faults), pictures)
    items = list(zip(pictures, drawn, strict=True))
    halves = [page_parts.half(results, out, items, placed, kind) for kind in kinds]
    colours = {policy_name(name): look.color for name, look in looks.looks(grid.learners).items()}
    html = environment.get_template("page.html.j2").render(
        suite=grid.suite,
        description=str(suite.get("description") or ""),
        facts=page_facts.facts(grid),
        notices=page_facts.notices(results, faults.lines),
        halves=halves,
        ks=sorted({k for half in halves for k in half.matrix.ks}),
        marks=_marks(halves),
        splits=page_parts.splits(halves),
        policies=page_parts.policies(halves),
        colours=colours,
        scheme=inline_svg.colours([*(svg for half in halves for svg in half.svgs), *map(_variable, colours.values())]),
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
    faults.write(out)
    return path


def _variable(colour: str) -> str:
    """As pictures name a colour of their own."""
    return f"var(--c{colour.lower().lstrip('#')})"


def _marks(halves: Sequence[page_parts.Half]) -> list[str]:
    """What the marks and words of sentences and matrices mean: before the colon what is found in them."""
    sentences = [said for half in halves for card in half.cards for said in card.verdicts.values()]
    chance = any(BEYOND_CHANCE.partition(":")[0].lower() in said for said in sentences)
    return [*marks_said(value for half in halves for value in half.matrix.every), *[BEYOND_CHANCE] * chance]
