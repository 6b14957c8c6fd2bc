"""The arc of goals of sparse 2D navigation, and two scripted policies that search it over a trial.

An angle between 0 and pi stands for the goal (cos, sin) on the unit circle. Reward, and success, are felt within
``GOAL_RADIUS`` of the goal: there the goal is in reach.
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
"""Slack for rounding: a distance of exactly ``GOAL_RADIUS``, as after 8 steps towards (1, 0), counts as within."""
HALF_WIDTH = 2.0 * np.arcsin(GOAL_RADIUS / 2.0)
"""A goal is in reach of a point on the circle if their angles differ by at most this."""
MAX_TRIES = int(np.pi / HALF_WIDTH) + 1
"""Angles out of each other's reach are further apart than ``HALF_WIDTH``: no more than this many fit on the arc."""


def point(angle: Array) -> Array:
    """[..., 2] the points of the unit circle at angles [...]."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def action_towards(target: Array, position: Array) -> Array:
    """[..., 2] the action that moves each coordinate to the target's as fast as allowed; both [..., 2]."""
    return np.clip((target - position) / STEP_SIZE, -1.0, 1.0)


@dataclass(frozen=True)
class PosteriorSampling:
    """Thompson sampling: in each episode a goal sampled from the posterior, the best that learners like PEARL can do.

    The prior is uniform on the arc. The point walks straight to the sampled goal, in as few equal steps as it can, and
    waits there. The reward at the end of the episode updates the posterior:

    - No reward rules out all angles within ``HALF_WIDTH`` of the sample. The way there rules out no others, since the
      last step but one ends at a radius of at most .9 and reaches less far to both sides.
    - The first reward 1 - d gives the distance d, and with it one or two candidates. Each of two is as likely.

    Samples come from the keys given to ``start``; without keys each is the posterior's median. Episodes too short for
    the walk (fewer than 10 steps) teach nothing.
    """

    @property
    def trial_memory(self) -> bool:
        return True

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        lead = (n_tasks, n_copies)
        memory = {
            "step": np.zeros(lead, dtype=np.int64),
            "episode": np.zeros(lead, dtype=np.int64),
            # Angles sampled without reward; unused entries are beyond the arc, where they rule out nothing.
            "tried": np.full((*lead, MAX_TRIES), np.pi + 2.0 * HALF_WIDTH),
            "candidates": np.full((*lead, 2), np.nan),
        }
        if keys is not None:
            memory["keys"] = np.asarray(keys, dtype=np.uint64)
        return memory | {"sample": _sample_angle(memory)}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        goal = point(memory["sample"])
        share = np.minimum((memory["step"] + 1) / _walk_steps(goal), 1.0)
        return action_towards(goal * share[..., None], obs), np.zeros(obs.shape[:2]), memory

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        updated = memory | {"step": np.where(done, 0, memory["step"] + 1)}
        if not done.any():
            return updated
        arrived = done & (memory["step"] + 1 >= _walk_steps(point(memory["sample"])))
        posterior = self._posterior(memory, reward)
        for name in ("tried", "candidates"):
            updated[name] = np.where(arrived[..., None], posterior[name], memory[name])
        updated["episode"] = memory["episode"] + done
        return updated | {"sample": np.where(done, _sample_angle(updated), memory["sample"])}

    def _posterior(self, memory: Memory, reward: Array) -> Memory:
        """New "tried" and "candidates" after ``reward`` [T, C] at the sampled goal."""
        sample, tried, candidates = memory["sample"], memory["tried"], memory["candidates"]
        rewarded = reward > 0.0
        has_candidate = np.isfinite(candidates).any(axis=-1)
        # Nothing known and no reward: the neighbourhood is ruled out.
        slot = np.arange(MAX_TRIES) == np.minimum(memory["episode"], MAX_TRIES - 1)[..., None]
        new_tried = np.where(slot & (~has_candidate & ~rewarded)[..., None], sample[..., None], tried)
        # The first reward: two angles are at this distance, unless one is off the arc or ruled out.
        difference = 2.0 * np.arcsin(np.where(rewarded, 1.0 - reward, 0.0) / 2.0)
        first = sample[..., None] + np.stack([-difference, difference], axis=-1)
        first[(first < -TOLERANCE) | (first > np.pi + TOLERANCE)] = np.nan
        first[(np.abs(first[..., None] - tried[..., None, :]) <= HALF_WIDTH).any(axis=-1)] = np.nan
        # Two candidates, one of them the sample: a reward of 1 says that it is the goal, any other that it is not.
        is_sample: Array = candidates == sample[..., None]
        is_goal: Array = np.asarray(reward > 1.0 - 1e-6)
        remaining = np.where(is_sample == is_goal[..., None], candidates, np.nan)
        ambiguous = np.isfinite(candidates).all(axis=-1, keepdims=True)
        candidates = np.where(ambiguous, remaining, candidates)
        return {
            "tried": new_tried,
            "candidates": np.where((~has_candidate & rewarded)[..., None], first, candidates),
        }


def _walk_steps(goal: Array) -> Array:
    """[...] steps of a straight walk from the origin to ``goal`` [..., 2]."""
    return np.asarray(np.ceil(np.abs(goal).max(axis=-1) / STEP_SIZE - TOLERANCE))


def _sample_angle(memory: Memory) -> Array:
    """[T, C] one angle from each posterior."""
    u = seeding.uniform(memory["keys"], memory["episode"]) if "keys" in memory else np.full(memory["step"].shape, 0.5)
    # Without candidates: uniform on what is left of the arc, the intervals between the neighbourhoods ruled out.
    tried = np.sort(memory["tried"], axis=-1)
    edge = np.full((*u.shape, 1), HALF_WIDTH)
    low = np.clip(np.concatenate([-edge, tried], axis=-1) + HALF_WIDTH, 0.0, np.pi)
    high = np.clip(np.concatenate([tried, np.pi + edge], axis=-1) - HALF_WIDTH, 0.0, np.pi)
    cumulative = np.cumsum(np.maximum(high - low, 0.0), axis=-1)
    length = u * cumulative[..., -1]
    interval = (cumulative < length[..., None]).sum(axis=-1)[..., None]
    before_end = (np.take_along_axis(cumulative, interval, axis=-1) - length[..., None])[..., 0]
    angle = np.take_along_axis(high, interval, axis=-1)[..., 0] - before_end
    # With candidates: the only one, or one of the two.
    first, second = memory["candidates"][..., 0], memory["candidates"][..., 1]
    candidate = np.where(np.isnan(second) | (np.isfinite(first) & (u < 0.5)), first, second)
    return np.where(np.isnan(candidate), angle, candidate)


@dataclass(frozen=True)
class Search:
    """Search the whole arc in as few episodes as possible, then go to the goal: the best policy found for success.

    It follows the paths of ``sweeps``, one per episode, until the first reward gives the distance to the goal. Then it
    goes to the candidate that lies ahead, and to the other one if the next reward contradicts. The probability of
    success in an episode is therefore the share of the arc that has been in reach so far. The paths are for episodes of
    20 steps; shorter ones cut them off.
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
        # All paths run towards larger angles: smaller ones have been in reach before.
        ahead = np.fmax(memory["candidates"][..., 0], memory["candidates"][..., 1])
        target = np.where(np.isnan(ahead)[..., None], on_path, point(ahead))
        action = action_towards(target, obs)
        return action, np.zeros(obs.shape[:2]), memory | {"position": obs + STEP_SIZE * action}

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        position, candidates = memory["position"], memory["candidates"]
        has_candidate = np.isfinite(candidates).any(axis=-1, keepdims=True)
        rewarded = (reward > 0.0)[..., None]
        distance = np.where(rewarded, 1.0 - reward[..., None], np.inf)
        # A candidate at another distance than the reward says is not the goal.
        to_candidate = np.sqrt(((point(candidates) - position[..., None, :]) ** 2).sum(axis=-1))
        consistent = np.where(rewarded, np.abs(to_candidate - distance) < 1e-6, to_candidate > GOAL_RADIUS)
        remaining = np.where(consistent, candidates, np.nan)
        # The first reward: by the law of cosines two angles are at this distance, unless one is off the arc.
        radius = np.maximum(np.sqrt((position**2).sum(axis=-1, keepdims=True)), STEP_SIZE)
        cosine = (1.0 + radius**2 - np.where(rewarded, distance, 0.0) ** 2) / (2.0 * radius)
        middle = np.arctan2(position[..., 1], position[..., 0])[..., None]
        first = middle + np.arccos(np.clip(cosine, -1.0, 1.0)) * np.array([-1.0, 1.0])
        first[(first < -1e-6) | (first > np.pi + 1e-6)] = np.nan
        return memory | {
            "step": np.where(done, 0, memory["step"] + 1),
            "episode": memory["episode"] + done,
            "candidates": np.where(has_candidate, remaining, np.where(rewarded, first, np.nan)),
        }


@cache
def sweeps() -> Array:
    """[3, 20, 2] positions after each step of three paths that together have the whole arc in reach.

    The first has 72 % of the arc in reach, as much as any path that was found. A numerical search (sequential quadratic
    programming over all positions, ten random starts for every step at which the arc can be reached first, what is in
    reach at each step being joined without a gap) always came back to a path from (.586, .6) at step 6 to
    (-.814, .336) at step 20. Only these two ends matter; the curve between them is a simple one that leaves no gap. The
    other two paths cover what is left of the arc.
    """
    step = np.arange(1, 21)
    x = np.interp(step, [0, 6, 20], [0.0, 0.586, -0.814])
    circle, line = np.sqrt(0.586**2 + 0.6**2 - np.minimum(x**2, 0.25)), x + 1.15  # y on both parts of the curve
    first = np.stack([x, np.where(step <= 6, 0.1 * step, np.where(x > -0.45, circle, line))], axis=1)
    second = np.stack(
        [np.interp(step, [0, 9, 13], [0.0, 0.9, 0.85]), np.interp(step, [0, 9, 13], [0, 0.1, 0.45])], axis=1
    )
    third = np.stack([np.interp(step, [0, 10], y) for y in ([0.0, -0.95], [0.0, 0.15])], axis=1)
    paths = np.stack([first, second, third])
    paths.setflags(write=False)
    return paths
