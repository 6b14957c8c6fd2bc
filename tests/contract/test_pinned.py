"""What must not move unnoticed: the fingerprints of every shipped suite's runs, and the text of the tables.

A fingerprint that changes outdates every result that was made with it. If that is meant, or a table is meant to read
otherwise, write the file anew with ``python -m tests.contract.test_pinned`` and say so in the changelog.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from kshot.places import SUITES
from kshot.records import write_text
from kshot.reporting.aggregate import aggregate
from kshot.reporting.tables import write_tables
from kshot.suites.reading import load_suite
from tests import synthetic

pytestmark = pytest.mark.contract

FILE = Path(__file__).with_name("pinned.json")


def fingerprints() -> dict[str, str]:
    """Of every shipped suite: one digest over names, settings' and training's hashes of its runs."""
    found = {}
    for path in sorted(SUITES.glob("*.yaml")):
        lines = [f"{run.directory()} {run.train_hash} {run.config_hash}" for run in load_suite(path).runs()]
        found[path.stem] = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    return found


def tables(folder: Path) -> dict[str, str]:
    """Of a made-up suite: the digest of every table as Markdown and as LaTeX."""
    families = (synthetic.BANDIT, synthetic.POINT, synthetic.ML10)
    runs = synthetic.runs_of(families, (*synthetic.LEARNERS, *synthetic.DEMONSTRATED))
    synthetic.write_suite(families, runs, folder / "results")
    aggregate(runs, folder / "results")
    paths = write_tables(runs, folder / "results", folder / "tables")
    shown = [path for path in paths if path.suffix in (".md", ".tex")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in shown}


def test_no_shipped_suite_is_outdated_unnoticed() -> None:
    assert fingerprints() == json.loads(FILE.read_text())["fingerprints"]


def test_tables_read_as_before(tmp_path: Path) -> None:
    assert tables(tmp_path) == json.loads(FILE.read_text())["tables"]


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        pinned = {"fingerprints": fingerprints(), "tables": tables(Path(name))}
    write_text(FILE, json.dumps(pinned, indent=1) + "\n")
