"""Tables of numbers as CSV: exact, whole, and with text where a column holds text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from kshot import records
from kshot.errors import RecordError

NUMBERS = (
    *("seed", "k", "score", "mean", "mean_lo", "mean_hi", "iqm", "iqm_lo", "iqm_hi", "task_se"),
    *("mean_lo_tasks", "mean_hi_tasks", "adaptation_episodes", "max_evidence"),
    *("n_seeds", "n_seeds_expected", "n_tasks", "n_episodes", "adaptation_updates", "adaptation_steps"),
    *("train_env_steps", "train_updates", "train_seconds", "threads"),
    *("evaluate_env_steps", "evaluate_seconds", "wall_seconds", "peak_memory_gb"),
    *("steps", "updates", "minutes", "core_minutes"),
)
"""Columns of CSV files that hold numbers. All others are text, even where it looks like a number, as some hashes do."""


def write(path: Path, frame: pd.DataFrame) -> None:
    """CSV with shortest exact floats and nothing for NaN; written whole or not at all."""
    records.write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def read(path: Path, columns: Sequence[str], made_by: str) -> pd.DataFrame:
    """A table whose columns are float or integer where ``NUMBERS`` names them, and text elsewhere ("" where empty).

    Args:
        path: the file.
        columns: what it has to have; others may stand beside them.
        made_by: the command that writes it, to be named where it is missing or damaged.

    Raises:
        RecordError: the file is missing, no CSV, has text where a number belongs, or lacks a column.
    """
    if not path.is_file():
        raise RecordError(f"{path}: no such file; run `{made_by}` first")
    try:
        text = pd.read_csv(path, dtype=str, keep_default_na=False)
        numbers = {name: pd.to_numeric(text[name]) for name in NUMBERS if name in text}
    except (ValueError, OSError) as error:
        detail = str(error).splitlines()[0]
        raise RecordError(f"{path}: not readable as CSV ({detail}); run `{made_by}` again") from None
    if absent := set(columns) - set(text):
        raise RecordError(f"{path}: lacks {', '.join(sorted(absent))}; run `{made_by}` again")
    return text.assign(**numbers)
