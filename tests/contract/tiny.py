"""Tiny versions of every algorithm and family (``kshot.contract.tiny``), as parameters of tests."""

from __future__ import annotations

from typing import Any

import pytest

from kshot import registry
from kshot.contract import tiny
from kshot.contract.tiny import run
from kshot.types import Evidence

__all__ = ["compatible", "run"]

ALIKE = frozenset(
    {"ant_goal", "cheetah_dir", "hopper_rand_params", "metaworld_physics", "walker_rand_params"}
    | {"bus", "gymnasium", "maze", "offload_dag", "random_reward"}
)
"""Families that are, to a learner, like others (cheetah_vel, metaworld, gridnavi): of the learners that can play on any
family, one is paired with them."""


def compatible(evidence: frozenset[Evidence] = frozenset({"rollouts", "demonstrations"})) -> list[Any]:
    """Every (algorithm, family) whose evidence, of the given kinds, and action kinds fit; see ``ALIKE``."""
    pairs = [
        (a, f)
        for a, f in tiny.compatible(evidence)
        if f not in ALIKE or a == "untrained" or hasattr(registry.load("algorithms", a), "OBSERVES")
    ]
    return [pytest.param(*pair, id="-".join(pair)) for pair in pairs]
