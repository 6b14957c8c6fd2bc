"""The conventions of Snakemake's workflow catalog: where the workflow stands, how it is configured, and as a module."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from kshot.places import ROOT
from tests import forked
from tests.workflow.pipeline import environment, kshot, write_suite

pytestmark = pytest.mark.workflow

README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
CI: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return forked.run(forked.snakemake, *arguments, folder=folder, environment=environment(), patience=300)


def test_the_catalog_finds_what_it_asks_for() -> None:
    """What snakemake-workflow-catalog asks of workflows of standardized usage (docs/adr/0015-two-snakefiles.md)."""
    assert "snakemake" in README.lower() and "workflow" in README.lower()
    assert (ROOT / "workflow" / "Snakefile").is_file()
    assert {path.suffix for path in (ROOT / "workflow" / "rules").iterdir()} == {".smk"}
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))["usage"]
    assert usage["mandatory-flags"]["flags"] == [] and usage["report"] is True
    assert set(usage["software-stack-deployment"]) == {"conda", "apptainer", "apptainer+conda", "report"}


def test_the_roots_snakefile_is_nothing_but_the_other_one() -> None:
    lines = [line for line in (ROOT / "Snakefile").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if line] == ['include: "workflow/Snakefile"', 'workflow.default_target = "all"']


def test_the_guide_to_the_configuration_names_every_file() -> None:
    names = {path.relative_to(ROOT / "config") for path in (ROOT / "config").rglob("*") if path.is_file()}
    for name in names - {Path("README.md")}:
        shown = f"{name.parent}/<name>.yaml" if str(name.parent) in ("suites", "algorithms") else name.as_posix()
        assert f"`{shown}`" in GUIDE, name


def test_the_guides_suite_is_one(tmp_path: Path) -> None:
    text, _ = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)  # the other: tests/contract/test_sweeps.py
    (tmp_path / "mine.yaml").write_text(text)
    done = kshot(tmp_path, "check-config", "mine.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "mine.yaml: 5 training runs and 3 reference evaluations, all valid\n"


def test_the_workflow_plans_the_same_from_either_file(tmp_path: Path) -> None:
    write_suite(tmp_path)
    planned = []
    for file in ("Snakefile", "workflow/Snakefile"):
        done = snakemake(tmp_path, "--snakefile", str(ROOT / file), "--configfile", "suite.yaml", "--dry-run")
        assert done.returncode == 0, done.stderr
        planned.append(re.findall(r"^([a-z_]+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE))
    assert planned[0] == planned[1] and {("train", "3"), ("all", "1")} <= set(planned[0])


def test_another_workflow_uses_it_as_a_module(tmp_path: Path) -> None:
    """As the guide shows it, under other names of rules, up to a result; the suite is the module's ``config``."""
    (text,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    text = text.replace("path/to/kshot", str(ROOT))
    (tmp_path / "workflow").mkdir()
    (tmp_path / "config").mkdir()
    (tmp_path / "workflow" / "Snakefile").write_text(text)
    write_suite(tmp_path, file="config/config.yaml")
    assert snakemake(tmp_path, "--dry-run", "--quiet").returncode == 0
    assert not (tmp_path / "results").exists()
    curve = "results/tiny/coins/counting/seed-0/curve.parquet"
    done = snakemake(tmp_path, "--cores", "1", curve)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kshot_train" in done.stdout + done.stderr
    assert (tmp_path / curve).is_file()
    write_suite(tmp_path, {"name": "tiny"}, file="config/config.yaml")
    done = snakemake(tmp_path, "--dry-run")
    assert done.returncode == 2
    assert "Error: config of module kshot: seeds: " in done.stderr


def test_ci_runs_what_the_readme_and_the_makefile_say() -> None:
    steps = [step for job in CI["jobs"].values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    words = [word for line in re.findall(r"^make (.*)$", script, re.MULTILINE) for word in line.split()]
    assert sorted(commands) == sorted(f"make {word}" for word in words if not word.startswith("-"))
    documented = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for command in commands:
        assert re.search(rf"make (\w+ )?{command.split()[1]}", documented), command
        done = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_ci_names_one_version_of_every_action_and_may_only_read() -> None:
    used = [step["uses"] for job in CI["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used and all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", action) for action in used)
    assert CI["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] for job in CI["jobs"].values())
