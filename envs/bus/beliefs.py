"""What can be known of the buses, and what it is worth: Bayes-optimal values and policies, and posterior sampling.

All ids are equally likely. Knowledge of four lines is the set of those of the 24 orders of their destinations that fit
what was seen: 113 such sets can come about, since rides tell where single lines go. Values are exact, by dynamic
programming backwards over episodes, steps, knowledge, cells and goals. The last step of an episode tells nothing, since
no policy observes where it led.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from kshot import seeding
from kshot.envs.bus import city
from kshot.envs.bus.city import END, GOALS, LINES, MAP, RIDE, SIDE, START
from kshot.types import Array, Memory

CELLS = SIDE * SIDE


def cell_of(obs: Array) -> Array:
    """[...] numbers of the cells in observations [..., D]."""
    return np.asarray(obs[..., :SIDE].argmax(axis=-1) * SIDE + obs[..., SIDE : 2 * SIDE].argmax(axis=-1))


def goal_of(obs: Array) -> Array:
    """[...] numbers in ``city.GOALS`` of the goals in observations [..., D]."""
    return np.asarray(obs[..., 2 * SIDE + 1 :][..., : len(GOALS)].argmax(axis=-1))


class Knowledge(NamedTuple):
    """What can be known of four lines.

    Attributes:
        possible: [K, 24] whether each order is possible; row 0 is that of who knows nothing.
        single: [24] the row in which only that order is possible.
        ends: [8] the cells at both ends of the lines.
        after: [K, 8, 4] the row after a ride from each end, by outcome.
        to: [K, 8, 4] the cell that the outcome leads to.
        chance: [K, 8, 4] of the outcome; 0 where there are fewer than four.
    """

    possible: Array
    single: Array
    ends: Array
    after: Array
    to: Array
    chance: Array


@cache
def knowledge(table: tuple[tuple[int, ...], ...]) -> Knowledge:
    """All that rides can teach where ``table[order][cell]`` is where they lead to (``city.rides``)."""
    ride = np.array(table)
    ends = np.flatnonzero(ride[0] != np.arange(CELLS))
    rows = {frozenset(range(len(ride))): 0}
    outcomes = list[tuple[int, int, list[tuple[int, int, float]]]]()
    for known in (queue := list(rows)):
        for column, end in enumerate(ends):
            found = []
            for cell in np.unique(ride[list(known), end]):
                fitting = frozenset(order for order in known if ride[order, end] == cell)
                if fitting not in rows:
                    rows[fitting] = len(rows)
                    queue.append(fitting)
                found.append((rows[fitting], int(cell), len(fitting) / len(known)))
            outcomes.append((rows[known], column, found))
    after, to, chance = (np.zeros((len(rows), len(ends), 4), dtype=kind) for kind in (np.int64, np.int64, np.float64))
    for row, column, found in outcomes:
        for i, outcome in enumerate(found):
            after[row, column, i], to[row, column, i], chance[row, column, i] = outcome
    possible = np.array([[order in known for order in range(len(ride))] for known in rows])
    single = np.array([rows[frozenset([order])] for order in range(len(ride))])
    return Knowledge(possible, single, ends, after, to, chance)


@dataclass(frozen=True)
class Plan:
    """A Bayes-optimal plan.

    Attributes:
        value: largest expected total of the weighted returns of a trial, for ids and goals that are equally likely.
        knowledge: of the useful lines.
        actions: [E, H, K, 81, 4] an optimal action in each episode at each step, by knowledge, cell and goal; empty for
            the variant "distract".
    """

    value: float
    knowledge: Knowledge
    actions: Array


@cache
def plan(variant: city.Variant, mirrored: bool, horizon: int, weights: Sequence[float]) -> Plan:
    """The best that can be done in a trial, where the return of episode e counts ``weights[e]`` times.

    A second for two episodes of 20 steps, two minutes with distraction: what is known of the useless lines is then
    carried beside what is known of the useful ones.
    """
    useful = knowledge(_table(city.rides("plain", mirrored)))
    useless = knowledge(_table(city.rides("distract", mirrored)[::LINES], only=city.USELESS_STOPS))
    n, m = len(useful.possible), len(useless.possible) if variant == "distract" else 1
    single = useful.possible / useful.possible.sum(axis=1, keepdims=True) @ np.eye(n)[useful.single]  # [K, K]
    later = np.zeros((n, m))  # expected total of the episodes to come, by what is known
    kept = []
    for weight in weights[::-1]:
        value = np.broadcast_to(later[:, :, None, None], (n, m, CELLS, len(GOALS))).copy()
        for left in range(horizon):
            best, choice = np.full(value.shape, -np.inf), np.zeros(value.shape, dtype=np.int8)
            for action in range(END + 1):
                if action == RIDE:
                    # At the last step nothing is learnt, and elsewhere a ride does nothing.
                    q = value - 0.1 * weight
                    if left:
                        q[:, :, useful.ends] = _ridden(useful, value) - 0.1 * weight
                        if variant == "distract":
                            q[:, :, useless.ends] = _ridden(useless, value.swapaxes(0, 1)).swapaxes(0, 1) - 0.1 * weight
                elif action == END:
                    q = np.broadcast_to(later[:, :, None, None] - 0.1 * weight * (left + 1), value.shape)
                else:
                    after = city.walks()[:, action]
                    arrived = after[:, None] == GOALS
                    q = np.where(arrived, later[:, :, None, None] + weight, value[:, :, after] - 0.1 * weight)
                better = q > best
                best, choice = np.where(better, q, best), np.where(better, np.int8(action), choice)
            value = best
            if variant == "map":  # who is there sees the id
                value[:, :, MAP] = np.einsum("kj,jmg->kmg", single, value[:, :, MAP])
            if variant != "distract":
                kept.append(choice[:, 0])
        later = value[:, :, START].mean(axis=-1)
    shape = (len(weights), horizon, n, CELLS, len(GOALS))
    actions = np.stack(kept[::-1]).reshape(shape) if kept else np.zeros((0, *shape[1:]), dtype=np.int8)
    return Plan(float(later[0, 0]), useful, actions)


def _table(rides: Array, only: Sequence[tuple[int, int]] = ()) -> tuple[tuple[int, ...], ...]:
    """``rides`` as something that can be cached; with ``only``, of the lines that stop there."""
    if only:
        here, stops = np.arange(CELLS), np.array([x * SIDE + y for x, y in only])
        kept = np.tile(here, (len(rides), 1))
        for row, ride in zip(kept, rides, strict=True):
            row[stops], row[ride[stops]] = ride[stops], stops
        rides = kept
    return tuple(map(tuple, rides.tolist()))


def _ridden(lines: Knowledge, value: Array) -> Array:
    """[K, m, 8, 4] expected ``value`` [K, m, 81, 4] after a ride from each end."""
    total = np.zeros((len(value), value.shape[1], len(lines.ends), value.shape[3]))
    for outcome in range(lines.after.shape[2]):
        after, to, chance = (part[:, :, outcome] for part in (lines.after, lines.to, lines.chance))
        total += chance[:, None, :, None] * np.moveaxis(value[after, :, to], 2, 1)
    return total


@dataclass(frozen=True)
class Planning:
    """Follow a plan: optimal for who has seen what was seen since the trial began."""

    plan: Plan

    @property
    def trial_memory(self) -> bool:
        return True

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        names = ("step", "episode", "known", "cell", "action")
        return {name: np.zeros((n_tasks, n_copies), dtype=np.int64) for name in names}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        lines, cell = self.plan.knowledge, cell_of(obs)
        known = memory["known"]
        # What a ride from one of the lines' ends has shown.
        column = np.searchsorted(lines.ends, memory["cell"]).clip(max=len(lines.ends) - 1)
        fits = (lines.to[known, column] == cell[..., None]) & (lines.chance[known, column] > 0)
        rode = (memory["action"] == RIDE) & (memory["step"] > 0) & (lines.ends[column] == memory["cell"])
        after = np.take_along_axis(lines.after[known, column], fits.argmax(axis=-1)[..., None], axis=-1)[..., 0]
        known = np.where(rode & fits.any(axis=-1), after, known)
        seen = obs[..., 2 * SIDE + 1 + len(GOALS) :]
        if seen.shape[-1]:
            known = np.where(seen.any(axis=-1), lines.single[seen.argmax(axis=-1)], known)
        episodes, horizon = self.plan.actions.shape[:2]
        episode, step = np.minimum(memory["episode"], episodes - 1), np.minimum(memory["step"], horizon - 1)
        action = self.plan.actions[episode, step, known, cell, goal_of(obs)].astype(np.int64)
        return action, np.zeros(cell.shape), memory | {"known": known, "cell": cell, "action": action}

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return memory | {"step": np.where(done, 0, memory["step"] + 1), "episode": memory["episode"] + done}


@dataclass(frozen=True)
class PosteriorSampling:
    """Draw one of the ids that fit what was seen before each episode, and act as if it were true until it ends.

    Ways are shortest ways of the sampled city (``city.shortest``). Samples come from the keys given to ``start``;
    without keys each is the middle one of the possible ids.
    """

    variant: city.Variant
    mirrored: bool

    @property
    def trial_memory(self) -> bool:
        return True

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        lead = (n_tasks, n_copies)
        memory = {name: np.zeros(lead, dtype=np.int64) for name in ("step", "episode", "cell", "action")}
        memory["possible"] = np.ones((*lead, city.n_ids(self.variant)), dtype=bool)
        if keys is not None:
            memory["keys"] = np.asarray(keys, dtype=np.uint64)
        return memory | {"sample": _sample(memory)}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        cell, possible = cell_of(obs), memory["possible"]
        ride = city.rides(self.variant, self.mirrored)
        rode = (memory["action"] == RIDE) & (memory["step"] > 0)
        possible = possible & (~rode[..., None] | (ride.T[memory["cell"]] == cell[..., None]))
        seen = obs[..., 2 * SIDE + 1 + len(GOALS) :]
        if seen.shape[-1]:
            possible = np.where(seen.any(axis=-1, keepdims=True), seen > 0, possible)
        action = city.shortest(self.variant, self.mirrored)[memory["sample"], goal_of(obs), cell]
        return action, np.zeros(cell.shape), memory | {"possible": possible, "cell": cell, "action": action}

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        updated = memory | {"step": np.where(done, 0, memory["step"] + 1), "episode": memory["episode"] + done}
        return updated | {"sample": np.where(done, _sample(updated), memory["sample"])}


def _sample(memory: Memory) -> Array:
    """[T, C] an id, uniform over those that are possible."""
    chance = (
        seeding.uniform(memory["keys"], memory["episode"]) if "keys" in memory else np.full(memory["step"].shape, 0.5)
    )
    count = np.cumsum(memory["possible"], axis=-1)
    chosen = np.floor(chance * count[..., -1]).astype(np.int64) + 1
    return np.asarray((count == chosen[..., None]).argmax(axis=-1))
