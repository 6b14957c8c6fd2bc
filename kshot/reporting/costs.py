"""What every run of a policy cost, from its records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from kshot.reporting.results import Results
from kshot.reporting.sections import Section

_TAKEN = ("train_env_steps", "train_updates", "train_seconds", "evaluate_seconds", "threads", "peak_memory_gb")


def run_costs(results: Results, section: Section, name: str) -> list[dict[str, Any]]:
    """What each of a policy's runs that have results cost, as plain numbers; NaN where its records do not say.

    ``core_minutes`` are the minutes of training and evaluation times the threads that computed; like
    ``steps_per_second`` they are known of runs that were trained.
    """
    cells = results.grid.cells
    own = (cells["family"] == section.family) & (cells["algorithm"] == name) & (cells["state"] != "missing")
    found = []
    for cell in cells[own].to_dict("records"):
        entry: dict[str, Any] = {"family": section.family, "algorithm": name, "evidence": section.evidence}
        entry |= {"seed": cell["seed"], "state": cell["state"]}
        entry |= {key: pd.to_numeric(cell[key], errors="coerce") for key in _TAKEN}
        trained = entry["train_env_steps"] > 0
        seconds = entry["train_seconds"] + entry["evaluate_seconds"]
        entry["core_minutes"] = seconds / 60 * entry["threads"] if trained else np.nan
        entry["steps_per_second"] = entry["train_env_steps"] / entry["train_seconds"] if trained else np.nan
        found.append(entry)
    return found
