"""The grid of GridNavi: its moves, two scripted policies that search it, and exact values.

``kshot.envs.gridnavi`` is the family they belong to. A position is the cell (x, y) that the agent is on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kshot import seeding
from kshot.types import Array, Memory

SIDE = 5
MOVES = np.array([[0, 0], [0, 1], [1, 0], [0, -1], [-1, 0]])
"""[5, 2] what each action adds to the position: stay, up, right, down, left. A move into a wall is stopped by it."""
GOALS: tuple[tuple[int, int], ...] = tuple((x, y) for x in range(SIDE) for y in range(SIDE) if max(x, y) > 1)
"""All cells but the start (0, 0) and the three around it."""
CELLS = np.array([(x, y) for x in range(SIDE) for y in range(SIDE)])
"""[25, 2] all cells; their order numbers them."""
SUCCESSOR = np.clip(CELLS[:, None] + MOVES, 0, SIDE - 1) @ np.array([SIDE, 1])
"""[25, 5] the number of the cell that each action leads to."""
GOAL_REWARD, OTHER_REWARD = 1.0, -0.1
"""Per step that ends on the goal, and per other step."""
FIRST_PATH = np.array(
    [
        *[(0, 1), (0, 2), (0, 3), (0, 4), (1, 4), (1, 3), (1, 2), (2, 2)],
        *[(2, 1), (3, 1), (3, 2), (3, 3), (2, 3), (2, 4), (3, 4)],
    ]
)
"""[15, 2] the first episode of the Bayes-optimal policy: from step 2 on every cell is a new possible goal."""
SECOND_PATH = np.array([(1, 0), (2, 0), (3, 0), (4, 0), (4, 1), (4, 2), (4, 3), (4, 4)])
"""[8, 2] its second episode: the seven goals that are left, each at the earliest step at which it can be reached."""


def steps_from_start(goal: tuple[int, int]) -> int:
    """Fewest steps from the start to ``goal``."""
    return goal[0] + goal[1]


def next_position(position: Array, action: Array) -> Array:
    """The positions [..., 2] that actions [...] lead to."""
    return np.asarray(np.clip(position + MOVES[action], 0, SIDE - 1))


def action_towards(target: Array, position: Array) -> Array:
    """[...] the next action of the shortest path from ``position`` to ``target``, both [..., 2], along x first."""
    x, y = np.sign(target - position)[..., 0], np.sign(target - position)[..., 1]
    along_y = np.select([y > 0, y < 0], [1, 3], 0)
    return np.select([x > 0, x < 0], [2, 4], along_y).astype(np.int64)


@dataclass(frozen=True)
class BayesOptimal:
    """Follow ``FIRST_PATH``, in the next episode ``SECOND_PATH``, until the goal is found; then go there and stay."""

    @property
    def trial_memory(self) -> bool:
        return True

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        lead = (n_tasks, n_copies)
        return {
            "step": np.zeros(lead, dtype=np.int64),
            "episode": np.zeros(lead, dtype=np.int64),
            "position": np.zeros((*lead, 2), dtype=np.int64),
            "goal": np.full((*lead, 2), -1, dtype=np.int64),  # -1 until it is found
        }

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        position, step = obs.astype(np.int64), memory["step"]
        first = FIRST_PATH[np.minimum(step, len(FIRST_PATH) - 1)]
        second = SECOND_PATH[np.minimum(step, len(SECOND_PATH) - 1)]
        on_path = np.where(memory["episode"][..., None] % 2 == 0, first, second)
        action = action_towards(np.where(memory["goal"] >= 0, memory["goal"], on_path), position)
        return action, np.zeros(step.shape), memory | {"position": next_position(position, action)}

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return memory | {
            "step": np.where(done, 0, memory["step"] + 1),
            "episode": memory["episode"] + done,
            "goal": np.where((reward > 0.0)[..., None], memory["position"], memory["goal"]),
        }


@dataclass(frozen=True)
class PosteriorSampling:
    """Thompson sampling: one goal per episode, sampled uniformly from those not ruled out.

    The agent walks to the sampled goal, along x first, and waits there, even if it meets the true goal on the way. What
    it saw decides the next sample: cells without reward are ruled out, and after a reward all others. Samples come from
    the keys given to ``start``; without keys each is the middle one.
    """

    @property
    def trial_memory(self) -> bool:
        return True

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        lead = (n_tasks, n_copies)
        memory = {
            "episode": np.zeros(lead, dtype=np.int64),
            "position": np.zeros((*lead, 2), dtype=np.int64),
            "possible": np.ones((*lead, len(GOALS)), dtype=bool),
        }
        if keys is not None:
            memory["keys"] = np.asarray(keys, dtype=np.uint64)
        return memory | {"sample": _sample_goal(memory)}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        position = obs.astype(np.int64)
        action = action_towards(np.array(GOALS)[memory["sample"]], position)
        return action, np.zeros(action.shape), memory | {"position": next_position(position, action)}

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        on_goal = (memory["position"][..., None, :] == np.array(GOALS)).all(axis=-1)
        possible = memory["possible"] & (on_goal == (reward > 0.0)[..., None])
        updated = memory | {"possible": possible, "episode": memory["episode"] + done}
        return updated | {"sample": np.where(done, _sample_goal(updated), memory["sample"])}


def _sample_goal(memory: Memory) -> Array:
    """[T, C] index in ``GOALS``, uniform over the goals that are still possible."""
    uniform = (
        seeding.uniform(memory["keys"], memory["episode"])
        if "keys" in memory
        else np.full(memory["episode"].shape, 0.5)
    )
    count = np.cumsum(memory["possible"], axis=-1)
    chosen = np.floor(uniform * count[..., -1]).astype(np.int64) + 1
    return np.asarray((count == chosen[..., None]).argmax(axis=-1))


def optimal_return(goal: tuple[int, int], horizon: int) -> float:
    """The largest possible episode return for ``goal``: that of going straight there and staying."""
    before = min(steps_from_start(goal) - 1, horizon)
    return OTHER_REWARD * before + GOAL_REWARD * (horizon - before)


def random_return(goal: tuple[int, int], horizon: int) -> float:
    """Expected episode return of uniform random actions, by dynamic programming over the cells."""
    probability, total = np.zeros(len(CELLS)), 0.0
    probability[0] = 1.0
    for _ in range(horizon):
        following = np.zeros_like(probability)
        for action in range(len(MOVES)):
            np.add.at(following, SUCCESSOR[:, action], probability / len(MOVES))
        probability = following
        total += OTHER_REWARD + (GOAL_REWARD - OTHER_REWARD) * probability[goal[0] * SIDE + goal[1]]
    return total


def first_episode_bound(horizon: int) -> float:
    """Upper bound on the expected return of any policy in the first episode, for a goal uniform over ``GOALS``.

    A goal that is first entered at step t pays at most for the steps from t on. No goal can be entered at step 1, and
    at most one new one at each later step: at best there is one at every step from 2 on.
    """
    first_entries = range(2, min(horizon, len(GOALS) + 1) + 1)
    entered = sum(OTHER_REWARD * (t - 1) + GOAL_REWARD * (horizon - t + 1) for t in first_entries)
    return (entered + (len(GOALS) - len(first_entries)) * OTHER_REWARD * horizon) / len(GOALS)
