"""Where results come from: which files count, and that their digest follows them and nothing else."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

import kshot
from kshot import registry
from kshot.places import ROOT
from kshot.running import machine, provenance
from kshot.suites.reading import load_suite
from kshot.suites.run import RunConfig
from tests.workflow.pipeline import PLUGINS, SUITE


def test_the_digest_covers_what_the_algorithm_the_family_and_the_runner_import() -> None:
    files = set(provenance.source_files("fomaml", "bandit"))
    own = {"algorithms.fomaml", "algorithms.maml", "envs.bandit", "envs.bandit.index_policies", "envs._scripted"}
    shared = {"types.data", "seeding", "running.train", "running.rollout", "learning.returns", "learning.trust_region"}
    assert {f"kshot.{name}" for name in own | shared} <= files
    others = {"algorithms.rl2", "envs.nav2d", "learning.sac", "learning.planner", "running.status", "running.official"}
    assert not {f"kshot.{name}" for name in others | {"cli", "errors", "suites.reading"}} & files
    assert not [name for name in files if name.startswith("kshot.reporting")]
    assert "kshot.running.official" in provenance.source_files("fomaml", "bandit", provenance.OFFICIAL_RUNNER)


def test_tables_of_numbers_count_and_modules_that_nothing_imports_do_not() -> None:
    for name in ("metaworld", "metaworld_hand"):  # the second builds on the first
        files = provenance.source_files(None, name)
        assert files["kshot.envs.metaworld/observations.json"].is_file()
        assert {"kshot.envs.metaworld.engine", "kshot.envs.metaworld.engine.kernel"} <= set(files)
        assert "kshot.envs.metaworld._benchmarks" not in files  # entry points of Gymnasium
        assert not any(name.startswith("kshot.algorithms") for name in files)
        assert all(path.is_file() for path in files.values())


CELLS = [
    ("maml", "bandit"),
    ("rl2", "nav2d"),
    ("pearl", "nav2d_sparse"),
    ("mandril", "spritegrid"),
    (None, "metaworld"),
]


@pytest.mark.parametrize(
    ("changed", "outdated"),
    [
        ("algorithms/untrained.py", []),
        ("reporting/figures/headline.py", []),
        ("running/status.py", []),
        ("suites/reading.py", []),
        ("envs/tabular_mdp/__init__.py", []),
        ("learning/returns.py", ["maml-bandit", "rl2-nav2d"]),
        ("learning/sac.py", ["pearl-nav2d_sparse"]),
        ("learning/planner.py", ["mandril-spritegrid"]),
        ("envs/_experts.py", ["maml-bandit", "mandril-spritegrid"]),
        ("envs/_point.py", ["rl2-nav2d", "pearl-nav2d_sparse"]),
        ("envs/nav2d_sparse/arc.py", ["pearl-nav2d_sparse"]),
        ("envs/metaworld/observations.json", ["None-metaworld"]),
        ("envs/metaworld/engine/kernel.py", ["None-metaworld"]),
        ("types/data.py", [f"{algorithm}-{family}" for algorithm, family in CELLS]),
        ("running/rollout.py", [f"{algorithm}-{family}" for algorithm, family in CELLS]),
    ],
)
def test_a_change_outdates_what_uses_it_and_nothing_else(
    changed: str, outdated: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are read with one of them changed: a comment in it is a change like any other."""
    path = (ROOT / "kshot" / changed).resolve()
    assert path.is_file()
    before = {f"{algorithm}-{family}": digest_of(algorithm, family) for algorithm, family in CELLS}
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: read(self) + b"# a comment\n" * (self.resolve() == path))
    after = {f"{algorithm}-{family}": digest_of(algorithm, family) for algorithm, family in CELLS}
    assert [cell for cell in before if before[cell] != after[cell]] == outdated


def test_a_new_learner_outdates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that the others do not import is not among their files, wherever it is put."""
    graph = provenance._import_graph("kshot")
    before = provenance.source_files("rl2", "nav2d")
    graph.add_module("kshot.algorithms.brand_new")
    graph.add_import(importer="kshot.algorithms.brand_new", imported="kshot.algorithms.rl2")
    try:
        assert provenance.source_files("rl2", "nav2d") == before
    finally:
        graph.remove_module("kshot.algorithms.brand_new")


def digest_of(algorithm: str | None, family: str) -> str:
    provenance._digest.cache_clear()
    return provenance._digest(algorithm, family, provenance.RUNNER)


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


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package whose entry point names an algorithm in it."""
    package = tmp_path / "theirs"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "rates.py").write_text("RATE = 0.1\n")
    (package / "aside.py").write_text("")
    contract = "ACTIONS, EVIDENCE, TEST_ACTIONS, Settings, build"
    (package / "learner.py").write_text(
        f"from kshot.algorithms.maml import {contract}\nfrom theirs.rates import RATE\n"
    )
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kshot.algorithms]\ntheir_maml = theirs.learner\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [name for name in sys.modules if name.split(".")[0] == "theirs"]:
        del sys.modules[name]
    provenance._import_graph.cache_clear()


def test_an_installed_package_provides_an_algorithm(distribution: Path) -> None:
    assert "their_maml" in registry.names("algorithms")
    evaluation = {"tasks": 2, "k": [0, 20]}
    suite = {"name": "one", "seeds": [0], "families": {"nav2d": {"steps": 100, "evaluation": evaluation}}}
    run = load_suite(suite | {"algorithms": {"mine": {"algorithm": "their_maml"}}}).find("nav2d", "mine", 0)
    assert (run.algorithm_module, run.test_actions) == ("their_maml", "sampled")
    files = provenance.source_files("their_maml", "nav2d")
    assert {"theirs", "theirs.learner", "theirs.rates", "kshot.algorithms.maml"} <= set(files)
    assert "theirs.aside" not in files
    before = digest(run)
    (distribution / "aside.py").write_text("# nobody imports this\n")
    assert digest(run) == before
    (distribution / "rates.py").write_text("RATE = 0.2\n")
    assert digest(run) != before


def test_a_job_keeps_the_digest_of_the_code_it_started_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(shutil.copytree(PLUGINS, tmp_path / "plugins"))
    run = run_with_plugins(folder, monkeypatch)
    before = digest(run)
    with (folder / "envs/coins.py").open("a") as file:
        file.write("# edited while the job runs\n")
    assert provenance.source_digest(run) == before


def test_a_new_figure_outdates_sums_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules of sums, figures, tables and page have this digest among their params."""
    before = provenance.reporting_digest()
    package = Path(kshot.__file__).parent
    shutil.copytree(package / "reporting", tmp_path / "reporting", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(kshot, "__file__", str(tmp_path / "__init__.py"))
    assert provenance.reporting_digest() == before
    (tmp_path / "reporting" / "figures" / "bars.py").write_text("NAME = 'bars'\n")
    assert provenance.reporting_digest() != before
    rules = (ROOT / "workflow" / "rules" / "report.smk").read_text()
    for rule in ("aggregate", "figures", "paper_figures", "tables", "report"):
        assert "code=reporting_digest()," in rules.split(f"rule {rule}:")[1].split("rule ")[0], rule


def test_a_record_holds_all_that_the_report_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_with_plugins(PLUGINS, monkeypatch)
    record = provenance.collect(run, status="ok", reason="", env_steps=64, wall_seconds=1.5, iterations=8)
    assert json.loads(json.dumps(record)) == record
    assert record["run"] == run.to_dict()
    assert (record["config_hash"], record["train_hash"]) == (run.config_hash, run.train_hash)
    assert (record["env_steps"], record["wall_seconds"], record["iterations"]) == (64, 1.5, 8)
    now = psutil.Process().memory_info().rss / 1e9
    assert 0.5 * now < record["peak_memory_gb"] < 64
    assert set(record["versions"]) >= {"python", "kshot", "torch", "numpy", "mujoco", "metaworld"}
    assert all(version != "not installed" for version in record["versions"].values())
    hardware = record["hardware"]
    assert hardware["cpu"] and hardware["cores"] >= 1 and hardware["threads"] >= 1 and hardware["memory_gb"] > 0
    assert len(record["source_digest"]) == 16


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


def test_ctrl_c_while_imports_are_read_waits_for_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library that reads them is written in Rust, where an interrupt becomes a panic with a traceback."""
    built = []

    def build(*packages: str, cache_dir: None) -> str:
        signal.raise_signal(signal.SIGINT)
        built.append(packages)
        return "graph"

    monkeypatch.setattr(provenance.grimp, "build_graph", build)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
    try:
        with pytest.raises(KeyboardInterrupt):
            provenance._import_graph("a_package")
    finally:
        signal.signal(signal.SIGINT, before)
    assert built == [("a_package",)]


def test_an_installed_copy_has_the_commit_that_it_was_installed_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """As pip writes it for ``pip install git+URL``, and for a file of a package."""
    origins = iter(
        ['{"url": "u", "vcs_info": {"vcs": "git", "commit_id": "0123abcd"}}', '{"url": "u", "archive_info": {}}', None]
    )
    made = SimpleNamespace(read_text=lambda name: next(origins) if name == "direct_url.json" else "")
    monkeypatch.setattr(provenance, "INSTALLED", True)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: made)
    assert [provenance._commit() for _ in range(3)] == [("0123abcd", False)] + 2 * [(f"v{kshot.__version__}", False)]
