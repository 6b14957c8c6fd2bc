"""Trials, the episodes of a task over which a recurrent policy keeps its memory, as sequences that networks read."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from kshot.learning import distributions
from kshot.learning.actor_critic import RecurrentNetwork
from kshot.learning.recurrent_policy import RecurrentPolicy
from kshot.types import Array, Episodes, Memory


@dataclass(frozen=True)
class Trials:
    """B trials as sequences of L steps, real steps first: all [B, L] but inputs [B, L + 1, I]; action as played.

    ``reward`` is the learning signal; ``left`` the share of the trial that is left before a step, all episodes counting
    alike; ``last`` [B] the action, reward and done that the step after the trial sees. That step's input follows the
    trial's last one: another episode on the task, which begins as the last one began.
    """

    inputs: Tensor
    left: Tensor
    action: Tensor
    reward: Array
    mask: Array
    lengths: Array
    last: Memory


def to_trials(policy: RecurrentPolicy, episodes: Episodes, trial_episodes: int, start: Memory) -> Trials:
    """Cut a batch of episodes into trials and shift actions, rewards and dones to where the policy saw them.

    Args:
        policy: encodes the inputs.
        episodes: [T, trials * trial_episodes, H], trial by trial.
        trial_episodes: consecutive episodes that share a memory.
        start: memory [T, trials] at the beginning of every trial (its action, reward and done are the first inputs).
    """
    n = episodes.n_tasks * episodes.n_episodes // trial_episodes

    def sequence(array: Array) -> Array:
        return array.reshape(n, -1, *array.shape[3:])

    mask = sequence(episodes.mask)
    # Episodes that end early leave gaps in the concatenated trial; moving real steps to the front closes them.
    order = None if mask.all() else np.argsort(~mask, axis=1, kind="stable")

    def compact(array: Array) -> Array:
        sequences = sequence(array)
        if order is None:
            return sequences
        return np.take_along_axis(sequences, order.reshape(*order.shape, *(1,) * (sequences.ndim - 2)), axis=1)

    mask, action = compact(episodes.mask), compact(episodes.action)
    following = policy.last_step(action, compact(episodes.reward), compact(episodes.terminated | episodes.truncated))
    rows, lengths = np.arange(n), mask.sum(axis=1)
    first = {name: start[name].reshape(n, 1, *start[name].shape[2:]) for name in following}
    seen = {name: np.concatenate([first[name], value[:, :-1]], axis=1) for name, value in following.items()}
    last = {name: value[rows, lengths - 1] for name, value in following.items()}
    inputs = pad(policy.inputs(compact(episodes.obs), **seen), (0, 0, 0, 1))
    restart = episodes.obs[:, trial_episodes - 1 :: trial_episodes, 0].reshape(n, -1)
    inputs[rows, lengths] = policy.inputs(restart, **last)
    return Trials(
        inputs=inputs,
        left=torch.as_tensor(compact(_left(episodes, trial_episodes))).to(inputs),
        action=torch.tensor(action, device=inputs.device),
        reward=compact(episodes.training_reward),
        mask=mask,
        lengths=lengths,
        last=last,
    )


def _left(episodes: Episodes, trial_episodes: int) -> Array:
    """[T, E, H] share of the trial that is left before each step."""
    episode = np.arange(episodes.n_episodes)[:, None] % trial_episodes
    begun = episode + np.arange(episodes.mask.shape[2]) / episodes.mask.shape[2]
    return np.broadcast_to(1 - begun / trial_episodes, episodes.mask.shape).copy()


class Reading(NamedTuple):
    """What a network says of trials: log_prob and value of every step [B, L], the value [B] of what comes after them.

    ``states`` [B, n_chunks, S] are those where the chunks' burn-ins begin.
    """

    log_prob: Tensor
    value: Tensor
    value_after: Tensor
    states: Tensor


@torch.no_grad()
def read(network: RecurrentNetwork, trials: Trials, chunk: int, burn_in: int) -> Reading:
    """Run trials through a network, chunk by chunk."""
    length = trials.mask.shape[1]
    begins = [max(0, at - burn_in) for at in range(0, length, chunk)]
    state = trials.inputs.new_zeros(trials.inputs.shape[0], network.state_size)
    left = pad(trials.left, (0, 1))
    log_probs, values, states = [], [], []
    for begin, end in itertools.pairwise([*begins, length + 1]):
        states.append(state)
        distribution, features, state = network(trials.inputs[:, begin:end], state)
        values.append(network.value(features, left[:, begin:end]))
        played = trials.action[:, begin:end]
        taken = tuple(parameter[:, : played.shape[1]] for parameter in distribution)
        log_probs.append(distributions.log_prob(taken, played))
    value = torch.cat(values, dim=1)
    after = value[np.arange(len(value)), trials.lengths]
    return Reading(torch.cat(log_probs, dim=1), value[:, :-1], after, torch.stack(states, dim=1))


@torch.no_grad()
def after_evidence(policy: RecurrentPolicy, evidence: Episodes) -> RecurrentPolicy:
    """The policy whose trials start from the memory left by the evidence's episodes, played in order."""
    start = policy.start(evidence.n_tasks, 1)
    trials = to_trials(policy, evidence, evidence.n_episodes, start)
    hidden = torch.as_tensor(start["hidden"]).to(trials.inputs).flatten(0, 1)
    # What all sequences have is read in one go; the rest step by step, keeping each one's state at its last step.
    steps = torch.as_tensor(trials.lengths, device=hidden.device)
    common, longest = int(trials.lengths.min()), int(trials.lengths.max())
    _, _, hidden = policy.network(trials.inputs[:, :common], hidden)
    for t in range(common, longest):
        _, _, following = policy.network(trials.inputs[:, t : t + 1], hidden)
        hidden = torch.where((t < steps).unsqueeze(-1), following, hidden)
    return replace(policy, memory={"hidden": hidden.cpu().numpy(), **trials.last})
