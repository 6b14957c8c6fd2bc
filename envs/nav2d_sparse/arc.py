"""A goal on a half circle that only a reward within a short radius gives away: how to search for it.

The geometry, two scripted searchers and the success of one of them by numerical integration. An angle between 0 and pi
stands for the goal (cos, sin) on the unit circle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from kshot import seeding
from kshot.envs._point import STEP_SIZE
from kshot.types import Array, Memory

GOAL_RADIUS = 0.2
"""There is reward, and success, within this distance of the goal."""
TOLERANCE = 1e-9
"""What rounding may add to a distance of exactly ``GOAL_RADIUS``: after 8 steps towards (1, 0) it decides nothing."""
HALF_WIDTH = 2.0 * np.arcsin(GOAL_RADIUS / 2.0)
"""A goal is within ``GOAL_RADIUS`` of a point on the circle if their angles differ by at most this."""
_MOST_TRIES = int(np.pi / HALF_WIDTH) + 1
"""Angles drawn outside each other's reach are further apart than ``HALF_WIDTH``: no more of them fit on the arc."""


def point(angle: Array) -> Array:
    """[..., 2] the place of each angle [...] on the unit circle."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def towards(target: Array, position: Array) -> Array:
    """The action that moves each coordinate to the target's as fast as allowed; both [..., 2]."""
    return np.clip((target - position) / STEP_SIZE, -1.0, 1.0)


def reach(radius: Array) -> Array:
    """By how much the angle of a goal may differ from that of a position at ``radius`` that has it in reach.

    From |goal - position|^2 = 1 + r^2 - 2 r cos(difference); 0 where no goal is in reach. It is largest, arcsin(.2), at
    r^2 = 1 - .2^2.
    """
    return np.asarray(np.arccos(np.minimum((1.0 + radius**2 - GOAL_RADIUS**2) / (2.0 * radius), 1.0)))


def covered(path: Array) -> float:
    """Share of the arc [0, pi] that is in reach of at least one position of ``path`` [H, 2]."""
    near = np.abs(np.hypot(*path.T) - 1.0) <= GOAL_RADIUS
    position, total, end = path[near], 0.0, 0.0
    middle, half = np.arctan2(position[:, 1], position[:, 0]), reach(np.hypot(*position.T))
    for low, high in sorted(zip(middle - half, middle + half, strict=True)):
        total += max(0.0, min(high, np.pi) - max(low, end))
        end = max(end, min(high, np.pi))
    return total / np.pi


@dataclass(frozen=True)
class PosteriorSampling:
    """Thompson sampling, one goal per episode: what a learner that samples its task and believes it can hope for.

    Before an episode a goal is drawn from the posterior under a uniform prior on the arc; the point walks straight to
    it in the smallest number of equal steps and waits there. Without any reward, the goals within reach of the walk are
    ruled out; they are those within ``HALF_WIDTH`` of the drawn angle, since the last step but one ends at a radius of
    at most .9 and reaches less far to both sides than the goal itself does. The first reward 1 - d gives the distance,
    and with it one or two candidates; between two the choice is by lot.

    Draws come from the keys given to ``start``; without keys each is the posterior's median. Episodes too short for the
    walk (fewer than 10 steps) teach nothing.
    """

    @property
    def trial_memory(self) -> bool:
        return True

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        lead = (n_tasks, n_copies)
        memory = {
            "step": np.zeros(lead, dtype=np.int64),
            "episode": np.zeros(lead, dtype=np.int64),
            # Unused entries stand where they rule out nothing.
            "tried": np.full((*lead, _MOST_TRIES), np.pi + 2.0 * HALF_WIDTH),
            "candidates": np.full((*lead, 2), np.nan),
        }
        if keys is not None:
            memory["keys"] = np.asarray(keys, dtype=np.uint64)
        return memory | {"sample": _draw(memory)}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        goal = point(memory["sample"])
        share = np.minimum((memory["step"] + 1) / _walk(goal), 1.0)
        return towards(goal * share[..., None], obs), np.zeros(obs.shape[:2]), memory

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        stepped = memory | {"step": np.where(done, 0, memory["step"] + 1)}
        if not done.any():
            return stepped
        arrived = done & (memory["step"] + 1 >= _walk(point(memory["sample"])))
        learnt = self._learn(memory, reward)
        for name in ("tried", "candidates"):
            stepped[name] = np.where(arrived[..., None], learnt[name], memory[name])
        stepped["episode"] = memory["episode"] + done
        return stepped | {"sample": np.where(done, _draw(stepped), memory["sample"])}

    def _learn(self, memory: Memory, reward: Array) -> Memory:
        """What ``reward`` [T, C], got at the sampled goal, says: new "tried" and "candidates"."""
        sample, tried, candidates = memory["sample"], memory["tried"], memory["candidates"]
        hit = reward > 0.0
        known = np.isfinite(candidates).any(axis=-1)
        # Nothing known and no reward: the neighbourhood is ruled out.
        slot = np.arange(_MOST_TRIES) == np.minimum(memory["episode"], _MOST_TRIES - 1)[..., None]
        tried_now = np.where(slot & (~known & ~hit)[..., None], sample[..., None], tried)
        # The first reward: two angles have this distance.
        apart = 2.0 * np.arcsin(np.where(hit, 1.0 - reward, 0.0) / 2.0)
        found = sample[..., None] + np.stack([-apart, apart], axis=-1)
        found[(found < -TOLERANCE) | (found > np.pi + TOLERANCE)] = np.nan
        found[(np.abs(found[..., None] - tried[..., None, :]) <= HALF_WIDTH).any(axis=-1)] = np.nan
        # Two candidates, one of them tried: it was either right or wrong.
        is_sample: Array = candidates == sample[..., None]
        right: Array = np.asarray(reward > 1.0 - 1e-6)
        kept = np.where(is_sample == right[..., None], candidates, np.nan)
        ambiguous = np.isfinite(candidates).all(axis=-1, keepdims=True)
        candidates = np.where(ambiguous, kept, candidates)
        return {
            "tried": tried_now,
            "candidates": np.where((~known & hit)[..., None], found, candidates),
        }


def _walk(goal: Array) -> Array:
    """[...] steps of a straight walk from the origin to ``goal`` [..., 2]."""
    return np.asarray(np.ceil(np.abs(goal).max(axis=-1) / STEP_SIZE - TOLERANCE))


def _draw(memory: Memory) -> Array:
    """[T, C] one angle from each posterior."""
    u = seeding.uniform(memory["keys"], memory["episode"]) if "keys" in memory else np.full(memory["step"].shape, 0.5)
    # The parts of the arc between the reaches of the angles tried; those without any are empty.
    tried = np.sort(memory["tried"], axis=-1)
    edge = np.full((*u.shape, 1), HALF_WIDTH)
    low = np.clip(np.concatenate([-edge, tried], axis=-1) + HALF_WIDTH, 0.0, np.pi)
    high = np.clip(np.concatenate([tried, np.pi + edge], axis=-1) - HALF_WIDTH, 0.0, np.pi)
    ends = np.cumsum(np.maximum(high - low, 0.0), axis=-1)
    target = u * ends[..., -1]
    part = (ends < target[..., None]).sum(axis=-1)[..., None]
    before_end = (np.take_along_axis(ends, part, axis=-1) - target[..., None])[..., 0]
    drawn = np.take_along_axis(high, part, axis=-1)[..., 0] - before_end
    # Candidates: the one there is, or one of the two.
    first, second = memory["candidates"][..., 0], memory["candidates"][..., 1]
    known = np.where(np.isnan(second) | (np.isfinite(first) & (u < 0.5)), first, second)
    return np.where(np.isnan(known), drawn, known)


@cache
def posterior_sampling_success() -> tuple[float, ...]:
    """Probability that posterior sampling ends episode 1, 2, ... of a trial within reach, for a goal ~ U[0, pi].

    Sixteen numbers, after which it is 1: no more angles fit outside each other's reach. The error is below 2e-4.
    Success in an episode (of at least 10 steps) is: found by then, less found in the one before and now guessed the
    wrong one of two candidates, out of reach of the right one.

    Angles tried without success split the arc into gaps. The next angle is uniform on what is left, which is as if
    proposals arrived everywhere at rate 1 and those on excluded ground were dropped: in that time t the gaps evolve
    independently. With N the number of angles tried and s a functional that sums over gaps,
    A(l, t) = E z^N and B(l, t) = E z^N s(t), both in a gap that has length l at time 0, obey

        dA/dt = -l A + z int_0^l A(x - w) A(l - x - w) dx,      A(l, 0) = 1,
        dB/dt = -l B + 2 z int_0^l A(x - w) B(l - x - w) dx,    B(l, 0) = s(l),

    where w is ``HALF_WIDTH`` and a negative length counts as 0. With s(l) the rate at which a goal in the gap is found,
    the coefficient of z^k in int B(pi, t) dt / pi is the probability of finding it in episode k + 1; likewise for wrong
    guesses. The coefficients come from values on the unit circle.
    """
    # pi / w = 15.68171: 345 / 22 is within 7e-6 of it, so the kinks of the integrands lie on the grid.
    cells, kink, end = 345, 22, 100.0
    step = np.pi / cells
    length, width = step * np.arange(cells + 1), step * kink
    points = _MOST_TRIES + 2
    z = np.exp(2j * np.pi * np.arange(points // 2 + 1) / points)[:, None]
    shortened = np.maximum(np.arange(cells + 1) - kink, 0)
    found = length**2 - np.maximum(length - width, 0.0) ** 2
    # Half of the pairs (angle tried, goal) whose distance is between w / 2 and w and whose mirror image is in the gap.
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
    from scipy.integrate import solve_ivp  # here: slow to import, and every process of every suite would pay for it

    last = solve_ivp(slope, (0.0, end), begin, method="DOP853", rtol=1e-6, atol=1e-9).y[:, -1]
    # Small gaps are left, and B falls like t^-3: that much is still to come.
    tail = last[: -2 * len(z)].reshape(3, len(z), -1)[1:, :, -1] * end / 2.0
    half = last[-2 * len(z) :].reshape(2, -1) + tail
    values = np.concatenate([half, half[:, -2:0:-1].conj()], axis=1)
    first, misled = np.fft.fft(values, axis=1).real[:, :_MOST_TRIES] / (points * np.pi)
    return tuple((np.cumsum(first) - np.concatenate([[0.0], misled[:-1]])).tolist())


@dataclass(frozen=True)
class Search:
    """Look at the whole arc in the fewest episodes, then go to the goal: the best policy found for success.

    It follows the paths of ``sweeps`` until a reward tells the distance, goes to the candidate that lies ahead, and to
    the other one if the next reward contradicts. Success in an episode is then the share of the arc looked at so far.
    Made for episodes of 20 steps; shorter ones cut the paths off.
    """

    @property
    def trial_memory(self) -> bool:
        return True

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        lead = (n_tasks, n_copies)
        return {
            "step": np.zeros(lead, dtype=np.int64),
            "episode": np.zeros(lead, dtype=np.int64),
            "position": np.zeros((*lead, 2)),
            "candidates": np.full((*lead, 2), np.nan),
        }

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        paths = sweeps()
        on_path = paths[memory["episode"] % len(paths), np.minimum(memory["step"], paths.shape[1] - 1)]
        # All paths run towards larger angles: what lies behind has been looked at.
        ahead = np.fmax(memory["candidates"][..., 0], memory["candidates"][..., 1])
        target = np.where(np.isnan(ahead)[..., None], on_path, point(ahead))
        action = towards(target, obs)
        return action, np.zeros(obs.shape[:2]), memory | {"position": obs + STEP_SIZE * action}

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        position, candidates = memory["position"], memory["candidates"]
        known = np.isfinite(candidates).any(axis=-1, keepdims=True)
        hit = (reward > 0.0)[..., None]
        distance = np.where(hit, 1.0 - reward[..., None], np.inf)
        # Candidates at another distance than the reward says are wrong ones.
        apart = np.sqrt(((point(candidates) - position[..., None, :]) ** 2).sum(axis=-1))
        right = np.where(hit, np.abs(apart - distance) < 1e-6, apart > GOAL_RADIUS)
        radius = np.maximum(np.sqrt((position**2).sum(axis=-1, keepdims=True)), STEP_SIZE)
        cosine = (1.0 + radius**2 - np.where(hit, distance, 0.0) ** 2) / (2.0 * radius)
        middle = np.arctan2(position[..., 1], position[..., 0])[..., None]
        new = middle + np.arccos(np.clip(cosine, -1.0, 1.0)) * np.array([-1.0, 1.0])
        new[(new < -1e-6) | (new > np.pi + 1e-6)] = np.nan
        old = np.where(right, candidates, np.nan)
        return memory | {
            "step": np.where(done, 0, memory["step"] + 1),
            "episode": memory["episode"] + done,
            "candidates": np.where(known, old, np.where(hit, new, np.nan)),
        }


@cache
def sweeps() -> Array:
    """[3, 20, 2] paths that together have the whole arc in reach.

    The first one looks at as much as was found possible, 72 % of the arc: a numerical search (sequential quadratic
    programming over all positions, ten random starts for every step at which the arc can be reached first, the looks
    joined without a gap) always came back to a path from (.586, .6) at step 6 to (-.814, .336) at step 20. Only these
    two ends count; the curve between them is a simple one that leaves no gap. The others see to the rest.
    """
    step = np.arange(1, 21)
    x = np.interp(step, [0, 6, 20], [0.0, 0.586, -0.814])
    circle, line = np.sqrt(0.586**2 + 0.6**2 - np.minimum(x**2, 0.25)), x + 1.15
    first = np.stack([x, np.where(step <= 6, 0.1 * step, np.where(x > -0.45, circle, line))], axis=1)
    second = np.stack(
        [np.interp(step, [0, 9, 13], [0.0, 0.9, 0.85]), np.interp(step, [0, 9, 13], [0, 0.1, 0.45])], axis=1
    )
    third = np.stack([np.interp(step, [0, 10], y) for y in ([0.0, -0.95], [0.0, 0.15])], axis=1)
    paths = np.stack([first, second, third])
    paths.setflags(write=False)
    return paths


def search_success(episodes: int) -> Array:
    """[episodes] probability that ``Search`` ends an episode of a trial within reach, for a goal ~ U[0, pi]."""
    paths = sweeps()
    return np.array([covered(paths[: min(k, len(paths))].reshape(-1, 2)) for k in range(1, episodes + 1)])
