"""Experts of families with known dynamics: optimal values, the soft-optimal policy, sampled, and what it shows.

An expert of inverse temperature beta follows the policy of maximum causal entropy for beta times the true reward
(Ziebart et al. 2010): it prefers what pays in proportion, so that demonstrations differ from each other.
"""

from __future__ import annotations

import numpy as np

from kshot import seeding
from kshot.envs._mdps import MDP, action_values
from kshot.types import Array, Episodes


def table_values(reward: Array, successor: Array, horizon: int, over: np.ufunc = np.maximum) -> Array:
    """[H + 1, B, S] values from every step on; rewards [B, S] are of states, ``successor`` is [S, A].

    ``over`` the actions: np.maximum gives the largest return, np.logaddexp the soft values of ``soft_paths``.
    """
    values = [reward]
    for _ in range(horizon):
        following = np.where(successor >= 0, values[-1][:, successor], -np.inf)
        values.append(reward + over.reduce(following, axis=-1))
    return np.stack(values[::-1])


def box_values(reward: Array, horizon: int, over: np.ufunc = np.maximum) -> Array:
    """[H + 1, B, X * Y] values from every step on, for rewards [B, X, Y] of cells.

    The same as ``table_values`` where actions are all moves of -1, 0 or 1 along both axes: to go over the neighbours is
    to go over those of each axis in turn, which needs no table and is an order of magnitude faster.
    """
    values = [reward]
    for _ in range(horizon):
        around = values[-1]
        for axis in (1, 2):
            line = np.moveaxis(around, axis, 1)
            best = line.copy()
            best[:, 1:] = over(line[:, :-1], line[:, 1:])
            best[:, :-1] = over(best[:, :-1], line[:, 1:])
            around = np.moveaxis(best, 1, axis)
        values.append(reward + around)
    return np.stack(values[::-1]).reshape(horizon + 1, len(reward), -1)


def soft_paths(successor: Array, values: Array, starts: Array, streams: Array) -> tuple[Array, Array]:
    """States [B, n, H + 1] and actions [B, n, H] of the soft-optimal policy, whose values are [H + 1, B, S].

    An action is taken in proportion to the exponential of the value it leads to; dynamics are ``successor`` [S, A],
    ``starts`` [B, n] first states, ``streams`` [B, n] keys.
    """
    rows = np.arange(len(starts))[:, None, None]
    states, actions = [starts], []
    for t, value in enumerate(values[1:]):
        reached = successor[states[-1]]
        following = np.where(reached >= 0, value[rows, reached], -np.inf)
        chance = np.exp(following - following.max(axis=-1, keepdims=True)).cumsum(axis=-1)
        actions.append(_drawn(chance / chance[..., -1:], seeding.uniform(streams, t)))
        states.append(successor[states[-1], actions[-1]])
    return np.stack(states, axis=-1), np.stack(actions, axis=-1)


def expert_policy(model: MDP, horizon: int, beta: float) -> Array:
    """[H, B, S, A] the soft-optimal policy for ``beta`` times the mean rewards of B MDPs."""
    value, policy = np.zeros(model.reward.shape[:2]), []
    for _ in range(horizon):
        q = action_values(MDP(model.probability, beta * model.reward), value)
        value = np.logaddexp.reduce(q, axis=-1)
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
