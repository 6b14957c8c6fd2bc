"""Published results beside ours: ``config/published.yaml``, for suites with a family that it speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from kshot.places import PUBLISHED
from kshot.reporting.names import policy_name
from kshot.reporting.noted import read_entries
from kshot.reporting.results import Results
from kshot.reporting.sections import Section
from kshot.reporting.tables._common import Entry, brackets, cell, columns, part
from kshot.reporting.values import Cell, Row, Table, Value

PLACES = {"success": 30}
CAPTION = (
    "Success on test tasks as it was published, and here at the K that all learners reach and by the actions that each "
    "is meant to be tested with, {brackets}. None was measured as ours: the last column says what differs. Sources: "
)


class Published(BaseModel):
    """One entry of ``config/published.yaml``, which explains the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str
    settings: Mapping[str, Any] = {}
    algorithm: str
    value: float
    spread: str = ""
    protocol: str
    differs: str
    source: str

    def about(self, module: str, settings: Mapping[str, Any]) -> bool:
        """Whether a family of this module and with these settings is meant."""
        return module == self.family and self.settings.items() <= settings.items()


def entries(path: Path = PUBLISHED) -> list[Published]:
    """All that is noted as published. Raises RecordError naming the first mistake."""
    return read_entries(path, Published)


def build(results: Results) -> Table:
    numbers: list[Entry] = []
    parts = []
    sources: dict[str, None] = {}
    for section in results.sections:
        rows = []
        for known in _of(section, results):
            # Several rows of a suite may be the same algorithm with other settings.
            for name in _rows(section, results, known.algorithm) or [""]:
                entry = _entry(section, results, known, name)
                numbers.append(entry)
                rows.append(Row(policy_name(name) if name else known.algorithm, _values(entry, known)))
                sources[known.source] = None
        if rows:
            parts.append(part(section, rows))
    caption = CAPTION.format(brackets=brackets(entry["success_last_n"] for entry in numbers if entry["row"]))
    caption = f"{caption}{'; '.join(sources)}."
    return Table("published", "Published results", caption, numbers, parts, ("summary.csv",), PLACES)


def _of(section: Section, results: Results) -> list[Published]:
    """What was published on a section's family, by learners from rewards."""
    if section.demonstrated:
        return []
    run = next(run for run in results.grid.runs if run.family == section.family)
    return [known for known in entries() if known.about(run.family_module, run.family_settings)]


def _rows(section: Section, results: Results, module: str) -> list[str]:
    """The learners of a section that are an algorithm."""
    return [name for name in section.learners if results.grid.pairs[section.family, name].algorithm_module == module]


def _entry(section: Section, results: Results, known: Published, name: str) -> Entry:
    entry: Entry = {"family": section.family, "algorithm": known.algorithm, "row": name, "k": section.k}
    for metric in ("success_last", "success_any"):
        point = results.summary.point(section.family, name, metric, section.k) if name in section.finished else None
        entry |= columns(metric, point)
    return entry | known.model_dump(exclude={"family", "settings", "algorithm"})


def _values(entry: Mapping[str, Any], known: Published) -> dict[str, Value]:
    return {
        "published": Cell(known.value, 2, note=known.spread),
        "here, any step": cell(entry, "success_any", 2) if np.isfinite(entry["success_any"]) else "",
        "here, last step": cell(entry, "success_last", 2) if np.isfinite(entry["success_last"]) else "",
        "published protocol": known.protocol,
        "what differs": known.differs,
    }
