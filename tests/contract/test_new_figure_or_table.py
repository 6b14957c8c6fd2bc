"""A new figure or table is one file: where it appears, and what happens when it fails."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from kshot import records, registry
from kshot.reporting import figures, page, page_parts, tables
from kshot.reporting.faults import Faults
from tests.contract.reported import SUITE, Reported

pytestmark = pytest.mark.contract

FIGURE = """
from matplotlib.figure import Figure
NAME, CAPTION, PLACES = "bars", "Number of learners.", {places}
def draw(results, sections):
    figure = Figure()
    figure.subplots().bar([section.title for section in sections], [len(s.finished) for s in sections])
    return figure
"""


TABLE = """
from kshot.reporting.values import Cell, Part, Row, Table
def build(results):
    rows = [Row("all", {{"learners": Cell(len(s.finished), 0)}}) for s in results.sections]
    parts = [Part(s.title, s.evidence, [row]) for s, row in zip(results.sections, rows)]
    return Table("counts", "Counts", "How many learners.", [{{"n": 1}}], parts, ["summary.csv"], {places})
"""


def add(package: ModuleType, name: str, text: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """A file of this text in the package of figures or tables."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(text)
    patch.setattr(package, "__path__", [*package.__path__, str(folder)])
    patch.delitem(sys.modules, f"{package.__name__}.{name}", raising=False)


def tab_of(page_text: str, card: str, tab: str) -> str:
    """A tab of a card on the page; empty where there is none."""
    return page_text.partition(f'<section class="tab" id="tab--{card}--{tab}"')[2].partition("</section>")[0]


CARDS = ("bandit", "classes", "bandit-demonstrations", "classes-demonstrations")


@pytest.mark.parametrize("place", [*page_parts.TABS, None])
def test_a_new_figure_and_a_new_table_are_a_file_each_that_says_where_it_stands(
    reported: Reported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str | None
) -> None:
    runs, root = reported
    only_new(monkeypatch)
    places = {} if place is None else {place: 5}
    add(figures, "bars", FIGURE.format(places=places), tmp_path / "figures", monkeypatch)
    add(tables, "counts", TABLE.format(places=places), tmp_path / "tables", monkeypatch)
    text = page.write_page(SUITE, runs, root, tmp_path / "report", partial=True).read_text()
    for card in CARDS:
        for tab in page_parts.TABS:
            here, count = tab_of(text, card, tab), int(tab == (place or "more"))
            assert here.count(f'id="{card}--bars"') == here.count(f'id="{card}--counts-table"') == count, (card, tab)
            assert here.count("Number of learners.") == here.count("How many learners.") == count, (card, tab)
    assert text.count('role="tab"') == len(CARDS), "no tab is empty"
    assert 'aria-label="Bars: classes, from demonstrations."' in text
    assert '<section id="together">' not in text


def test_what_is_placed_among_files_is_there_and_not_on_the_page(
    reported: Reported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, root = reported
    only_new(monkeypatch)
    add(figures, "bars", FIGURE.format(places={"files": 1}), tmp_path / "figures", monkeypatch)
    add(tables, "counts", TABLE.format(places={"files": 1}), tmp_path / "tables", monkeypatch)
    out = tmp_path / "report"
    assert out / "figures" / "bars.svg" in figures.render_all(runs, root, out / "figures")
    assert out / "tables" / "counts.md" in tables.write_tables(runs, root, out / "tables")
    text = page.write_page(SUITE, runs, root, out, partial=True).read_text()
    assert "bars" not in text.partition("<body>")[2] and "How many learners." not in text


def test_what_is_about_all_families_stands_once_for_each_evidence(
    reported: Reported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, root = reported
    only_new(monkeypatch)
    add(figures, "bars", FIGURE.format(places={"together": 5}), tmp_path / "figures", monkeypatch)
    add(tables, "counts", TABLE.format(places={"together": 5}), tmp_path / "tables", monkeypatch)
    text = page.write_page(SUITE, runs, root, tmp_path / "report", partial=True).read_text()
    together = text.partition('<section id="together">')[2].partition("</section>")[0]
    assert re.findall('aria-label="Bars: (.*?)"', together) == [
        "bandit, classes.",
        "bandit, from demonstrations, classes, from demonstrations.",
    ]
    assert together.count("How many learners.") == 4
    assert 'role="tab"' not in text


def only_new(patch: pytest.MonkeyPatch) -> None:
    """No figures and tables but those that are added: drawing them all takes a while."""
    for package in (figures, tables):
        patch.setattr(package, "__path__", [])


def test_new_figures_and_tables_are_linked_where_they_stand(
    reported: Reported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, root = reported
    only_new(monkeypatch)
    add(figures, "bars", FIGURE.format(places={}), tmp_path / "figures", monkeypatch)
    add(tables, "counts", TABLE.format(places={}), tmp_path / "tables", monkeypatch)
    out = tmp_path / "report"
    assert out / "figures" / "bars.svg" in figures.render_all(runs, root, out / "figures")
    assert out / "tables" / "counts.md" in tables.write_tables(runs, root, out / "tables")
    assert "| all | 2 |" in (out / "tables" / "counts.md").read_text()
    text = page.write_page(SUITE, runs, root, out, partial=True).read_text()
    assert 'href="figures/bars.pdf"' in text and 'href="tables/counts.csv"' in text
    assert re.search(r"all</th>\s*<td [^>]*>\s*<span class=\"v\"><b>2</b>", text)


def test_an_unknown_place_is_named_and_costs_that_figure_or_table(
    reported: Reported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, root = reported
    only_new(monkeypatch)
    add(figures, "bars", FIGURE.format(places={"curve": 1}), tmp_path / "figures", monkeypatch)
    add(figures, "others", FIGURE.format(places={}).replace("bars", "others"), tmp_path / "others", monkeypatch)
    add(tables, "counts", TABLE.format(places={"curve": 1}), tmp_path / "tables", monkeypatch)
    text = page.write_page(SUITE, runs, root, tmp_path / "report", partial=True).read_text()
    for what in ("figure bars", "table counts"):
        said = f"code: {what}: ValueError: &#39;curve&#39; is no place on the page; there are headline, curves, success"
        assert text.count(said) == 1
    assert 'id="bandit--others"' in text and 'id="bandit--bars"' not in text and "How many learners." not in text


def test_a_figure_or_table_that_fails_costs_itself_alone_and_is_named(
    reported: Reported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    runs, root = reported
    only_new(monkeypatch)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # what another process logs is not captured
    add(figures, "bars", FIGURE.format(places={}), tmp_path / "figures", monkeypatch)
    add(
        figures,
        "torn",
        FIGURE.format(places={}).replace("bars", "torn") + "\ndraw = None\n",
        tmp_path / "f",
        monkeypatch,
    )
    add(tables, "counts", TABLE.format(places={}), tmp_path / "tables", monkeypatch)
    add(figures, "unread", "def draw(:", tmp_path / "g", monkeypatch)
    add(tables, "lost", "def build(results):\n    return results.lost\n", tmp_path / "t", monkeypatch)
    out = tmp_path / "report"
    stale = out / "figures" / "torn.svg"
    stale.parent.mkdir(parents=True)
    stale.write_text("of an earlier version")
    assert {path.stem for path in figures.render_all(runs, root, out / "figures")} == {"bars"}
    assert not stale.exists()
    assert {path.stem for path in tables.write_tables(runs, root, out / "tables")} == {"counts"}
    assert {record.message for record in caplog.records} >= {"figure torn cannot be made", "table lost cannot be made"}
    text = page.write_page(SUITE, runs, root, out, partial=True).read_text()
    assert "Not shown, because of an error in its code: figure torn: TypeError: " in text
    assert "Not shown, because of an error in its code: table lost: AttributeError: " in text
    assert text.count("because of an error in its code: figure unread: SyntaxError: ") == 1
    assert 'id="bandit--bars"' in text and 'id="bandit--counts-table"' in text
    for card in CARDS:
        here = tab_of(text, card, "more").partition(f'id="{card}--torn"')[2].partition("</figure>")[0]
        assert "Not shown, because of an error in its code: TypeError: " in here and "<svg" not in here, card
    noted = records.read_json(out / "not-shown.json")["faults"]
    assert [fault["text"].partition(":")[0] for fault in noted] == ["table lost", "figure unread", "figure torn"]
    assert noted[0]["place"] == f"{tmp_path}/t/lost.py:2" and noted[1]["place"] == f"{tmp_path}/g/unread.py:1"
    only_new(monkeypatch)
    page.write_page(SUITE, runs, root, out, partial=True)
    assert not (out / "not-shown.json").exists(), "a later page without faults leaves no note"


def test_the_page_names_no_figure_and_no_table() -> None:
    folder = Path(page.__file__).parent
    names = {module.__name__.split(".")[-1] for module in (*figures.modules(Faults()), *tables.modules(Faults()))}
    assert len(names) > 12
    for path in (folder / "page.py", folder / "page_parts.py", *sorted((folder / "templates").iterdir())):
        text = path.read_text()
        for name in names - {"headline", "success", "official", "cost"}:  # which are places as well
            assert not re.search(rf"\b{name}\b", text), f"{path.name} names {name}"
    assert "figures.shown(" in (folder / "page.py").read_text()


def test_reporting_names_no_algorithm() -> None:
    """What it has to know of them stands in the runs of a resolved suite, and in config/looks.yaml."""
    names = {form for name in registry.names("algorithms") for form in (name, name.replace("_", "-"))}
    assert {"maml", "maxent-irl"} <= names
    for path in sorted(Path(page.__file__).parent.rglob("*.*")):
        if path.suffix in (".py", ".j2", ".css"):
            for name in names:
                assert not re.search(rf"(?<![\w-]){name}(?![\w-])", path.read_text(), re.I), f"{path} names {name}"
