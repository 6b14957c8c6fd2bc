"""Posterior sampling where only rewards are unknown: a scripted policy for the table of random rewards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kshot import seeding
from kshot.envs.random_reward import discriminators
from kshot.envs.random_reward.process import Process
from kshot.types import Array, Memory


@dataclass(frozen=True)
class PosteriorSampling:
    """Sample all rewards from the posterior before each episode and play it optimally (Osband et al. 2013).

    The rewards of the table's states are independent and seen without noise: a state's reward is known once a step has
    led there, and until then it is as likely as before. So a sample is a new discriminator, and what is known of the
    task's own. Without keys, unknown rewards are the mean of many. No policy observes where an episode's last step led.

    Attributes:
        process: a table.
        horizon: H, steps of an episode.
        skills: outputs of the discriminators.
        scale: of their logits.
    """

    process: Process
    horizon: int
    skills: int
    scale: float

    @property
    def trial_memory(self) -> bool:
        return True

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        lead, states = (n_tasks, n_copies), self.process.n_states
        memory = {
            "known": np.zeros((*lead, states), dtype=bool),
            "reward": np.zeros((*lead, states)),
            "last": np.zeros(lead),  # reward of the last step
            "step": np.zeros(lead, dtype=np.int64),
            "episode": np.zeros(lead, dtype=np.int64),
        }
        if keys is not None:
            memory["key"] = np.asarray(keys, dtype=np.uint64)
        return memory | {"plan": self._plan(memory)}

    def _plan(self, memory: Memory) -> Array:
        """[T, C, H, S] optimal actions for rewards sampled from each posterior."""
        lead, states = memory["step"].shape, self.process.n_states
        if "key" in memory:
            keys = seeding.split(memory["key"], memory["episode"]).reshape(-1)
            guess = discriminators.of_states(keys, states, self.skills, self.scale).reshape(*lead, states)
        else:
            many = seeding.split(seeding.key("random_reward", "prior"), np.arange(1024))
            guess = discriminators.of_states(many, 1, self.skills, self.scale).mean()
        reward = np.where(memory["known"], memory["reward"], guess)
        actions = self.process.optimal_actions(reward.reshape(-1, states), self.horizon)
        return np.moveaxis(actions, 0, 1).reshape(*lead, self.horizon, states)

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        state = obs.argmax(axis=-1)
        here = np.eye(self.process.n_states, dtype=bool)[state] & (memory["step"] > 0)[..., None]
        known = memory["known"] | here
        reward = np.where(here, memory["last"][..., None], memory["reward"])
        step = np.minimum(memory["step"], self.horizon - 1)[..., None, None]
        plan = np.take_along_axis(memory["plan"], step, axis=2)[:, :, 0]
        action = np.take_along_axis(plan, state[..., None], axis=2)[..., 0]
        return action, np.zeros(action.shape), memory | {"known": known, "reward": reward}

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        updated = memory | {
            "last": np.asarray(reward, dtype=np.float64),
            "step": np.where(done, 0, memory["step"] + 1),
            "episode": memory["episode"] + done,
        }
        if not done.any():
            return updated
        return updated | {"plan": np.where(done[..., None, None], self._plan(updated), memory["plan"])}
