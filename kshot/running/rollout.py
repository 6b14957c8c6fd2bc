"""Plays episodes, a fixed number per task: one call of the policy per time step serves all tasks and copies."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kshot import seeding
from kshot.types import Array, Episodes, Memory, Mode, Policy, Task, TaskFamily


def rollout(
    family: TaskFamily,
    policy: Policy,
    tasks: Sequence[Task],
    keys: seeding.Keys,
    copies: int,
    episodes: int = 1,
    mode: Mode = "sampled",
    policy_threads: int = 1,
) -> Episodes:
    """Play ``copies`` trials of ``episodes`` consecutive episodes on every task.

    Args:
        family: provides the environments.
        policy: its memory starts once per trial and is carried over the trial's episodes.
        tasks: T tasks.
        keys: [T] one random key per task, from which action noise and the environments' own randomness derive: the
            episodes of a task do not depend on what other tasks are played beside it.
        copies: trials per task, played side by side.
        episodes: episodes per trial, played one after the other.
        mode: "sampled" or "mean" actions.
        policy_threads: threads of the policy's computations. More than one is slower at the reference sizes
            (``benchmarks/collection.py``): having computed a small network they wait actively for the next one, on the
            cores that the simulation needs.

    Returns:
        Episodes with E = copies * episodes, trial by trial; observations and rewards in single precision.
    """
    spec = family.spec
    n_tasks, horizon = len(tasks), spec.horizon
    lead = (n_tasks, copies)
    discrete = spec.action_kind == "discrete"
    shape = (n_tasks, copies, episodes, horizon)
    obs_buffer = np.zeros((*shape, spec.observation_dim), dtype=np.float32)
    action_buffer = np.zeros(shape if discrete else (*shape, spec.action_dim), np.int64 if discrete else np.float32)
    reward_buffer, log_prob_buffer = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    training_buffer = reward_buffer  # one array for both, unless the family distinguishes them
    flags = {name: np.zeros(shape, dtype=bool) for name in ("terminated", "truncated", "mask", "success")}
    final_obs = np.zeros((n_tasks, copies, episodes, spec.observation_dim), dtype=np.float32)
    optimal_return, stage = np.full(shape[:3], np.nan), np.full(shape[:3], -1, dtype=np.int64)

    trial_keys = seeding.split(np.asarray(keys, dtype=np.uint64)[:, None], np.arange(copies)[None, :])  # [T, C]
    noise_keys = seeding.split(trial_keys, 0)
    # Gymnasium's vector environments take one seed per sub-environment, though the base class is typed for one alone.
    env_seeds: Any = [int(value) for value in seeding.split(trial_keys, 1).reshape(-1) >> np.uint64(1)]
    memory = policy.start(n_tasks, copies, seeding.split(trial_keys, 2))
    with _torch_threads(policy_threads), contextlib.closing(family.vector_env(tasks, copies)) as env:
        for episode in range(episodes):
            raw_obs, reset_info = env.reset(seed=env_seeds if episode == 0 else None)
            if "optimal_return" in reset_info:
                optimal_return[:, :, episode] = np.asarray(reset_info["optimal_return"]).reshape(lead)
            obs = np.asarray(raw_obs).reshape(*lead, -1)
            active = np.ones(lead, dtype=bool)
            final_obs[:, :, episode] = obs
            for t in range(horizon):
                step_noise = None
                if mode == "sampled":
                    step_noise = seeding.noise(noise_keys, episode * horizon + t, spec.action_dim, spec.action_kind)
                action, log_prob, memory_after_act = policy.act(obs, memory, step_noise)
                raw_obs, reward, terminated, truncated, info = env.step(
                    action.reshape(n_tasks * copies, *action.shape[2:])
                )
                reward, terminated, truncated = (np.asarray(x).reshape(lead) for x in (reward, terminated, truncated))
                done = terminated | truncated
                new_memory = policy.observe(memory_after_act, action, reward, done)
                memory = new_memory if active.all() else select_memory(active, new_memory, memory)

                obs_buffer[:, :, episode, t] = obs
                action_buffer[:, :, episode, t] = action
                reward_buffer[:, :, episode, t] = np.where(active, reward, 0.0)
                if "training_reward" in info:
                    if training_buffer is reward_buffer:
                        training_buffer = np.zeros(shape, np.float32)
                    training_reward = np.asarray(info["training_reward"]).reshape(lead)
                    training_buffer[:, :, episode, t] = np.where(active, training_reward, 0.0)
                if "stage" in info:
                    step_stage = np.where(active, np.asarray(info["stage"]).reshape(lead), -1)
                    stage[:, :, episode] = np.maximum(stage[:, :, episode], step_stage)
                log_prob_buffer[:, :, episode, t] = log_prob
                flags["mask"][:, :, episode, t] = active
                success = np.asarray(info["success"]).reshape(lead)
                for name, value in (("terminated", terminated), ("truncated", truncated), ("success", success)):
                    flags[name][:, :, episode, t] = value & active
                obs = np.asarray(raw_obs).reshape(*lead, -1)
                final_obs[:, :, episode] = np.where(active[..., None], obs, final_obs[:, :, episode])
                active = active & ~done
                if not active.any():
                    break

    def merged(array: Array) -> Array:
        """[T, C, episodes, ...] -> [T, C * episodes, ...]."""
        return array.reshape(n_tasks, copies * episodes, *array.shape[3:])

    return Episodes(
        obs=merged(obs_buffer),
        action=merged(action_buffer),
        reward=merged(reward_buffer),
        log_prob=merged(log_prob_buffer),
        final_obs=merged(final_obs),
        training_reward=merged(training_buffer),
        optimal_return=merged(optimal_return),
        stage=merged(stage),
        **{name: merged(value) for name, value in flags.items()},
    )


@contextlib.contextmanager
def _torch_threads(n: int) -> Iterator[None]:
    torch = sys.modules.get("torch")  # scripted policies do without it; loading it would take most of their time
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def select_memory(condition: Array, new: Memory, old: Memory) -> Memory:
    """``new`` memory where ``condition`` [T, C] is True, else ``old``."""
    return {
        name: np.where(condition.reshape(*condition.shape, *(1,) * (value.ndim - 2)), value, old[name])
        for name, value in new.items()
    }
