"""Trials kept for off-policy learning with memory: a ring of sequences, of whatever tasks they were played on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from kshot.learning.replay_buffer import require_ram
from kshot.learning.trials import Trials
from kshot.types import Array

_BYTES = np.dtype(np.float32).itemsize


class TrialReplay:
    """The last ``capacity`` trials of at most ``steps`` steps, as recurrent networks read them.

    Attributes:
        inputs: [capacity, steps + 1, width] what the network sees at each step (the last action and reward among it),
            and behind a trial's last step what it sees of that one.
        reward: [capacity, steps] the learning signal.
        lengths: [capacity] steps of each trial.
        size: trials held: the first rows.

    The memory is claimed as it fills.

    Raises:
        BufferTooLarge: when full it would not fit in memory.
    """

    def __init__(self, capacity: int, steps: int, width: int) -> None:
        require_ram(capacity * ((steps + 1) * width + steps) * _BYTES, "lower replay_trials")
        # NumPy's zeros are not touched before they are written to, PyTorch's are.
        self.inputs = torch.from_numpy(np.zeros((capacity, steps + 1, width), np.float32))
        self.reward = torch.from_numpy(np.zeros((capacity, steps), np.float32))
        self.lengths = np.zeros(capacity, np.int64)
        self.size = 0
        self._next = 0  # where the next trial goes

    def add(self, trials: Trials) -> None:
        """Keep B trials; the oldest make room."""
        capacity = len(self.lengths)
        kept = np.arange(len(trials.lengths))[-capacity:]
        rows = (self._next + np.arange(len(kept))) % capacity
        self.inputs[rows] = trials.inputs[kept].cpu()
        self.reward[rows] = torch.as_tensor(trials.reward[kept], dtype=torch.float32)
        self.lengths[rows] = trials.lengths[kept]
        self._next = int((self._next + len(kept)) % capacity)
        self.size = min(self.size + len(kept), capacity)

    def draw(self, rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        """Trial and step [n] of steps drawn uniformly, with replacement, from all that are held."""
        ends = np.cumsum(self.lengths[: self.size])
        index = rng.integers(0, ends[-1], n)
        row = np.searchsorted(ends, index, side="right")
        return row, index - (ends - self.lengths[: self.size])[row]

    def state_dict(self) -> dict[str, Any]:
        """What has been filled."""
        return {
            "inputs": self.inputs[: self.size].clone(),
            "reward": self.reward[: self.size].clone(),
            "lengths": torch.from_numpy(self.lengths[: self.size].copy()),
            "next": self._next,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned. Raises ValueError when it comes from a replay of another shape."""
        inputs = state["inputs"]
        if inputs.shape[1:] != self.inputs.shape[1:] or len(inputs) > len(self.inputs):
            raise ValueError(f"a replay of trials of shape {tuple(self.inputs.shape)} cannot hold the saved one")
        self.size = len(inputs)
        self.inputs[: self.size] = inputs
        self.reward[: self.size] = state["reward"]
        self.lengths[: self.size] = state["lengths"].numpy()
        self._next = state["next"]
