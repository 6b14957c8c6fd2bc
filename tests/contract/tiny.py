"""Tiny versions of every algorithm and family (``kshot.contract.tiny``), as parameters of tests."""

from __future__ import annotations

from typing import Any

import pytest

from kshot.contract import tiny
from kshot.contract.tiny import run
from kshot.types import Evidence

__all__ = ["compatible", "run"]


def compatible(evidence: frozenset[Evidence] = frozenset({"rollouts", "demonstrations"})) -> list[Any]:
    """Every (algorithm, family) whose evidence, of the given kinds, and action kinds fit."""
    return [pytest.param(*pair, id="-".join(pair)) for pair in tiny.compatible(evidence)]
