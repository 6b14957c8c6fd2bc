"""A loop of PPO on ML10: steps per second with kshot's environment and with Metaworld's own, side by side.

``python -m benchmarks.ppo`` trains the same loop on both in turn, round by round in one process, and prints medians,
their ratio and a last line of JSON. Everything counts: the policy, the environment and the updates.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from typing import Any

import gymnasium as gym
import metaworld
import numpy as np
import torch
from torch import nn
from torch.distributions import Normal

from kshot import environments

REGISTERED = environments.__name__  # importing it is what registers the environments


def ppo(env: Any, updates: int, steps: int = 100, epochs: int = 4) -> list[float]:
    """Train a Gaussian policy on a vector environment by PPO; returns the mean reward of a step in each update."""

    def network(outputs: int) -> nn.Sequential:
        width = env.single_observation_space.shape[0]
        return nn.Sequential(nn.Linear(width, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))

    def policy(seen: torch.Tensor) -> Any:
        return Normal(actor(seen), log_std.exp())

    actor, critic, log_std = network(4), network(1), nn.Parameter(torch.zeros(4))
    adam = torch.optim.Adam([*actor.parameters(), *critic.parameters(), log_std], lr=3e-4)
    obs, history = env.reset()[0], []
    for _ in range(updates):
        steps_played = []
        with torch.no_grad():
            for _ in range(steps):
                seen = torch.as_tensor(obs, dtype=torch.float32)
                action = policy(seen).sample()
                obs, reward, terminated, truncated, info = env.step(action.clamp(-1, 1).numpy())
                after, done = obs.copy(), terminated | truncated
                for i in np.flatnonzero(done):  # the last observation of an episode, not the first of the next
                    after[i] = info["final_obs"][i]
                outcome = [torch.as_tensor(part) for part in (after, reward / 10, ~terminated, ~done)]
                steps_played.append((seen, action, policy(seen).log_prob(action).sum(-1), *outcome))
            columns = [torch.stack(column).float() for column in zip(*steps_played, strict=True)]
            seen, action, old, last, reward, alive, going = columns
            value = critic(seen)[..., 0]
            gain = reward + 0.99 * alive * critic(last)[..., 0] - value
            for t in reversed(range(steps - 1)):  # generalised advantage estimation
                gain[t] += 0.99 * 0.95 * going[t] * gain[t + 1]
            history.append(10 * reward.mean().item())
        data = [part.flatten(0, 1) for part in (seen, action, old, gain, value + gain)]
        for batch in (rows for _ in range(epochs) for rows in torch.randperm(len(data[0])).chunk(8)):
            seen, action, old, gain, target = (part[batch] for part in data)
            ratio = (policy(seen).log_prob(action).sum(-1) - old).exp()
            gain = (gain - gain.mean()) / (gain.std() + 1e-8)
            surrogate = torch.min(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()
            adam.zero_grad()
            ((critic(seen)[..., 0] - target).square().mean() - surrogate).backward()
            adam.step()
    return history


def contenders(n: int, threads: int) -> dict[str, Any]:
    """ML10-train with ``n`` sub-environments, made by Metaworld and by kshot, with goals drawn."""
    official: Any = metaworld.make_ml_envs_train("ML10", seed=1, meta_batch_size=n)
    official.call("sample_tasks")
    return {"official": official, "kshot": gym.make_vec("kshot/ML10-train", num_envs=n, seed=1, threads=threads)}


def measure(envs: dict[str, Any], rounds: int, updates: int, steps: int) -> dict[str, float]:
    """Median over ``rounds`` of the environment steps per second of ``updates`` updates."""
    rates: dict[str, list[float]] = {name: [] for name in envs}
    for env in envs.values():  # not counted: compilation, first placements
        ppo(env, 1, steps=2)
    for _ in range(rounds):
        for name, env in envs.items():
            begin = time.perf_counter()
            ppo(env, updates, steps)
            rates[name].append(updates * steps * env.num_envs / (time.perf_counter() - begin))
    return {name: statistics.median(found) for name, found in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=int, default=20, help="sub-environments, a multiple of 10")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="for kshot's physics")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=5, help="in each round")
    options = parser.parse_args()
    torch.set_num_threads(1)
    envs = contenders(options.envs, options.threads)
    found = measure(envs, options.rounds, options.updates, steps=100)
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.2f}, {options.threads} threads; steps per second of the whole loop")
    ratio = found["kshot"] / found["official"]
    print(f"official {found['official']:.0f}   kshot {found['kshot']:.0f}   ratio {ratio:.1f}")
    print(json.dumps({"cores": os.cpu_count(), "load": load, **found, "ratio": ratio}))
    for env in envs.values():
        env.close()


if __name__ == "__main__":
    main()
