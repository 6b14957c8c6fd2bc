"""Every test bears the mark of the folder it stands in: ``pytest -m contract`` runs tests/contract."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

# The command line sets it in its own process, which tests call in theirs.
os.environ["MPLBACKEND"] = "agg"
# Demonstrations made by tests belong to the tests; all their processes share them.
os.environ.setdefault("KSHOT_CACHE", str(Path(tempfile.gettempdir()) / f"kshot-tests-{os.getuid()}"))

# No test cuts the power: only processes that tests start wait until what they write has reached the disk.
os.fsync = lambda file: None

_entry_points = importlib.metadata.entry_points


@cache
def _entry_points_on(path: tuple[str, ...], **chosen: Any) -> importlib.metadata.EntryPoints:
    return _entry_points(**chosen)


# Every look-up of a name reads those of all installed packages, which was most of reading a suite. A test that installs
# a package puts its folder on the path.
importlib.metadata.entry_points = lambda **chosen: _entry_points_on(tuple(sys.path), **chosen)

TESTS = Path(__file__).parent
NOT_BY_TESTS = ("PYTEST_", "PYGAME_HIDE_SUPPORT_PROMPT", "KMP_", "TORCHINDUCTOR_")
"""How variables begin that pytest sets, or PyTorch when it loads or makes its first optimiser."""
BY_COMMANDS = ("OMP_", "OPENBLAS_", "MKL_", "GOMP_")
"""How those begin that ``threads.settle`` sets for a process, which tests of commands share: they are put back."""
LONGEST = (
    *("faults/test_faults.py", "workflow/test_documented_pipelines.py", "contract/test_learners.py"),
    *("contract/test_figures.py", "workflow/test_workflow.py", "learning/test_known_optima.py"),
    *("workflow/test_documented_kshot.py", "workflow/test_run.py", "workflow/test_killed_pipelines.py"),
    *("contract/test_page_in_browser.py", "workflow/test_documented_modules.py", "numerics/test_metaworld_engine.py"),
    *("workflow/test_accelerator.py", "workflow/test_wheel.py", "numerics/test_metaworld_pictures.py"),
    *("workflow/test_documentation.py", "numerics/test_metaworld.py", "workflow/test_odd_names.py"),
)
"""The files that take longest, which come first: where each is run by one of several processes, all end together."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {TESTS / name: i for i, name in enumerate(LONGEST)}
    assert all(path.is_file() for path in place)
    items.sort(key=lambda item: place.get(item.path, len(place)))
    for item in items:
        if item.path.is_relative_to(TESTS) and item.path.parent != TESTS:
            item.add_marker(item.path.relative_to(TESTS).parts[0])


@contextmanager
def kept_environment() -> Iterator[None]:
    """What a test leaves in the environment changes what later tests, and the processes they start, do."""
    before = dict(os.environ)
    yield
    changed = {name for name, _ in set(os.environ.items()) ^ set(before.items())}
    for name in (name for name in changed if not name.startswith(NOT_BY_TESTS)):  # one test fails, not all after it
        os.environ.pop(name, None)
        if name in before:
            os.environ[name] = before[name]
    left = {name for name in changed if not name.startswith((*NOT_BY_TESTS, *BY_COMMANDS))}
    assert not left, f"the test changed {sorted(left)} in the environment, and did not put back what was there"


@pytest.fixture(autouse=True)
def _environment_is_as_it_was() -> Iterator[None]:
    with kept_environment():
        yield
