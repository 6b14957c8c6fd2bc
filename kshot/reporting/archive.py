"""All that the artefact of a paper needs, in one folder, with a manifest of its files.

The folder of an archive is that of a kept suite (``kshot.reporting.kept``) with more in it: every figure, table and
number drawn from the packed runs themselves, the packages and the code they were made with, and whom to cite. The same
results and the same kshot give the same bytes: no date, no machine and no path stands in it.
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import kshot
from kshot import checksums, records
from kshot.errors import RecordError
from kshot.places import ROOT
from kshot.reporting import kept, references, style
from kshot.reporting.grid import suite_name
from kshot.reporting.redraw import draw
from kshot.suites.run import RunConfig

MANIFEST = "MANIFEST.json"
"""Every file of an archive but itself, with SHA-256 and size."""
_SHIPPED = {
    "LICENSE": "LICENSE",
    "CITATION.cff": "CITATION.cff",
    "environment/requirements.lock": "requirements.lock",
    "environment/environment.yml": "environment.yml",
}
"""Files that come with kshot: where they stand in an archive, and where in ``ROOT``."""
_RECORDS = ("run.json", "evaluate.json", "official.json")
_CODE = ("git_commit", "git_dirty", "source_digest", "plugins")
_ENVIRONMENT = ("versions", "hardware", "kernels")


def archive(
    suite: Mapping[str, Any], runs: Sequence[RunConfig], root: Path, out: Path, models: bool = False
) -> list[Path]:
    """Write the archive of a suite. It replaces an earlier archive in its place once all of it could be made.

    Args:
        suite: resolved, with its facts: what the runs were made from.
        runs: the complete grid that it asks for; those that are not finished are listed as missing.
        root: folder of all results.
        out: folder of the archive.
        models: keep trained models, too.

    Returns:
        The files.

    Raises:
        RecordError: ``out`` holds something else; or no run is finished, a file is damaged, or a run was made from
            other settings. Nothing is written then.
    """
    if out.exists() and not (out / MANIFEST).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise RecordError(f"{out}: holds something else than an archive; name another folder, or move it away")
    name = suite_name(runs)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        folder, results = Path(scratch, "archive", name), Path(scratch, "results")
        kept.pack(suite, runs, root, folder.parent, models)
        kept.unpack(folder, results)  # all else is made from what is packed, and from nothing beside it
        draw({key: value for key, value in suite.items() if key != "facts"}, runs, results, folder, style.FORMATS)
        for target, source in _SHIPPED.items():
            records.write_bytes(folder / target, (ROOT / source).read_bytes())
        records.write_json(folder / "provenance.json", _provenance(runs, results))
        records.write_text(folder / "references.bib", references.bibliography(runs))
        records.write_text(folder / "README.md", _readme(name, str(suite.get("description") or ""), models))
        _write_manifest(folder, name)
        _put(folder, out)
    return [*(out / path for path in _files(out)), out / MANIFEST]


def damages(folder: Path) -> list[str] | None:
    """What in an archive is not as it was written: one line for every file.

    Args:
        folder: of an archive, or of a kept suite.

    Returns:
        None where there is no manifest to go by.

    Raises:
        RecordError: there is no such folder.
    """
    if not folder.is_dir():
        raise RecordError(f"{folder}: no such folder; name one that `kshot archive` or `kshot pack` wrote")
    path = folder / MANIFEST
    if not path.is_file():
        if not (folder / kept.SUITE).is_file():
            raise RecordError(f"{folder}: holds neither {MANIFEST} nor {kept.SUITE}, so that it is no kept suite")
        return None
    try:
        listed = checksums.read_record(path, "get the archive again")["files"]
        expected = {str(name): (entry["sha256"], entry["size"]) for name, entry in listed.items()}
    except RecordError as error:
        return [str(error)]
    except (AttributeError, KeyError, TypeError):
        return [f"{path}: is not the manifest of an archive"]
    there = set(_files(folder))
    found = [f"{folder / name}: no such file, although {MANIFEST} lists it" for name in sorted(expected.keys() - there)]
    found += [f"{folder / name}: is not in {MANIFEST}" for name in sorted(there - expected.keys())]
    for name in sorted(there & expected.keys()):
        if _entry(folder / name) != dict(zip(("sha256", "size"), expected[name], strict=True)):
            found.append(f"{folder / name}: is not as it was written (another SHA-256 than in {MANIFEST})")
    return found


def _write_manifest(folder: Path, suite: str) -> None:
    files = {name: _entry(folder / name) for name in _files(folder)}
    checksums.write_record(folder / MANIFEST, {"kshot": kshot.__version__, "suite": suite, "files": files})


def _entry(path: Path) -> dict[str, Any]:
    return {"sha256": checksums.sha256(path), "size": path.stat().st_size}


def _files(folder: Path) -> list[str]:
    """Paths of all files in an archive but its manifest, from its folder, with slashes."""
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in paths if path != MANIFEST)


def _put(folder: Path, out: Path) -> None:
    """Move a finished archive to its place. What stood there is removed only when the new one stands."""
    former = out.with_name(f".{out.name}.{secrets.token_hex(6)}")
    if out.exists():
        out.rename(former)
    try:
        folder.rename(out)
    except OSError:
        if former.exists():
            former.rename(out)
        raise
    shutil.rmtree(former, ignore_errors=True)


def _provenance(runs: Sequence[RunConfig], root: Path) -> dict[str, Any]:
    """The distinct states of the code and surroundings that the steps of all runs had, each with its records."""
    code: dict[str, list[str]] = {}
    environments: dict[str, list[str]] = {}
    missing = []
    for run in runs:
        folder = run.directory(root)
        place = f"{run.family}/{run.algorithm}/seed-{run.seed}"
        if not (folder / "evaluate.json").is_file():
            missing.append(place)
        for name in _RECORDS:
            if (folder / name).is_file():
                record = checksums.read_record(folder / name)
                for keys, found in ((_CODE, code), (_ENVIRONMENT, environments)):
                    entry = json.dumps({key: record.get(key) for key in keys}, sort_keys=True)
                    found.setdefault(entry, []).append(f"{place}/{name}")
    return {
        "code": [json.loads(entry) | {"records": places} for entry, places in code.items()],
        "environments": [json.loads(entry) | {"records": places} for entry, places in environments.items()],
        "missing": missing,
    }


def _readme(suite: str, description: str, models: bool) -> str:
    packed = "with their models" if models else "but for the models, which training makes again"
    return f"""# {suite}

{description}

| file | holds |
|---|---|
| `index.html` | the report: open it in a browser, without a network |
| `figures/`, `tables/` | what it shows, for papers |
| `summary.csv`, `scores.csv`, `cells.csv` | means with intervals, scores, and where every run came from |
| `suite.yaml` | the suite with every setting, as it was run |
| `<family>.tar.xz` | the files of the runs, every episode included, {packed} |
| `provenance.json` | code, packages, machines and kernels of the runs; which runs are missing |
| `environment/` | the packages: `requirements.lock`, and `environment.yml` for conda in a checkout of kshot |
| `references.bib` | the papers and software to cite |
| `{MANIFEST}` | SHA-256 and size of every file |

`kshot verify FOLDER` checks every file here, computes a run again and says what differs; `kshot unpack FOLDER` puts the
runs where all commands of kshot {kshot.__version__} read them.
"""
