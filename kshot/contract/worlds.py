"""What families promise that demonstrate, and whose dynamics planners may know (``kshot.types.World``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from kshot import registry, seeding
from kshot.types import Array, DemonstrationFamily, Episodes, Split, TaskFamily, World

SETTINGS: dict[str, dict[str, Any]] = {"tabular_mdp": {"observe_dynamics": True}}
"""Of families that show their dynamics only if asked to."""
APPROXIMATE = {"metaworld_hand"}
"""Families whose dynamics are an abstraction: most decisions lead where they should, but a simulation decides."""
Check = Callable[[TaskFamily], None]


def demonstrates(name: str) -> bool:
    """Whether a family says that it has demonstrations."""
    return "demonstrations" in registry.load("envs", name).EVIDENCE


def make(name: str) -> TaskFamily:
    """A family by its name, as planners know it."""
    module = registry.load("envs", name)
    built: TaskFamily = module.build(module.Settings(**SETTINGS.get(name, {})))
    return built


def checks(family: TaskFamily) -> tuple[Check, ...]:
    """What is checked of a family: those without known dynamics promise no more than their demonstrations."""
    return SHOWN if family.spec.world is None else (*SHOWN, *KNOWN)


def _shown(family: TaskFamily, indices: list[int], n: int = 3) -> Episodes:
    assert isinstance(family, DemonstrationFamily), "the module's EVIDENCE names demonstrations, which it does not have"
    tasks = family.tasks("validation", max(indices) + 1, 0)
    keys = seeding.split(seeding.key("shown"), np.array(indices))
    return family.demonstrations([tasks[i] for i in indices], n, keys)


def _env(family: TaskFamily, split: Split, tasks: int, copies: int) -> Any:
    """``Any``: Gymnasium's annotations know one seed, its vector environments one for each of theirs."""
    return family.vector_env(family.tasks(split, tasks, 0), copies)


def _world_of(family: TaskFamily) -> World:
    assert family.spec.world is not None
    return family.spec.world


def _table(world: World, layout: Array) -> tuple[Array | None, Array | None]:
    """Successors or probabilities, with the axis B."""
    dynamics = world.dynamics(layout)
    if dynamics.successor is not None:
        return np.broadcast_to(dynamics.successor, (len(layout), *dynamics.successor.shape[-2:])), None
    assert dynamics.probability is not None, "dynamics have neither successors nor probabilities"
    return None, np.broadcast_to(dynamics.probability, (len(layout), *dynamics.probability.shape[-3:]))


def demonstrations_have_no_reward_and_belong_to_their_keys(family: TaskFamily) -> None:
    together, alone = _shown(family, [0, 1, 2]), _shown(family, [1])
    assert together.n_tasks == 3 and together.n_episodes == 3
    assert not together.reward.any(), "demonstrations show rewards"
    assert together.obs.shape[-1] == family.spec.observation_dim
    np.testing.assert_array_equal(together.obs[1:2], alone.obs)
    np.testing.assert_array_equal(together.action[1:2], alone.action)
    fewer = _shown(family, [0, 1, 2], n=2)
    np.testing.assert_array_equal(fewer.action, together.action[:, :2])


def an_expert_is_better_than_chance(family: TaskFamily) -> None:
    """Checked where what was demonstrated can be replayed: not if every episode begins elsewhere."""
    start = _env(family, "train", 1, 2).reset(seed=[0, 1])[0]
    layout = start if family.spec.world is None else family.spec.world.layout(start)
    if len(np.unique(layout, axis=0)) > 1:
        return
    episodes, env = _shown(family, list(range(4)), n=20), _env(family, "validation", 4, 20)
    rng = np.random.default_rng(1)
    discrete = episodes.action.dtype.kind == "i"
    shape = episodes.action.shape
    chance = rng.integers(0, family.spec.action_dim, shape) if discrete else rng.uniform(-1, 1, shape)
    earned = []
    for actions in (episodes.action, chance):
        env.reset(seed=seeding.split(seeding.key("replayed"), np.arange(80)).tolist())
        steps = [env.step(actions[:, :, t].reshape(80, *shape[3:]))[1] for t in range(episodes.mask.shape[2])]
        earned.append(np.sum(steps, axis=0).mean())
    assert earned[0] > earned[1], f"demonstrated actions earn {earned[0]:.3g}, random ones {earned[1]:.3g}"


def the_environment_does_what_was_demonstrated(family: TaskFamily) -> None:
    """Replaying the actions gives possible states, and the very ones where dynamics and surroundings are the same."""
    if family.spec.name in APPROXIMATE:
        return
    episodes, world = _shown(family, [0, 1, 2]), _world_of(family)
    states, actions = world.paths(episodes)
    assert states.shape == (3, 3, world.decisions + 1) and actions.shape == (3, 3, world.decisions)
    env = _env(family, "validation", 3, 3)
    obs, _ = env.reset(seed=list(range(9)))
    layout = world.layout(obs)
    successor, probability = _table(world, layout)
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


def features_and_dynamics_have_the_shapes_they_say(family: TaskFamily) -> None:
    world, episodes = _world_of(family), _shown(family, [0, 1])
    layout = world.layout(episodes.obs[:, 0, 0])
    successor, probability = _table(world, layout)
    if successor is not None:
        n_states, n_actions = successor.shape[1:]
    else:
        assert probability is not None
        n_states, n_actions = probability.shape[1:3]
        np.testing.assert_allclose(probability.sum(axis=-1), 1.0)
    lead = (2, n_states) if world.rewards == "states" else (2, n_states, n_actions)
    assert world.features(layout).shape[:-1] == lead


def impossible_demonstrations_are_named(family: TaskFamily) -> None:
    """Of too few steps, not finite, with actions that do not exist, and with jumps where not all states are near."""
    world, episodes = _world_of(family), _shown(family, [0, 1])
    mask = episodes.mask.copy()
    mask[1, 2, -1] = False
    _refused(world, replace(episodes, mask=mask), f"2 of task 1 has a number of steps that is not {world.decisions}")
    obs = episodes.obs.copy()
    obs[0, 1, 0, 0] = np.nan
    _refused(world, replace(episodes, obs=obs), "1 of task 0 has observations that are not finite")
    action = episodes.action.copy()
    action[1, 1, 0] = 1000
    _refused(world, replace(episodes, action=action), "1 of task 1 has actions that do not exist")
    dynamics = world.dynamics(world.layout(episodes.obs[:, 0, 0]))
    if dynamics.successor is not None and dynamics.successor.shape[-2] > 1 and world.decisions > 2:
        final = episodes.final_obs.copy()
        final[1, 0] = episodes.obs[1, 0, 0]
        _refused(world, replace(episodes, final_obs=final), "0 of task 1 cannot get from state")


def _refused(world: World, episodes: Episodes, text: str) -> None:
    try:
        world.paths(episodes)
    except ValueError as error:
        assert f"demonstration {text}" in str(error), f"expected 'demonstration {text}', got {error}"
    else:
        raise AssertionError(f"a demonstration is accepted that should be refused: {text}")


SHOWN: tuple[Check, ...] = (
    demonstrations_have_no_reward_and_belong_to_their_keys,
    an_expert_is_better_than_chance,
)
KNOWN: tuple[Check, ...] = (
    the_environment_does_what_was_demonstrated,
    features_and_dynamics_have_the_shapes_they_say,
    impossible_demonstrations_are_named,
)
