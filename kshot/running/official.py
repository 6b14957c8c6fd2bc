"""Metaworld's own evaluation, unchanged, of any learner: ``metaworld.evaluation.metalearning_evaluation``.

Others publish its numbers. Unlike those of ``evaluate`` they are biased upwards: of every class it counts the first
episodes to finish, over all sub-environments together, and episodes end at their first success. Goals that are solved
finish first and, started again, more often.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from kshot import checksums, seeding
from kshot.errors import RecordError
from kshot.running import build, checkpoint, provenance
from kshot.running.heartbeat import Heartbeat, State
from kshot.running.rollout import select_memory
from kshot.suites.run import RunConfig
from kshot.types import Array, Episodes, FamilySpec, Memory, MetaLearner, OfficialFamily, Policy

RECORD = "official.json"
EVALUATOR = "metaworld.evaluation.metalearning_evaluation"
ADAPTATION_EPISODES, EVALUATION_EPISODES = 10, 3
"""The official defaults: episodes of each sub-environment to adapt on; episodes of each class that count."""


def adaptation_episodes(learner: MetaLearner) -> tuple[int, str]:
    """How many episodes of each sub-environment a learner adapts on, and the reason if these are not the official ten.

    They are whole blocks, at least one, and no more than the learner can use: RL^2 trained on trials of ten episodes
    can use nine, since it has never acted after ten.
    """
    block = learner.adaptation_episodes
    limit = math.inf if learner.max_evidence is None else learner.max_evidence
    if limit < ADAPTATION_EPISODES:
        return int(limit // block) * block, f"the learner can use at most {limit} episodes"
    episodes = max(ADAPTATION_EPISODES // block, 1) * block
    return episodes, "" if episodes == ADAPTATION_EPISODES else f"the learner adapts on {block} episodes at a time"


def official(run: RunConfig, root: Path) -> None:
    """Evaluate a trained run by the official evaluation and write ``official.json``.

    Raises:
        RecordError: the suite does not ask for it, or the model file is missing, damaged or of another run.
        checkpoint.Busy: another process works on this run.
    """
    directory = run.directory(root)
    family = build.family(run)
    if not run.official or not isinstance(family, OfficialFamily):
        raise RecordError(
            f"{run.algorithm!r} on {run.family!r} is not for the official evaluation: "
            "it takes learners, on families with evaluation.official: true"
        )
    with checkpoint.exclusive(directory):
        start_time = time.monotonic()
        model = checkpoint.load_model(directory / checkpoint.MODEL, run, family.spec)
        model_digest = checkpoint.digest(directory / checkpoint.MODEL)
        status, reason, result, env_steps = model["status"], model["reason"], None, 0
        if status == "ok" and run.evidence != "rollouts":
            status, reason = "not applicable", "the official protocol has no demonstrations"
        if status == "ok":
            learner = build.learner(run, family.spec)
            checkpoint.restore(learner, model, directory / checkpoint.MODEL)
            result, env_steps = measure(learner, family, family.spec, run.seed, directory)
        seconds = time.monotonic() - start_time
        record = provenance.collect(
            run,
            status=status,
            reason=reason,
            env_steps=env_steps,
            wall_seconds=seconds,
            runner=provenance.OFFICIAL_RUNNER,
            official=result,
            model_digest=model_digest,
        )
        checksums.write_record(directory / RECORD, record)
        # The run is done once ``evaluate`` is.
        diverged = status == "diverged"
        state: State = "done" if (directory / "evaluate.json").is_file() else "trained"
        Heartbeat(directory, "official", 1, "episodes").beat(
            "diverged" if diverged else state, 1, reason if diverged else "", force=True
        )


def measure(
    learner: MetaLearner,
    family: OfficialFamily,
    spec: FamilySpec,
    seed: int,
    directory: Path | None = None,
    evidence: int | None = None,
    **env_options: int,
) -> tuple[dict[str, Any], int]:
    """Results and arguments of the official evaluation, as plain data, and the environment steps that it took.

    Args:
        learner: trained.
        family: makes the environments.
        spec: of the family.
        seed: of the run; action noise and posterior samples derive from it.
        directory: of the run, to report progress in; None reports nothing.
        evidence: episodes to adapt on, a multiple of the learner's block, 0 to never adapt; by default
            ``adaptation_episodes``.
        env_options: arguments of ``family.official_env``.
    """
    from metaworld import evaluation  # loads MuJoCo and all classes: only where it is needed

    episodes, note = adaptation_episodes(learner) if evidence is None else (evidence, "")
    with contextlib.closing(family.official_env(**env_options)) as envs:
        vector: Any = envs  # Gymnasium's base class lacks ``get_attr`` and ``call``, which its vectors have
        num_evals = min(len(goals) for goals in vector.get_attr("tasks"))
        agent = Agent(learner, spec, envs.num_envs, seed)
        if directory is not None:
            expected = num_evals * (envs.num_envs * episodes + EVALUATION_EPISODES)
            heartbeat = Heartbeat(directory, "official", expected, "episodes")
            agent.on_episode = lambda: heartbeat.beat("evaluating", min(agent.episodes, expected))
        success, mean_return, by_class = evaluation.metalearning_evaluation(
            agent,
            vector,
            num_evals=num_evals,
            adaptation_steps=int(episodes > 0),
            adaptation_episodes=episodes,
            evaluation_episodes=EVALUATION_EPISODES,
        )
        result = {
            "evaluator": EVALUATOR,
            "metaworld": importlib.metadata.version("metaworld"),
            "mean_success": float(success),
            "mean_return": float(mean_return),
            "class_success": {str(name): float(value) for name, value in sorted(by_class.items())},
            "episodes_counted": num_evals * EVALUATION_EPISODES * len(by_class),
            "episodes_finished": agent.evaluation_episodes,
            "num_evals": num_evals,
            "num_envs": envs.num_envs,
            "goals": num_evals * envs.num_envs,
            "adaptation_steps": int(episodes > 0),
            "adaptation_episodes": episodes,
            "adaptation_note": note,
            "evaluation_episodes": EVALUATION_EPISODES,
        }
    return result, agent.env_steps


class Agent:
    """A learner as ``metaworld.evaluation.MetaLearningAgent``: one task and one copy per sub-environment.

    In the adaptation phase it samples actions, and adapts whenever every sub-environment has played another block of
    episodes. In the evaluation phase it takes mean actions, and every episode starts with the adapted policy's initial
    memory. All of that, and the noise for given keys, is as in kshot's own evaluation.

    Attributes:
        env_steps: environment steps so far, over all sub-environments.
        episodes: episodes that have ended so far.
        evaluation_episodes: those of them that were in the evaluation phase.
        on_episode: called whenever an episode has ended.
    """

    def __init__(self, learner: MetaLearner, spec: FamilySpec, num_envs: int, seed: int) -> None:
        self._learner, self._spec, self._n, self._seed = learner, spec, num_envs, seed
        self._round = -1
        self.env_steps = self.episodes = self.evaluation_episodes = 0
        self.on_episode: Callable[[], None] = lambda: None

    def init(self) -> None:
        """Begin with new goals, unadapted; called before each of the ``num_evals`` sets of goals."""
        self._round += 1
        self._policy: Policy = self._learner.policy()
        self._block = 0
        self._evidence = _Evidence(self._spec, self._n, self._learner.adaptation_episodes)
        self._begins_episode = np.zeros(self._n, dtype=bool)
        self._episode = np.full(self._n, -1)
        self._memory: Memory = {}

    def adapt_action(self, observations: Array) -> tuple[Array, dict[str, Array]]:
        """Sampled actions [N, A] for observations [N, D + A + 2], and their log-probabilities."""
        if self._evidence.complete:
            self.adapt()
        obs, _, _ = self._read(observations)
        episode, t = self._evidence.episode, self._evidence.t
        keys = self._keys("adaptation", self._block, np.full(self._n, episode))
        if t == 0:
            self._memory = self._policy.start(self._n, 1, seeding.split(keys, 2))
        noise = seeding.noise(seeding.split(keys, 0), t, self._spec.action_dim, self._spec.action_kind)
        action, log_prob, self._memory = self._policy.act(obs, self._memory, noise)
        self._evidence.add_action(obs[:, 0], action[:, 0], log_prob[:, 0])
        self._action = action
        return self._clipped(action), {"log_prob": log_prob[:, 0]}

    def step(self, timestep: Any) -> None:
        """Take in a ``metaworld.evaluation.Timestep``; called in the adaptation phase only."""
        reward = np.asarray(timestep.reward, dtype=np.float64)
        terminated, truncated = np.asarray(timestep.terminated), np.asarray(timestep.truncated)
        done = terminated | truncated
        self._memory = self._policy.observe(self._memory, self._action, reward[:, None], done[:, None])
        self._evidence.add_outcome(reward, terminated, truncated)
        self._count_ended(done)

    def adapt(self) -> None:
        """Adapt to the block of episodes that has been played."""
        self._policy = self._learner.adapt(self._policy, self._evidence.episodes())
        self._block += 1
        self._evidence = _Evidence(self._spec, self._n, self._learner.adaptation_episodes)

    def reset(self, env_mask: Array) -> None:
        """Begin an episode of the evaluation phase where ``env_mask`` [N] is True."""
        if (self._episode >= 0).all():  # the first call begins all episodes, the others follow the end of one
            self.evaluation_episodes += int(env_mask.sum())
            self._count_ended(env_mask)
        self._episode = self._episode + env_mask
        self._begins_episode = self._begins_episode | env_mask

    def eval_action(self, observations: Array) -> Array:
        """Mean actions [N, A]. In this phase ``step`` is not called: the last reward comes from the observation."""
        obs, reward, done = self._read(observations)
        begins = self._begins_episode
        if not begins.all():
            self._memory = self._policy.observe(self._memory, self._action, reward, done)
        if begins.any():
            start = self._policy.start(self._n, 1, seeding.split(self._keys("evaluation", 0, self._episode), 2))
            self._memory = start if begins.all() else select_memory(begins[:, None], start, self._memory)
        self._begins_episode = np.zeros(self._n, dtype=bool)
        self._action, _, self._memory = self._policy.act(obs, self._memory, None)
        return self._clipped(self._action)

    def _read(self, observations: Array) -> tuple[Array, Array, Array]:
        """The family's observation [N, 1, D], the last reward [N, 1], and whether it ended an episode [N, 1]."""
        self.env_steps += self._n
        obs = np.asarray(observations, dtype=np.float64)[:, None]
        return obs[..., : self._spec.observation_dim], obs[..., -2], obs[..., -1] > 0.5

    def _clipped(self, action: Array) -> Array:
        """[N, A] actions [N, 1, A] clipped to the action space, as in kshot's own environments."""
        space, actions = self._spec.action_space, action[:, 0]
        return np.clip(actions, space.low, space.high).astype(space.dtype) if isinstance(space, spaces.Box) else actions

    def _keys(self, phase: str, block: int, episode: Array) -> seeding.Keys:
        """[N, 1] keys of the episodes, derived as in ``rollout`` with the episode as the copy."""
        env_keys = seeding.split(seeding.key(self._seed, "official", self._round, phase, block), np.arange(self._n))
        return seeding.split(env_keys, episode)[:, None]

    def _count_ended(self, done: Array) -> None:
        if done.any():
            self.episodes += int(done.sum())
            self.on_episode()


class _Evidence:
    """A block of episodes of every sub-environment, filled while they are played.

    All are of the same length: only the horizon ends an episode of the adaptation phase. The official evaluation does
    not tell an agent everything: success is left at False, and the observation after the last step is that before it.
    """

    def __init__(self, spec: FamilySpec, num_envs: int, block: int) -> None:
        self.episode = self.t = 0
        shape = (num_envs, block, spec.horizon)
        single, discrete = np.float32, spec.action_kind == "discrete"
        self._obs = np.zeros((*shape, spec.observation_dim), dtype=single)
        self._action = np.zeros(shape if discrete else (*shape, spec.action_dim), np.int64 if discrete else single)
        self._reward, self._log_prob = np.zeros(shape, dtype=single), np.zeros(shape, dtype=single)
        self._flags = {name: np.zeros(shape, dtype=bool) for name in ("terminated", "truncated", "mask", "success")}

    @property
    def complete(self) -> bool:
        return self.episode == self._reward.shape[1]

    def add_action(self, obs: Array, action: Array, log_prob: Array) -> None:
        """Before a step: obs [N, D], action [N, A] or [N], log_prob [N]."""
        step = (slice(None), self.episode, self.t)
        self._obs[step], self._action[step], self._log_prob[step] = obs, action, log_prob

    def add_outcome(self, reward: Array, terminated: Array, truncated: Array) -> None:
        """After the step, all [N]. Raises RuntimeError when only some of the episodes have ended."""
        step = (slice(None), self.episode, self.t)
        self._reward[step], self._flags["mask"][step] = reward, True
        self._flags["terminated"][step], self._flags["truncated"][step] = terminated, truncated
        done = terminated | truncated
        if done.any() and not done.all():
            raise RuntimeError("episodes of the adaptation phase ended at different steps")
        self.episode, self.t = (self.episode + 1, 0) if done.all() else (self.episode, self.t + 1)

    def episodes(self) -> Episodes:
        """The block as evidence. Raises RuntimeError while it is not complete."""
        if not self.complete:
            raise RuntimeError(f"asked to adapt after {self.episode} of {self._reward.shape[1]} episodes of a block")
        last = np.maximum(self._flags["mask"].sum(axis=2) - 1, 0)[:, :, None, None]
        block = Episodes(
            obs=self._obs,
            action=self._action,
            reward=self._reward,
            log_prob=self._log_prob,
            final_obs=np.take_along_axis(self._obs, last, axis=2)[:, :, 0],
            **self._flags,
        )
        return block.as_evidence()
