"""From run directories to report: what is shown, and that the same records give the same bytes."""

from __future__ import annotations

import html.parser
import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import matplotlib
import pandas as pd
import pytest

from kshot import checksums, records, registry
from kshot.errors import RecordError
from kshot.reporting import figures, page, page_parts, tables
from kshot.reporting.aggregate import aggregate
from kshot.reporting.faults import Faults
from kshot.reporting.figures import _common
from kshot.reporting.figures._common import is_flat
from kshot.reporting.looks import looks
from kshot.reporting.names import LIKELIHOOD
from kshot.reporting.results import load
from kshot.reporting.schemas import SUMMARY_COLUMNS
from kshot.suites.run import RunConfig
from tests import synthetic

pytestmark = pytest.mark.contract

BANDIT = replace(synthetic.BANDIT, n_tasks=8)
CLASSES = replace(synthetic.ML10, name="classes", n_tasks=10, k=(0, 1, 10), classes=("door-close-v3", "lever-pull-v3"))
NOTHING_LOGGED = records.TRAIN_SCHEMA.empty_table().to_pandas()
SUITE = {"name": "made-up", "seeds": [0, 1, 2], "description": "Made-up <outcomes>."}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[RunConfig], Path]:
    """A suite with everything that can go wrong without being an error, aggregated.

    One run is missing, one diverged, one was made by other code, and one learner adapts on demonstrations.
    """
    root = tmp_path_factory.mktemp("suite")
    runs = synthetic.runs_of([BANDIT, CLASSES], learners=("maml", "rl2", "pearl"), seeds=3)
    runs = [replace(run, evidence="demonstrations") if run.algorithm == "pearl" else run for run in runs]
    for run in runs:
        family = {"bandit": BANDIT, "classes": CLASSES}[run.family]
        case = (run.family, run.algorithm, run.seed)
        if case == ("bandit", "maml", 2):
            progress = run.directory(root) / "progress.json"
            checksums.write_record(progress, {"state": "failed", "message": "out of memory"})
        elif case == ("classes", "maml", 1):
            synthetic.write_run(family, run, root, status="diverged")
        elif case == ("classes", "rl2", 1):
            synthetic.write_run(family, run, root, digest="other")
        else:
            synthetic.write_run(family, run, root)
    aggregate(runs, root, partial=True)
    return runs, root


@pytest.fixture(scope="module")
def report(suite: tuple[list[RunConfig], Path]) -> Path:
    """Its report, with figures and tables."""
    runs, root = suite
    out = root / "reports" / "made-up"
    figures.render_all(runs, root, out / "figures")
    tables.write_tables(runs, root, out / "tables")
    return page.write_page(SUITE, runs, root, out, partial=True)


def test_a_page_with_missing_runs_must_be_asked_for(suite: tuple[list[RunConfig], Path], tmp_path: Path) -> None:
    runs, root = suite
    with pytest.raises(RecordError, match="1 of 24 runs are missing"):
        page.write_page(SUITE, runs, root, tmp_path)
    assert not (tmp_path / "index.html").exists()


@pytest.mark.parametrize("digest", ["123456789012", "1e5", "nan", "0012"])
def test_names_and_hashes_that_look_like_numbers_stay_text(tmp_path: Path, digest: str) -> None:
    family = replace(BANDIT, name="10")
    runs = synthetic.runs_of([family], learners=("rl2",), references=(), seeds=1)
    synthetic.write_run(family, runs[0], tmp_path, digest=digest)
    aggregate(runs, tmp_path)
    data = load(runs, tmp_path)
    assert list(data.summary.families) == ["10"]
    assert data.grid.cells["source_digest"].tolist() == [digest]
    assert data.summary.point("10", "rl2", "return", 0) is not None


def test_the_summary_has_its_columns_and_every_cell_of_the_grid(suite: tuple[list[RunConfig], Path]) -> None:
    runs, root = suite
    summary = pd.read_csv(root / "made-up" / "summary.csv")
    assert tuple(summary.columns) == SUMMARY_COLUMNS
    assert not summary.duplicated(["family", "algorithm", "group", "mode", "k", "metric"]).any()
    assert set(summary["group"]) == {"all", *CLASSES.classes}
    assert set(summary.loc[summary["family"] == "bandit", "group"]) == {"all"}
    assert set(summary["metric"]) == {
        "return",
        "success_any",
        "success_last",
        "first_success",
        "trial_return",
        LIKELIHOOD,
    }
    few = summary[summary["n_seeds"] < 3]
    assert len(few)
    assert few[["mean_lo", "mean_hi", "iqm_lo", "iqm_hi"]].isna().all(axis=None)
    cells = pd.read_csv(root / "made-up" / "cells.csv")
    assert list(zip(cells["family"], cells["algorithm"], cells["seed"], strict=True)) == [
        (run.family, run.algorithm, run.seed) for run in runs
    ]
    missing = cells[cells["state"] == "missing"]
    assert missing["reason"].tolist() == ["failed: out of memory"]
    assert cells.loc[cells["algorithm"] == "pearl", "evidence"].unique().tolist() == ["demonstrations"]
    ok = cells[cells["state"] == "ok"]
    assert (ok["peak_memory_gb"] == 0.5 + 0.25 * ok["seed"]).all()  # of training and evaluation, the larger


def test_mixed_source_code_is_flagged_where_modules_are_shared(suite: tuple[list[RunConfig], Path]) -> None:
    _, root = suite
    cells = pd.read_csv(root / "made-up" / "cells.csv")
    flagged = cells[cells["source_flag"] == "mixed"]
    assert set(zip(flagged["family"], flagged["algorithm"], strict=True)) == {("classes", "rl2")}
    assert len(flagged) == 3


def test_figures_are_byte_identical_when_drawn_again(
    suite: tuple[list[RunConfig], Path], report: Path, tmp_path: Path
) -> None:
    runs, root = suite
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": "other"}):  # whatever the caller has set
        again = figures.render_all(runs, root, tmp_path)
    assert {path.name for path in again} == {
        f"{module.NAME}.{suffix}" for module in figures.modules(Faults()) for suffix in ("pdf", "svg", "png")
    }
    for path in again:
        assert path.read_bytes() == (report.parent / "figures" / path.name).read_bytes(), path.name
    assert b"CreationDate" not in (tmp_path / "headline.pdf").read_bytes()


def test_figures_state_the_number_of_seeds(report: Path) -> None:
    data = (report.parent / "figures" / "headline.svg").read_text()
    # Text is drawn as paths; matplotlib leaves the words themselves in comments.
    assert "bandit (2 to 3 of 3 seeds)" in data
    assert ("bandit,", "from demonstrations (3 seeds)") in pairwise(re.findall("<!-- (.*?) -->", data))


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
    suite: tuple[list[RunConfig], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str | None
) -> None:
    runs, root = suite
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


def test_what_is_about_all_families_stands_once_for_each_evidence(
    suite: tuple[list[RunConfig], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, root = suite
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
    suite: tuple[list[RunConfig], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, root = suite
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


def test_an_unknown_place_is_named(
    suite: tuple[list[RunConfig], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, root = suite
    only_new(monkeypatch)
    add(figures, "bars", FIGURE.format(places={"curve": 1}), tmp_path / "figures", monkeypatch)
    with pytest.raises(ValueError, match="bars: 'curve' is no place on the page; there are headline, curves, success"):
        page.write_page(SUITE, runs, root, tmp_path / "report", partial=True)


def test_a_figure_or_table_that_fails_costs_itself_alone_and_is_named(
    suite: tuple[list[RunConfig], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    runs, root = suite
    only_new(monkeypatch)
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
    assert 'id="bandit--bars"' in text and 'id="bandit--counts-table"' in text and 'id="bandit--torn"' not in text


def test_the_page_names_no_figure_and_no_table() -> None:
    folder = Path(page.__file__).parent
    names = {module.__name__.split(".")[-1] for module in (*figures.modules(Faults()), *tables.modules(Faults()))}
    assert len(names) > 12
    for path in (folder / "page.py", folder / "page_parts.py", *sorted((folder / "templates").iterdir())):
        text = path.read_text()
        for name in names - {"headline", "success", "official", "cost"}:  # which are places as well
            assert not re.search(rf"\b{name}\b", text), f"{path.name} names {name}"
    assert "figures.modules(" in (folder / "page.py").read_text()


def test_reporting_names_no_algorithm() -> None:
    """What it has to know of them stands in the runs of a resolved suite, and in config/looks.yaml."""
    names = {form for name in registry.names("algorithms") for form in (name, name.replace("_", "-"))}
    assert {"maml", "maxent-irl"} <= names
    for path in sorted(Path(page.__file__).parent.rglob("*.*")):
        if path.suffix in (".py", ".j2", ".css"):
            for name in names:
                assert not re.search(rf"(?<![\w-]){name}(?![\w-])", path.read_text(), re.I), f"{path} names {name}"


def test_every_learner_has_its_colour_for_good() -> None:
    names = ["maml", "fomaml", "reptile", "rl2", "pearl", "mandril", "maml-fast", "mine", "yours"]
    together = looks(names)
    assert all(looks([name])[name] == together[name] for name in names[:6])
    assert len({look.color for look in together.values()}) == len(names)
    assert looks(names[::-1]) == together


def test_a_learner_keeps_its_colour_on_the_page_of_one_family(suite: tuple[list[RunConfig], Path]) -> None:
    data = load(*suite)
    (alone,) = (s for s in data.sections if (s.family, s.evidence) == ("bandit", "demonstrations"))
    assert (alone.finished, data.grid.learners) == (("pearl",), ("maml", "rl2", "pearl"))
    (line,) = _common.learner_handles(data.grid, [alone])
    assert (line.get_label(), line.get_color()) == ("pearl", looks(data.grid.learners)["pearl"].color)


def test_tables_are_numbers_and_text(suite: tuple[list[RunConfig], Path], report: Path) -> None:
    _, root = suite
    folder = report.parent / "tables"
    names = {
        "headline",
        "after_k",
        "success",
        "classes",
        "paired",
        "normalised",
        "likelihood",
        "cost",
        "separation",
    }  # no improvement from three seeds
    assert {path.name for path in folder.iterdir()} == {f"{n}{s}" for n in names for s in (".csv", ".tex", ".md")}
    numbers = pd.read_csv(folder / "headline.csv")
    summary = pd.read_csv(root / "made-up" / "summary.csv")
    row = numbers[(numbers["family"] == "classes") & (numbers["algorithm"] == "rl2")].iloc[0]
    source = summary[(summary["family"] == "classes") & (summary["algorithm"] == "rl2") & (summary["group"] == "all")]
    source = source[(source["metric"] == "success_last") & (source["mode"] == "sampled")].set_index("k")["mean"]
    assert (row["first"], row["at_k"], row["score"]) == (source[0], source[10], source[10])
    assert (row["k"], row["at_k_k"], row["actions"]) == (10, 10, "sampled")
    text = (folder / "headline.md").read_text()
    assert f"{row['at_k']:.2f} [{row['at_k_lo']:.2f} to {row['at_k_hi']:.2f}]" in text
    assert re.search(r"\| maml \|.*\| 2/3 \(1 missing\) \|", text)
    assert re.search(r"\| maml \|.*\| 2/3 \(1 diverged\) \|", text)
    assert re.search(r"\| Bayes-optimal \| 6.66 \|", text)
    latex = (folder / "headline.tex").read_text()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 4
    assert (
        re.search(r"(?<!\\)[_&%#](?=\w)", "\n".join(re.findall(r"^(?!%).*\\\\$", latex, re.M)).replace(" & ", ""))
        is None
    )
    classes = pd.read_csv(folder / "classes.csv")
    assert set(classes["class"]) == set(CLASSES.classes)


def test_demonstrations_are_never_ranked_with_rewards(suite: tuple[list[RunConfig], Path], report: Path) -> None:
    runs, root = suite
    data = load(runs, root)
    assert [(section.family, section.evidence) for section in data.sections] == [
        ("bandit", "rollouts"),
        ("bandit", "demonstrations"),
        ("classes", "rollouts"),
        ("classes", "demonstrations"),
    ]
    for table in tables.build(data):
        for part in table.parts:
            shown = {row.name for row in part.rows} | set(part.columns)
            assert ("pearl" in shown) == (part.evidence == "demonstrations"), (table.name, part.title)
            assert (part.evidence == "demonstrations") == ("demonstrations" in part.title)


# The page


class Links(html.parser.HTMLParser):
    """Collects what a page points to, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_needs_nothing_but_itself_and_all_its_links_exist(report: Path) -> None:
    text = report.read_text()
    found = Links(text)
    assert not re.search(r"https?://|@import|url\((?!data:|#)|<script [^>]*src|fetch\(|XMLHttpRequest", text)
    anchors = {link[1:] for link in found.links if link.startswith("#")}
    assert anchors and anchors <= set(found.ids)
    files = [link for link in found.links if not link.startswith(("#", "data:"))]
    assert len(files) > 50
    for link in files:
        assert (report.parent / link).is_file(), link
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text


def test_the_page_warns_of_what_makes_numbers_doubtful(report: Path) -> None:
    words = " ".join(" ".join(Links(report.read_text()).words).split())
    assert "Mixed source code: 3 runs" in words
    assert "1 of 24 runs are missing" in words
    assert "1 of 24 runs diverged" in words
    assert "failed: out of memory" in words
    assert "loss is not finite at iteration 12" in words
    assert "22/24" in words
    assert "Made-up <outcomes>." in words  # escaped in the source, whole for the reader


def test_a_clean_suite_gets_no_warning(tmp_path: Path) -> None:
    runs = synthetic.runs_of([BANDIT], learners=("rl2",), seeds=5)
    synthetic.write_suite([BANDIT], runs, tmp_path)
    aggregate(runs, tmp_path)
    suite = {"exclude": [{"algorithm": "mandril", "family": "bandit", "reason": "needs demonstrations"}]}
    text = page.write_page(suite, runs, tmp_path, tmp_path / "report").read_text()
    assert 'class="notice' not in text
    assert "None: every run that the suite expects has finished" in text
    assert "needs demonstrations" in text
    validation = [
        replace(run, evaluation=run.evaluation.model_copy(update={"split": "validation"})) for run in runs[:2]
    ]
    synthetic.write_suite([BANDIT], validation, tmp_path)
    aggregate(validation, tmp_path)
    text = page.write_page({}, validation, tmp_path, tmp_path / "report").read_text()
    assert "Evaluated on validation tasks" in text
    assert "Fewer than 3 seeds" in text


def test_the_page_is_byte_identical_when_written_again(suite: tuple[list[RunConfig], Path], report: Path) -> None:
    runs, root = suite
    before = report.read_bytes()
    assert page.write_page(SUITE, runs, root, report.parent, partial=True).read_bytes() == before


def test_every_number_of_the_headline_stands_in_the_page(report: Path) -> None:
    words = " ".join(Links(report.read_text()).words)
    numbers = pd.read_csv(report.parent / "tables" / "headline.csv")
    for value in numbers["normalised"].dropna():
        assert f"{value:.2f}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}") in words


def test_a_suite_with_one_family_one_learner_and_no_reference_has_a_report(tmp_path: Path) -> None:
    root, runs = tmp_path, synthetic.runs_of([BANDIT], learners=("rl2",), references=(), seeds=2)
    synthetic.write_suite([BANDIT], runs, root)
    for run in runs:
        records.write_table(run.directory(root) / "train.parquet", NOTHING_LOGGED, records.TRAIN_SCHEMA)
        synthetic.sign(run.directory(root) / "run.json")
    aggregate(runs, root)
    figures.render_all(runs, root, root / "figures")
    tables.write_tables(runs, root, root / "tables")
    text = page.write_page({}, runs, root, root).read_text()
    assert "Headline comparison" in text
    assert not (root / "tables" / "improvement.csv").exists()


def test_reporting_never_imports_torch() -> None:
    modules = [f"kshot.reporting.{name}" for name in ("aggregate", "figures", "page", "stats", "tables")]
    code = f"import sys, {', '.join(modules)}; print([m for m in sys.modules if m == 'torch' or 'kshot.running' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []


def test_scripted_policies_that_learn_are_told_from_noise() -> None:
    assert is_flat([0.50, 0.53, 0.49], [0.02] * 3, (0.0, 1.0))
    assert not is_flat([0.50, 0.60, 0.70], [0.02] * 3, (0.0, 1.0))
    assert not is_flat([0.75, 0.90, 1.00], [0.10] * 3, (0.0, 1.0)), "few tasks have much noise, but this one learns"
    assert is_flat([0.75, 0.90, 1.00], [0.10] * 3), "without a scale only the noise counts"
