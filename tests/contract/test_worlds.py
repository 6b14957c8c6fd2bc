"""What families promise that demonstrate, or whose dynamics planners may know (``kshot.types.World``)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kshot import registry, seeding
from kshot.types import Array, DemonstrationFamily, Episodes, TaskFamily, World

SETTINGS: dict[str, dict[str, Any]] = {"tabular_mdp": {"observe_dynamics": True}}
APPROXIMATE = {"metaworld_hand"}
"""Families whose dynamics are an abstraction: most decisions lead where they should, but a simulation decides."""
NAMES = [name for name in registry.names("envs") if "demonstrations" in registry.load("envs", name).EVIDENCE]


@pytest.fixture(scope="module", params=NAMES)
def family(request: pytest.FixtureRequest) -> TaskFamily:
    module = registry.load("envs", request.param)
    built: TaskFamily = module.build(module.Settings(**SETTINGS.get(request.param, {})))
    return built


def shown(family: TaskFamily, indices: list[int], n: int = 3) -> Episodes:
    assert isinstance(family, DemonstrationFamily)
    tasks = family.tasks("validation", 6, 0)
    keys = seeding.split(seeding.key("shown"), np.array(indices))
    return family.demonstrations([tasks[i] for i in indices], n, keys)


def world_of(family: TaskFamily) -> World:
    assert family.spec.world is not None
    return family.spec.world


def table(world: World, layout: Array) -> tuple[Array | None, Array | None]:
    """Successors or probabilities, with the axis B."""
    dynamics = world.dynamics(layout)
    if dynamics.successor is not None:
        return np.broadcast_to(dynamics.successor, (len(layout), *dynamics.successor.shape[-2:])), None
    assert dynamics.probability is not None
    return None, np.broadcast_to(dynamics.probability, (len(layout), *dynamics.probability.shape[-3:]))


def test_demonstrations_have_no_reward_and_belong_to_their_keys(family: TaskFamily) -> None:
    together, alone = shown(family, [0, 1, 2]), shown(family, [1])
    assert together.n_tasks == 3 and together.n_episodes == 3 and not together.reward.any()
    assert together.obs.shape[-1] == family.spec.observation_dim
    np.testing.assert_array_equal(together.obs[1:2], alone.obs)
    np.testing.assert_array_equal(together.action[1:2], alone.action)
    fewer = shown(family, [0, 1, 2], n=2)
    np.testing.assert_array_equal(fewer.action, together.action[:, :2])


def test_the_environment_does_what_was_demonstrated(family: TaskFamily) -> None:
    """Replaying the actions gives possible states, and the very ones where dynamics and surroundings are the same."""
    if family.spec.name in APPROXIMATE:
        pytest.skip("the dynamics are an abstraction; what it allows is measured in the family's own tests")
    episodes, world = shown(family, [0, 1, 2]), world_of(family)
    states, actions = world.paths(episodes)
    assert states.shape == (3, 3, world.decisions + 1) and actions.shape == (3, 3, world.decisions)
    tasks = family.tasks("validation", 6, 0)[:3]
    env = family.vector_env(tasks, 3)
    obs, _ = env.reset(seed=list(range(9)))
    layout = world.layout(obs)
    successor, probability = table(world, layout)
    rows = np.arange(9)
    same = np.array_equal(layout, world.layout(episodes.obs[:, :, 0]).reshape(layout.shape))
    assert not same or (world.state(obs) == states[..., 0].reshape(-1)).all()
    for t in range(world.decisions):
        before, action = world.state(obs), actions[..., t].reshape(-1)
        obs, *_ = env.step(action)
        after = world.state(obs)
        if successor is not None:
            legal = successor[rows, before, action] >= 0
            assert (successor[rows, before, action] == after)[legal].all() and (after == before)[~legal].all()
            assert not same or (after == states[..., t + 1].reshape(-1)).all()
        else:
            assert probability is not None and (probability[rows, before, action, after] > 0).all()
        np.testing.assert_array_equal(world.layout(obs), layout)


def test_features_and_dynamics_have_the_shapes_they_say(family: TaskFamily) -> None:
    world, episodes = world_of(family), shown(family, [0, 1])
    layout = world.layout(episodes.obs[:, 0, 0])
    successor, probability = table(world, layout)
    n_states, n_actions = successor.shape[1:] if successor is not None else probability.shape[1:3]  # type: ignore[union-attr]  # one of the two
    lead = (2, n_states) if world.rewards == "states" else (2, n_states, n_actions)
    assert world.features(layout).shape[:-1] == lead
    if probability is not None:
        np.testing.assert_allclose(probability.sum(axis=-1), 1.0)


def test_an_expert_is_better_than_chance(family: TaskFamily) -> None:
    episodes, world = shown(family, [0, 1, 2, 3], n=20), world_of(family)
    if (
        len(np.unique(world.layout(family.vector_env(family.tasks("train", 1, 0), 2).reset(seed=[0, 1])[0]), axis=0))
        > 1
    ):
        pytest.skip("every episode has other surroundings: what was demonstrated cannot be replayed")
    env = family.vector_env(family.tasks("validation", 6, 0)[:4], 20)
    chance = np.random.default_rng(1).integers(0, family.spec.action_dim, episodes.action.shape)
    earned = []
    for actions in (episodes.action, chance):
        env.reset(seed=seeding.split(seeding.key("replayed"), np.arange(80)).tolist())
        steps = [env.step(actions[:, :, t].reshape(-1))[1] for t in range(episodes.mask.shape[2])]
        earned.append(np.sum(steps, axis=0).mean())
    assert earned[0] > earned[1]


@pytest.mark.parametrize("fault", ["short", "not finite", "no such action", "jump"])
def test_impossible_demonstrations_are_named(family: TaskFamily, fault: str) -> None:
    world, episodes = world_of(family), shown(family, [0, 1])
    if fault == "short":
        mask = episodes.mask.copy()
        mask[1, 2, -1] = False
        with pytest.raises(
            ValueError, match=f"demonstration 2 of task 1 has a number of steps that is not {world.decisions}"
        ):
            world.paths(replace(episodes, mask=mask))
        return
    if fault == "not finite":
        obs = episodes.obs.copy()
        obs[0, 1, 0, 0] = np.nan
        with pytest.raises(ValueError, match="demonstration 1 of task 0 has observations that are not finite"):
            world.paths(replace(episodes, obs=obs))
        return
    if fault == "no such action":
        action = episodes.action.copy()
        action[1, 1, 0] = 1000
        with pytest.raises(ValueError, match="demonstration 1 of task 1 has actions that do not exist"):
            world.paths(replace(episodes, action=action))
        return
    dynamics = world.dynamics(world.layout(episodes.obs[:, 0, 0]))
    if dynamics.successor is None or dynamics.successor.shape[-2] == 1:
        return  # every state follows from every other one
    final = episodes.final_obs.copy()
    final[1, 0] = episodes.obs[1, 0, 0] if world.decisions > 2 else final[1, 0]
    with pytest.raises(ValueError, match=r"demonstration 0 of task 1 cannot get from state \d+ to state \d+"):
        world.paths(replace(episodes, final_obs=final))
