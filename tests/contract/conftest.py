"""Families are built once per session: Meta-World's environments take seconds to construct and are made for reuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

import pytest

from kshot.running import build
from kshot.suites.run import RunConfig
from kshot.types import TaskFamily

_original: Callable[[RunConfig], TaskFamily] = build.family


@cache
def _shared(module: str, settings: str) -> TaskFamily:
    return _original(RunConfig("", "", module, "", None, 0, 0, None, json.loads(settings)))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def shared_families(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the contract tests, ``build.family`` gives one object per module and settings."""

    def family(run: RunConfig) -> TaskFamily:
        return _shared(run.family_module, json.dumps(dict(run.family_settings), sort_keys=True))

    monkeypatch.setattr(build, "family", family)
