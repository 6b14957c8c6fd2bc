"""Runs that are kept beside the code: packed small, and unpacked to where every other command reads them.

``pack`` keeps the files of finished runs in ``reports/reference/<suite>/``, an archive for each family, without models,
unless these are asked for. They take most of the space, and no number is made from them again; from the rest every
number, figure and page is. Runs of one family have much in common, such as their tasks, so that together they take a
fourth of what each would.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import re
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kshot import checksums, computed_again, records, yaml_text
from kshot.errors import RecordError
from kshot.reporting.grid import suite_name
from kshot.reporting.run_files import same_hash
from kshot.suites.run import RunConfig

KEPT = Path("reports/reference")
"""Where runs are kept."""
SUITE = "suite.yaml"
"""The resolved suite that they belong to, in the folder of each suite."""
SUFFIX = ".tar.xz"
"""Of the archive of a family, which holds ``<algorithm>/seed-<n>/<file>``."""
_EVALUATED = "evaluate.json"
_RECORDS = ("run.json", _EVALUATED, "official.json")
_NAME = re.compile(r"([a-z0-9_][a-z0-9_-]*/seed-[0-9]+)/([A-Za-z0-9_][A-Za-z0-9_.-]*)")
"""What the files of runs can be called; archives that others made may hold anything."""
_SUITE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
Runs = dict[str, dict[str, bytes]]
"""``<algorithm>/seed-<n>`` -> name of a file -> what is in it."""


def pack(
    suite: Mapping[str, Any], runs: Sequence[RunConfig], root: Path, out: Path = KEPT, models: bool = False
) -> list[Path]:
    """Keep the files of all finished runs of a suite.

    Args:
        suite: resolved, with its facts: what the runs were made from.
        runs: the complete grid that it asks for.
        root: folder of all results.
        out: where suites are kept. Runs in ``root`` take the place of those kept there; others stay as they are.
        models: keep trained models and their snapshots, too.

    Returns:
        The archives, and the file of the suite.

    Raises:
        RecordError: no run is finished, a file is damaged, or a run in ``root``, or one in ``out`` that stays, was made
            from other settings; nothing is written then.
    """
    name = suite_name(runs)
    finished = [run for run in runs if (run.directory(root) / _EVALUATED).is_file()]
    if not finished:
        raise RecordError(f"{root / name}: no run is finished, so that there is nothing to keep")
    known = {(run.family, _place(run)): run for run in runs}
    replacing = {(run.family, _place(run)) for run in finished}
    archives: dict[Path, Runs] = {}
    for path in sorted((out / name).glob(f"*{SUFFIX}")):
        archives[path] = _unpacked(path)
        for place, files in archives[path].items():
            cell = path.name.removesuffix(SUFFIX), place
            if cell not in known:
                raise RecordError(f"{path}: holds {place}, which the suite no longer asks for; delete the archive")
            if cell not in replacing:
                made = str(json.loads(files[_EVALUATED]).get("config_hash"))
                same_hash(path / place, made, known[cell].config_hash)
    for run in finished:
        archives.setdefault(out / name / f"{run.family}{SUFFIX}", {})[_place(run)] = _files(run, root, models)
    notes = computed_again.read(root / name)
    packed = {path: _packed(content) for path, content in archives.items()}
    for path, data in packed.items():
        records.write_bytes(path, data)
    records.write_text(out / name / SUITE, yaml_text.sealed(yaml_text.dump(suite)))
    computed_again.add(out / name, notes)
    return [*packed, out / name / SUITE]


def unpack(folder: Path, root: Path) -> list[Path]:
    """Put the runs kept in a suite's folder where ``aggregate`` and all that follows read them.

    Args:
        folder: of one suite, as ``pack`` wrote it.
        root: folder of all results. Runs that are there already with the same files stay.

    Returns:
        The folders of the runs.

    Raises:
        RecordError: an archive is damaged, or another result is in its place; nothing is written then.
    """
    suite = _name_of(folder)
    found = {
        root / suite / path.name.removesuffix(SUFFIX) / place: files
        for path in sorted(folder.glob(f"*{SUFFIX}"))
        for place, files in _unpacked(path).items()
    }
    if not found:
        raise RecordError(f"{folder}: no runs are kept here")
    for target, files in found.items():
        for name, data in files.items():
            if (target / name).is_file() and (target / name).read_bytes() != data:
                raise RecordError(f"{target / name}: is another result; move that folder away first")
    notes = computed_again.read(folder)
    for target, files in found.items():
        for name, data in files.items():
            records.write_bytes(target / name, data)
    computed_again.add(root / suite, notes)
    if not (root / suite / SUITE).is_file():
        records.write_bytes(root / suite / SUITE, (folder / SUITE).read_bytes())
    return list(found)


def digests(folder: Path, name: str) -> dict[str, str]:
    """SHA-256 of the file called ``name`` of every kept run that has one, by ``<family>/<algorithm>/seed-<n>``.

    Raises:
        RecordError: an archive is damaged.
    """
    return {
        f"{path.name.removesuffix(SUFFIX)}/{place}": hashlib.sha256(files[name]).hexdigest()
        for path in sorted(folder.glob(f"*{SUFFIX}"))
        for place, files in _unpacked(path).items()
        if name in files
    }


def _name_of(folder: Path) -> str:
    """The name of the suite whose runs are kept in a folder, which may be called otherwise."""
    try:
        suite = yaml_text.parse((folder / SUITE).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RecordError(f"{folder}: no runs are kept here ({SUITE}: {' '.join(str(error).split())})") from None
    name = suite.get("name") if isinstance(suite, dict) else None
    if not isinstance(name, str) or not _SUITE_NAME.fullmatch(name):
        raise RecordError(f"{folder / SUITE}: {name!r} is no name of a suite")
    return name


def folders(place: Path = KEPT) -> list[Path]:
    """The folder of every suite of which runs are kept. Raises RecordError where there is none."""
    found = [path.parent for path in sorted(place.glob(f"*/{SUITE}"))]
    if not found:
        raise RecordError(f"{place}: no runs are kept here; `kshot pack SUITE` keeps those of a suite")
    return found


def _place(run: RunConfig) -> str:
    return f"{run.algorithm}/seed-{run.seed}"


def _files(run: RunConfig, root: Path, models: bool) -> dict[str, bytes]:
    """The records of a run and all that they name, with or without its models, checked."""
    directory = run.directory(root)
    files: dict[str, bytes] = {}
    for name in _RECORDS:
        path = directory / name
        if not path.is_file():
            if name == "run.json" and run.kind == "algorithm":
                raise RecordError(f"{path}: no such file, although the run was evaluated; train it again")
            continue
        record = checksums.read_record(path)
        key, expected = ("config_hash", run.config_hash) if name == _EVALUATED else ("train_hash", run.train_hash)
        same_hash(path, str(record.get(key)), expected)
        left_out = [] if models else checksums.models(record)
        for other in record.get("files", {}):
            if other not in left_out:
                checksums.verify(path.with_name(other), record)
                files[other] = path.with_name(other).read_bytes()
        files[name] = path.read_bytes()
    return files


def _packed(runs: Runs) -> bytes:
    """An archive that depends on the files alone, not on who packed them and when."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        # Files of one name beside each other: what they have in common is then near enough to be found.
        for name, place in sorted((name, place) for place, files in runs.items() for name in files):
            info = tarfile.TarInfo(f"{place}/{name}")
            info.size = len(runs[place][name])
            archive.addfile(info, io.BytesIO(runs[place][name]))
    return lzma.compress(sink.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def _unpacked(path: Path) -> Runs:
    """The runs in an archive."""
    runs: Runs = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(lzma.decompress(path.read_bytes())), mode="r:") as archive:
            for info in archive.getmembers():
                name = _NAME.fullmatch(info.name)
                file = archive.extractfile(info) if name and info.isreg() else None
                if name is None or file is None:  # a link, a folder, or a name that leads elsewhere
                    raise ValueError(f"it holds {info.name!r}, which is no file of a run")
                runs.setdefault(name[1], {})[name[2]] = file.read()
    except (lzma.LZMAError, tarfile.TarError, EOFError, ValueError) as error:
        raise RecordError(f"{path}: not a readable archive of runs ({error})") from None
    for place, files in runs.items():
        if _EVALUATED not in files:
            raise RecordError(f"{path}: not a readable archive of runs ({place} has no {_EVALUATED})")
    return runs
