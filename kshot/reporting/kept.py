"""Runs that are kept beside the code: packed small, and unpacked to where every other command reads them.

``pack`` keeps the files of finished runs in ``reports/reference/<suite>/``, an archive a run, without its models. These
take most of the space, and no number is made from them again; from the rest every number, figure and page is.
"""

from __future__ import annotations

import io
import json
import lzma
import re
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kshot import checksums, records, yaml_text
from kshot.errors import RecordError
from kshot.reporting.grid import suite_name
from kshot.reporting.run_files import same_hash
from kshot.suites.run import RunConfig

KEPT = Path("reports/reference")
"""Where runs are kept."""
SUITE = "suite.yaml"
"""The resolved suite that they belong to, in the folder of each suite."""
ARCHIVE = "seed-{}.tar.xz"
_EVALUATED = "evaluate.json"
_RECORDS = ("run.json", _EVALUATED, "official.json")
_LEFT_OUT = (".pt",)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""What the files of a run can be called; archives that others made may hold anything."""


def pack(suite: Mapping[str, Any], runs: Sequence[RunConfig], root: Path, out: Path = KEPT) -> list[Path]:
    """Keep the files of all finished runs of a suite, but for their models.

    Args:
        suite: resolved, with its facts: what the runs were made from.
        runs: the complete grid that it asks for.
        root: folder of all results.
        out: where suites are kept. Runs that are kept there and have no results in ``root`` stay as they are.

    Returns:
        The archives, and the file of the suite.

    Raises:
        RecordError: no run is finished, a file is damaged, or a run in ``root`` or in ``out`` was made from other
            settings; nothing is written then.
    """
    name = suite_name(runs)
    folder = out / name
    known = {_archive(run, folder): run for run in runs}
    finished = {path: run for path, run in known.items() if (run.directory(root) / _EVALUATED).is_file()}
    if not finished:
        raise RecordError(f"{root / name}: no run is finished, so that there is nothing to keep")
    archives = {path: _packed(_files(run, root)) for path, run in finished.items()}
    for path in sorted(folder.glob("*/*/*.tar.xz")):
        if path in archives:
            continue
        if path not in known:
            raise RecordError(f"{path}: the suite no longer asks for this run; delete it")
        same_hash(path, str(json.loads(_unpacked(path)[_EVALUATED]).get("config_hash")), known[path].config_hash)
    for path, data in archives.items():
        records.write_bytes(path, data)
    records.write_text(folder / SUITE, yaml_text.sealed(yaml_text.dump(suite)))
    return [*archives, folder / SUITE]


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
    found = {
        Path(root, folder.name, *path.relative_to(folder).with_suffix("").with_suffix("").parts): _unpacked(path)
        for path in sorted(folder.glob("*/*/*.tar.xz"))
    }
    if not found:
        raise RecordError(f"{folder}: no runs are kept here")
    for target, files in found.items():
        for name, data in files.items():
            if (target / name).is_file() and (target / name).read_bytes() != data:
                raise RecordError(f"{target / name}: is another result; move that folder away first")
    for target, files in found.items():
        for name, data in files.items():
            records.write_bytes(target / name, data)
    if not (root / folder.name / SUITE).is_file():
        records.write_bytes(root / folder.name / SUITE, (folder / SUITE).read_bytes())
    return list(found)


def folders(place: Path = KEPT) -> list[Path]:
    """The folder of every suite of which runs are kept. Raises RecordError where there is none."""
    found = [path.parent for path in sorted(place.glob(f"*/{SUITE}"))]
    if not found:
        raise RecordError(f"{place}: no runs are kept here; `kshot pack SUITE` keeps those of a suite")
    return found


def _archive(run: RunConfig, folder: Path) -> Path:
    return folder / run.family / run.algorithm / ARCHIVE.format(run.seed)


def _files(run: RunConfig, root: Path) -> dict[str, bytes]:
    """The records of a run and all that they name but its models, checked."""
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
        for other in record.get("files", {}):
            if not other.endswith(_LEFT_OUT):
                checksums.verify(path.with_name(other), record)
                files[other] = path.with_name(other).read_bytes()
        files[name] = path.read_bytes()
    return files


def _packed(files: Mapping[str, bytes]) -> bytes:
    """An archive that depends on the files alone, not on who packed them and when."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            info = tarfile.TarInfo(name)
            info.size = len(files[name])
            archive.addfile(info, io.BytesIO(files[name]))
    return lzma.compress(sink.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def _unpacked(path: Path) -> dict[str, bytes]:
    """The files in an archive, by name."""
    try:
        with tarfile.open(fileobj=io.BytesIO(lzma.decompress(path.read_bytes())), mode="r:") as archive:
            files = {info.name: _read(archive, info) for info in archive.getmembers()}
    except (lzma.LZMAError, tarfile.TarError, EOFError, ValueError) as error:
        raise RecordError(f"{path}: not a readable archive of a run ({error})") from None
    if _EVALUATED not in files:
        raise RecordError(f"{path}: not an archive of a run: it holds no {_EVALUATED}")
    return files


def _read(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    """One file. Raises ValueError for links, folders, and names that lead elsewhere."""
    file = archive.extractfile(info) if info.isreg() and _NAME.fullmatch(info.name) else None
    if file is None:
        raise ValueError(f"it holds {info.name!r}, which is no file of a run")
    return file.read()
