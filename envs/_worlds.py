"""Known dynamics of families with few states, and experts for them: the soft-optimal policy, sampled.

An expert of inverse temperature beta follows the policy of maximum causal entropy for beta times the true reward
(Ziebart et al. 2010): it prefers what pays in proportion, so that demonstrations differ from each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import logsumexp

from envs._mdp_planning import MDP, action_values
from kshot import seeding
from kshot.types import Array, Dynamics, Episodes


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
        lengths = episodes.lengths
        wrong = np.argwhere(lengths != self.decisions)
        if len(wrong):
            task, episode = wrong[0]
            raise ValueError(
                f"{self.family}: demonstration {episode} of task {task} has {lengths[task, episode]} steps, "
                f"expected {self.decisions}"
            )
        obs = np.concatenate([episodes.obs[:, :, : self.decisions], episodes.final_obs[:, :, None]], axis=2)
        broken = np.argwhere(~np.isfinite(obs).all(axis=(2, 3)))
        if len(broken):
            task, episode = broken[0]
            raise ValueError(
                f"{self.family}: demonstration {episode} of task {task} has observations that are not finite"
            )
        states, actions = self.state(obs), episodes.action[:, :, : self.decisions]
        require_possible(self.family, self.dynamics(self.layout(episodes.obs[:, 0, 0])), states, actions)
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


def expert_policy(model: MDP, horizon: int, beta: float) -> Array:
    """[H, B, S, A] the soft-optimal policy for ``beta`` times the mean rewards of B MDPs."""
    value, policy = np.zeros(model.reward.shape[:2]), []
    for _ in range(horizon):
        q = action_values(MDP(model.probability, beta * model.reward), value)
        value = logsumexp(q, axis=-1)
        policy.append(np.exp(q - value[..., None]))
    return np.stack(policy[::-1])


def sampled_paths(model: MDP, policy: Array, n: int, keys: Array) -> tuple[Array, Array]:
    """``n`` episodes from state 0 in each of B MDPs: states [B, n, H + 1], actions [B, n, H]; ``keys`` is [B]."""
    horizon, tasks = len(policy), np.arange(model.reward.shape[0])[:, None]
    streams = seeding.split(np.asarray(keys, dtype=np.uint64)[:, None], np.arange(n))
    states, actions = [np.zeros((len(tasks), n), dtype=np.int64)], []
    chance, following = policy.cumsum(axis=-1), model.probability.cumsum(axis=-1)
    for t in range(horizon):
        at = states[-1]
        actions.append(_drawn(chance[t, tasks, at], seeding.uniform(streams, 2 * t)))
        states.append(_drawn(following[tasks, at, actions[-1]], seeding.uniform(streams, 2 * t + 1)))
    return np.stack(states, axis=-1), np.stack(actions, axis=-1)


def _drawn(cumulative: Array, share: Array) -> Array:
    """[...] which of the last axis a number in (0, 1) falls on; the last sum may round to below 1."""
    return np.asarray(np.minimum((share[..., None] >= cumulative).sum(axis=-1), cumulative.shape[-1] - 1))


def shown(obs: Array, actions: Array, success: Array, terminated: bool) -> Episodes:
    """Demonstrations as episodes without rewards: obs [T, E, H + 1, D], actions and success [T, E, H]."""
    last = np.zeros(actions.shape, dtype=bool)
    last[..., -1] = True
    nothing = np.zeros(actions.shape)
    return Episodes(
        obs=obs[:, :, :-1].copy(),
        action=actions,
        reward=nothing,
        terminated=last & terminated,
        truncated=last & (not terminated),
        mask=np.ones(actions.shape, dtype=bool),
        log_prob=nothing,
        success=success,
        final_obs=obs[:, :, -1].copy(),
    )
