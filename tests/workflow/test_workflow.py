"""The whole pipeline, through the commands that users type, on a suite of seconds."""

from __future__ import annotations

import copy
import csv
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kshot.places import SUITES
from kshot.suites.reading import load_suite
from tests.workflow.conftest import Called
from tests.workflow.pipeline import PLUGINS, SUITE, kshot, planned, snakemake, write_suite

SUMMING_UP = {"aggregate": 1, "figures": 1, "tables": 1, "report": 1, "all": 1}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the suite ran from training to report; made once, since one worker runs a whole file."""
    folder = tmp_path_factory.mktemp("finished")
    write_suite(folder)
    done = snakemake(folder, "--cores", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def variant(**top: Any) -> dict[str, Any]:
    return copy.deepcopy(SUITE) | top


@pytest.mark.parametrize("path", sorted(SUITES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_suite_plans_a_job_for_each_of_its_runs(path: Path, tmp_path: Path) -> None:
    runs = load_suite(path).runs()
    kinds = Counter(run.kind for run in runs)
    expected = {"train": kinds["algorithm"], "evaluate": kinds["algorithm"], "evaluate_reference": kinds["reference"]}
    expected["official"] = sum(run.official for run in runs)
    assert planned(tmp_path, config=str(path)) == {name: n for name, n in expected.items() if n} | SUMMING_UP
    assert not (tmp_path / "results").exists(), "a dry run must not write results"


def test_the_laptop_suite_is_the_default_and_nothing_of_it_enters_another(tmp_path: Path) -> None:
    laptop = planned(tmp_path, config=None)
    assert laptop["train"] == sum(run.kind == "algorithm" for run in load_suite(SUITES / "laptop.yaml").runs())
    write_suite(tmp_path)
    assert planned(tmp_path) == {"train": 3, "evaluate": 3, "evaluate_reference": 2} | SUMMING_UP


def test_a_new_algorithm_and_a_new_family_run_through_with_no_edit_but_their_names(finished: Path) -> None:
    with (finished / "results/tiny/summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    returns = {
        (row["algorithm"], int(row["k"])): float(row["mean"])
        for row in rows
        if (row["mode"], row["metric"]) == ("mean", "return")
    }
    # Half the test tasks pay on the coin that is tried first; one that was told which coin paid never loses again.
    assert returns["counting", 0] == 0.5
    assert returns["counting", 2] > returns["counting", 0]
    page = (finished / "reports/tiny/index.html").read_text()
    assert all(name in page for name in ("counting", "counting-less", "coins"))
    for folder, suffixes in (("figures", {".pdf", ".svg", ".png"}), ("tables", {".csv", ".tex", ".md"})):
        assert {path.suffix for path in (finished / "reports/tiny" / folder).glob("[!.]*")} == suffixes


def test_a_diverged_run_is_a_result_that_blocks_nothing(finished: Path) -> None:
    with (finished / "results/tiny/cells.csv").open() as file:
        states = {row["algorithm"]: (row["state"], row["reason"]) for row in csv.DictReader(file)}
    assert states["doomed"] == ("diverged", "iteration 0: the loss is not finite")
    assert states["counting"] == ("ok", "")
    assert "doomed" in (finished / "reports/tiny/index.html").read_text()


def test_a_second_run_has_nothing_to_do(finished: Path) -> None:
    done = snakemake(finished, "--cores", "1")
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_setting_of_one_algorithm_reruns_that_algorithm_alone(folder: Path) -> None:
    suite = variant()
    suite["algorithms"]["counting-less"]["settings"]["trust"] = 0.25
    write_suite(folder, suite)
    assert planned(folder) == {"train": 1, "evaluate": 1} | SUMMING_UP


def test_a_budget_of_one_family_reruns_its_training_and_no_reference(folder: Path) -> None:
    suite = variant()
    suite["families"]["coins"]["steps"] = 96
    write_suite(folder, suite)
    assert planned(folder) == {"train": 3, "evaluate": 3} | SUMMING_UP


def test_another_evaluation_trains_nothing(folder: Path) -> None:
    suite = variant()
    suite["families"]["coins"]["evaluation"]["tasks"] = 8
    write_suite(folder, suite)
    assert planned(folder) == {"evaluate": 3, "evaluate_reference": 2} | SUMMING_UP


def test_another_seed_and_another_description_add_only_what_is_new(folder: Path) -> None:
    write_suite(folder, variant(seeds=[0, 1]))
    assert planned(folder) == {"train": 3, "evaluate": 3} | SUMMING_UP
    write_suite(folder, variant(description="Put differently."))
    assert planned(folder) == {"report": 1, "all": 1}


def test_results_follow_the_code_if_the_suite_says_so(folder: Path) -> None:
    write_suite(folder, variant(rerun_on_code_change=True))
    assert planned(folder) == {"train": 3, "evaluate": 3, "evaluate_reference": 2} | SUMMING_UP


def test_options_go_on_top_of_the_file(tmp_path: Path) -> None:
    write_suite(tmp_path)
    assert planned(tmp_path, "--config", "seeds=[3,4]")["train"] == 6
    assert planned(tmp_path, "--config", "algorithms={counting: {}, other: {algorithm: counting}}")["train"] == 4


def test_a_partial_report_starts_no_training_and_lists_what_is_missing(folder: Path, forks: Called) -> None:
    shutil.rmtree(folder / "results/tiny/coins/counting-less")
    done = forks(folder, "snakemake", "--cores", "1", "partial_report", "--configfile", "suite.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (folder / "results/tiny/coins/counting-less").exists()
    with (folder / "results/tiny/cells.csv").open() as file:
        states = {row["algorithm"]: row["state"] for row in csv.DictReader(file)}
    assert (states["counting-less"], states["counting"]) == ("missing", "ok")
    assert (folder / "reports/tiny/partial/index.html").is_file()
    # What is missing is still planned, with everything that rests on it, whatever is asked for.
    assert planned(folder) == {"train": 1, "evaluate": 1} | SUMMING_UP
    assert planned(folder, "figures") == {"train": 1, "evaluate": 1, "aggregate": 1, "figures": 1}


def test_a_deleted_result_is_made_again(folder: Path) -> None:
    shutil.rmtree(folder / "results/tiny/coins/counting")
    assert planned(folder) == {"train": 1, "evaluate": 1} | SUMMING_UP


def test_the_audit_names_results_of_other_code_and_other_settings(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started_with = (folder / "results/tiny/suite.yaml").read_text()
    write_suite(folder, variant(description="Put differently."))
    clean = snakemake(folder, "--cores", "1", "audit")
    assert "8 result files checked: all made by this code, with these settings" in clean.stdout, clean.stderr
    assert (folder / "results/tiny/suite.yaml").read_text() == started_with, "an audit must not change what jobs read"
    plugins = Path(shutil.copytree(Path(__file__).with_name("plugins"), folder / "plugins"))
    monkeypatch.setattr("tests.workflow.pipeline.PLUGINS", plugins)
    module = plugins / "algorithms/counting.py"
    module.write_text(module.read_text() + "# changed\n")
    audited = kshot(folder, "audit", "suite.yaml")
    assert audited.returncode == 1
    found = audited.stdout.splitlines()
    assert sum("made by source" in line for line in found) == 6  # training and evaluation of the three rows
    suite = variant()
    suite["families"]["coins"]["settings"] = {"prize": 2.0}
    write_suite(folder, suite)
    found = kshot(folder, "audit", "suite.yaml").stdout.splitlines()
    assert sum("made with settings" in line for line in found) == 8


def test_figures_for_papers_are_made_once_and_again_when_numbers_change(folder: Path, forks: Called) -> None:
    assert planned(folder, "paper_figures") == {"paper_figures": 1}
    done = forks(folder, "snakemake", "--cores", "1", "paper_figures", "--configfile", "suite.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    drawn = folder / "reports/tiny/paper_figures"
    assert {path.suffix for path in drawn.glob("[!.]*")} == {".pdf", ".tex"}
    assert planned(folder, "paper_figures") == planned(folder) == {}
    suite = variant()
    suite["families"]["coins"]["evaluation"]["tasks"] = 8
    write_suite(folder, suite)
    again = {"evaluate": 3, "evaluate_reference": 2, "aggregate": 1, "paper_figures": 1}
    assert planned(folder, "paper_figures") == again


def test_snakemakes_own_report_is_built(folder: Path) -> None:
    done = snakemake(folder, "--report", "report.zip")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "report.zip").stat().st_size > 100_000


def test_a_failed_job_leaves_the_others_to_finish_and_says_why(tmp_path: Path, forks: Called) -> None:
    suite = variant()
    suite["families"]["coins"]["references"] = ["oracle", "no_such_policy"]
    suite["algorithms"] = {"counting": {}}
    write_suite(tmp_path, suite)
    done = forks(tmp_path, "snakemake", "--cores", "2", "--retries", "0", "--configfile", "suite.yaml")
    assert done.returncode == 1
    assert "no_such_policy" in done.stdout + done.stderr
    assert (tmp_path / "results/tiny/coins/counting/seed-0/curve.parquet").is_file()
    status = kshot(tmp_path, "status", "tiny", "--once").stdout
    assert "2 done, 1 failed" in status, status


def test_a_suite_with_mistakes_stops_before_anything_with_a_line_for_each(tmp_path: Path) -> None:
    suite = variant(seeds=[0, 0])
    suite["algorithms"]["countign"] = {}
    write_suite(tmp_path, suite)
    done = snakemake(tmp_path, "--cores", "1")
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert done.returncode == 2
    assert [line.split(": ", 3)[2:] for line in lines] == [
        ["seeds[1]", "seed 0 stands in the list twice"],
        ["algorithms.countign", f"unknown algorithm 'countign' (did you mean 'counting'?); KSHOT_PATH is {PLUGINS}"],
    ]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_the_folder_of_another_suite_is_not_touched(tmp_path: Path) -> None:
    write_suite(tmp_path)
    other = tmp_path / "results/tiny/suite.yaml"
    other.parent.mkdir(parents=True)
    other.write_text("name: precious\n")
    done = snakemake(tmp_path, "--cores", "1")
    assert done.returncode == 2
    assert "Error: results/tiny/suite.yaml belongs to suite 'precious'; move that folder away" in done.stderr
    assert other.read_text() == "name: precious\n"


@pytest.mark.parametrize(
    "obstacle, message",
    [
        ("results", "Error: results is a file, but has to be the folder of the results"),
        ("results/tiny", "Error: results/tiny is a file, but has to be the folder of the results"),
        ("results/tiny/suite.yaml/x", "Error: cannot write results/tiny/suite.yaml (Is a directory)"),
    ],
)
def test_a_results_folder_that_cannot_be_written_is_one_line(tmp_path: Path, obstacle: str, message: str) -> None:
    write_suite(tmp_path)
    (tmp_path / obstacle).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / obstacle).write_text("in the way")
    done = snakemake(tmp_path, "--cores", "1")
    assert done.returncode == 2
    assert next(line for line in done.stderr.splitlines() if line.startswith("Error: ")).startswith(message)
    assert "Traceback" not in done.stderr
