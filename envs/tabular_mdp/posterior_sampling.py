"""Posterior sampling in tabular MDPs, which plans anew before every episode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincinv, ndtri

from kshot import seeding
from kshot.envs._mdps import MDP, optimal_actions
from kshot.types import Array, Memory


@dataclass(frozen=True)
class PosteriorSampling:
    """Draw an MDP from the posterior before every episode and play it optimally (Osband et al. 2013, arXiv 1306.0940).

    The prior is the family's own: flat Dirichlet transitions, N(1, 1) mean rewards, noise of variance 1. Without keys
    the posterior's mean stands for the draw. Where the last step of an episode led to is not seen by any policy.
    """

    states: int
    actions: int
    horizon: int

    @property
    def trial_memory(self) -> bool:
        return True

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        lead, pair = (n_tasks, n_copies), (self.states, self.actions)
        memory = {
            "went": np.zeros((*lead, *pair, self.states)),  # transitions seen
            "taken": np.zeros((*lead, *pair)),
            "earned": np.zeros((*lead, *pair)),
            "state": np.zeros(lead, dtype=np.int64),
            "step": np.zeros(lead, dtype=np.int64),
            "episode": np.zeros(lead, dtype=np.int64),
        }
        if keys is not None:
            memory["key"] = np.asarray(keys, dtype=np.uint64)
        return {**memory, "plan": self._plan(memory)}

    def _plan(self, memory: Memory) -> Array:
        """[T, C, H, S] optimal actions of an MDP drawn from each posterior."""
        lead = memory["step"].shape
        concentration, precision = 1.0 + memory["went"], 1.0 + memory["taken"]
        mean = (1.0 + memory["earned"]) / precision
        if "key" in memory:
            key = seeding.split(memory["key"], memory["episode"])[..., None]
            share = seeding.uniform(key, np.arange(concentration[0, 0].size)).reshape(concentration.shape)
            weight = gammaincinv(concentration, share)  # gamma numbers divided by their sum are Dirichlet
            further = concentration[0, 0].size + np.arange(mean[0, 0].size)
            mean = mean + ndtri(seeding.uniform(key, further)).reshape(mean.shape) / np.sqrt(precision)
        else:
            weight = concentration
        probability = weight / weight.sum(axis=-1, keepdims=True)
        model = MDP(probability.reshape(-1, *probability.shape[2:]), mean.reshape(-1, *mean.shape[2:]))
        return np.moveaxis(optimal_actions(model, self.horizon), 0, 1).reshape(*lead, self.horizon, self.states)

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        state = obs[..., : self.states].argmax(axis=-1)
        followed = self._follow(memory, state)
        step = np.minimum(memory["step"], self.horizon - 1)[..., None, None]
        row = np.take_along_axis(memory["plan"], step, axis=2)[:, :, 0]
        action = np.take_along_axis(row, state[..., None], axis=2)[..., 0]
        return action, np.zeros(action.shape), {**followed, "state": state}

    def _follow(self, memory: Memory, state: Array) -> Memory:
        """Count the transition into ``state`` from the step before; none leads into the first step of an episode."""
        if "last" not in memory:
            return memory
        arrived = (memory["step"] > 0)[..., None, None, None]
        came_from = np.eye(self.states)[memory["state"]][..., :, None, None]
        by = np.eye(self.actions)[memory["last"]][..., None, :, None]
        into = np.eye(self.states)[state][..., None, None, :]
        return {**memory, "went": memory["went"] + arrived * came_from * by * into}

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        taken = np.eye(self.states)[memory["state"]][..., None] * np.eye(self.actions)[action][..., None, :]
        following = {
            **memory,
            "taken": memory["taken"] + taken,
            "earned": memory["earned"] + taken * reward[..., None, None],
            "last": action,
            "step": np.where(done, 0, memory["step"] + 1),
            "episode": memory["episode"] + done,
        }
        if not done.any():
            return following
        planned = self._plan(following)
        return {**following, "plan": np.where(done[..., None, None], planned, memory["plan"])}
