"""The archive of a suite: complete, the same bytes for the same results, and every change in it named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kshot import checksums, records
from kshot.errors import RecordError
from kshot.places import ROOT
from kshot.reporting import kept
from kshot.reporting.archive import MANIFEST, archive, damages
from tests import synthetic

pytestmark = pytest.mark.contract

POINT = replace(synthetic.POINT, n_tasks=4, k=(0, 10))
RUNS = synthetic.runs_of([POINT], learners=("maml", "rl2"), seeds=2)
SUITE = {"name": "made-up", "description": "Made up.", "facts": {}}


def results(folder: Path) -> Path:
    """The finished runs of a suite, with a model each."""
    for run in RUNS:
        synthetic.write_run(POINT, run, folder)
        if run.kind == "algorithm":
            record = run.directory(folder) / "run.json"
            record.with_name("model.pt").write_bytes(b"weights")
            value = checksums.read_record(record)
            checksums.write_record(record, value, {**value.pop("files"), "model.pt": ""})
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of one suite; made once, to be copied."""
    folder = tmp_path_factory.mktemp("made")
    archive(SUITE, RUNS, results(folder / "results"), folder / "artefact")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "artefact", tmp_path / "artefact"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_archive_holds_all_that_an_artefact_needs(made: Path) -> None:
    found = files(made / "artefact")
    expected = {"suite.yaml", "point.tar.xz", "summary.csv", "scores.csv", "cells.csv", "index.html", "README.md"}
    expected |= {"provenance.json", "references.bib", "LICENSE", "CITATION.cff", MANIFEST}
    expected |= {"environment/requirements.lock", "environment/environment.yml", "tables/headline.tex"}
    expected |= {f"figures/return_after_k.{suffix}" for suffix in ("pdf", "svg", "png")}
    assert expected <= found.keys()
    for name in ("LICENSE", "CITATION.cff"):
        assert found[name] == (ROOT / name).read_bytes()
    assert found["environment/requirements.lock"] == (ROOT / "requirements.lock").read_bytes()
    provenance = json.loads(found["provenance.json"])
    (code,) = provenance["code"]
    assert (code["git_commit"], code["source_digest"]) == ("0123456789abcdef" * 2 + "01234567", synthetic.DIGEST)
    assert provenance["environments"][0]["versions"]["torch"] == "2.9.0"
    learners = sum(run.kind == "algorithm" for run in RUNS)
    assert len(code["records"]) == 2 * learners + (len(RUNS) - learners)
    assert provenance["missing"] == []
    assert b"results/" not in found["index.html"].split(b"</style>")[1].split(b"provenance")[0]
    assert not [path for path in (made).iterdir() if path.name.startswith(".")], "nothing is left beside it"


def test_the_manifest_lists_every_file_and_no_date(made: Path) -> None:
    manifest = json.loads((made / "artefact" / MANIFEST).read_text())
    assert manifest.keys() == {"checksum", "files", "kshot", "suite"}
    found = files(made / "artefact")
    del found[MANIFEST]
    assert {name: entry["size"] for name, entry in manifest["files"].items()} == {
        name: len(data) for name, data in found.items()
    }
    assert damages(made / "artefact") == []


def test_the_same_results_give_the_same_bytes_whatever_the_folder_is_called(made: Path, tmp_path: Path) -> None:
    written = archive(SUITE, RUNS, results(tmp_path / "elsewhere"), tmp_path / "deeper" / "other")
    assert files(tmp_path / "deeper" / "other") == files(made / "artefact")
    assert {path.relative_to(tmp_path / "deeper" / "other").as_posix() for path in written} == files(
        made / "artefact"
    ).keys()


def test_models_are_kept_if_asked_for(made: Path, tmp_path: Path) -> None:
    archive(SUITE, RUNS, made / "results", tmp_path / "with", models=True)
    kept.unpack(tmp_path / "with", tmp_path / "again")
    run = RUNS[0]
    assert (run.directory(tmp_path / "again") / "model.pt").read_bytes() == b"weights"
    kept.unpack(made / "artefact", tmp_path / "without")
    assert not (run.directory(tmp_path / "without") / "model.pt").exists()
    assert (run.directory(tmp_path / "without") / "curve.parquet").is_file(), "the folder is not called as the suite"


@pytest.mark.parametrize(
    "name", ["suite.yaml", "point.tar.xz", "summary.csv", "figures/headline.png", "references.bib", "LICENSE", MANIFEST]
)
def test_a_changed_byte_in_any_file_is_named(folder: Path, name: str) -> None:
    path = folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    found = damages(folder)
    assert found is not None and len(found) == 1 and found[0].startswith(f"{path}: ")


def test_missing_and_added_files_are_named(folder: Path) -> None:
    (folder / "LICENSE").unlink()
    (folder / "figures" / "mine.png").touch()
    assert damages(folder) == [
        f"{folder / 'LICENSE'}: no such file, although {MANIFEST} lists it",
        f"{folder / 'figures/mine.png'}: is not in {MANIFEST}",
    ]
    checksums.write_record(folder / MANIFEST, {"files": {"a": 1}})
    assert damages(folder) == [f"{folder / MANIFEST}: is not the manifest of an archive"]


def test_a_folder_that_is_no_archive_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such folder; name one that `kshot archive`"):
        damages(tmp_path / "none")
    with pytest.raises(RecordError, match="holds neither"):
        damages(tmp_path)


def test_other_folders_are_not_replaced_and_earlier_archives_are(made: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("Text.")
    with pytest.raises(RecordError, match="holds something else than an archive"):
        archive(SUITE, RUNS, made / "results", tmp_path / "thesis")
    assert files(tmp_path) == {"thesis/chapter.tex": b"Text."}
    former = Path(shutil.copytree(made / "artefact", tmp_path / "former"))
    (former / "left.txt").touch()
    archive(SUITE, RUNS, made / "results", former)
    assert files(former) == files(made / "artefact")


def test_a_failure_leaves_the_earlier_archive(made: Path, folder: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(made / "results", tmp_path / "results"))
    curve = RUNS[0].directory(root) / "curve.parquet"
    curve.write_bytes(curve.read_bytes()[:-1])
    before = files(tmp_path)
    with pytest.raises(RecordError, match=r"curve\.parquet: is not as it was written"):
        archive(SUITE, RUNS, root, folder)
    assert files(tmp_path) == before


def test_missing_runs_are_listed(made: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(made / "results", tmp_path / "results"))
    shutil.rmtree(RUNS[1].directory(root))
    archive(SUITE, RUNS, root, tmp_path / "artefact")
    assert records.read_json(tmp_path / "artefact" / "provenance.json")["missing"] == ["point/maml/seed-1"]


@pytest.mark.parametrize("text", ["", "name: ../up\n", "- a\n", "name: [\n"])
def test_the_suite_of_kept_runs_has_to_have_a_name(folder: Path, tmp_path: Path, text: str) -> None:
    (folder / "suite.yaml").write_text(text)
    with pytest.raises(RecordError, match=r"is no name of a suite|no runs are kept here \(suite\.yaml"):
        kept.unpack(folder, tmp_path / "again")
    assert not (tmp_path / "again").exists()
