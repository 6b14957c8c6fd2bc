"""Searching a grid for the cell that pays: the moves, two scripted searchers and their exact values.

``kshot.envs.gridnavi`` is the family they belong to. Cells are (x, y); a goal is named by its index in ``GOALS``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kshot import seeding
from kshot.types import Array, Memory

SIDE = 5
MOVES = np.array([[0, 0], [0, 1], [1, 0], [0, -1], [-1, 0]])
"""[5, 2] what each action adds to the cell: stay, up, right, down, left. Walls stop."""
GOALS: tuple[tuple[int, int], ...] = tuple((x, y) for x in range(SIDE) for y in range(SIDE) if max(x, y) > 1)
"""All cells but the start (0, 0) and the three around it."""
CELLS = np.array([(x, y) for x in range(SIDE) for y in range(SIDE)])
"""[25, 2] all cells, numbered."""
SUCCESSOR = np.clip(CELLS[:, None] + MOVES, 0, SIDE - 1) @ np.array([SIDE, 1])
"""[25, 5] the number of the cell that each action leads to."""
REWARD, COST = 1.0, -0.1
"""Per step that ends on the goal, and per other step."""
SWEEP = np.array(
    [
        *[(0, 1), (0, 2), (0, 3), (0, 4), (1, 4), (1, 3), (1, 2), (2, 2)],
        *[(2, 1), (3, 1), (3, 2), (3, 3), (2, 3), (2, 4), (3, 4)],
    ]
)
"""[15, 2] the first episode of the Bayes-optimal policy: from step 2 on every cell is a new possible goal."""
REST = np.array([(1, 0), (2, 0), (3, 0), (4, 0), (4, 1), (4, 2), (4, 3), (4, 4)])
"""[8, 2] its second episode: the seven goals that are left, each at the first moment at which it can be reached."""


def distance(goal: tuple[int, int]) -> int:
    """Steps from the start."""
    return goal[0] + goal[1]


def moved(cell: Array, action: Array) -> Array:
    """The cells [..., 2] that ``action`` [...] leads to."""
    return np.asarray(np.clip(cell + MOVES[action], 0, SIDE - 1))


def towards(target: Array, cell: Array) -> Array:
    """[...] the action on the shortest way that goes along x first; both [..., 2]."""
    x, y = np.sign(target - cell)[..., 0], np.sign(target - cell)[..., 1]
    along_y = np.select([y > 0, y < 0], [1, 3], 0)
    return np.select([x > 0, x < 0], [2, 4], along_y).astype(np.int64)


@dataclass(frozen=True)
class BayesOptimal:
    """Follow ``SWEEP``, then ``REST``; stay where the reward is and go there directly in later episodes."""

    @property
    def trial_memory(self) -> bool:
        return True

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        lead = (n_tasks, n_copies)
        return {
            "step": np.zeros(lead, dtype=np.int64),
            "episode": np.zeros(lead, dtype=np.int64),
            "cell": np.zeros((*lead, 2), dtype=np.int64),
            "goal": np.full((*lead, 2), -1, dtype=np.int64),
        }

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        cell, step = obs.astype(np.int64), memory["step"]
        first = SWEEP[np.minimum(step, len(SWEEP) - 1)]
        second = REST[np.minimum(step, len(REST) - 1)]
        path = np.where(memory["episode"][..., None] % 2 == 0, first, second)
        action = towards(np.where(memory["goal"] >= 0, memory["goal"], path), cell)
        return action, np.zeros(step.shape), memory | {"cell": moved(cell, action)}

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return memory | {
            "step": np.where(done, 0, memory["step"] + 1),
            "episode": memory["episode"] + done,
            "goal": np.where((reward > 0.0)[..., None], memory["cell"], memory["goal"]),
        }


@dataclass(frozen=True)
class PosteriorSampling:
    """Thompson sampling, one goal per episode: uniform among the goals not yet ruled out, or the known one.

    The agent walks to the sampled goal, along x first, and waits there, whatever it meets on the way; cells without
    reward are ruled out, the one with reward is known from the next episode on. Draws come from the keys given to
    ``start``; without keys each is the middle one.
    """

    @property
    def trial_memory(self) -> bool:
        return True

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        lead = (n_tasks, n_copies)
        memory = {
            "episode": np.zeros(lead, dtype=np.int64),
            "cell": np.zeros((*lead, 2), dtype=np.int64),
            "possible": np.ones((*lead, len(GOALS)), dtype=bool),
        }
        if keys is not None:
            memory["keys"] = np.asarray(keys, dtype=np.uint64)
        return memory | {"sample": _draw(memory)}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        cell = obs.astype(np.int64)
        action = towards(np.array(GOALS)[memory["sample"]], cell)
        return action, np.zeros(action.shape), memory | {"cell": moved(cell, action)}

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        here = (memory["cell"][..., None, :] == np.array(GOALS)).all(axis=-1)
        possible = memory["possible"] & (here == (reward > 0.0)[..., None])
        after = memory | {"possible": possible, "episode": memory["episode"] + done}
        return after | {"sample": np.where(done, _draw(after), memory["sample"])}


def _draw(memory: Memory) -> Array:
    """[T, C] index of a goal, uniform among the possible ones."""
    u = (
        seeding.uniform(memory["keys"], memory["episode"])
        if "keys" in memory
        else np.full(memory["episode"].shape, 0.5)
    )
    number = np.cumsum(memory["possible"], axis=-1)
    chosen = np.floor(u * number[..., -1]).astype(np.int64) + 1
    return np.asarray((number == chosen[..., None]).argmax(axis=-1))


def known_return(goal: tuple[int, int], horizon: int) -> float:
    """Episode return of going straight to ``goal`` and staying: no policy can do better."""
    late = min(distance(goal) - 1, horizon)
    return COST * late + REWARD * (horizon - late)


def random_return(goal: tuple[int, int], horizon: int) -> float:
    """Expected episode return of uniform random actions, by dynamic programming over the cells."""
    cells = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij"), axis=-1).reshape(-1, 2)
    chance, total = np.zeros(SIDE * SIDE), 0.0
    chance[0] = 1.0
    for _ in range(horizon):
        following = np.zeros_like(chance)
        for action in range(len(MOVES)):
            x, y = moved(cells, np.array(action)).T
            np.add.at(following, x * SIDE + y, chance / len(MOVES))
        chance = following
        total += COST + (REWARD - COST) * chance[goal[0] * SIDE + goal[1]]
    return total


def first_episode_bound(horizon: int) -> float:
    """No policy has a larger expected return in the first episode, the goal being uniform over ``GOALS``.

    A goal whose cell is entered for the first time at step t pays at most for the steps from t on. No goal can be
    entered at step 1, and at most one new one at each later step: at best there is one at every step from 2 on.
    """
    new = range(2, min(horizon, len(GOALS) + 1) + 1)
    met = sum(COST * (t - 1) + REWARD * (horizon - t + 1) for t in new)
    return (met + (len(GOALS) - len(new)) * COST * horizon) / len(GOALS)


def posterior_sampling_returns(horizon: int, episodes: int) -> Array:
    """[episodes] expected return of ``PosteriorSampling``, exact, the goal being uniform over ``GOALS``.

    While nothing is found the set of possible goals is a function of the samples drawn: the sets and their
    probabilities are carried from episode to episode.
    """
    paths = [_path(goal, horizon) for goal in GOALS]
    seen = [frozenset(cell for cell in path if cell in GOALS) for path in paths]
    unfound = {frozenset(GOALS): 1.0}  # possible goals: probability, the goal not found yet and uniform among them
    found = dict.fromkeys(GOALS, 0.0)
    returns = []
    for _ in range(episodes):
        total = sum(chance * known_return(goal, horizon) for goal, chance in found.items())
        following: dict[frozenset[tuple[int, int]], float] = {}
        for possible, chance in unfound.items():
            each = chance / len(possible) ** 2  # of one sample and one goal
            for index, goal in enumerate(GOALS):
                if goal not in possible:
                    continue
                hits = sum(paths[index].count(other) for other in possible)
                total += each * (len(possible) * COST * horizon + (REWARD - COST) * hits)
                for other in seen[index] & possible:
                    found[other] += each
                left = possible - seen[index]
                if left:
                    following[left] = following.get(left, 0.0) + each * len(left)
        unfound = following
        returns.append(total)
    return np.array(returns)


def _path(goal: tuple[int, int], horizon: int) -> list[tuple[int, int]]:
    """The cells after each step of the way to ``goal`` along x first."""
    cell, cells = np.zeros(2, dtype=np.int64), []
    for _ in range(horizon):
        cell = moved(cell, towards(np.array(goal), cell))
        cells.append((int(cell[0]), int(cell[1])))
    return cells
