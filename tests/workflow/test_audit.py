"""`kshot audit`: what it compares, how it tells it, and with which status it ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kshot import computed_again
from kshot.checksums import write_record
from kshot.running import audit as auditing
from kshot.running import machine, provenance
from tests.workflow.conftest import Called
from tests.workflow.pipeline import kshot, snakemake, write_suite

RUN = "results/tiny/coins/counting/seed-0"
COUNTING = ("--family", "coins", "--algorithm", "counting", "--seed", "0")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    write_suite(folder)
    assert kshot(folder, "train", "suite.yaml", *COUNTING).returncode == 0
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / RUN / "run.json"
    record = json.loads(path.read_text())
    change(record)
    del record["checksum"]
    write_record(path, record, record.pop("files"))


def test_results_of_here_are_all_right(folder: Path, called: Called) -> None:
    done = called(folder, "audit", "suite.yaml")
    assert done.stdout == (
        "1 result files checked: all made by this code, with these settings and libraries; 5 runs not finished\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_run_that_is_kept_without_its_model_is_not_damaged(folder: Path, called: Called) -> None:
    for model in (folder / RUN).glob("*.pt"):
        model.unlink()
    done = called(folder, "audit", "suite.yaml")
    assert done.stdout == (
        "1 result files checked: all made by this code, with these settings and libraries; 1 runs without their model; "
        "5 runs not finished\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_code_that_is_noted_to_give_the_same_is_no_difference(folder: Path, called: Called) -> None:
    made_by, here = "0123456789abcdef", json.loads((folder / RUN / "run.json").read_text())["source_digest"]
    edit(folder, lambda record: record.update(source_digest=made_by))
    assert called(folder, "audit", "suite.yaml").returncode == 1
    computed_again.add(folder / "results/tiny", [computed_again.Again("coins/counting/0", (made_by,), here, "c0ffee")])
    done = called(folder, "audit", "suite.yaml")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_no_results_are_not_all_right(tmp_path: Path, called: Called) -> None:
    write_suite(tmp_path)
    done = called(tmp_path, "audit", "suite.yaml")
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr == "kshot: results/tiny: no results to check; 5 runs not finished\n"


@pytest.mark.parametrize(
    "change, line",
    [
        (
            lambda record: record.update(source_digest="0123456789abcdef"),
            f"code: {RUN}/run.json: made by source 0123456789abcdef (commit ",
        ),
        (
            lambda record: record.update(train_hash="0123456789ab"),
            f"settings: {RUN}/run.json: made with settings 0123456789ab, the suite now says ",
        ),
        (
            lambda record: record["versions"].update(numpy="1.0"),
            f"versions: {RUN}/run.json: numpy 1.0, here {dict(provenance.versions())['numpy']}",
        ),
        (
            lambda record: record["kernels"]["libraries"][-1].update(architecture="Katmai"),
            f"kernels: {RUN}/run.json: lib",
        ),
        (
            lambda record: record["kernels"]["torch"].update(digest="0123456789ab"),
            f"kernels: {RUN}/run.json: digest of torch's results 0123456789ab (on {machine.hardware()['cpu']}), here ",
        ),
        (
            lambda record: record["kernels"]["environment"].update(MKL_CBWR="AVX2"),
            f"kernels: {RUN}/run.json: variable MKL_CBWR AVX2 (on {machine.hardware()['cpu']}), here none",
        ),
        (lambda record: record.pop("kernels"), f"kernels: {RUN}/run.json: not recorded"),
        (lambda record: record["hardware"].update(threads=7), f"threads: {RUN}/run.json: 7, here 1"),
        (
            lambda record: record.pop("source_digest"),
            f"damaged: {RUN}/run.json: has no entry 'source_digest'; run its step again",
        ),
    ],
)
def test_every_difference_is_a_finding_of_its_own_kind(
    folder: Path, change: Callable[[dict[str, Any]], Any], line: str, called: Called
) -> None:
    edit(folder, change)
    done = called(folder, "audit", "suite.yaml")
    assert done.returncode == 1
    found, verdict = done.stdout.splitlines()
    assert found.startswith(line)
    kind = line.partition(":")[0]
    assert verdict == f"1 result files checked: 1 differ in {kind}; 5 runs not finished"


def test_the_workflows_audit_shows_findings_and_goes_on(folder: Path) -> None:
    edit(folder, lambda record: record["hardware"].update(threads=7))
    done = snakemake(folder, "--cores", "1", "audit")
    assert done.returncode == 0, done.stderr
    assert f"threads: {RUN}/run.json: 7, here 1" in done.stdout


def test_a_difference_that_many_results_share_is_told_once() -> None:
    paths = tuple(Path(f"seed-{i}/run.json") for i in range(3))
    finding = auditing.Finding("versions", "numpy 1.0, here 2.0", paths)
    assert str(finding) == "versions: seed-0/run.json and 2 others: numpy 1.0, here 2.0"
    found = auditing.Audit((finding,), checked=4, missing=0)
    assert found.verdict == "4 result files checked: 3 differ in versions; 0 runs not finished"


def test_an_older_record_without_a_package_or_with_an_unknown_one_can_be_compared() -> None:
    record = {"versions": {"python": dict(provenance.versions())["python"], "gone": "1"}, "kernels": machine.kernels()}
    assert list(auditing.machine_differences(record)) == []
