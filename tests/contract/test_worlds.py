"""What families promise that demonstrate (``kshot.contract.worlds``), checked on all that the registry knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kshot import registry
from kshot.contract import worlds
from kshot.types import TaskFamily

NAMES = [name for name in registry.names("envs") if worlds.demonstrates(name)]


@pytest.fixture(scope="module", params=NAMES)
def family(request: pytest.FixtureRequest) -> TaskFamily:
    return worlds.make(request.param)


@pytest.mark.parametrize("check", (*worlds.SHOWN, *worlds.KNOWN), ids=lambda check: check.__name__)
def test_a_family_that_demonstrates_keeps_what_it_promises(family: TaskFamily, check: worlds.Check) -> None:
    assert check in worlds.checks(family), "all of ours have known dynamics"
    check(family)


def test_what_is_broken_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Demonstrations with rewards, of chance, and of another family's dynamics."""
    family = worlds.make("spritegrid")
    original = type(family).demonstrations  # type: ignore[attr-defined]  # it demonstrates

    def rewarded(*args: object, **kwargs: object) -> object:
        shown = original(*args, **kwargs)
        return replace(shown, reward=np.ones_like(shown.reward))

    with monkeypatch.context() as patch:
        patch.setattr(type(family), "demonstrations", rewarded)
        with pytest.raises(AssertionError, match="demonstrations show rewards"):
            worlds.demonstrations_have_no_reward_and_belong_to_their_keys(family)
    world = family.spec.world
    assert world is not None
    monkeypatch.setattr(type(world), "paths", lambda self, episodes: (episodes, episodes))
    with pytest.raises(AssertionError, match="a demonstration is accepted that should be refused: 2 of task 1"):
        worlds.impossible_demonstrations_are_named(family)
