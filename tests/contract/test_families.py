"""What every task family promises (``kshot.contract.families``), checked on all that the registry knows."""

from __future__ import annotations

import pytest

from kshot import registry
from kshot.contract import families
from kshot.types import TaskFamily

FAMILIES = registry.names("envs")


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> TaskFamily:
    return families.make(request.param)


def test_the_three_families_are_registered() -> None:
    assert {"bandit", "metaworld", "nav2d"} <= set(FAMILIES)


@pytest.mark.parametrize("check", families.CHECKS, ids=lambda check: check.__name__)
def test_a_family_keeps_what_it_promises(family: TaskFamily, check: families.Check) -> None:
    check(family)
