"""Exact probabilities of success on sparse 2D navigation: of its two searchers, and of random actions."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.integrate import solve_ivp

from kshot.envs.nav2d_sparse import _density, _disc_nodes
from kshot.envs.nav2d_sparse.arc import GOAL_RADIUS, MAX_TRIES, sweeps
from kshot.types import Array


def random_success(goal: Array, horizon: int) -> float:
    """Probability that uniform random actions end within ``GOAL_RADIUS`` of the goal, by quadrature."""
    x, y, weight, _ = _disc_nodes(goal)
    return float((_density(x, horizon) * _density(y, horizon) * weight).sum())


def reach(radius: Array) -> Array:
    """Largest difference in angle at which a position at ``radius`` has a goal in reach; 0 where it has none.

    From |goal - position|^2 = 1 + r^2 - 2 r cos(difference). It is largest, arcsin(.2), at r^2 = 1 - .2^2.
    """
    return np.asarray(np.arccos(np.minimum((1.0 + radius**2 - GOAL_RADIUS**2) / (2.0 * radius), 1.0)))


def share_in_reach(path: Array) -> float:
    """Share of the arc [0, pi] that is in reach of at least one position of ``path`` [H, 2]."""
    near = np.abs(np.hypot(*path.T) - 1.0) <= GOAL_RADIUS
    position, total, end = path[near], 0.0, 0.0
    middle, half = np.arctan2(position[:, 1], position[:, 0]), reach(np.hypot(*position.T))
    for low, high in sorted(zip(middle - half, middle + half, strict=True)):
        total += max(0.0, min(high, np.pi) - max(low, end))
        end = max(end, min(high, np.pi))
    return total / np.pi


def search_success(episodes: int) -> Array:
    """[episodes] probability that ``Search`` ends an episode of a trial within reach, for a goal ~ U[0, pi]."""
    paths = sweeps()
    return np.array([share_in_reach(paths[: min(k, len(paths))].reshape(-1, 2)) for k in range(1, episodes + 1)])


@cache
def posterior_sampling_success() -> tuple[float, ...]:
    """Probability that ``PosteriorSampling`` ends episode 1, 2, ... of a trial within reach, for a goal ~ U[0, pi].

    Sixteen numbers, after which it is 1: no more angles fit outside each other's reach. The error is below 2e-4.
    Success in an episode (of at least 10 steps) has the probability that the goal was found by then, less the
    probability that it was found in the episode before and now the wrong one of two candidates was sampled, out of
    reach of the right one.

    Angles sampled without success split the arc into gaps. The next angle is uniform on what is left, which is as if
    proposals arrived everywhere at rate 1 and those on excluded ground were dropped: in that time t the gaps evolve
    independently. With N the number of angles sampled and s a functional that sums over gaps,
    A(l, t) = E z^N and B(l, t) = E z^N s(t), both in a gap that has length l at time 0, obey

        dA/dt = -l A + z int_0^l A(x - w) A(l - x - w) dx,      A(l, 0) = 1,
        dB/dt = -l B + 2 z int_0^l A(x - w) B(l - x - w) dx,    B(l, 0) = s(l),

    where w is ``HALF_WIDTH`` and a negative length counts as 0. With s(l) the rate at which a goal in the gap is found,
    the coefficient of z^k in int B(pi, t) dt / pi is the probability of finding it in episode k + 1; likewise for wrong
    samples. The coefficients come from values on the unit circle.
    """
    # pi / w = 15.68171: 345 / 22 is within 7e-6 of it, so the kinks of the integrands lie on the grid.
    cells, kink, end = 345, 22, 100.0
    step = np.pi / cells
    length, width = step * np.arange(cells + 1), step * kink
    points = MAX_TRIES + 2
    z = np.exp(2j * np.pi * np.arange(points // 2 + 1) / points)[:, None]
    shortened = np.maximum(np.arange(cells + 1) - kink, 0)
    found = length**2 - np.maximum(length - width, 0.0) ** 2
    # Half of the pairs (sample, goal) whose distance is between w / 2 and w and whose mirror image is in the gap.
    side = np.minimum(length / 2.0, width)
    wrong = np.maximum(side - width / 2.0, 0.0) ** 2 + np.maximum(length / 2.0 - width, 0.0) * width

    def spectrum(values: Array) -> Array:
        return np.fft.fft(values[:, shortened], 2 * cells + 2, axis=1)

    def slope(t: float, flat: Array) -> Array:
        a, b, c = parts = flat[: -2 * len(z)].reshape(3, len(z), -1)
        transformed = spectrum(a)
        change = []
        for part, factor in ((a, 1.0), (b, 2.0), (c, 2.0)):
            products = np.fft.ifft(transformed * spectrum(part), axis=1)[:, : cells + 1]
            # The trapezoidal rule takes half of the two ends.
            ends = a[:, :1] * part[:, shortened] + a[:, shortened] * part[:, :1]
            change.append(factor * z * step * (products - ends / 2.0) - length * part)
        return np.concatenate([np.stack(change).ravel(), parts[1:, :, -1].ravel()])

    ones = np.ones_like(z)
    begin = np.concatenate([(ones * s).ravel() for s in (np.ones(cells + 1), found, wrong)] + [np.zeros(2 * len(z))])
    last = solve_ivp(slope, (0.0, end), begin, method="DOP853", rtol=1e-6, atol=1e-9).y[:, -1]
    # Small gaps are left, and B decreases like t^-3: that much is still to come.
    tail = last[: -2 * len(z)].reshape(3, len(z), -1)[1:, :, -1] * end / 2.0
    half = last[-2 * len(z) :].reshape(2, -1) + tail
    values = np.concatenate([half, half[:, -2:0:-1].conj()], axis=1)
    first, misled = np.fft.fft(values, axis=1).real[:, :MAX_TRIES] / (points * np.pi)
    return tuple((np.cumsum(first) - np.concatenate([[0.0], misled[:-1]])).tolist())
