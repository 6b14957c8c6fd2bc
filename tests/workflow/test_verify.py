"""`kshot verify`: nothing to say where all is as it was; changes are found by checksums or by computing again."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kshot import checksums, computed_again, records
from kshot.errors import ConfigError
from kshot.running import verify
from kshot.suites.run import RunConfig
from tests import synthetic
from tests.workflow.conftest import Called
from tests.workflow.pipeline import SUITE, kshot, write_suite

CELL = "coins/counting/0"
RUN = "results/tiny/coins/counting/seed-0"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of a learner and a scripted policy, trained, evaluated and archived."""
    folder = tmp_path_factory.mktemp("finished")
    suite = copy.deepcopy(SUITE) | {"seeds": [0, 1], "algorithms": {"counting": {}}}
    suite["families"]["coins"]["references"] = ["random"]
    write_suite(folder, suite)
    steps = [("train", "counting", "0"), ("train", "counting", "1")]
    steps += [("evaluate", "counting", "0"), ("evaluate", "counting", "1"), ("evaluate", "random", "0")]
    for step, algorithm, seed in steps:
        done = kshot(folder, step, "suite.yaml", "--family", "coins", "--algorithm", algorithm, "--seed", seed)
        assert done.returncode == 0, done.stderr
    done = kshot(folder, "archive", "suite.yaml", "--out", "artefact")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def test_an_archive_computed_again_is_the_same(finished: Path, called: Called) -> None:
    done = called(finished, "verify", "artefact", "--cell", CELL, "coins/random/seed-0")
    assert done.stdout.splitlines() == [
        "artefact: every file is as in the manifest",
        "3 finished runs, all as their records say; 2 to be computed again",
        "1 of 2: coins/counting/0, under a minute of under a minute for all that is left",
        "    the same: train.parquet, curve.parquet, model.pt",
        "2 of 2: coins/random/0, under a minute of under a minute for all that is left",
        "    the same: curve.parquet",
        "2 runs computed again: 2 the same, 0 different as they may be, 0 different as they should not be",
    ]
    assert (done.returncode, done.stderr) == (0, "")


def test_a_planted_change_of_a_curve_is_found_by_computing_again(folder: Path, called: Called) -> None:
    """All checksums are put right: nothing but the run itself tells."""
    path = folder / RUN / "curve.parquet"
    frame = records.read_table(path, records.CURVE_SCHEMA)
    frame.loc[frame.index[-1], "return"] += 0.25
    records.write_table(path, frame, records.CURVE_SCHEMA)
    synthetic.sign(folder / RUN / "evaluate.json")
    assert called(folder, "archive", "suite.yaml", "--out", "artefact").returncode == 0
    done = called(folder, "verify", "artefact", "--cell", CELL)
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert done.returncode == 1, done.stdout
    assert "the same: train.parquet, model.pt" in lines
    assert f"curve.parquet: 1 of {len(frame)} rows differ, in return" in lines
    assert "with the same code, packages, kernels and threads: it should be the same bytes" in lines
    assert lines[-1].endswith("0 the same, 0 different as they may be, 1 different as they should not be")


def test_a_changed_byte_is_named_and_nothing_is_computed(folder: Path, called: Called) -> None:
    path = folder / "artefact" / "figures" / "headline.png"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    done = called(folder, "verify", "artefact")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "artefact: 1 files differ from the manifest",
        "artefact/figures/headline.png: is not as it was written (another SHA-256 than in MANIFEST.json)",
        "nothing was computed again",
    ]


def test_kept_runs_without_a_manifest_have_their_own_checksums(folder: Path, called: Called) -> None:
    assert called(folder, "pack", "suite.yaml").returncode == 0
    kept = "reports/reference/tiny"
    done = called(folder, "verify", kept, "--cells", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    first = [f"{kept}: no manifest; its runs have checksums of their own"]
    assert done.stdout.splitlines() == [
        *first,
        "3 finished runs, all as their records say; 0 to be computed again",
        "0 runs computed again: 0 the same, 0 different as they may be, 0 different as they should not be",
    ]
    # Runs packed by other means than `pack`, which would have refused this.
    shutil.rmtree(folder / "results")
    called(folder, "unpack", kept)
    path = folder / RUN / "train.parquet"
    path.write_bytes(path.read_bytes() + b"x")
    _packed_blindly(folder)
    done = called(folder, "verify", kept)
    assert done.returncode == 1
    assert done.stdout.splitlines()[1].startswith(
        f"{kept}: coins/counting/seed-0/train.parquet: is not as it was written"
    )
    archive = folder / kept / "coins.tar.xz"
    archive.write_bytes(archive.read_bytes()[:-5])
    done = called(folder, "verify", kept)
    assert done.returncode == 1
    assert f"{kept}/coins.tar.xz: not a readable archive of runs" in done.stdout
    suite = folder / kept / "suite.yaml"
    shutil.copy(folder / "artefact" / "coins.tar.xz", archive)
    suite.write_text(suite.read_text().replace("steps: 64", "steps: 65"))
    done = called(folder, "verify", kept)
    assert done.returncode == 1 and "the file is not as it was written" in done.stdout


def _packed_blindly(folder: Path) -> None:
    from kshot.reporting import kept

    root = folder / "results" / "tiny" / "coins"
    runs: kept.Runs = {}
    for path in root.rglob("*.*"):
        if path.suffix in (".json", ".parquet"):
            runs.setdefault(path.parent.relative_to(root).as_posix(), {})[path.name] = path.read_bytes()
    (folder / "reports/reference/tiny/coins.tar.xz").write_bytes(kept._packed(runs))


def test_code_that_gave_the_same_is_noted_beside_the_kept_runs_and_on_the_page(folder: Path, called: Called) -> None:
    """As if both steps of one seed had been made by an earlier version."""
    for record in (folder / RUN).glob("*.json"):
        synthetic.sign(record, source_digest="0123456789abcdef")
    assert called(folder, "aggregate", "suite.yaml").returncode == 0
    assert "mixed" in (folder / "results/tiny/cells.csv").read_text()
    assert called(folder, "pack", "suite.yaml").returncode == 0
    kept = "reports/reference/tiny"
    done = called(folder, "verify", kept, "--cell", CELL)
    assert done.returncode == 0 and not (folder / kept / computed_again.FILE).exists(), done.stdout
    done = called(folder, "verify", kept, "--cell", CELL, "coins/counting/1", "--note")
    (noted,) = [line for line in done.stdout.splitlines() if "noted" in line]
    assert noted.startswith(f"    noted in {kept}/{computed_again.FILE}: 0123456789abcdef and ")
    (note,) = computed_again.read(folder / kept)
    assert (note.run, note.made_by) == (CELL, ("0123456789abcdef",)) and noted.endswith(f" {note.again_by} are one")
    assert called(folder, "unpack", kept).returncode == 0
    assert called(folder, "aggregate", "suite.yaml").returncode == 0
    cells = (folder / "results/tiny/cells.csv").read_text()
    assert cells.count("same numbers") == 2 and "mixed" not in cells
    page = Path(called(folder, "report", "suite.yaml").stdout.split()[-1])
    text = (folder / page).read_text()
    assert f"every value and the model were the same: {CELL}." in text and "Mixed source code" not in text
    done = called(folder, "verify", "artefact", "--note")
    assert done.returncode == 2 and "artefact: an archive stays as it is; --note is for a suite" in done.stderr
    assert called(folder, "archive", "suite.yaml", "--out", "artefact").returncode == 0
    assert computed_again.read(folder / "artefact") == [note], "it goes along"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "kshot: nowhere: no such folder"),
        (["results"], "kshot: results: holds neither MANIFEST.json nor suite.yaml"),
        (["artefact", "--cell", "coins/countign/0"], "holds no finished run 'coins/countign/0' (did you mean 'coins/"),
        (["artefact", "--cells", "-1"], "expected a number of runs, got -1"),
    ],
)
def test_mistakes_are_one_line(finished: Path, called: Called, arguments: list[str], message: str) -> None:
    done = called(finished, "verify", *arguments)
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_run_that_cannot_be_computed_here_says_why(
    finished: Path, called: Called, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The algorithm is a plug-in that is not there."""
    real = verify._compute

    def without_plugins(*arguments: Any) -> None:
        monkeypatch.setenv("KSHOT_PATH", "")
        real(*arguments)

    monkeypatch.setattr(verify, "_compute", without_plugins)
    done = called(finished, "verify", "artefact", "--cell", CELL)
    assert done.returncode == 2
    assert "coins/counting/0: cannot be computed here: " in done.stderr
    assert "unknown algorithm 'counting'" in done.stderr


POINT = replace(synthetic.POINT, n_tasks=4, k=(0, 10))
RUNS = synthetic.runs_of([POINT], learners=("maml",), references=("random",), seeds=4)
KERNELS = {"libraries": [], "numpy": {"extensions": [], "digest": "a"}, "environment": {}}


def roots(folder: Path) -> tuple[Path, Path]:
    """Four seeds, twice: as they are kept, and as they were computed again."""
    for name in ("kept", "again"):
        synthetic.write_suite([POINT], RUNS, folder / name)
        for run in RUNS:
            for record in run.directory(folder / name).glob("*.json"):
                synthetic.sign(record, kernels=KERNELS)
    return folder / "kept", folder / "again"


def change(run: RunConfig, root: Path, by: float, **entries: Any) -> None:
    path = run.directory(root) / "curve.parquet"
    frame = records.read_table(path, records.CURVE_SCHEMA)
    records.write_table(path, frame.assign(**{"return": frame["return"] + by}), records.CURVE_SCHEMA)
    synthetic.sign(path.with_name("evaluate.json"), **entries)


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"source_digest": "0123456789abcdef"}, "because of code: source 5d41402abc4b2a76 (commit 0123456789), here "),
        ({"versions": {"numpy": "1.0"}}, "because of versions: numpy 2.4.6, here 1.0"),
        ({"kernels": KERNELS | {"numpy": {"extensions": [], "digest": "b"}}}, "because of kernels: digest of numpy's"),
        ({"hardware": {"cpu": "Example CPU", "threads": 2}}, "because of threads: 1, here 2"),
        ({"hardware": {"cpu": "Another", "threads": 1}}, "because of processor: Example CPU, here Another"),
    ],
)
@pytest.mark.parametrize(("by", "allowed"), [(0.01, True), (100.0, False)])
def test_with_a_reason_a_difference_may_be_as_large_as_between_seeds(
    tmp_path: Path, entries: dict[str, Any], reason: str, by: float, allowed: bool
) -> None:
    kept, again = roots(tmp_path)
    change(RUNS[0], again, by, **entries)
    found = verify.compare(RUNS[0], kept, again, RUNS[:4])
    assert (found.same, found.allowed) == (False, allowed)
    assert any(line.startswith(reason) for line in found.lines), found.lines
    (score,) = [line for line in found.lines if line.startswith("largest difference of a score: return ")]
    assert ("within [" in score) == allowed and ("outside [" in score) != allowed


def test_without_a_reason_the_smallest_difference_is_one_too_much(tmp_path: Path) -> None:
    kept, again = roots(tmp_path)
    assert verify.compare(RUNS[0], kept, again, RUNS[:4]).same
    change(RUNS[0], again, 1e-12)
    found = verify.compare(RUNS[0], kept, again, RUNS[:4])
    assert not found.allowed and found.lines[-1].endswith("it should be the same bytes")


def test_one_run_alone_has_no_interval(tmp_path: Path) -> None:
    kept, again = roots(tmp_path)
    change(RUNS[4], again, 100.0, source_digest="0123456789abcdef")
    found = verify.compare(RUNS[4], kept, again, RUNS[4:])
    assert found.allowed and any(line.endswith("one run alone has no interval") for line in found.lines)


def test_the_interval_is_that_of_one_more_seed() -> None:
    """Four seeds at 1, 2, 3, 4: mean 2.5, s = 1.291, t(.975, 3) = 3.182, so 2.5 +- 3.182 x 1.291 x sqrt(1.25)."""
    low, high = verify.interval([1.0, 2.0, 3.0, 4.0])
    assert (low, high) == pytest.approx((2.5 - 4.593, 2.5 + 4.593), abs=2e-3)


def test_another_training_names_its_first_iteration_and_another_model_its_checksum(tmp_path: Path) -> None:
    kept, again = roots(tmp_path)
    for root, weights in ((kept, b"a"), (again, b"b")):
        record = RUNS[0].directory(root) / "run.json"
        record.with_name("model.pt").write_bytes(weights)
        value = checksums.read_record(record)
        checksums.write_record(record, value, {**value.pop("files"), "model.pt": ""})
    path = RUNS[0].directory(again) / "train.parquet"
    frame = records.read_table(path, records.TRAIN_SCHEMA)
    frame.loc[frame["iteration"] >= 7, "value"] += 1.0
    records.write_table(path, frame, records.TRAIN_SCHEMA)
    synthetic.sign(path.with_name("run.json"))
    found = verify.compare(RUNS[0], kept, again, RUNS[:4])
    n = int((frame["iteration"] >= 7).sum())
    assert f"train.parquet: {n} of {len(frame)} rows differ, from iteration 7 on, in value" in found.lines
    assert "model.pt: has another checksum" in found.lines and not found.allowed


def test_a_run_that_diverges_in_place_of_ending_well_is_told(tmp_path: Path) -> None:
    kept, again = roots(tmp_path)
    synthetic.write_run(POINT, RUNS[0], again, status="diverged")
    for record in RUNS[0].directory(again).glob("*.json"):
        synthetic.sign(record, kernels=KERNELS)
    found = verify.compare(RUNS[0], kept, again, RUNS[:4])
    assert not found.allowed and "status diverged, kept is ok" in found.lines


def test_runs_are_drawn_by_a_fixed_number_among_learners() -> None:
    def drawn(number: int, seed: int) -> list[RunConfig]:
        return verify._chosen(Path("folder"), RUNS, [], number, seed)

    assert drawn(2, 0) == drawn(2, 0) and len(drawn(2, 0)) == 2
    assert len({tuple(run.seed for run in drawn(1, seed)) for seed in range(20)}) == 4
    assert drawn(99, 0) == RUNS[:4]
    assert verify._chosen(Path("folder"), RUNS[4:], [], 1, 0) == RUNS[4:]
    with pytest.raises(ConfigError, match="holds no finished run 'a/b/c'"):
        verify._chosen(Path("folder"), RUNS, ["a/b/c", "point/maml/0"], 1, 0)


def test_the_time_that_is_left_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, again = roots(tmp_path)
    told: list[str] = []
    ends: list[Callable[[], bool]] = [lambda: False, lambda: True, lambda: True]
    monkeypatch.setattr(verify, "_ended", lambda process: bool(process.wait() or True) and ends.pop(0)())
    monkeypatch.setattr(verify, "_steps", lambda run: ("evaluate",))
    monkeypatch.setattr("sys.executable", "true")
    verify._compute(RUNS[0], tmp_path / "suite.yaml", kept, again, 12.0, told.append)
    assert told == ["    about 12 minutes left"]
    assert verify._told(verify._minutes(RUNS[1], kept)) == "about 1 minute"
