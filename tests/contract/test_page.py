"""The report page: what it says and warns of, that its links exist, and that it needs nothing but itself."""

from __future__ import annotations

import html.parser
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from kshot import records
from kshot.errors import RecordError
from kshot.reporting import figures, page, tables
from kshot.reporting.aggregate import aggregate
from tests import synthetic
from tests.contract.reported import BANDIT, SUITE, Reported

pytestmark = pytest.mark.contract


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


def test_a_page_with_missing_runs_must_be_asked_for(reported: Reported, tmp_path: Path) -> None:
    runs, root = reported
    with pytest.raises(RecordError, match="1 of 24 runs are missing"):
        page.write_page(SUITE, runs, root, tmp_path)
    assert not (tmp_path / "index.html").exists()


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
    assert "One or two seeds of each: no difference between learners is established" in text


def test_the_page_is_byte_identical_when_written_again(
    reported: Reported, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # by several processes
    runs, root = reported
    before = report.read_bytes()
    assert page.write_page(SUITE, runs, root, report.parent, partial=True).read_bytes() == before


def test_every_number_of_the_headline_stands_in_the_page(report: Path) -> None:
    words = " ".join(Links(report.read_text()).words)
    numbers = pd.read_csv(report.parent / "tables" / "headline.csv")
    for value in numbers["normalised"].dropna():
        assert f"{value:.2f}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}") in words


NOTHING_LOGGED = records.TRAIN_SCHEMA.empty_table().to_pandas()


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
