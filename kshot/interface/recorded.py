"""A run as its folder recorded it: what it was, and whether the code here is the code that trained it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kshot import checksums, plugins
from kshot.errors import RecordError, RegistryError
from kshot.running import jobs
from kshot.suites.run import Evaluation, LearningCurve, RunConfig

RECORD = "run.json"


def read(folder: Path, other_code: bool = False) -> RunConfig:
    """The run that was trained in a folder.

    Args:
        folder: of the run.
        other_code: whether it may have been trained by other code than is here.

    Raises:
        RecordError: it is no folder of a trained run, its record is damaged or of another version, its training
            diverged, or other code trained it.
        RegistryError: its algorithm or family is not here.
    """
    if not (folder / RECORD).is_file():
        within = sorted(path for depth in range(1, 5) for path in folder.glob(f"{'*/' * (depth - 1)}seed-*/{RECORD}"))
        hint = f"; did you mean {within[0].parent}?" if within else ", such as results/SUITE/FAMILY/ALGORITHM/seed-0"
        raise RecordError(f"{folder}: not the folder of a trained run{hint}")
    record = checksums.read_record(folder / RECORD)
    run = _run(folder / RECORD, record)
    if record.get("status") != "ok":
        raise RecordError(f"{folder}: its training diverged ({record.get('reason')}), so that there is no policy")
    try:
        different = [text for kind, text in jobs.differences("train", run, folder, record) if kind == "code"]
    except RegistryError as error:
        raise RegistryError(f"{folder}: {error}; {plugins.searched()}") from None
    if different and not other_code:
        remedy = "train it again, or take it as it is with other_code=True"
        raise RecordError(f"{folder}: {'; '.join(different)}: the policy may act otherwise here; {remedy}")
    return run


def _run(path: Path, record: Mapping[str, Any]) -> RunConfig:
    again = "it is of another version of kshot; train it again"
    values = record.get("run")
    if not isinstance(values, dict) or set(values) - {item.name for item in fields(RunConfig)}:
        raise RecordError(f"{path}: does not say what was trained in the way of this version; {again}")
    try:
        curve = values.get("learning_curve")
        parsed = {
            "evaluation": Evaluation.model_validate(values.get("evaluation")),
            "learning_curve": None if curve is None else LearningCurve.model_validate(curve),
        }
        run = RunConfig(**values | parsed)
    except (ValidationError, TypeError) as error:
        raise RecordError(f"{path}: {' '.join(str(error).split())}; {again}") from None
    if run.train_hash != record.get("train_hash"):
        raise RecordError(f"{path}: its settings do not have the fingerprint {record.get('train_hash')}; {again}")
    return run
