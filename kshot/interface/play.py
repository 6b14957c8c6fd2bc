"""One round of episodes as it is played: a step at a time, by a loop that is not kshot's."""

from __future__ import annotations

from typing import Any

import numpy as np

from kshot import seeding
from kshot.running.rollout import select_memory
from kshot.types import Array, Episodes, FamilySpec, Memory, Mode, Policy


class Play:
    """Episodes of T tasks x C copies side by side, from their first observation to the end of the last.

    What is recorded is what ``kshot.running.rollout`` records of the same steps, as far as learners get to see it at
    test (``Episodes.as_evidence``).

    Args:
        spec: of the family.
        memory: of the policy at the beginning.
        keys: [T, C] of the noise of actions.
    """

    def __init__(self, spec: FamilySpec, memory: Memory, keys: seeding.Keys) -> None:
        self._spec, self._memory, self._keys = spec, memory, keys
        self._active = np.ones(keys.shape, dtype=bool)
        self._rows: list[dict[str, Array]] = []
        self._pending: tuple[dict[str, Array], Memory] | None = None
        self._final: Array = np.zeros((*keys.shape, spec.observation_dim), dtype=np.float32)

    @property
    def asked(self) -> bool:
        """Whether there is an action whose outcome was not recorded."""
        return self._pending is not None

    @property
    def ended(self) -> bool:
        """Whether every episode has ended."""
        return not self._active.any()

    def act(self, policy: Policy, obs: Array, mode: Mode) -> Array:
        """Actions [T, C, ...] for observations [T, C, D]."""
        if self.asked:
            raise ValueError("the last action was not recorded: call record with what env.step returned")
        step, spec = len(self._rows), self._spec
        if step == spec.horizon:
            limit = f"episodes of {spec.name!r} have at most {spec.horizon} steps"
            raise ValueError(f"{limit}: have the environment truncate them (gymnasium.wrappers.TimeLimit)")
        noise = None
        if mode == "sampled":
            noise = seeding.noise(self._keys, step, spec.action_dim, spec.action_kind)
        action, log_prob, memory = policy.act(obs, self._memory, noise)
        self._pending = {"obs": obs, "action": action, "log_prob": log_prob}, memory
        return action

    def record(self, policy: Policy, obs: Array, reward: Array, terminated: Array, truncated: Array) -> None:
        """What the actions led to: [T, C, D] observations and [T, C] of all else."""
        assert self._pending is not None
        row, memory = self._pending
        self._pending = None
        done, active = terminated | truncated, self._active
        after = policy.observe(memory, row["action"], reward, done)
        self._memory = after if active.all() else select_memory(active, after, self._memory)
        flags = {"terminated": terminated & active, "truncated": truncated & active, "mask": active}
        self._rows.append(row | flags | {"reward": np.where(active, reward, 0.0)})
        self._final = np.where(active[..., None], obs, self._final)
        self._active = active & ~done

    def episodes(self) -> Episodes:
        """The episodes [T, C], padded to the horizon; nobody knows their success."""
        spec, steps = self._spec, len(self._rows)
        types: dict[str, Any] = {"action": np.int64 if spec.action_kind == "discrete" else np.float32}
        types |= {"obs": np.float32, "reward": np.float32, "log_prob": np.float32}
        columns = {}
        for name in self._rows[0]:
            stacked = np.stack([row[name] for row in self._rows], axis=2).astype(types.get(name, bool))
            padding = [(0, 0)] * stacked.ndim
            padding[2] = (0, spec.horizon - steps)
            columns[name] = np.pad(stacked, padding)
        success = np.zeros(columns["mask"].shape, dtype=bool)
        return Episodes(**columns, success=success, final_obs=self._final.astype(np.float32))
