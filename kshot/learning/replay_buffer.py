"""Experience on a fixed set of tasks, kept for off-policy learning: one ring of transitions per task."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from kshot.ram import RAM_SHARE, ram_limit
from kshot.types import Array, Episodes, FamilySpec

_BYTES = np.dtype(np.float32).itemsize


class BufferTooLarge(OSError):
    """The replay buffer would not fit in memory. An OSError: the system could not give what was asked for."""


class Transitions(NamedTuple):
    """Steps taken, each with any leading axes [...]: obs [..., D], action [..., A], next_obs [..., D], others [...].

    ``reward`` is evidence (what a policy adapts on), ``training_reward`` what is optimised; ``terminated`` (0 or 1) is
    an end of the task itself, never a time limit.
    """

    obs: Array
    action: Array
    reward: Array
    training_reward: Array
    next_obs: Array
    terminated: Array


def next_observations(episodes: Episodes) -> Array:
    """[T, E, H, D] the observation after each step; of the last step taken it is ``final_obs``."""
    following = np.concatenate([episodes.obs[:, :, 1:], episodes.final_obs[:, :, None]], axis=2)
    last = np.arange(episodes.obs.shape[2]) == episodes.lengths[..., None] - 1
    return np.where(last[..., None], episodes.final_obs[:, :, None], following)


def transitions(episodes: Episodes) -> Transitions:
    """The steps of continuous-action episodes with leading axes [T, E, H], padding included (see ``episodes.mask``)."""
    return Transitions(
        episodes.obs,
        episodes.action,
        episodes.reward,
        episodes.training_reward,
        next_observations(episodes),
        episodes.terminated,
    )


def buffer_bytes(spec: FamilySpec, n_tasks: int, capacity: int) -> int:
    """Memory of a full ``ReplayBuffer``, in bytes."""
    return n_tasks * capacity * (2 * spec.observation_dim + spec.action_dim + 3) * _BYTES


def require_ram(needed: int, advice: str) -> None:
    """Raise BufferTooLarge, in one line with the sizes in GB and ``advice``, when ``needed`` bytes do not fit."""
    limit = int(ram_limit() * RAM_SHARE)
    if needed > limit:
        raise BufferTooLarge(
            f"the replay buffer needs {needed / 1e9:.1f} GB when full, but {limit / 1e9:.1f} GB "
            f"({RAM_SHARE:.0%} of this machine's memory) can be used; {advice}"
        )


class ReplayBuffer:
    """Transitions of ``n_tasks`` tasks, at most ``capacity`` each; the oldest of a task make room for its new ones.

    One row per transition holds all its fields, so that a batch is one gather. The memory is claimed as it fills.
    """

    def __init__(self, spec: FamilySpec, n_tasks: int, capacity: int) -> None:
        widths = (spec.observation_dim, spec.action_dim, 1, 1, spec.observation_dim, 1)
        edges = np.cumsum((0, *widths))
        self._columns = [slice(int(low), int(high)) for low, high in itertools.pairwise(edges)]
        self._rows = np.zeros((n_tasks, capacity, int(edges[-1])), dtype=np.float32)
        self._next = np.zeros(n_tasks, dtype=np.int64)  # where each task's next transition goes
        self.size = np.zeros(n_tasks, dtype=np.int64)
        """[n_tasks] transitions held."""

    @property
    def capacity(self) -> int:
        return int(self._rows.shape[1])

    def add(self, tasks: Array, episodes: Episodes) -> None:
        """Append the steps really taken. ``tasks`` [T] are the distinct indices of the episodes' tasks."""
        if len(np.unique(tasks)) != len(tasks) or len(tasks) != episodes.n_tasks:
            raise ValueError(f"expected {episodes.n_tasks} distinct tasks, got {list(tasks)}")
        steps = transitions(episodes)
        width = self._rows.shape[2]
        rows = np.concatenate(
            [np.asarray(x, np.float32).reshape(*episodes.mask.shape, -1) for x in steps], axis=-1
        ).reshape(len(tasks), -1, width)
        mask = episodes.mask.reshape(len(tasks), -1)
        count = mask.sum(axis=1)
        order = np.cumsum(mask, axis=1) - 1  # of each step among its task's new ones
        kept = mask & (order >= count[:, None] - self.capacity)  # no slot is written twice
        slot = (self._next[tasks, None] + order) % self.capacity
        task = np.broadcast_to(np.asarray(tasks)[:, None], slot.shape)
        self._rows[task[kept], slot[kept]] = rows[kept]
        self._next[tasks] = (self._next[tasks] + count) % self.capacity
        self.size[tasks] = np.minimum(self.size[tasks] + count, self.capacity)

    def clear(self, tasks: Array) -> None:
        """Forget all transitions of some tasks."""
        self._next[tasks] = 0
        self.size[tasks] = 0

    def take(self, tasks: Array, index: Array) -> Transitions:
        """Transitions [M, n] at positions ``index`` [M, n] of ``tasks`` [M], in order of time until a ring wraps."""
        flat = self._rows.reshape(-1, self._rows.shape[2])
        rows = flat[np.asarray(tasks)[:, None] * self.capacity + index]
        obs, action, reward, training_reward, next_obs, terminated = (rows[..., columns] for columns in self._columns)
        return Transitions(obs, action, reward[..., 0], training_reward[..., 0], next_obs, terminated[..., 0])

    def sample(self, rng: np.random.Generator, tasks: Array, n: int) -> Transitions:
        """``n`` transitions of each of ``tasks`` [M], uniform with replacement: leading axes [M, n].

        Raises:
            ValueError: one of the tasks has none.
        """
        size = self.size[tasks]
        if not size.all():
            raise ValueError(f"no transitions of task {int(np.asarray(tasks)[size == 0][0])} to sample from")
        return self.take(tasks, rng.integers(0, size[:, None], size=(len(size), n)))

    def state_dict(self) -> dict[str, Any]:
        """What has been filled, as tensors: rows task by task, and where each task's ring stands."""
        filled = np.concatenate([rows[:size] for rows, size in zip(self._rows, self.size, strict=True)])
        return {
            "rows": torch.from_numpy(filled),
            "size": torch.from_numpy(self.size.copy()),
            "next": torch.from_numpy(self._next.copy()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned. Raises ValueError when it comes from a buffer of another shape."""
        rows, size = state["rows"].numpy(), state["size"].numpy()
        if size.shape != self.size.shape or rows.shape[1] != self._rows.shape[2] or size.max() > self.capacity:
            raise ValueError(f"a replay buffer of shape {self._rows.shape} cannot hold the saved one")
        for task, part in enumerate(np.split(rows, np.cumsum(size)[:-1])):
            self._rows[task, : len(part)] = part
        self.size[:] = size
        self._next[:] = state["next"].numpy()
