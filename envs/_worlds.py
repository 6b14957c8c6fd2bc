"""Known dynamics of families with few states, and demonstrations checked against them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from kshot.types import Array, Dynamics, Episodes, World


@dataclass(frozen=True)
class SmallWorld:
    """``kshot.types.World`` of a family whose observations begin with the state's.

    Attributes:
        family: its name, for errors.
        decisions: decisions in an episode, one per step of the environment.
        rewards: what a reward may depend on.
        state_features: [S, F] or [S, A, F].
        states: [S, D] how the observation begins in every state.
        table: the dynamics; None where they differ from task to task and are observed: the rest of the observation is
            then the flattened probabilities [S, A, S].
        actions: A.
    """

    family: str
    decisions: int
    rewards: Literal["states", "pairs"]
    state_features: Array
    states: Array
    table: Dynamics | None
    actions: int

    def layout(self, obs: Array) -> Array:
        return np.asarray(obs[..., self.states.shape[1] :])

    def state(self, obs: Array) -> Array:
        """The state whose observation is nearest."""
        own = obs[..., None, : self.states.shape[1]]
        return np.asarray(((own - self.states) ** 2).sum(axis=-1).argmin(axis=-1))

    def dynamics(self, layout: Array) -> Dynamics:
        if self.table is not None:
            return self.table
        return Dynamics(probability=layout.reshape(len(layout), len(self.states), self.actions, len(self.states)))

    def features(self, layout: Array) -> Array:
        return np.broadcast_to(self.state_features, (len(layout), *self.state_features.shape))

    def paths(self, episodes: Episodes) -> tuple[Array, Array]:
        return checked_paths(self.family, self, episodes)


def checked_paths(family: str, world: World, episodes: Episodes) -> tuple[Array, Array]:
    """States [T, E, H + 1] and actions [T, E, H] of episodes with one decision per step of the environment.

    Raises:
        ValueError: naming the first demonstration that has another length, broken observations or impossible steps.
    """

    def refuse(wrong: Array, what: str) -> None:
        for task, episode in np.argwhere(wrong)[:1]:
            raise ValueError(f"{family}: demonstration {episode} of task {task} has {what}")

    lengths = episodes.lengths
    refuse(lengths != world.decisions, f"a number of steps that is not {world.decisions}")
    obs = np.concatenate([episodes.obs[:, :, : world.decisions], episodes.final_obs[:, :, None]], axis=2)
    refuse(~np.isfinite(obs).all(axis=(2, 3)), "observations that are not finite")
    states, actions = world.state(obs), episodes.action[:, :, : world.decisions]
    dynamics = world.dynamics(world.layout(episodes.obs[:, 0, 0]))
    table = dynamics.probability if dynamics.successor is None else dynamics.successor
    assert table is not None
    n_states, n_actions = table.shape[-2:] if dynamics.probability is None else table.shape[-3:-1]
    refuse(((states < 0) | (states >= n_states)).any(axis=2), "places that are not among the states")
    refuse(((actions < 0) | (actions >= n_actions)).any(axis=2), "actions that do not exist")
    require_possible(family, dynamics, states, actions)
    return states, actions


def require_possible(family: str, dynamics: Dynamics, states: Array, actions: Array) -> None:
    """Raise ValueError naming task and demonstration at the first step that the dynamics do not know.

    ``states`` is [T, E, H + 1], ``actions`` [T, E, H].
    """
    before, after, task = states[..., :-1], states[..., 1:], np.arange(len(states))[:, None, None]
    if dynamics.successor is not None:
        table = np.broadcast_to(dynamics.successor, (len(states), *dynamics.successor.shape[-2:]))
        possible = table[task, before, actions] == after
    else:
        assert dynamics.probability is not None
        table = np.broadcast_to(dynamics.probability, (len(states), *dynamics.probability.shape[-3:]))
        possible = table[task, before, actions, after] > 0
    wrong = np.argwhere(~possible)
    if len(wrong):
        where = tuple(wrong[0])
        raise ValueError(
            f"{family}: demonstration {where[1]} of task {where[0]} cannot get from state {before[where]} to state "
            f"{after[where]} by action {actions[where]} (step {where[2]})"
        )
