"""Which results were not made by the code and the settings that are here now?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kshot.records import RecordError, read_json
from kshot.run_config import RunConfig
from kshot.running.provenance import source_digest


@dataclass(frozen=True)
class Audit:
    """What ``audit`` found.

    Attributes:
        findings: one line for each result file that does not match, or cannot be read.
        checked: number of result files looked at.
        missing: number of runs without a finished evaluation.
    """

    findings: tuple[str, ...]
    checked: int
    missing: int


def audit(runs: Sequence[RunConfig], root: Path) -> Audit:
    """Compare the records of all finished steps with the source files and the suite as they are now."""
    findings: list[str] = []
    checked = missing = 0
    for run in runs:
        directory = run.directory(root)
        missing += not (directory / "evaluate.json").is_file()
        for name, hash_name, now in (
            ("run.json", "train_hash", run.train_hash),
            ("evaluate.json", "config_hash", run.config_hash),
            ("official.json", "train_hash", run.train_hash),
        ):
            path = directory / name
            if not path.is_file():
                continue
            checked += 1
            try:
                record = read_json(path)
                digest, settings = record["source_digest"], record[hash_name]
            except RecordError as error:
                findings.append(str(error))
                continue
            except KeyError as error:
                findings.append(f"{path}: has no entry {error}; run its step again")
                continue
            if digest != source_digest(run):
                commit = f"{str(record.get('git_commit'))[:10]}{', modified' if record.get('git_dirty') else ''}"
                findings.append(f"{path}: made by source {digest} (commit {commit}), here is {source_digest(run)}")
            if settings != now:
                findings.append(f"{path}: made with settings {settings}, the suite now says {now}")
    return Audit(tuple(findings), checked, missing)
