"""Demonstrating experts of families with known dynamics: their values, policies, sampled episodes.

An expert of inverse temperature beta follows the policy of maximum causal entropy for beta times the true reward
(Ziebart et al. 2010): the better an action, the more often it takes it, so that demonstrations differ from each other.

B tasks, S states, A actions, H steps, n episodes per task.
"""

from __future__ import annotations

import numpy as np

from kshot import seeding
from kshot.envs._mdps import MDP, action_values
from kshot.types import Array, Episodes


def table_values(reward: Array, successor: Array, horizon: int, combine: np.ufunc = np.maximum) -> Array:
    """[H + 1, B, S] value of every state at every step, the last one included.

    Args:
        reward: [B, S] of being in a state, earned in all H + 1 states of an episode.
        successor: [S, A] next states, -1 where an action cannot be taken.
        horizon: H.
        combine: the values of a state's actions into one: np.maximum gives optimal values, np.logaddexp the soft
            values of ``soft_paths``.
    """
    values = [reward]
    for _ in range(horizon):
        next_values = np.where(successor >= 0, values[-1][:, successor], -np.inf)
        values.append(reward + combine.reduce(next_values, axis=-1))
    return np.stack(values[::-1])


def box_values(reward: Array, horizon: int, combine: np.ufunc = np.maximum) -> Array:
    """[H + 1, B, X * Y] ``table_values`` for grids of rewards [B, X, Y] whose actions are -1, 0 or 1 along each axis.

    It combines the three neighbours along one axis and then those along the other. That needs no table and is an order
    of magnitude faster.
    """
    values = [reward]
    for _ in range(horizon):
        combined = values[-1]
        for axis in (1, 2):
            line = np.moveaxis(combined, axis, 1)
            result = line.copy()
            result[:, 1:] = combine(line[:, :-1], line[:, 1:])
            result[:, :-1] = combine(result[:, :-1], line[:, 1:])
            combined = np.moveaxis(result, 1, axis)
        values.append(reward + combined)
    return np.stack(values[::-1]).reshape(horizon + 1, len(reward), -1)


def soft_paths(successor: Array, values: Array, starts: Array, keys: Array) -> tuple[Array, Array]:
    """States [B, n, H + 1] and actions [B, n, H] sampled from the soft-optimal policy.

    The probability of an action is proportional to the exponential of the value of the state it leads to.

    Args:
        successor: [S, A] next states, -1 where an action cannot be taken.
        values: [H + 1, B, S] soft values.
        starts: [B, n] first states.
        keys: [B, n] one per episode.
    """
    tasks = np.arange(len(starts))[:, None, None]
    states, actions = [starts], []
    for t, value in enumerate(values[1:]):
        next_states = successor[states[-1]]
        next_values = np.where(next_states >= 0, value[tasks, next_states], -np.inf)
        cumulative = np.exp(next_values - next_values.max(axis=-1, keepdims=True)).cumsum(axis=-1)
        actions.append(_sample(cumulative / cumulative[..., -1:], seeding.uniform(keys, t)))
        states.append(successor[states[-1], actions[-1]])
    return np.stack(states, axis=-1), np.stack(actions, axis=-1)


def soft_optimal_policy(model: MDP, horizon: int, beta: float) -> Array:
    """[H, B, S, A] action probabilities that are soft-optimal for ``beta`` times the mean rewards of B MDPs."""
    value, policy = np.zeros(model.reward.shape[:2]), []
    for _ in range(horizon):
        q = action_values(MDP(model.probability, beta * model.reward), value)
        value = np.logaddexp.reduce(q, axis=-1)
        policy.append(np.exp(q - value[..., None]))
    return np.stack(policy[::-1])


def sampled_paths(model: MDP, policy: Array, n: int, keys: Array) -> tuple[Array, Array]:
    """States [B, n, H + 1] and actions [B, n, H] of ``n`` episodes from state 0 in each of B MDPs; ``keys`` is [B]."""
    horizon, tasks = len(policy), np.arange(model.reward.shape[0])[:, None]
    episode_keys = seeding.split(np.asarray(keys, dtype=np.uint64)[:, None], np.arange(n))
    states, actions = [np.zeros((len(tasks), n), dtype=np.int64)], []
    cumulative_policy, cumulative_probability = policy.cumsum(axis=-1), model.probability.cumsum(axis=-1)
    for t in range(horizon):
        state = states[-1]
        actions.append(_sample(cumulative_policy[t, tasks, state], seeding.uniform(episode_keys, 2 * t)))
        uniform = seeding.uniform(episode_keys, 2 * t + 1)
        states.append(_sample(cumulative_probability[tasks, state, actions[-1]], uniform))
    return np.stack(states, axis=-1), np.stack(actions, axis=-1)


def _sample(cumulative: Array, uniform: Array) -> Array:
    """[...] indices sampled from cumulative probabilities [..., K], by numbers ``uniform`` [...] in (0, 1)."""
    index = (uniform[..., None] >= cumulative).sum(axis=-1)
    return np.asarray(np.minimum(index, cumulative.shape[-1] - 1))  # the last sum may round to below 1


def demonstration_episodes(obs: Array, actions: Array, success: Array, terminated: bool) -> Episodes:
    """Full-length demonstrations as episodes with rewards of 0.

    Args:
        obs: [T, E, H + 1, D].
        actions: [T, E, H].
        success: [T, E, H].
        terminated: whether the last step terminates the episode; else it truncates it.
    """
    last = np.zeros(actions.shape, dtype=bool)
    last[..., -1] = True
    zeros = np.zeros(actions.shape)
    return Episodes(
        obs=obs[:, :, :-1].copy(),
        action=actions,
        reward=zeros,
        terminated=last & terminated,
        truncated=last & (not terminated),
        mask=np.ones(actions.shape, dtype=bool),
        log_prob=zeros,
        success=success,
        final_obs=obs[:, :, -1].copy(),
    )
