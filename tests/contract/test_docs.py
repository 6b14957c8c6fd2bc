"""What the documentation shows does run."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kshot import registry
from kshot.config import ROOT


def test_the_example_of_the_environments_runs_anywhere(tmp_path: Path) -> None:
    """Outside the repository, and without torch, pandas or snakemake, which its users need not have."""
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "metaworld.md").read_text(encoding="utf-8"), re.S)
    code = example + 'import sys\nassert not {"torch", "pandas", "snakemake"} & set(sys.modules)\n'
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("success in the last step: 0.")


@pytest.mark.parametrize(("kind", "folder"), [("algorithms", "algorithms"), ("envs", "families")])
def test_everything_that_a_suite_can_name_has_a_page(kind: registry.Kind, folder: str) -> None:
    pages = {path.stem for path in (ROOT / "docs" / folder).glob("*.md")}
    assert pages == set(registry.names(kind))


@pytest.mark.parametrize("name", registry.names("algorithms"))
def test_a_learners_page_names_settings_that_exist(name: str) -> None:
    """Words in backticks that look like ``name: value`` name a setting of the learner or of the one it builds on."""
    text = (ROOT / "docs" / "algorithms" / f"{name}.md").read_text(encoding="utf-8")
    known = {field.name for field in dataclasses.fields(registry.load("algorithms", name).Settings)}
    assert set(re.findall(r"`([a-z_]+): [^`]+`", text)) <= known
