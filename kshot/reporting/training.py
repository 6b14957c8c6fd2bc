"""What learners recorded while they trained, and what their models reached along it, of every run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kshot import checksums, records
from kshot.reporting.schemas import EPISODE_METRICS
from kshot.suites.run import RunConfig

RETURNS = ("return", "return_adapted")
"""Returns on training tasks, before and after adaptation."""
VALIDATION = r"validation_(loss|return|success)_(\d+)_(\d+)"
"""Names of what is measured on validation tasks: measure, shots, inner steps."""
_DRAWN = f"^({'|'.join(RETURNS)}|{VALIDATION})$"


@dataclass(frozen=True)
class TrainingRecords:
    """The records of a suite's runs, read when they are first asked for.

    Attributes:
        runs: all of the suite.
        root: folder of all results.
    """

    runs: tuple[RunConfig, ...]
    root: Path

    @cached_property
    def returns(self) -> pd.DataFrame:
        """Returns on training tasks, with columns family, algorithm and seed before those of the records."""
        return self._drawn[self._drawn["metric"].isin(RETURNS)]

    @cached_property
    def validation(self) -> pd.DataFrame:
        """What learners measured on validation tasks after their training, for some numbers of shots and inner steps.

        Columns family, algorithm, seed, measure (loss, return or success), shots, steps and value: the metrics named
        ``validation_<measure>_<shots>_<steps>``.
        """
        named = self._drawn["metric"].str.extract(VALIDATION).dropna()
        rows = self._drawn.loc[named.index, ["family", "algorithm", "seed", "value"]]
        return rows.assign(measure=named[0], shots=named[1].astype(int), steps=named[2].astype(int))

    @cached_property
    def along(self) -> pd.DataFrame:
        """Mean outcomes on validation tasks of the models kept along the training, classes of tasks counting equally.

        Columns family, algorithm, seed, part (1 for the first model), trained_steps, mode, k, return, success_any and
        success_last.
        """
        names = ["family", "algorithm", "seed", "trained_steps", "mode", "k"]
        tables = []
        for run in self.runs:
            record, path = (run.directory(self.root) / name for name in ("evaluate.json", "learning.parquet"))
            if run.learning_curve is None or not record.is_file():
                continue
            evaluated = checksums.read_record(record)
            if path.name not in evaluated["files"]:
                continue  # of a run that diverged
            checksums.verify(path, evaluated)
            table = records.read_table(path, records.LEARNING_SCHEMA)
            of_class = table.groupby([*names, "group"], observed=True)[list(EPISODE_METRICS)].mean()
            means = of_class.groupby(names, observed=True).mean().reset_index()
            tables.append(means.assign(part=means["trained_steps"].rank(method="dense").astype(int)))
        columns = [*names, *EPISODE_METRICS, "part"]
        return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)

    @cached_property
    def _drawn(self) -> pd.DataFrame:
        runs, tables = [], []
        for run in self.runs:
            record, path = (run.directory(self.root) / name for name in ("run.json", "train.parquet"))
            if run.kind == "algorithm" and record.is_file():
                checksums.verify(path, checksums.read_record(record))
                table = records.read_arrow(path, records.TRAIN_SCHEMA)
                # Losses and norms of every iteration would fill the memory, and nothing draws them.
                drawn = pc.match_substring_regex(table["metric"].cast(pa.string()), _DRAWN)
                runs.append(run)
                tables.append(table.filter(drawn))
        frame: pd.DataFrame = (
            pa.concat_tables(tables or [records.TRAIN_SCHEMA.empty_table()]).to_pandas().astype({"metric": str})
        )
        rows = [len(table) for table in tables]
        for name in reversed(("family", "algorithm", "seed")):
            frame.insert(0, name, np.repeat([getattr(run, name) for run in runs], rows))
        return frame
