"""Where every run came from, for the page: commits, code, machines and files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kshot import checksums
from kshot.reporting import links
from kshot.reporting.grid import Grid

FILES = ("curve.parquet", "evaluate.json", "run.json", "train.parquet", "official.json")
"""What a run can leave behind that the page links to."""


@dataclass(frozen=True)
class Provenance:
    """Every run that is there, and the distinct environments that they name by letter.

    Attributes:
        rows: for each run its row of ``cells.csv``, the letter of its environment, threads, and links to its files.
        environments: (letter, machine, packages).
        commits: how many they come from.
    """

    rows: list[dict[str, Any]]
    environments: list[tuple[str, str, str]]
    commits: int


def provenance(grid: Grid, out: Path) -> Provenance:
    """Of all runs that are not missing; ``out`` is the page's folder."""
    letters: dict[str, str] = {}
    rows = []
    cells = {(cell["family"], cell["algorithm"], cell["seed"]): cell for cell in grid.cells.to_dict("records")}
    for run in grid.runs:
        cell = cells[run.family, run.algorithm, run.seed]
        if cell["state"] == "missing":
            continue
        folder = run.directory(grid.root)
        record = checksums.read_record(folder / ("run.json" if run.kind == "algorithm" else "evaluate.json"))
        hardware, versions = record.get("hardware", {}), record.get("versions", {})
        key = json.dumps([hardware, versions], sort_keys=True)
        rows.append(
            {
                "cell": cell,
                "environment": letters.setdefault(key, _letter(len(letters))),
                "threads": hardware.get("threads", ""),
                "files": links.existing([folder / name for name in FILES], out),
            }
        )
    environments = [(letter, *_described(*json.loads(key))) for key, letter in letters.items()]
    return Provenance(rows, environments, len({row["cell"]["git_commit"] for row in rows}))


def _described(hardware: dict[str, Any], versions: dict[str, str]) -> tuple[str, str]:
    """A machine and its packages in words."""
    parts = [f"{hardware.get('cpu', 'unknown CPU')}", f"{hardware.get('cores', '?')} cores"]
    parts += [str(hardware[name]) for name in ("gpu", "platform") if hardware.get(name)]
    parts += [f"threads: {hardware.get('threads', '?')}", f"{hardware.get('memory_gb', '?')} GB"]
    return "; ".join(parts), ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def _letter(index: int) -> str:
    """A, B, ..., Z, AA, AB, ..."""
    return (_letter(index // 26 - 1) if index >= 26 else "") + chr(ord("A") + index % 26)
