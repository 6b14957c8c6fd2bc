"""Runs that are kept: packed without models, unpacked to the same files, and drawn again without training."""

from __future__ import annotations

import io
import lzma
import tarfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from kshot import checksums
from kshot.errors import RecordError
from kshot.reporting import figures, kept, results, tables
from kshot.reporting.aggregate import aggregate
from kshot.reporting.embedding import documents, embed
from kshot.reporting.redraw import redraw
from kshot.reporting.values import Table
from kshot.suites.run import RunConfig
from tests import synthetic

pytestmark = pytest.mark.contract

POINT = replace(synthetic.POINT, n_tasks=4, k=(0, 10))
RUNS = synthetic.runs_of([POINT], learners=("maml", "rl2"), seeds=2)
SUITE = {"name": "made-up", "description": "Made up."}
PAGE = "# Costs\n\n<!-- table made-up cost -->\n<!-- end -->\n\nText.\n"


def load(_: Path) -> tuple[dict[str, str], list[RunConfig]]:
    return SUITE, RUNS


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Table]]:
    """The tables of the suite."""
    folder = tmp_path_factory.mktemp("results")
    for run in RUNS:
        synthetic.write_run(POINT, run, folder)
    aggregate(RUNS, folder)
    return {"made-up": tables.build(results.load(RUNS, folder))}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The finished runs of a suite, with a model each."""
    folder = tmp_path / "results"
    for run in RUNS:
        synthetic.write_run(POINT, run, folder)
        record = run.directory(folder) / "run.json"
        if run.kind == "algorithm":
            record.with_name("model.pt").write_bytes(b"weights")
            value = checksums.read_record(record)
            checksums.write_record(record, value, {**value.pop("files"), "model.pt": ""})
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_unpacked_files_are_those_of_the_runs_but_for_models(root: Path, tmp_path: Path) -> None:
    written = kept.pack(SUITE, RUNS, root, tmp_path / "kept")
    assert [path.name for path in written] == ["point.tar.xz", "suite.yaml"]
    unpacked = kept.unpack(tmp_path / "kept" / "made-up", tmp_path / "again")
    assert {folder.relative_to(tmp_path / "again") for folder in unpacked} == {
        run.directory(root).relative_to(root) for run in RUNS
    }
    found = files(tmp_path / "again")
    assert found.pop("made-up/suite.yaml")
    assert found == {name: data for name, data in files(root).items() if not name.endswith((".pt", ".lock"))}


def test_an_archive_depends_on_the_files_alone(root: Path, tmp_path: Path) -> None:
    first = [path.read_bytes() for path in kept.pack(SUITE, RUNS, root, tmp_path / "a")]
    for path in root.rglob("*"):
        path.touch()
    assert [path.read_bytes() for path in kept.pack(SUITE, RUNS, root, tmp_path / "b")] == first


def test_runs_that_are_kept_already_stay_until_they_no_longer_fit(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "kept"
    kept.pack(SUITE, RUNS, root, out)
    before = files(out)
    (RUNS[0].directory(root) / "evaluate.json").unlink()
    kept.pack(SUITE, RUNS, root, out)
    assert files(out) == before
    other = [replace(RUNS[0], steps=RUNS[0].steps + 1), *RUNS[1:]]
    with pytest.raises(RecordError, match=r"point\.tar\.xz/maml/seed-0: made from other settings"):
        kept.pack(SUITE, other, root, out)
    with pytest.raises(RecordError, match="holds maml/seed-0, which the suite no longer asks for"):
        kept.pack(SUITE, RUNS[1:], root, out)
    assert files(out) == before


def test_a_run_takes_the_place_of_the_kept_one_whose_settings_were_changed(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "kept"
    kept.pack(SUITE, RUNS, root, out)
    changed = replace(RUNS[0], steps=RUNS[0].steps + 1)
    again = tmp_path / "again"
    synthetic.write_run(POINT, changed, again)
    kept.pack(SUITE, [changed, *RUNS[1:]], again, out)
    kept.unpack(out / "made-up", tmp_path / "unpacked")
    for run, made in ((changed, again), (RUNS[1], root)):
        record = run.directory(tmp_path / "unpacked") / "evaluate.json"
        assert record.read_bytes() == (run.directory(made) / "evaluate.json").read_bytes()


def test_unfinished_and_damaged_runs_are_not_kept(root: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no run is finished"):
        kept.pack(SUITE, RUNS, tmp_path / "none", tmp_path / "kept")
    curve = RUNS[0].directory(root) / "curve.parquet"
    curve.write_bytes(curve.read_bytes()[:-1])
    with pytest.raises(RecordError, match=r"curve\.parquet: is not as it was written"):
        kept.pack(SUITE, RUNS, root, tmp_path / "kept")
    (RUNS[1].directory(root) / "run.json").unlink()
    with pytest.raises(RecordError, match=r"run\.json: no such file, although the run was evaluated"):
        kept.pack(SUITE, RUNS[1:], root, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    "name", ["../../outside", "/tmp/outside", "a/b", "maml/seed-0/.hidden", "../seed-0/a", "a/seed-0/../b", ""]
)
def test_an_archive_writes_nowhere_but_into_its_run(root: Path, tmp_path: Path, name: str) -> None:
    path = kept.pack(SUITE, RUNS, root, tmp_path / "kept")[0]
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for member in ("maml/seed-0/evaluate.json", name):
            archive.addfile(tarfile.TarInfo(member), io.BytesIO())
    path.write_bytes(lzma.compress(sink.getvalue()))
    with pytest.raises(RecordError, match=r"point\.tar\.xz: not a readable archive of runs \(it holds "):
        kept.unpack(tmp_path / "kept" / "made-up", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_links_in_archives_are_refused(root: Path, tmp_path: Path) -> None:
    path = kept.pack(SUITE, RUNS, root, tmp_path / "kept")[0]
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        link = tarfile.TarInfo("maml/seed-0/evaluate.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    path.write_bytes(lzma.compress(sink.getvalue()))
    with pytest.raises(RecordError, match=r"'maml/seed-0/evaluate\.json', which is no file of a run"):
        kept.unpack(tmp_path / "kept" / "made-up", tmp_path / "again")


@pytest.mark.parametrize("data", [b"", b"no archive", lzma.compress(b"no tar"), lzma.compress(b"cut off" * 999)[:-9]])
def test_a_damaged_archive_is_one_clear_line(root: Path, tmp_path: Path, data: bytes) -> None:
    path = kept.pack(SUITE, RUNS, root, tmp_path / "kept")[0]
    path.write_bytes(data)
    with pytest.raises(RecordError, match=r"point\.tar\.xz: not a readable archive of runs"):
        kept.unpack(tmp_path / "kept" / "made-up", tmp_path / "again")


def test_other_results_are_not_overwritten(root: Path, tmp_path: Path) -> None:
    kept.pack(SUITE, RUNS, root, tmp_path / "kept")
    kept.unpack(tmp_path / "kept" / "made-up", root)  # the same
    record = RUNS[1].directory(root) / "evaluate.json"
    value = checksums.read_record(record)
    checksums.write_record(record, {**value, "wall_seconds": 1.0})
    before = files(root)
    with pytest.raises(RecordError, match=r"evaluate\.json: is another result"):
        kept.unpack(tmp_path / "kept" / "made-up", root)
    assert files(root) == before


def test_everything_is_drawn_again_with_the_same_bytes_elsewhere(root: Path, tmp_path: Path) -> None:
    drawn = []
    for name in ("a", "b"):
        place, page = tmp_path / name, tmp_path / f"{name}.md"
        kept.pack(SUITE, RUNS, root, place)
        (place / "made-up" / "README.md").write_text("By hand.")
        (place / "made-up" / "figures").mkdir()
        (place / "made-up" / "figures" / "former.png").touch()
        page.write_text(PAGE)
        written = list(redraw(load, place, (page,)))
        assert written[-1] == page
        found = files(place / "made-up")
        assert {"index.html", "summary.csv", "scores.csv", "cells.csv", "README.md", "suite.yaml"} <= set(found)
        assert {"figures/return_after_k.png", "figures/return_after_k.pdf", "tables/cost.csv"} <= set(found)
        assert "figures/former.png" not in found and "figures/return_after_k.svg" not in found
        drawn.append((found, page.read_bytes()))
    assert drawn[0] == drawn[1]
    text = drawn[0][1].decode()
    assert "| maml | " in text and text.startswith("# Costs") and text.endswith("<!-- end -->\n\nText.\n")


def test_documents_are_those_that_show_tables(tmp_path: Path) -> None:
    (tmp_path / "docs" / "families").mkdir(parents=True)
    (tmp_path / "docs" / "families" / "point.md").write_text(PAGE)
    (tmp_path / "docs" / "other.md").write_text("No <!-- table a b --> here.\n")
    assert documents(tmp_path / "docs") == (tmp_path / "docs" / "families" / "point.md",)
    assert documents(tmp_path / "none") == ()


def test_without_kept_runs_nothing_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no runs are kept here; `kshot pack SUITE`"):
        list(redraw(load, tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "<!-- table made-up -->\n<!-- end -->\n",
            "page.md:1: 'made-up': expected the names of a suite",
        ),
        (
            "\n<!-- table made-ip x -->\n<!-- end -->\n",
            "page.md:2: no suite is called 'made-ip' (did you mean 'made-up'?)",
        ),
        (
            "<!-- table made-up coste -->\n<!-- end -->\n",
            "no table of made-up is called 'coste' (did you mean 'cost'?)",
        ),
        ("<!-- table made-up cost pint -->\n<!-- end -->\n", "no part of made-up's cost is called 'pint'"),
        ("<!-- table made-up cost -->\n", "is not closed"),
        ("<!-- end -->\n", "is not closed"),
        ("<!-- table made-up cost -->\n<!-- table made-up cost -->\n<!-- end -->\n", "is not closed"),
    ],
)
def test_a_mistaken_mark_names_its_line_and_leaves_the_document(
    built: dict[str, list[Table]], tmp_path: Path, text: str, message: str
) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(RecordError) as error:
        embed(page, built)
    assert message in str(error.value)
    assert page.read_text() == text


def test_a_document_without_marks_stays_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Text with <!-- a comment -->.\n")
    assert embed(page, {}).read_text() == "Text with <!-- a comment -->.\n"


def test_the_table_of_costs_has_a_line_for_every_run(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "__path__", [])  # drawing them takes a while
    kept.pack(SUITE, RUNS, root, tmp_path)
    list(redraw(load, tmp_path, ()))
    costs = pd.read_csv(tmp_path / "made-up" / "tables" / "cost.csv")
    assert list(zip(costs["algorithm"], costs["seed"], strict=True)) == [(run.algorithm, run.seed) for run in RUNS]
    assert (costs["peak_memory_gb"] == 0.5 + 0.25 * costs["seed"]).all()
    learner = costs[(costs["algorithm"] == "maml") & (costs["seed"] == 1)].iloc[0]
    # synthetic.write_run: 61 seconds each for training and evaluation of seed 1, on one thread
    assert learner["core_minutes"] == pytest.approx(2 * 61 / 60)
    assert learner["steps_per_second"] == pytest.approx(learner["train_env_steps"] / 61)
    assert costs[costs["algorithm"] == "oracle"]["steps_per_second"].isna().all()
