"""Every test bears the mark of the folder it stands in: ``pytest -m contract`` runs tests/contract."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

# Demonstrations made by tests belong to the tests; all their processes share them.
os.environ.setdefault("KSHOT_CACHE", str(Path(tempfile.gettempdir()) / f"kshot-tests-{os.getuid()}"))

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(TESTS) and item.path.parent != TESTS:
            item.add_marker(item.path.relative_to(TESTS).parts[0])
