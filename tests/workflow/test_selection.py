"""Selection and the official evaluation as steps of the workflow: where asked for, and nowhere else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from tests.workflow.conftest import Called
from tests.workflow.pipeline import SUITE, kshot, planned, snakemake, write_suite

COUNTING = ("--family", "coins", "--algorithm", "counting", "--seed", "0")


def validation() -> dict[str, Any]:
    suite = copy.deepcopy(SUITE)
    suite["families"]["coins"]["evaluation"]["split"] = "validation"
    return suite


def test_settings_are_chosen_from_training_to_selection(tmp_path: Path, forks: Called) -> None:
    write_suite(tmp_path, validation())
    done = forks(tmp_path, "snakemake", "selection", "--cores", "2", "--configfile", "suite.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    chosen = yaml.safe_load((tmp_path / "reports/tiny/selection.yaml").read_text())
    assert chosen == {"coins": {"counting": {}}}, "the default trusts rewards most, and no setting differs from it"
    text = (tmp_path / "reports/tiny/selection.md").read_text()
    assert "| counting-less | trust 0.5 |" in text and "| doomed | diverge True |" in text
    assert planned(tmp_path, "selection") == {}
    assert not (tmp_path / "reports/tiny/index.html").exists(), "a selection needs no report"


def test_selection_on_test_tasks_is_refused_before_anything_runs(tmp_path: Path) -> None:
    write_suite(tmp_path)
    line = "suite 'tiny': no selection on test tasks: evaluate coins with split: validation"
    done = snakemake(tmp_path, "selection", "--cores", "2")
    assert (done.returncode, done.stderr.strip().splitlines()[-1]) == (2, f"Error: {line}")
    assert not (tmp_path / "results/tiny/coins").exists()
    done = kshot(tmp_path, "select", "suite.yaml")
    assert (done.returncode, done.stderr) == (2, f"kshot: {line}\n")


def test_the_official_evaluation_runs_where_a_family_asks_for_it(tmp_path: Path) -> None:
    write_suite(tmp_path)
    done = kshot(tmp_path, "official", "suite.yaml", *COUNTING)
    assert done.returncode == 2
    assert "'counting' on 'coins' has no official evaluation" in done.stderr

    suite = validation()
    reach = {"family": "metaworld", "steps": 100, "evaluation": {"tasks": 2, "k": [0, 10], "official": True}}
    suite |= {"families": {"ml1": reach, "ml1-too": copy.deepcopy(reach)}, "algorithms": {"maml": {}}}
    suite["families"]["ml1-too"]["evaluation"]["official"] = False
    write_suite(tmp_path, suite)
    assert planned(tmp_path, "tables")["official"] == 1
    assert "official" not in planned(tmp_path, "aggregate")
