"""Model files, checkpoints and what runs refuse: never half a file, never another run's, one line each."""

from __future__ import annotations

import errno
import os
import pickle
import signal
from collections.abc import Callable
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
import torch

from kshot import records
from kshot.errors import RecordError
from kshot.records import read_json
from kshot.running import checkpoint
from kshot.running.evaluate import evaluate
from kshot.running.train import train
from kshot.suites.run import LearningCurve
from tests import synthetic
from tests.contract import tiny

CURVE = LearningCurve(points=4, tasks=3, k=(0, 2))


def trained(root: Path) -> tuple[Any, Path]:
    run = tiny.run("untrained", "bandit")
    train(run, root)
    return run, run.directory(root)


def test_a_model_of_another_algorithm_is_refused(tmp_path: Path) -> None:
    run, _ = trained(tmp_path)
    other = replace(run, algorithm_module="maml")
    with pytest.raises(RecordError, match=r"model\.pt: a model of 'untrained', but 'maml' is to be evaluated"):
        evaluate(other, tmp_path)


def test_a_model_of_other_settings_is_refused_with_both_hashes(tmp_path: Path) -> None:
    run, directory = trained(tmp_path)
    other = replace(run, algorithm_settings={**run.algorithm_settings, "inner_lr": 0.7})
    with pytest.raises(RecordError) as error:
        evaluate(other, tmp_path)
    assert run.train_hash in str(error.value) and other.train_hash in str(error.value)
    assert not (directory / "curve.parquet").exists()


@pytest.mark.parametrize("damage", [b"", b"rubbish", None])
def test_a_damaged_model_is_one_clear_line_and_stays(tmp_path: Path, damage: bytes | None) -> None:
    run, directory = trained(tmp_path)
    model = directory / checkpoint.MODEL
    broken = model.read_bytes()[:-100] if damage is None else damage
    model.write_bytes(broken)
    with pytest.raises(RecordError, match=r"model\.pt: is not as it was written \(.*\); delete it and train again$"):
        evaluate(run, tmp_path)
    with pytest.raises(RecordError, match=r"^.*model\.pt: not a readable model file .*; delete it and train again$"):
        checkpoint.load(model)
    assert model.read_bytes() == broken


def test_a_missing_model_names_the_step_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such file; train this run first"):
        evaluate(tiny.run("maml", "bandit"), tmp_path)


def test_a_model_file_without_the_numbers_it_learnt_from_is_of_another_version(tmp_path: Path) -> None:
    """Version 1 had none: learners whose settings stayed the same since would otherwise load it."""
    run, directory = trained(tmp_path)
    model = {
        name: value for name, value in checkpoint.load(directory / checkpoint.MODEL).items() if name != "normaliser"
    }
    torch.save({**model, "format": 1}, directory / checkpoint.MODEL)
    synthetic.sign(directory / "run.json")
    with pytest.raises(RecordError, match=r"model\.pt: not a model file of this version; delete it and train again$"):
        evaluate(run, tmp_path)


def test_a_model_that_learnt_from_other_numbers_is_refused(tmp_path: Path) -> None:
    run, directory = trained(tmp_path)
    model = checkpoint.load(directory / checkpoint.MODEL)
    model["normaliser"]["scale"][0] *= 2
    checkpoint.save(directory / checkpoint.MODEL, {name: value for name, value in model.items() if name != "format"})
    synthetic.sign(directory / "run.json")
    with pytest.raises(
        RecordError, match=r"model\.pt: trained on observations of another scale than family 'bandit' has"
    ):
        evaluate(run, tmp_path)


def test_an_unknown_reference_policy_is_one_clear_line(tmp_path: Path) -> None:
    run = replace(tiny.run("maml", "bandit"), algorithm="orakle", algorithm_module=None)
    with pytest.raises(RecordError, match=r"no reference policy 'orakle' \(did you mean 'oracle'\?\)"):
        evaluate(run, tmp_path)


def test_more_test_tasks_than_there_are_is_one_clear_line(tmp_path: Path) -> None:
    run = tiny.run("maml", "metaworld")
    run = replace(
        run, algorithm="oracle", algorithm_module=None, evaluation=run.evaluation.model_copy(update={"tasks": 51})
    )
    with pytest.raises(RecordError, match=r"family 'metaworld': .*50"):
        evaluate(run, tmp_path)


def test_a_checkpoint_of_other_settings_is_not_resumed(tmp_path: Path) -> None:
    run, directory = trained(tmp_path)
    foreign = {"fingerprint": "other", "iteration": 7, "env_steps": 9, "wall_seconds": 1.0, "rows": [], "learner": {}}
    checkpoint.save(directory / checkpoint.CHECKPOINT, foreign)
    before = (directory / checkpoint.MODEL).read_bytes()
    train(run, tmp_path)
    assert (directory / checkpoint.MODEL).read_bytes() == before
    assert not (directory / checkpoint.CHECKPOINT).exists()


def test_snapshots_are_the_models_of_shorter_trainings(tmp_path: Path) -> None:
    run = replace(tiny.run("maml", "bandit"), learning_curve=CURVE)
    train(run, tmp_path / "whole")
    directory = run.directory(tmp_path / "whole")
    assert sorted(path.name for path in directory.glob("snapshot-*")) == [f"snapshot-{n}.pt" for n in (1, 2, 3)]
    assert set(read_json(directory / "run.json")["files"]) >= {"model.pt", "snapshot-1.pt", "snapshot-3.pt"}
    half = checkpoint.load(directory / "snapshot-2.pt")
    assert run.steps // 2 <= half["env_steps"] < run.steps
    shorter = replace(run, steps=run.steps // 2, learning_curve=None)
    train(shorter, tmp_path / "half")
    model = checkpoint.load(shorter.directory(tmp_path / "half") / "model.pt")
    assert model["env_steps"] == half["env_steps"]
    for name, value in model["learner"]["policy"].items():
        assert torch.equal(value, half["learner"]["policy"][name]), name


def test_a_learning_curve_outdates_no_training_and_old_snapshots_go(tmp_path: Path) -> None:
    run = tiny.run("maml", "bandit")
    kept = replace(run, learning_curve=LearningCurve(points=2, tasks=3, k=(0, 2)))
    assert run.train_hash == kept.train_hash and run.config_hash != kept.config_hash
    train(replace(run, learning_curve=CURVE), tmp_path)
    train(kept, tmp_path)
    assert [path.name for path in run.directory(tmp_path).glob("snapshot-*")] == ["snapshot-1.pt"]


def test_a_learning_curve_scores_the_kept_models_on_validation_tasks(tmp_path: Path) -> None:
    """Each as the evaluation of a training that ended there, on those tasks, would."""
    run = replace(tiny.run("maml", "bandit"), learning_curve=CURVE)
    directory = run.directory(tmp_path)
    train(run, tmp_path)
    evaluate(run, tmp_path)
    found = records.read_table(directory / "learning.parquet", records.LEARNING_SCHEMA)
    models = [checkpoint.load(directory / f"snapshot-{n}.pt")["env_steps"] for n in (1, 2, 3)]
    assert sorted(set(found["trained_steps"])) == [*models, checkpoint.load(directory / "model.pt")["env_steps"]]
    assert set(found["split"]) == {"validation"} and set(found["k"]) == {0, 2} and found["task"].nunique() == 3
    assert read_json(directory / "evaluate.json")["files"].keys() == {"curve.parquet", "learning.parquet"}

    on_validation = run.evaluation.model_copy(update={"split": "validation", "tasks": 3, "k": (0, 2)})
    shorter = replace(run, steps=run.steps // 2, learning_curve=None, evaluation=on_validation)
    train(shorter, tmp_path / "half")
    evaluate(shorter, tmp_path / "half")
    expected = records.read_table(shorter.directory(tmp_path / "half") / "curve.parquet", records.CURVE_SCHEMA)
    half = found[found["trained_steps"] == models[1]].reset_index(drop=True)
    for name in ("task", "k", "mode", "episode", "return", "adaptation_steps"):
        assert list(half[name].astype(object)) == list(expected[name].astype(object)), name

    evaluate(replace(run, learning_curve=None), tmp_path)
    assert not (directory / "learning.parquet").exists()


def test_a_learning_curve_without_its_snapshots_says_what_to_do(tmp_path: Path) -> None:
    run = tiny.run("maml", "bandit")
    train(run, tmp_path)
    with pytest.raises(RecordError, match=r"snapshot-1\.pt: no such file; train this run first"):
        evaluate(replace(run, learning_curve=CURVE), tmp_path)


def test_a_learning_curve_on_more_tasks_than_there_are_is_refused_before_training(tmp_path: Path) -> None:
    run = replace(tiny.run("maml", "gridnavi"), learning_curve=CURVE.model_copy(update={"tasks": 1000}))
    with pytest.raises(RecordError, match="1000 tasks asked for, the validation split has"):
        train(run, tmp_path)
    assert not (run.directory(tmp_path) / "model.pt").exists()


def test_equal_values_give_equal_bytes_under_any_name(tmp_path: Path) -> None:
    value = {"weight": torch.arange(5.0), "nested": {"count": 3}}
    checkpoint.save(tmp_path / "a.pt", value)
    checkpoint.save(tmp_path / "another name.pt", value)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "another name.pt").read_bytes()
    assert torch.equal(checkpoint.load(tmp_path / "a.pt")["weight"], value["weight"])


def test_a_block_of_evidence_that_the_suite_never_reaches_is_refused_before_training(tmp_path: Path) -> None:
    run = tiny.run("maml", "bandit")
    run = replace(run, algorithm_settings={**run.algorithm_settings, "test_episodes": 30})
    with pytest.raises(RecordError, match=r"adapts on 30 episodes at a time, but evaluation.k is \[0, 1, 2\]"):
        train(run, tmp_path)
    assert not (run.directory(tmp_path) / checkpoint.MODEL).exists()


@pytest.mark.parametrize(
    ("algorithm", "per_step"),
    [("maml", lambda s: 1), ("reptile", lambda s: 1), ("rl2", lambda s: s["epochs"] * s["minibatches"])],
)
def test_a_run_counts_its_gradient_updates(tmp_path: Path, algorithm: str, per_step: Callable[[Any], int]) -> None:
    run = tiny.run(algorithm, "bandit")
    train(run, tmp_path)
    record = read_json(run.directory(tmp_path) / "run.json")
    assert record["iterations"] > 1
    assert record["updates"] == record["iterations"] * per_step(run.algorithm_settings)


def test_a_second_control_c_does_not_wait_for_the_end_of_an_iteration(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with checkpoint.StopRequest() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert stop.signal == signal.SIGINT
        assert "Ctrl-C again stops at once" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_who_may_read_results_is_for_the_umask_to_say(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        records.write_text(tmp_path / "summary.csv", "a")
    finally:
        os.umask(before)
    assert (tmp_path / "summary.csv").stat().st_mode & 0o777 == mode
    assert [path.name for path in tmp_path.iterdir()] == ["summary.csv"]


def test_where_a_file_system_has_no_locks_another_one_holds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, locks = tmp_path / "run", tmp_path / "locks"
    real = checkpoint.fcntl.flock

    def flock(file: TextIOWrapper, how: int) -> None:
        if Path(file.name).parent == run:
            raise OSError(errno.ENOLCK, "No locks available")
        real(file, how)

    monkeypatch.setattr(checkpoint.fcntl, "flock", flock)
    said = f"^{run}/.lock: this file system has no locks .No locks available.*; set KSHOT_LOCKS to a folder on one that"
    with pytest.raises(OSError, match=said), checkpoint.exclusive(run):
        pass
    monkeypatch.setenv("KSHOT_LOCKS", str(locks))
    with checkpoint.exclusive(run):
        with pytest.raises(checkpoint.Busy), checkpoint.exclusive(run):
            pass
        with checkpoint.exclusive(tmp_path / "other"):
            assert len(list(locks.iterdir())) == 2
    with checkpoint.exclusive(run):
        pass


class Malicious:
    """Its pickle runs a command when it is loaded."""

    def __init__(self, witness: Path) -> None:
        self._witness = witness

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self._witness,)


@pytest.mark.parametrize("kind", ["a pickle", "a pickle in PyTorch's archive", "a list", "another learner's state"])
def test_a_model_that_is_something_else_is_refused_and_runs_nothing(tmp_path: Path, kind: str) -> None:
    run, directory = trained(tmp_path)
    model, witness = directory / checkpoint.MODEL, tmp_path / "ran"
    if kind == "a pickle":
        model.write_bytes(pickle.dumps(Malicious(witness)))
    elif kind == "a pickle in PyTorch's archive":
        torch.save({"format": checkpoint.FORMAT, "learner": Malicious(witness)}, model)
    elif kind == "a list":
        torch.save([1, 2], model)
    else:
        value = checkpoint.load(model)
        del value["format"]
        checkpoint.save(model, value | {"learner": {"weights": "none"}})
    synthetic.sign(directory / "run.json")  # whoever exchanges a model can write its checksum, too
    with pytest.raises(RecordError, match=r"model\.pt: (not a|does not fit)") as error:
        evaluate(run, tmp_path)
    assert "\n" not in str(error.value) and not witness.exists()


def test_what_a_killed_process_left_half_written_is_removed_by_the_next(tmp_path: Path) -> None:
    run = tiny.run("untrained", "bandit")
    directory = run.directory(tmp_path)
    directory.mkdir(parents=True)
    for name in (".checkpoint.pt.0123456789ab", ".notes.txt", ".kept"):
        (directory / name).write_text("half")
    train(run, tmp_path)
    assert {path.name for path in directory.glob(".*")} == {".lock", ".notes.txt", ".kept"}
