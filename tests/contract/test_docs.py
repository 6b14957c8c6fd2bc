"""What the documentation shows does run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from kshot.config import ROOT


def test_the_example_of_the_environments_runs_anywhere(tmp_path: Path) -> None:
    """Outside the repository, and without torch, pandas or snakemake, which its users need not have."""
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "metaworld.md").read_text(encoding="utf-8"), re.S)
    code = example + 'import sys\nassert not {"torch", "pandas", "snakemake"} & set(sys.modules)\n'
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("success in the last step: 0.")
