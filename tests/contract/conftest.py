"""What is built once per session: families, as Meta-World's take seconds to construct, and a made-up suite's report."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from kshot.running import build
from kshot.suites.run import RunConfig
from kshot.types import TaskFamily
from tests.contract import reported as made_up

_original: Callable[[RunConfig], TaskFamily] = build.family


@cache
def _shared(module: str, settings: str) -> TaskFamily:
    return _original(RunConfig("", "", module, "", None, 0, 0, None, json.loads(settings)))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def shared_families(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the contract tests, ``build.family`` gives one object per module and settings."""

    def family(run: RunConfig) -> TaskFamily:
        return _shared(run.family_module, json.dumps(dict(run.family_settings)))

    monkeypatch.setattr(build, "family", family)


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> made_up.Reported:
    """The suite of ``tests.contract.reported``, aggregated."""
    root = tmp_path_factory.mktemp("reported")
    return made_up.write(root), root


@pytest.fixture(scope="session")
def report(reported: made_up.Reported) -> Path:
    """Its page, with figures and tables."""
    return made_up.report(*reported)
