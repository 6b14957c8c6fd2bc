"""Where results come from: which files count, and that their digest follows them and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from kshot.config import ROOT, load_suite
from kshot.run_config import RunConfig
from kshot.running import provenance
from tests.workflow.pipeline import PLUGINS, SUITE


def test_the_digest_covers_the_algorithm_what_it_builds_on_the_family_and_the_shared_code() -> None:
    files = set(provenance.source_files("fomaml", "bandit"))
    assert {"algorithms/fomaml.py", "algorithms/maml.py", "envs/bandit.py", "envs/_scripted.py"} <= files
    assert {"kshot/types.py", "kshot/worlds.py", "kshot/seeding.py", "kshot/running/train.py"} <= files
    assert not {"algorithms/rl2.py", "envs/nav2d.py", "kshot/running/status.py", "kshot/cli.py"} & files


def test_a_package_counts_with_all_its_files_and_a_reference_with_no_algorithm() -> None:
    files = provenance.source_files(None, "metaworld")
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "envs/metaworld").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package and package <= set(files)
    assert not any(name.startswith("algorithms/") for name in files)
    assert all(path.is_file() for path in files.values())


def run_with_plugins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    monkeypatch.setenv("KSHOT_PATH", str(folder))
    return load_suite(SUITE).find("coins", "counting", 0)


def digest(run: RunConfig) -> str:
    provenance._digest.cache_clear()  # once per process is right for a job; here the files change under it
    return provenance.source_digest(run)


def test_the_digest_changes_with_the_code_and_not_with_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Path(shutil.copytree(PLUGINS, tmp_path / "one"))
    two = Path(shutil.copytree(PLUGINS, tmp_path / "two"))
    first = digest(run_with_plugins(one, monkeypatch))
    assert digest(run_with_plugins(two, monkeypatch)) == first
    for name in ("algorithms/counting.py", "envs/coins.py"):
        text = (two / name).read_text()
        (two / name).write_text(f"{text}# another comment\n")
        assert digest(run_with_plugins(two, monkeypatch)) != first
        (two / name).write_text(text)
    assert digest(run_with_plugins(two, monkeypatch)) == first


def test_a_job_keeps_the_digest_of_the_code_it_started_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(shutil.copytree(PLUGINS, tmp_path / "plugins"))
    run = run_with_plugins(folder, monkeypatch)
    before = digest(run)
    with (folder / "envs/coins.py").open("a") as file:
        file.write("# edited while the job runs\n")
    assert provenance.source_digest(run) == before


def test_a_record_holds_all_that_the_report_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_with_plugins(PLUGINS, monkeypatch)
    record = provenance.collect(run, status="ok", reason="", env_steps=64, wall_seconds=1.5, iterations=8)
    assert json.loads(json.dumps(record)) == record
    assert RunConfig.from_dict(record["run"]) == run
    assert (record["config_hash"], record["train_hash"]) == (run.config_hash, run.train_hash)
    assert (record["env_steps"], record["wall_seconds"], record["iterations"]) == (64, 1.5, 8)
    assert set(record["versions"]) >= {"python", "kshot", "torch", "numpy", "mujoco", "metaworld"}
    assert all(version != "not installed" for version in record["versions"].values())
    hardware = record["hardware"]
    assert hardware["cpu"] and hardware["cores"] >= 1 and hardware["threads"] >= 1 and hardware["memory_gb"] > 0
    assert len(record["source_digest"]) == 16


def test_outside_a_git_checkout_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    provenance._git.cache_clear()
    try:
        assert provenance._git() == ("unknown", True)
    finally:
        provenance._git.cache_clear()
