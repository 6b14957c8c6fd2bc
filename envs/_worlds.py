"""What planners may know of families with few states, and the check of demonstrations against known dynamics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from kshot.types import Array, Dynamics, Episodes, World


@dataclass(frozen=True)
class TabularWorld:
    """``kshot.types.World`` of a family that observes its state, and nothing else or the dynamics behind it.

    Attributes:
        family: its name, for errors.
        decisions: decisions in an episode, one per step of the environment.
        rewards: what a reward may depend on.
        reward_features: [S, F] of states or [S, A, F] of pairs.
        state_observations: [S, D] how the observation begins in each state.
        shared_dynamics: the dynamics of all tasks; None where they differ from task to task and are observed. The rest
            of the observation is then the flattened probabilities [S, A, S].
        n_actions: A.
    """

    family: str
    decisions: int
    rewards: Literal["states", "pairs"]
    reward_features: Array
    state_observations: Array
    shared_dynamics: Dynamics | None
    n_actions: int

    def layout(self, obs: Array) -> Array:
        return np.asarray(obs[..., self.state_observations.shape[1] :])

    def state(self, obs: Array) -> Array:
        """The state whose observation is nearest."""
        begin = obs[..., None, : self.state_observations.shape[1]]
        return np.asarray(((begin - self.state_observations) ** 2).sum(axis=-1).argmin(axis=-1))

    def dynamics(self, layout: Array) -> Dynamics:
        if self.shared_dynamics is not None:
            return self.shared_dynamics
        n_states = len(self.state_observations)
        return Dynamics(probability=layout.reshape(len(layout), n_states, self.n_actions, n_states))

    def features(self, layout: Array) -> Array:
        return np.broadcast_to(self.reward_features, (len(layout), *self.reward_features.shape))

    def paths(self, episodes: Episodes) -> tuple[Array, Array]:
        return checked_paths(self.family, self, episodes)


def checked_paths(family: str, world: World, episodes: Episodes) -> tuple[Array, Array]:
    """States [T, E, H + 1] and actions [T, E, H] of episodes with one decision per step of the environment.

    Raises:
        ValueError: naming the first demonstration that has another length, an observation that is not finite, or a
            step that the dynamics do not know.
    """

    def refuse(wrong: Array, what: str) -> None:
        """``wrong`` is [T, E]."""
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
    """Raise ValueError at the first step that the dynamics do not know, naming its task and demonstration.

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
        step = tuple(wrong[0])
        raise ValueError(
            f"{family}: demonstration {step[1]} of task {step[0]} cannot get from state {before[step]} to state "
            f"{after[step]} by action {actions[step]} (step {step[2]})"
        )
