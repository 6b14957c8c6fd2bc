"""What the documentation shows does run."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kshot import registry
from kshot.places import ROOT
from kshot.reporting.csv_files import read as read_csv
from kshot.reporting.fidelity import FILED


def test_the_example_of_the_environments_runs_anywhere(tmp_path: Path) -> None:
    """Outside the repository, and without torch, pandas or snakemake, which its users need not have."""
    page = (ROOT / "docs" / "metaworld.md").read_text(encoding="utf-8")
    alone, with_torch = re.findall(r"```python\n(.*?)```", page, re.S)
    code = alone + 'import sys\nassert not {"torch", "pandas", "snakemake"} & set(sys.modules)\n'
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("success in the last step: 0.")
    code = with_torch + "print(torch.get_num_threads(), obs.shape)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "1 (20, 39)\n"), done.stderr


@pytest.mark.parametrize(("kind", "folder"), [("algorithms", "algorithms"), ("envs", "families")])
def test_everything_that_a_suite_can_name_has_a_page(kind: registry.Kind, folder: str) -> None:
    pages = {path.stem for path in (ROOT / "docs" / folder).glob("*.md")} - {"README"}
    assert pages == set(registry.names(kind))


@pytest.mark.parametrize("name", registry.names("algorithms"))
def test_a_learners_page_names_settings_that_exist(name: str) -> None:
    """Words in backticks that look like ``name: value`` name a setting of the learner or of the one it builds on."""
    text = (ROOT / "docs" / "algorithms" / f"{name}.md").read_text(encoding="utf-8")
    known = {field.name for field in dataclasses.fields(registry.load("algorithms", name).Settings)}
    assert set(re.findall(r"`([a-z_]+): [^`]+`", text)) <= known


def test_what_the_page_of_the_bandits_prints_is_filed() -> None:
    """The column of five arms and ten pulls; that of ten arms and a hundred pulls was measured on other tasks."""
    text = (ROOT / "docs" / "families" / "bandit.md").read_text(encoding="utf-8")
    filed = read_csv(ROOT / FILED / "fidelity-bandit.csv", (), "kshot fidelity")
    filed = filed[filed["metric"] == "trial_return"].set_index(["family", "algorithm"])
    ten, hundred = text.split("| n = 100 pulls |")
    for name in ("thompson", "greedy", "ucb1"):
        (row,) = re.findall(rf"^\| `{name}`[^|]*\| ([\d.]+) \|", ten, re.MULTILINE)
        assert row == f"{filed.loc[('bandit-5-10', name), 'mean']:.2f}", name
        (row, error) = re.findall(rf"^\| `{name}`[^|]*\|[^|]*\| ([\d.]+) ± ([\d.]+) \|", hundred, re.MULTILINE)[0]
        known = filed.loc[("bandit-10-100", name)]
        # The error grows with the root of the number of tasks, which is smaller there.
        errors = float(error) * (1 + 20_000 / known["n_tasks"]) ** 0.5
        assert float(row) == pytest.approx(known["mean"], abs=3 * errors), name
