"""The numbers that are kept are those of the runs that are kept, by the code as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kshot.places import ROOT
from kshot.reporting import kept, tables
from kshot.reporting.aggregate import aggregate
from kshot.reporting.embedding import documents, embed
from kshot.reporting.results import load
from kshot.reporting.values import Table
from kshot.suites.reading import load_suite

pytestmark = pytest.mark.contract

FOLDERS = kept.folders(ROOT / kept.KEPT)
MEGABYTES = 40
"""What the archives of all suites may take together."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[Table], Path]]:
    """Tables and folder of the numbers of every suite, made again."""
    made = {}
    for folder in FOLDERS:
        root = tmp_path_factory.mktemp("results")
        kept.unpack(folder, root)
        runs = load_suite(folder / kept.SUITE, recorded=True).runs()
        aggregate(runs, root, partial=True)
        tables.write_tables(runs, root, root / folder.name / "tables")
        made[folder.name] = (tables.build(load(runs, root)), root / folder.name)
    return made


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_numbers_and_tables_are_those_of_the_runs(folder: Path, built: dict[str, tuple[list[Table], Path]]) -> None:
    _, again = built[folder.name]
    names = [
        "summary.csv",
        "scores.csv",
        "cells.csv",
        *(f"tables/{path.name}" for path in (again / "tables").iterdir()),
    ]
    different = [name for name in names if (again / name).read_bytes() != (folder / name).read_bytes()]
    assert not different, "run `snakemake --cores all reference`"


@pytest.mark.parametrize("page", documents(ROOT / "docs"), ids=lambda page: page.stem)
def test_documents_show_these_tables(page: Path, built: dict[str, tuple[list[Table], Path]], tmp_path: Path) -> None:
    copy = tmp_path / page.name
    shutil.copy(page, copy)
    embed(copy, {name: found for name, (found, _) in built.items()})
    assert copy.read_bytes() == page.read_bytes(), "run `snakemake --cores all reference`"


def test_archives_are_small() -> None:
    sizes = [path.stat().st_size for folder in FOLDERS for path in folder.glob(f"*{kept.SUFFIX}")]
    assert sum(sizes) < MEGABYTES * 1e6


def test_every_picture_of_the_documentation_is_there() -> None:
    """What ``redraw`` removes, nobody shows."""
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for part in page.read_text(encoding="utf-8").split("](")[1:]:
            target = part.split(")")[0]
            if "reports/reference" in target and "://" not in target:
                assert (page.parent / target).exists(), f"{page}: {target}"
