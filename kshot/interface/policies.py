"""Trained policies for loops of one's own: they act, take in the episodes played, and act better."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from kshot import seeding
from kshot.interface import recorded
from kshot.interface.play import Play
from kshot.running import build, checkpoint
from kshot.running.machine import why_no_device
from kshot.suites.run import RunConfig
from kshot.types import Array, Episodes, FamilySpec, MetaLearner, Mode, Policy, TaskFamily


def load_policy(run_folder: str | Path, *, other_code: bool = False) -> TrainedPolicy:
    """The policy that a run has trained.

    Args:
        run_folder: of a trained run: ``results/SUITE/FAMILY/ALGORITHM/seed-0``, or the same elsewhere.
        other_code: take the policy even if other code than is here has trained it.

    Raises:
        RecordError: it is no such folder, the model is damaged or missing, its training diverged, or other code
            trained it; one line says which.
        RegistryError: its algorithm or family is a plug-in that is not here (``KSHOT_PATH``).
    """
    folder = Path(run_folder)
    run = recorded.read(folder, other_code)
    family = build.family(run)
    path = folder / checkpoint.MODEL
    model = checkpoint.load_model(path, run, family.spec)
    if why_no_device(run.device):
        run = replace(run, device="cpu")  # a model is at home on every device
    learner = build.learner(run, family.spec)
    checkpoint.restore(learner, model, path)
    return TrainedPolicy(run, family, learner, model)


class TrainedPolicy:
    """A trained policy and what it has seen of the task in hand.

    ``reset`` begins with a task of which nothing is known. Then ``act`` and ``record`` take turns through an episode,
    and ``adapt`` takes in the episodes recorded since it was last called::

        policy = kshot.load_policy("results/laptop/nav2d/maml/seed-0")
        policy.reset()
        for _ in range(20):
            observation, _ = env.reset()
            done = False
            while not done:
                observation, reward, terminated, truncated, _ = env.step(policy.act(observation))
                policy.record(observation, reward, terminated, truncated)
                done = terminated or truncated
            policy.adapt()

    One environment or many: after ``reset(tasks=T, copies=C)``, observations are [T * C, ...], those of a task beside
    each other, as in ``policy.family.vector_env``. A sub-environment whose episode has ended is not looked at until
    the others have ended too; reset all of them then, and do not let them reset themselves.

    Attributes:
        run: the run that trained it.
        family: the task family it was trained on, which has tasks and environments (``kshot.types.TaskFamily``).
        spec: what it expects of an environment: ``observation_dim``, ``action_space``, ``horizon``, ...
    """

    def __init__(self, run: RunConfig, family: TaskFamily, learner: MetaLearner, model: dict[str, Any]) -> None:
        self.run, self.family, self._learner, self._model = run, family, learner, model
        self.spec: FamilySpec = family.spec
        self.reset()

    @property
    def k(self) -> int:
        """How much evidence of the present task it has taken in: episodes, or demonstrations."""
        return self._k

    @property
    def block(self) -> int:
        """How many episodes (or demonstrations) of a task it takes in at a time."""
        return self._learner.adaptation_episodes

    @property
    def waiting(self) -> int:
        """Episodes of a task that were recorded and not taken in: they wait for ``adapt``, or for a whole block."""
        return sum(part.n_episodes for part in self._recorded)

    def reset(self, tasks: int | None = None, copies: int = 1, seed: int = 0) -> None:
        """Forget all evidence, and begin with tasks of which nothing is known.

        Args:
            tasks: how many are played side by side; None for one plain environment, without an axis for the batch.
            copies: of every task, played side by side.
            seed: of the actions that are drawn.

        Raises:
            ValueError: a number is below 1.
        """
        if (tasks is not None and tasks < 1) or copies < 1:
            raise ValueError(f"tasks and copies must be at least 1, got {tasks} and {copies}")
        if tasks is None and copies > 1:
            raise ValueError(f"one plain environment has no copies, got copies={copies}; for a batch, give tasks, too")
        self._single, self._shape, self._seed = tasks is None, (tasks or 1, copies), seed
        self._policy: Policy = self._learner.policy()
        self._k, self._updates, self._rounds = 0, 0, 0
        self._recorded: list[Episodes] = []
        self._play: Play | None = None

    def act(self, observation: Any, mode: Mode = "sampled") -> Any:
        """The action for an observation, or the actions for a batch of them.

        Args:
            observation: of one environment, or [T * C, ...] after ``reset(tasks=T, copies=C)``.
            mode: "sampled" draws actions, as evidence is played; "mean" takes the mean or most probable one.

        Returns:
            What ``env.step`` takes: within the bounds of ``spec.action_space``.

        Raises:
            ValueError: the observation has another shape, the last step was not recorded, or the episode is longer
                than ``spec.horizon``.
        """
        if mode not in ("sampled", "mean"):
            raise ValueError(f"mode must be 'sampled' or 'mean', got {mode!r}")
        obs = self._shaped("observation", observation, self.spec.observation_dim)
        if self._play is None:
            keys = self._keys()
            memory = self._policy.start(*self._shape, seeding.split(keys, 2))
            self._play = Play(self.spec, memory, seeding.split(keys, 0))
        action = self._play.act(self._policy, obs, mode)
        space = self.spec.action_space
        if isinstance(space, spaces.Discrete):
            flat = action.reshape(-1) + space.start
            return int(flat[0]) if self._single else flat
        bounded = np.clip(action.reshape(-1, *space.shape), space.low, space.high).astype(space.dtype)
        return bounded[0] if self._single else bounded

    def record(self, observation: Any, reward: Any, terminated: Any, truncated: Any) -> None:
        """Note what the last action led to: the first four results of ``env.step``.

        Raises:
            ValueError: no action was asked for, or a value has another shape or is not finite.
        """
        if self._play is None or not self._play.asked:
            raise ValueError("record says what an action led to: call act first")
        obs = self._shaped("observation", observation, self.spec.observation_dim)
        reward, terminated, truncated = (
            self._shaped(name, value)
            for name, value in (("reward", reward), ("terminated", terminated), ("truncated", truncated))
        )
        if not np.isfinite(reward).all():
            raise ValueError("reward is not finite")
        self._play.record(self._policy, obs, reward, terminated.astype(bool), truncated.astype(bool))
        if self._play.ended:
            self._recorded.append(self._play.episodes())
            self._play, self._rounds = None, self._rounds + 1

    def adapt(self, episodes: Episodes | None = None) -> None:
        """Take in evidence of the present tasks.

        Args:
            episodes: of these tasks; all that were recorded since the last call if left out. They are taken in by whole
                blocks of ``block``; recorded ones that make up none wait for more, and the policy stays as it is.

        Raises:
            ValueError: an episode has not ended, the policy adapts on demonstrations and none are given, or these are
                no whole blocks, of other tasks, or more than it can use.
            FloatingPointError: the adapted parameters are not finite.
        """
        if self._play is not None:
            raise ValueError("an episode has not ended: record it to its end, then adapt")
        name = f"{self.run.algorithm!r}"
        if self.run.evidence == "demonstrations" and episodes is None:
            raise ValueError(f"{name} adapts on demonstrations: adapt(episodes) with those of an expert on the task")
        own = episodes is None
        if episodes is None:
            if not self._recorded:
                raise ValueError("there is nothing to adapt on: no episode was recorded since the last call")
            episodes = Episodes.joined(self._recorded)
        self._check(episodes)
        whole = episodes.n_episodes // self.block * self.block
        limit = self._learner.max_evidence
        if limit is not None and self._k + whole > limit:
            raise ValueError(f"{name} can use {limit} episodes of a task, and would have {self._k + whole}; reset()")
        if not own and whole < episodes.n_episodes:
            raise ValueError(f"{name} adapts on blocks of {self.block} episodes, got {episodes.n_episodes}")
        # Own episodes come one block at a time, as in an evaluation; demonstrations may come together.
        step = whole if self.run.evidence == "demonstrations" else self.block
        policy = self._policy
        for first in range(0, whole, step):
            block = episodes.select(slice(None), slice(first, first + step))
            policy = self._learner.adapt(policy, block.as_evidence())
        self._policy = policy
        if own:
            rest = episodes.select(slice(None), slice(whole, None))
            self._recorded = [rest] if rest.n_episodes else []
        if whole:
            self._k, self._updates, self._rounds = self._k + whole, self._updates + 1, 0

    def __repr__(self) -> str:
        where = f"{self.run.algorithm} on {self.run.family}, seed {self.run.seed}"
        what = "demonstrations" if self.run.evidence == "demonstrations" else "episodes"
        waiting = f", {self.waiting} waiting" if self.waiting else ""
        blocks = f"{what} come in blocks of {self.block}{waiting}"
        return f"<kshot policy: {where}; K = {self._k} ({blocks}); acts in {self.spec.action_space}>"

    def _keys(self) -> seeding.Keys:
        """[T, C] keys of the episodes that begin now: other ones in every round and after every ``adapt``."""
        tasks, copies = self._shape
        each = seeding.split(seeding.key(self._seed, "policy", self._updates), np.arange(tasks))
        return seeding.split(each[:, None], self._rounds * copies + np.arange(copies)[None, :])

    def _shaped(self, name: str, value: Any, size: int | None = None) -> Array:
        """``value`` [T * C, ...] as [T, C] or, with a ``size``, [T, C, size]; one environment's has no axis T * C."""
        array, count = np.asarray(value), self._shape[0] * self._shape[1]
        if array.size != count * (size or 1) or (not self._single and array.shape[:1] != (count,)):
            one = f"{size} numbers" if size else "one number"
            expected = one if self._single else f"[{count}, ...], {one} for each environment"
            raise ValueError(f"{name} has shape {array.shape}, expected {expected}")
        if size and not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")
        return array.reshape(*self._shape, *([size] if size else []))

    def _check(self, episodes: Episodes) -> None:
        """Raise ValueError for episodes of another number of tasks, or of other observations."""
        if episodes.n_tasks != self._shape[0]:
            raise ValueError(f"episodes of {episodes.n_tasks} tasks, but {self._shape[0]} are played; reset(tasks=...)")
        if episodes.obs.shape[-1] != self.spec.observation_dim:
            found, expected = episodes.obs.shape[-1], self.spec.observation_dim
            raise ValueError(f"episodes with observations of {found} numbers, expected {expected}")
