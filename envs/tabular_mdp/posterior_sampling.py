"""Posterior sampling in tabular MDPs: a scripted policy that learns over a trial."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincinv, ndtri

from kshot import seeding
from kshot.envs._mdps import MDP, optimal_actions
from kshot.types import Array, Memory


@dataclass(frozen=True)
class PosteriorSampling:
    """Sample an MDP from the posterior before each episode and play it optimally (Osband et al. 2013, arXiv 1306.0940).

    The prior is the family's own: flat Dirichlet transitions, N(1, 1) mean rewards, noise of variance 1. Without keys
    the MDP is the posterior's mean instead of a sample. The transition of an episode's last step does not count: no
    policy observes where it leads.

    Attributes:
        states: S.
        actions: A.
        horizon: H, steps of an episode.
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
            "transitions": np.zeros((*lead, *pair, self.states)),  # counts of (state, action, next state)
            "visits": np.zeros((*lead, *pair)),  # counts of (state, action)
            "rewards": np.zeros((*lead, *pair)),  # sums over those visits
            "state": np.zeros(lead, dtype=np.int64),
            "step": np.zeros(lead, dtype=np.int64),
            "episode": np.zeros(lead, dtype=np.int64),
        }
        if keys is not None:
            memory["key"] = np.asarray(keys, dtype=np.uint64)
        return {**memory, "plan": self._plan(memory)}

    def _plan(self, memory: Memory) -> Array:
        """[T, C, H, S] optimal actions of an MDP sampled from each posterior."""
        lead = memory["step"].shape
        concentration, precision = 1.0 + memory["transitions"], 1.0 + memory["visits"]
        mean = (1.0 + memory["rewards"]) / precision
        if "key" in memory:
            key = seeding.split(memory["key"], memory["episode"])[..., None]
            counters = np.arange(concentration[0, 0].size)
            uniform = seeding.uniform(key, counters).reshape(concentration.shape)
            weight = gammaincinv(concentration, uniform)  # gamma numbers divided by their sum are Dirichlet
            reward_counters = len(counters) + np.arange(mean[0, 0].size)
            mean = mean + ndtri(seeding.uniform(key, reward_counters)).reshape(mean.shape) / np.sqrt(precision)
        else:
            weight = concentration
        probability = weight / weight.sum(axis=-1, keepdims=True)
        model = MDP(probability.reshape(-1, *probability.shape[2:]), mean.reshape(-1, *mean.shape[2:]))
        return np.moveaxis(optimal_actions(model, self.horizon), 0, 1).reshape(*lead, self.horizon, self.states)

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        state = obs[..., : self.states].argmax(axis=-1)
        counted = self._count_transition(memory, state)
        step = np.minimum(memory["step"], self.horizon - 1)[..., None, None]
        plan = np.take_along_axis(memory["plan"], step, axis=2)[:, :, 0]  # [T, C, S] of this step
        action = np.take_along_axis(plan, state[..., None], axis=2)[..., 0]
        return action, np.zeros(action.shape), {**counted, "state": state}

    def _count_transition(self, memory: Memory, next_state: Array) -> Memory:
        """Count the transition into ``next_state`` [T, C]; none leads into the first state of an episode."""
        if "last_action" not in memory:
            return memory
        within_episode = (memory["step"] > 0)[..., None, None, None]
        state = np.eye(self.states)[memory["state"]][..., :, None, None]
        action = np.eye(self.actions)[memory["last_action"]][..., None, :, None]
        next_one_hot = np.eye(self.states)[next_state][..., None, None, :]
        transition = within_episode * state * action * next_one_hot
        return {**memory, "transitions": memory["transitions"] + transition}

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        visit = np.eye(self.states)[memory["state"]][..., None] * np.eye(self.actions)[action][..., None, :]
        updated = {
            **memory,
            "visits": memory["visits"] + visit,
            "rewards": memory["rewards"] + visit * reward[..., None, None],
            "last_action": action,
            "step": np.where(done, 0, memory["step"] + 1),
            "episode": memory["episode"] + done,
        }
        if not done.any():
            return updated
        plan = self._plan(updated)
        return {**updated, "plan": np.where(done[..., None, None], plan, memory["plan"])}
