"""Where results come from: which files count, and that their digest follows them and nothing else."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path

import pytest

from kshot.places import ROOT
from kshot.running import machine, provenance
from kshot.suites.reading import load_suite
from kshot.suites.run import RunConfig
from tests.workflow.pipeline import PLUGINS, SUITE


def test_the_digest_covers_the_algorithm_what_it_builds_on_the_family_and_the_shared_code() -> None:
    files = set(provenance.source_files("fomaml", "bandit"))
    assert {"algorithms/fomaml.py", "algorithms/maml.py", "envs/bandit/__init__.py", "envs/_scripted.py"} <= files
    assert {"kshot/types/", "kshot/seeding.py", "kshot/running/train.py"} <= files
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


def test_a_record_names_kernels_and_what_they_are_chosen_by() -> None:
    importlib.import_module("torch")  # what is not loaded takes no part
    found = machine.kernels()
    assert json.loads(json.dumps(found)) == found == machine.kernels()
    (blas,) = [one for one in found["libraries"] if one["folder"] == "numpy.libs"]
    assert blas["version"] and blas["architecture"] and blas["threading_layer"]
    assert found["numpy"]["extensions"] and len(found["numpy"]["digest"]) == len(found["torch"]["digest"]) == 12
    assert found["torch"]["cpu_capability"] and any("OpenMP" in line for line in found["torch"]["libraries"])
    assert not [text for text in json.dumps(found).split('"') if text.startswith("/")], "paths tell nothing of kernels"


CPUINFO = {
    "x86": (
        "processor : 0\nvendor_id : GenuineIntel\ncpu family : 6\nmodel : 207\nmodel name : Some(R) Processor\n"
        "stepping : 2\nflags : fpu smep smap sse2 avx2 avx512f fma rdseed\n\nprocessor : 1\nmodel : 999\n",
        ("Some(R) Processor", "GenuineIntel", "6", "207", "2", ["avx2", "avx512f", "fma", "sse2"]),
    ),
    "ARM": (
        "processor : 0\nFeatures : fp asimd sve crc32 sme2 bf16\nCPU implementer : 0x41\nCPU architecture: 8\n"
        "CPU part : 0xd40\nCPU revision : 1\n",
        (None, "0x41", "8", "0xd40", "1", ["asimd", "bf16", "sme2", "sve"]),
    ),
    "unknown": ("", (None, "", "", "", "", [])),
}


@pytest.mark.parametrize("kind", CPUINFO)
def test_a_processor_is_told_by_its_generation(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, (name, *facts) = CPUINFO[kind]
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / ("cpuinfo" if text else "missing"))
    machine._processor.cache_clear()
    try:
        found = machine._processor()
    finally:
        machine._processor.cache_clear()
    assert [found[key] for key in ("vendor", "family", "model", "stepping", "features")] == facts
    assert found["name"] == name if name else found["name"]
