"""What pages show in consoles is printed, and notebooks run."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path

import pytest
import torch
from nbformat import NotebookNode

from docs.building import consoles, notebooks
from kshot import cli
from kshot.places import ROOT, SUITES
from kshot.running.evaluate import evaluate
from kshot.suites.reading import load_suite

pytestmark = pytest.mark.workflow

SHOWING = [
    path
    for path in sorted((ROOT / "docs").rglob("*.md"))
    if any(block.language == "console" for block in consoles.blocks(path.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize("page", SHOWING, ids=lambda page: page.stem)
def test_commands_print_what_a_page_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if page.stem == "gpu" and torch.cuda.is_available():
        pytest.skip("the page shows what is said where there is no GPU")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KSHOT_PATH", raising=False)

    def run(words: tuple[str, ...]) -> str:
        assert words[0] == "kshot"
        cli.main(words[1:])
        printed = capsys.readouterr()
        return printed.out + printed.err

    assert consoles.replay(page.read_text(encoding="utf-8"), tmp_path, run) == []


def test_the_first_page_shows_what_the_smoke_suite_does() -> None:
    """How many jobs and runs there are, and of which learners; the scores are of one run of the suite."""
    text = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    jobs, table, status = (block.text for block in consoles.blocks(text) if block.language == "text")
    runs = load_suite(SUITES / "smoke.yaml").runs()
    trainings = sum(run.kind == "algorithm" for run in runs)
    steps = len(runs) + trainings + len(("aggregate", "figures", "tables", "report", "all"))
    assert jobs == f"{steps} of {steps} steps (100%) done\nThe report: reports/smoke/index.html\n"
    budget = f"{sum(run.steps for run in runs) / 1000:.0f}k"
    assert status == f"{len(runs)} of {len(runs)} runs finished ({len(runs)} done); training 100% of {budget} steps\n"
    of_nav2d = {run.algorithm for run in runs if run.family == "nav2d"}
    assert {line.split()[0] for line in table.splitlines()[2:]} == of_nav2d


def test_the_first_pages_table_is_made_by_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a suite of the same name that takes no time."""
    text = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    (code,) = (block.text for block in consoles.blocks(text) if block.language == "python")
    evaluation = {"tasks": 2, "k": [0, 1, 2, 3]}
    families = {"nav2d": {"steps": 1, "evaluation": evaluation, "references": ["random", "oracle"]}}
    suite = load_suite({"name": "smoke", "seeds": [0], "families": families, "algorithms": {"maml": {}}})
    monkeypatch.chdir(tmp_path)
    for run in suite.runs():
        if run.kind == "reference":
            evaluate(run, Path("results"))
    Path("results/smoke/suite.yaml").write_text(json.dumps(suite.resolved()))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    head, _, *rows = printed.getvalue().splitlines()
    assert head.split() == ["k", "0"] and [row.split()[0] for row in rows] == ["oracle", "random"]


def test_a_page_that_shows_something_else_is_noticed(tmp_path: Path) -> None:
    page = "```sh\n# a.txt\n```\n\n```console\n$ kshot one\n1 ... 3\n$ kshot two 'a b'\n2\n```\n"
    assert consoles.replay(page, tmp_path, lambda words: "1 2 3\n" if words[1] == "one" else "3\n") == [
        "$ kshot two 'a b'\n3\n"
    ]
    assert (tmp_path / "a.txt").is_file()


def test_the_notebook_on_kept_results_gives_what_it_shows() -> None:
    """Word for word: the numbers are kept, and nothing is computed with them that depends on the machine."""
    notebook = notebooks.read(notebooks.FOLDER / "own_figure.ipynb")
    shown = texts(notebook)
    notebooks.execute(notebook)
    assert texts(notebook) == shown and len(shown) >= 2
    assert (
        sum("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ())) == 2
    )


def test_the_notebook_on_an_environment_of_ones_own_runs() -> None:
    """The numbers depend on the processor's kernels; that evidence helps does not."""
    notebook = notebooks.read(notebooks.FOLDER / "own_environment.ipynb")
    shown = texts(notebook)
    notebooks.execute(notebook)
    found = texts(notebook)
    assert [masked(text) for text in found] == [masked(text) for text in shown]
    (loop,) = (text for text in found if text.startswith("K = "))
    returns = [float(value) for value in re.findall(r"return (-?[\d.]+)", loop)]
    assert len(returns) == 3 and returns[0] < returns[2] < 0


def texts(notebook: NotebookNode) -> list[str]:
    """What the cells print and show in words."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    found = [output.get("text") or output.get("data", {}).get("text/plain") for output in outputs]
    return [text for text in found if text]


def masked(text: str) -> str:
    """Without digits, signs and the widths that depend on them."""
    return re.sub(r"[-\d.]+", "#", re.sub(r" +", " ", text))
