"""Computes runs of a kept suite again, says what differs from what is kept, and whether it may.

``docs/reproducibility.md`` is what may be expected: the same bytes with the same packages, kernels and threads; with
others, scores like those of another seed. A difference for which the records hold no reason is one that should not be.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import stats

from kshot import checksums, computed_again, records
from kshot.errors import ConfigError, RecordError, suggest
from kshot.running import checkpoint, jobs
from kshot.running.audit import differences_between
from kshot.running.evaluate import LEARNING
from kshot.seeding import generator
from kshot.suites.run import RunConfig

TABLES: dict[str, pa.Schema] = {
    "train.parquet": records.TRAIN_SCHEMA,
    "curve.parquet": records.CURVE_SCHEMA,
    LEARNING: records.LEARNING_SCHEMA,
}
"""What is compared, besides the checksum of the model."""
SCORES = ("return", "success_any", "success_last")
COVERAGE = 0.95
_SHOWN = 6
"""Reasons that are told of one run; others are counted."""
_TELL_SECONDS = 60.0


@dataclass(frozen=True)
class Reading:
    """How a folder of kept runs is read; the command line hands it over, since running knows nothing of reports.

    Attributes:
        damages: lines on files that are not as its manifest says; None where it has no manifest.
        unpack: puts its runs into a results folder.
        runs: all runs of the suite in a file, as it was resolved.
    """

    damages: Callable[[Path], list[str] | None]
    unpack: Callable[[Path, Path], list[Path]]
    runs: Callable[[Path], Sequence[RunConfig]]


@dataclass(frozen=True)
class Comparison:
    """A run beside itself, computed again.

    Attributes:
        same: every value is the same, and the model, as far as its checksum is kept.
        allowed: it is, or there is a reason why not, and the new score lies where that of another seed would.
        lines: what is the same, what differs, and why.
    """

    same: bool
    allowed: bool
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """Which runs are computed again.

    Attributes:
        cells: these, each as FAMILY/ALGORITHM/SEED; if there are none, ``number`` are drawn.
        number: how many of the learners' runs are drawn; of scripted policies where there are no learners.
        seed: of the drawing.
        note: keep beside the runs which of them another version of the code gave the same values.
    """

    cells: Sequence[str]
    number: int
    seed: int
    note: bool


def verify(folder: Path, reading: Reading, asked: Asked, tell: Callable[[str], None]) -> bool:
    """Check the files of a kept suite, then compute some of its runs again.

    Args:
        folder: an archive, or a suite in ``reports/reference``.
        reading: how it is read.
        asked: which runs.
        tell: is called with every line for the user.

    Returns:
        Whether all is the same, or differs as it may.

    Raises:
        ConfigError: there is no such run, or a note is to be written into an archive.
        RecordError: there is no such folder, or a run cannot be computed here.
    """
    damaged = reading.damages(folder)
    if asked.note and damaged is not None:
        raise ConfigError([f"{folder}: an archive stays as it is; --note is for a suite that `kshot pack` keeps"])
    if damaged is None:
        tell(f"{folder}: no manifest; its runs have checksums of their own")
    else:
        tell(f"{folder}: {f'{len(damaged)} files differ from' if damaged else 'every file is as in'} the manifest")
    with tempfile.TemporaryDirectory(prefix="kshot-verify-") as scratch:
        kept, again = Path(scratch, "kept"), Path(scratch, "again")
        if not damaged:
            damaged, finished = _checked(folder, reading, kept)
        if damaged:
            for line in damaged:
                tell(line)
            tell("nothing was computed again")
            return False
        chosen = _chosen(folder, finished, asked.cells, asked.number, asked.seed)
        tell(f"{len(finished)} finished runs, all as their records say; {len(chosen)} to be computed again")
        minutes = [_minutes(run, kept) for run in chosen]
        found = []
        for i, run in enumerate(chosen):
            left = sum(minutes[i:])
            tell(f"{i + 1} of {len(chosen)}: {_cell(run)}, {_told(minutes[i])} of {_told(left)} for all that is left")
            _compute(run, folder / "suite.yaml", kept, again, left, tell)
            found.append(compare(run, kept, again, [other for other in finished if _alike(run, other)]))
            for line in found[-1].lines:
                tell(f"    {line}")
            if asked.note and found[-1].same:
                _note(run, kept, again, folder, tell)
    counts = Counter("same" if one.same else "allowed" if one.allowed else "not" for one in found)
    tell(
        f"{len(found)} runs computed again: {counts['same']} the same, {counts['allowed']} different as they may be, "
        f"{counts['not']} different as they should not be"
    )
    return not counts["not"]


def _checked(folder: Path, reading: Reading, root: Path) -> tuple[list[str], list[RunConfig]]:
    """Unpack a folder's runs into ``root``: lines on what is damaged, and the runs that are finished."""
    try:
        reading.unpack(folder, root)
        runs = reading.runs(folder / "suite.yaml")
    except (ConfigError, RecordError) as error:
        return str(error).splitlines(), []
    finished = [run for run in runs if (run.directory(root) / jobs.STEPS["evaluate"].record).is_file()]
    lines = []
    for run in finished:
        for step in jobs.STEPS.values():
            path = run.directory(root) / step.record
            if path.is_file():
                lines += [line.replace(f"{root / run.suite}/", f"{folder}: ") for line in _damages(path, run, step)]
    return lines, finished


def _damages(path: Path, run: RunConfig, step: jobs.Step) -> Iterator[str]:
    """Lines on a record and the files it names; models need not be kept."""
    try:
        record = checksums.read_record(path, "get the runs again")
    except RecordError as error:
        yield str(error)
        return
    if record.get(step.hash_name) != getattr(run, step.hash_name):
        yield f"{path}: made from other settings than suite.yaml has"
    yield from map(str, checksums.faults(path, record, "get the runs again", modelless=True))


def _cell(run: RunConfig) -> str:
    return f"{run.family}/{run.algorithm}/{run.seed}"


def _alike(run: RunConfig, other: RunConfig) -> bool:
    return (run.family, run.algorithm) == (other.family, other.algorithm)


def _chosen(
    folder: Path, finished: Sequence[RunConfig], cells: Sequence[str], number: int, seed: int
) -> list[RunConfig]:
    known = {_cell(run): run for run in finished}
    if cells:
        names = [name.replace("/seed-", "/") for name in cells]
        unknown = [
            f"{folder}: holds no finished run {name!r}{suggest(name, known)}" for name in names if name not in known
        ]
        if unknown:
            raise ConfigError(unknown)
        return [known[name] for name in dict.fromkeys(names)]
    if number < 0:
        raise ConfigError([f"expected a number of runs, got {number}"])
    drawn_from = [run for run in finished if run.kind == "algorithm"] or list(finished)
    drawn = generator("verify", seed).permutation(len(drawn_from))[:number]
    return [drawn_from[i] for i in sorted(drawn)]


def _steps(run: RunConfig) -> tuple[jobs.Name, ...]:
    return ("evaluate",) if run.kind == "reference" else ("train", "evaluate")


def _record(run: RunConfig, root: Path, step: jobs.Name) -> dict[str, Any]:
    return checksums.read_record(run.directory(root) / jobs.STEPS[step].record)


def _minutes(run: RunConfig, root: Path) -> float:
    """What the run took when it was made."""
    return sum(float(_record(run, root, step).get("wall_seconds", 0.0)) for step in _steps(run)) / 60


def _told(minutes: float) -> str:
    if minutes < 1:
        return "under a minute"
    return f"about {minutes:.0f} minute{'s' if round(minutes) > 1 else ''}"


def _compute(run: RunConfig, suite: Path, kept: Path, again: Path, minutes: float, tell: Callable[[str], None]) -> None:
    """Train and evaluate a run in ``again``, with as many threads as it was made with.

    In processes of their own, as by the workflow: numeric libraries ask for the number of threads when they are loaded.
    """
    start = time.monotonic()
    for step in _steps(run):
        threads = _record(run, kept, step).get("hardware", {}).get("threads") or 1
        words = [step, str(suite.resolve()), "--family", run.family, "--algorithm", run.algorithm]
        words += ["--seed", str(run.seed), "--threads", str(threads), "--root", str(again)]
        with tempfile.TemporaryFile("w+") as errors:
            command = [sys.executable, "-m", "kshot", *words]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
            try:
                while not _ended(process):
                    tell(f"    {_told(max(minutes - (time.monotonic() - start) / 60, 0.0))} left")
            except BaseException:  # Ctrl-C reaches both processes
                process.terminate()
                process.wait()
                raise
            if process.returncode:
                errors.seek(0)
                lines = errors.read().splitlines() or [f"exit status {process.returncode}"]
                own = [line.removeprefix("kshot: ") for line in lines if line.startswith("kshot: ")]
                raise RecordError(f"{_cell(run)}: cannot be computed here: {'; '.join(own or lines[-1:])}")


def _note(run: RunConfig, kept: Path, again: Path, folder: Path, tell: Callable[[str], None]) -> None:
    """Note the versions of the code that gave the same values, where there are two."""
    digests = [_record(run, kept, step).get("source_digest") for step in _steps(run)]
    record = _record(run, again, "evaluate")
    one = computed_again.Again(
        _cell(run), tuple(dict.fromkeys(map(str, digests))), record["source_digest"], str(record.get("git_commit"))
    )
    if {*one.made_by} != {one.again_by}:
        computed_again.add(folder, [one])
        tell(f"    noted in {folder / computed_again.FILE}: {', '.join(one.made_by)} and {one.again_by} are one")


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_TELL_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def compare(run: RunConfig, kept: Path, again: Path, seeds: Sequence[RunConfig]) -> Comparison:
    """Compare a run with itself, computed again.

    Args:
        run: whose files lie in ``kept`` and in ``again``, two folders of results.
        kept: what it is compared with.
        again: what was computed now.
        seeds: all runs in ``kept`` of this algorithm on this family.
    """
    old, new = run.directory(kept), run.directory(again)
    same, lines = list[str](), list[str]()
    for name, schema in TABLES.items():
        if (old / name).is_file():
            text = _difference(old / name, new / name, schema)
            (lines if text else same).append(text or name)
    if run.kind == "algorithm":
        model, computed = (_record(run, root, "train").get("files", {}).get(checkpoint.MODEL) for root in (kept, again))
        if model is not None:
            (same if model == computed else lines).append(
                checkpoint.MODEL if model == computed else f"{checkpoint.MODEL}: has another checksum"
            )
    told = [f"the same: {', '.join(same)}"] if same else []
    if not lines:
        return Comparison(True, True, tuple(told))
    reasons = list(dict.fromkeys(reason for step in _steps(run) for reason in _reasons(run, kept, again, step)))
    score, within = _scores(run, old, new, [other.directory(kept) for other in seeds])
    told += [*lines, score, *(f"because of {kind}: {text}" for kind, text in reasons[:_SHOWN])]
    if len(reasons) > _SHOWN:
        told.append(f"and {len(reasons) - _SHOWN} reasons more")
    if not reasons:
        told.append("with the same code, packages, kernels and threads: it should be the same bytes")
    return Comparison(False, bool(reasons) and within, tuple(told))


def _difference(old: Path, new: Path, schema: pa.Schema) -> str:
    """What differs between two tables; empty where every value is the same. Bytes also differ by who wrote them."""
    if not new.is_file():
        return f"{old.name}: was not made again"
    if old.read_bytes() == new.read_bytes():
        return ""
    one, two = (records.read_table(path, schema) for path in (old, new))
    if len(one) != len(two):
        return f"{old.name}: {len(two)} rows in place of {len(one)}"
    columns = [name for name in schema.names if _differ(one[name], two[name]).any()]
    if not columns:
        return ""
    rows = np.logical_or.reduce([_differ(one[name], two[name]) for name in columns])
    since = f", from iteration {one['iteration'][rows].min()} on" if "iteration" in one else ""
    return f"{old.name}: {rows.sum()} of {len(one)} rows differ{since}, in {', '.join(columns)}"


def _differ(one: pd.Series[Any], two: pd.Series[Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """[rows] whether two values differ; NaN is no other than NaN."""
    a, b = (column.astype(str) if column.dtype == "category" else column for column in (one, two))
    return np.asarray((a != b) & ~(a.isna() & b.isna()), dtype=np.bool_)


def _reasons(run: RunConfig, kept: Path, again: Path, step: jobs.Name) -> Iterator[tuple[str, str]]:
    """Pairs of a kind and a text: what a step was done with, where it was another thing than now."""
    old, new = _record(run, kept, step), _record(run, again, step)
    if old.get("source_digest") != new["source_digest"]:
        commit = f"{str(old.get('git_commit'))[:10]}{', modified' if old.get('git_dirty') else ''}"
        yield "code", f"source {old.get('source_digest')} (commit {commit}), here {new['source_digest']}"
    yield from differences_between(old, new)
    for kind, name in (("processor", "cpu"), ("GPU", "gpu")):
        before, now = (record.get("hardware", {}).get(name) for record in (old, new))
        if before != now:
            yield kind, f"{before or 'none'}, here {now or 'none'}"


def _scores(run: RunConfig, old: Path, new: Path, seeds: Sequence[Path]) -> tuple[str, bool]:
    """The largest difference of a score in words, and whether the new one lies where another seed's would.

    It is asked of one number, the run's score with the most evidence; where one run alone is kept there is no interval,
    and nothing speaks against it.
    """
    curves = [records.read_table(folder / "curve.parquet", records.CURVE_SCHEMA) for folder in (old, new)]
    if any((curve["status"] != "ok").any() for curve in curves):
        states = [curve["status"].iloc[0] for curve in curves]
        return f"status {states[1]}, kept is {states[0]}", states[0] == states[1]
    before, now = map(_means, curves)
    metric = run.headline if run.headline in SCORES else "return"
    pairs: list[tuple[str, int]] = now.index.tolist()
    mode, k = pairs[int(np.argmax(np.nan_to_num(np.abs((now - before)[metric].reindex(pairs)))))]
    numbers = [f"{table[metric].get((mode, k), np.nan):.4g}" for table in (now, before)]
    text = f"largest difference of a score: {metric} {numbers[0]}, kept is {numbers[1]}, after {k} with {mode} actions"
    modes = {name for name, _ in pairs}
    tested = run.test_actions if run.test_actions in modes else max(modes)
    last = (tested, max(k for name, k in pairs if name == tested))
    tables = [_means(records.read_table(path / "curve.parquet", records.CURVE_SCHEMA)) for path in seeds]
    values = np.array([table[metric].get(last, np.nan) for table in tables], dtype=np.float64)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return f"{text}; one run alone has no interval", True
    (low, high), value = interval(values), now[metric][last]
    within = bool(low - 1e-9 <= value <= high + 1e-9)
    where = f"{'within' if within else 'outside'} [{low:.4g}, {high:.4g}], where 95 % of other seeds would be"
    return f"{text}; with the most evidence {value:.4g}, {where}", within


def interval(values: Sequence[float] | np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    """The 95 % prediction interval of one more value, by Student's t: mean +- t s sqrt(1 + 1/n) of n values, n > 1."""
    n = len(values)
    half = stats.t.ppf((1 + COVERAGE) / 2, n - 1) * np.std(values, ddof=1) * (1 + 1 / n) ** 0.5
    return float(np.mean(values) - half), float(np.mean(values) + half)


def _means(curve: pd.DataFrame) -> pd.DataFrame:
    """[mode and k, score] means over episodes, then over the classes of tasks."""
    flat = curve.astype({name: str for name in ("mode", "group")})
    by_class = flat.groupby(["mode", "k", "group"])[list(SCORES)].mean()
    return by_class.groupby(level=["mode", "k"]).mean()
