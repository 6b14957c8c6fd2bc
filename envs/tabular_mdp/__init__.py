"""Random tabular MDPs: 10 states, 5 actions, unknown dynamics and rewards (Duan et al. 2016, RL^2, arXiv 1611.02779).

Definition as in the authors' code (florensacc/rllab-curriculum, sandbox/rocky/neural_learner,
random_tabular_mdp_env.py, section 3.2 of the paper): the next state's probabilities of every state and action are drawn
from a flat Dirichlet distribution, mean rewards from N(1, 1), the reward received is the mean plus N(0, 1); every
episode starts in state 0 and is truncated after 10 steps; n episodes make a trial. The best possible return of a known
task is exact by value iteration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from scipy.special import ndtri

from kshot import seeding
from kshot.envs import _experts as experts
from kshot.envs import _mdps as mdps
from kshot.envs._mdps import MDP
from kshot.envs._scripted import Scripted, constant_action, uniform_random
from kshot.envs._streams import Streams
from kshot.envs._worlds import TabularWorld
from kshot.envs.tabular_mdp.posterior_sampling import PosteriorSampling
from kshot.types import ActionKind, Array, Episodes, Evidence, FamilySpec, ReferencePolicy, Split, Task

ACTIONS: ActionKind = "discrete"
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts", "demonstrations"})


@dataclass(frozen=True)
class Settings:
    """The size of the problem.

    Attributes:
        states: number of states.
        actions: number of actions.
        horizon: steps after which an episode is truncated.
        episodes_per_trial: n, the length of a trial, in episodes.
        observe_dynamics: append the task's next-state probabilities to every observation, so that only its rewards are
            unknown. Planners need that.
        expert_beta: inverse temperature of the demonstrating expert, who is soft-optimal for beta times the reward.

    Raises:
        ValueError: ``states`` or ``actions`` < 2, a length < 1, or a negative ``expert_beta``.
    """

    states: int = 10
    actions: int = 5
    horizon: int = 10
    episodes_per_trial: int = 10
    observe_dynamics: bool = False
    expert_beta: float = 3.0

    def __post_init__(self) -> None:
        for name, minimum in (("states", 2), ("actions", 2), ("horizon", 1), ("episodes_per_trial", 1)):
            if getattr(self, name) < minimum:
                raise ValueError(f"tabular_mdp: {name} must be at least {minimum}, got {getattr(self, name)}")
        if not self.expert_beta >= 0:
            raise ValueError(f"tabular_mdp: expert_beta must not be negative, got {self.expert_beta}")


def build(settings: Settings) -> TabularMDPFamily:
    """The family for ``settings``."""
    return TabularMDPFamily(settings)


def headline(settings: Settings) -> Literal["trial_return"]:
    """Total reward over the trial, the figure of the literature."""
    return "trial_return"


class TabularMDPFamily:
    """``kshot.types.TaskFamily`` of random tabular MDPs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        states, actions = settings.states, settings.actions
        self.spec = FamilySpec(
            name="tabular_mdp",
            observation_dim=states + (states * actions * states if settings.observe_dynamics else 0),
            action_space=spaces.Discrete(settings.actions),
            horizon=settings.horizon,
            episodes_per_trial=settings.episodes_per_trial,
            max_sub_envs=20_000,
            evidence=EVIDENCE,
            world=TabularWorld(
                family="tabular_mdp",
                decisions=settings.horizon,
                rewards="pairs",
                reward_features=np.eye(states * actions).reshape(states, actions, -1),
                state_observations=np.eye(states),
                shared_dynamics=None,
                n_actions=actions,
            )
            if settings.observe_dynamics
            else None,
        )

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies.

        "random"; "task_blind", always the same action, since without evidence all actions look alike;
        "posterior_sampling", which learns over a trial; "oracle", optimal for the known task.
        """
        horizon = self.settings.horizon
        return {
            "random": lambda tasks: uniform_random(self.spec.action_space),
            "task_blind": lambda tasks: constant_action(np.zeros(len(tasks), dtype=np.int64)),
            "posterior_sampling": lambda tasks: PosteriorSampling(self.settings.states, self.settings.actions, horizon),
            "oracle": lambda tasks: _follow(mdps.optimal_actions(self.models(tasks), horizon)),
        }

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` tasks, each defined by a random key; each split and seed has its own keys, so splits share no task."""
        keys = seeding.split(seeding.key("tabular_mdp", split, seed), np.arange(n)).tolist()
        return [Task("tabular_mdp", split, i, (("key", key),), group="tabular_mdp") for i, key in enumerate(keys)]

    def models(self, tasks: Sequence[Task]) -> MDP:
        """Next-state probabilities [T, S, A, S] and mean rewards [T, S, A] of T tasks."""
        states, actions = self.settings.states, self.settings.actions
        keys = np.array([task["key"] for task in tasks], dtype=np.uint64)[:, None]
        # Independent exponential numbers divided by their sum are a draw from the flat Dirichlet distribution.
        weight = -np.log(seeding.uniform(seeding.split(keys, 0), np.arange(states * actions * states)))
        weight = weight.reshape(-1, states, actions, states)
        reward = 1.0 + ndtri(seeding.uniform(seeding.split(keys, 1), np.arange(states * actions)))
        return MDP(weight / weight.sum(axis=-1, keepdims=True), reward.reshape(-1, states, actions))

    def demonstrations(self, tasks: Sequence[Task], n: int, keys: Array, arrangement: int = 0) -> Episodes:
        """``n`` episodes per task of an expert who knows it (``Settings.expert_beta``)."""
        model, horizon = self.models(tasks), self.settings.horizon
        policy = experts.soft_optimal_policy(model, horizon, self.settings.expert_beta)
        states, actions = experts.sampled_paths(model, policy, n, keys)
        optimal_actions = mdps.optimal_actions(model, horizon)
        task = np.arange(len(tasks))[:, None, None]
        success = optimal_actions[np.arange(horizon), task, states[..., :-1]] == actions
        obs = np.eye(self.settings.states)[states]
        if self.settings.observe_dynamics:
            dynamics = model.probability.reshape(len(tasks), 1, 1, -1)
            obs = np.concatenate([obs, np.broadcast_to(dynamics, (*obs.shape[:3], dynamics.shape[-1]))], axis=-1)
        return experts.demonstration_episodes(obs, actions, success, terminated=False)

    def vector_env(self, tasks: Sequence[Task], copies: int) -> TabularMDPVectorEnv:
        return TabularMDPVectorEnv(self.models(tasks), copies, self.settings)

    def reference(self, task: Task) -> dict[str, float]:
        """Expected episode returns of random actions, of one action always, and of the optimal policy; all exact."""
        model, horizon = self.models([task]), self.settings.horizon
        random = np.full((horizon, 1, *model.reward.shape[1:]), 1 / self.settings.actions)
        same = np.zeros_like(random)
        same[..., 0] = 1.0
        return {
            "random": float(mdps.expected_return(model, random)[0, 0]),
            "task_blind": float(mdps.expected_return(model, same)[0, 0]),
            "oracle": float(mdps.optimal_values(model, horizon)[0, 0, 0]),
        }


class TabularMDPVectorEnv(VectorEnv[Array, Array, Array]):
    """``copies`` of every task side by side. The observation is the state, one-hot, and the dynamics if asked for.

    Each sub-environment has a stream of random numbers, keyed by its seed. Which numbers decide step t of episode i
    depends neither on the other sub-environments nor on what happened before.
    """

    def __init__(self, model: MDP, copies: int, settings: Settings) -> None:
        tasks, self._states, actions = model.reward.shape
        horizon = settings.horizon
        self.num_envs = tasks * copies
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        # [T, 0 or S * A * S] the part of the observation that does not change within a task.
        self._dynamics = model.probability.reshape(tasks, -1) if settings.observe_dynamics else np.zeros((tasks, 0))
        self.single_observation_space = spaces.Box(0.0, 1.0, (self._states + self._dynamics.shape[1],), np.float64)
        self.single_action_space = spaces.Discrete(actions)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._task = np.repeat(np.arange(tasks), copies)
        self._cumulative = model.probability.cumsum(axis=-1)
        self._reward = model.reward
        values = mdps.optimal_values(model, horizon)  # [H + 1, T, S]
        self._optimal_actions = mdps.greedy_actions(model, values)  # [H, T, S]
        self._optimal_return = values[0, self._task, 0]
        self._horizon = horizon
        self._streams = Streams("tabular_mdp", self.num_envs, "transitions and rewards")
        self._step = 0
        self._state = np.zeros(self.num_envs, dtype=np.int64)

    def reset(
        self, *, seed: int | Sequence[int] | Array | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin the next episode; see ``Streams.reset`` for ``seed`` and what is refused."""
        self._streams.reset(seed)
        self._step = 0
        self._state = np.zeros(self.num_envs, dtype=np.int64)
        return self._observation(), {"optimal_return": self._optimal_return}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """``actions`` is [N] int. Success: the action is optimal for the task in this state at this step."""
        action = np.clip(actions, 0, self._reward.shape[2] - 1)
        counter = 2 * (self._streams.episode * self._horizon + self._step)
        mean = self._reward[self._task, self._state, action]
        reward = mean + ndtri(self._streams.uniform(counter))
        step = min(self._step, self._horizon - 1)
        success = action == self._optimal_actions[step, self._task, self._state]
        exceeded = self._streams.uniform(counter + 1)[:, None] >= self._cumulative[self._task, self._state, action]
        self._state = np.minimum(exceeded.sum(axis=1), self._states - 1)  # the last sum may round to below 1
        self._step += 1
        terminated = np.zeros(self.num_envs, dtype=bool)
        truncated = np.full(self.num_envs, self._step >= self._horizon)
        return self._observation(), reward, terminated, truncated, {"success": success}

    def _observation(self) -> Array:
        return np.concatenate([np.eye(self._states)[self._state], self._dynamics[self._task]], axis=1)


def _follow(actions: Array) -> Scripted:
    """Take the actions [H, T, S] planned for each step, task and state."""
    tasks = np.arange(actions.shape[1])[:, None]
    last = len(actions) - 1
    return Scripted(
        lambda obs, step, noise: actions[np.minimum(step, last), tasks, obs[..., : actions.shape[2]].argmax(axis=-1)]
    )
