"""The data that flows through kshot: tasks, episodes, and the three protocols around them.

Everything that can be batched has a leading task axis ``T``; ``C`` is the number of copies of a task
that run side by side, ``E`` of episodes, ``H`` the horizon in environment steps.
Nothing here imports torch: environments, records and reports must work without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from kshot.worlds import World

Array = NDArray[Any]
Evidence = Literal["rollouts", "demonstrations"]
"""What a learner adapts on: its own episodes with rewards, or an expert's without."""
ActionKind = Literal["discrete", "continuous"]
Mode = Literal["sampled", "mean"]
"""How actions are chosen: drawn from the policy, or its mean (continuous) or most probable (discrete) action."""
Split = Literal["train", "validation", "test"]
Memory = dict[str, Array]
"""What a policy carries from step to step: named arrays with leading axes [T, C]. Empty for a memoryless policy."""
Metrics = dict[str, float]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Task:
    """One task as plain, hashable data; never an environment.

    ``index`` numbers the task within its split (or within one draw of an unbounded split);
    ``params`` holds (name, value) pairs that fully define the task together with the family's settings;
    ``group`` is the class a task belongs to in benchmarks with several (the Meta-World task name), else the family.
    """

    family: str
    split: Split
    index: int
    params: tuple[tuple[str, Hashable], ...]
    group: str = ""

    def __getitem__(self, name: str) -> Any:
        """The parameter called ``name``. Raises KeyError with the known names."""
        for key, value in self.params:
            if key == name:
                return value
        raise KeyError(f"task {self.id} has no parameter {name!r}; it has {[key for key, _ in self.params]}")

    @cached_property
    def id(self) -> str:
        """Stable identifier: same family, split and parameters give the same id in every process and version."""
        text = repr((self.family, self.group, self.params))
        return f"{self.split}-{self.index:05d}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


@dataclass(frozen=True)
class FamilySpec:
    """What a learner may know about a family before it sees a task.

    ``observation_center`` and ``observation_scale`` are fixed constants of the family (estimated on training tasks
    or known by construction), shape [observation_dim]; learners feed (obs - center) / scale, bounded by
    ``observation_clip``, to their networks (``normalise``).
    ``episodes_per_trial`` is the length of a trial, in episodes, for learners that carry memory over episodes.
    ``max_sub_envs`` bounds how many sub-environments one vector environment should hold (memory).
    ``shared_tasks`` is True where there are so few tasks that all splits hold all of them: what is unknown to a learner
    is then which one it plays, and its score says nothing about tasks it was not trained on.
    ``world`` is what planners may know, None where there is no finite model of the family.
    ``stages`` names how far an episode can get, from the least to the most; empty where a family does not say.
    """

    name: str
    observation_dim: int
    action_space: spaces.Box | spaces.Discrete
    horizon: int
    episodes_per_trial: int
    evidence: frozenset[Evidence] = frozenset({"rollouts"})
    max_sub_envs: int = 100_000
    observation_center: Array = field(default_factory=lambda: np.zeros(0))
    observation_scale: Array = field(default_factory=lambda: np.ones(0))
    observation_clip: float = 5.0
    shared_tasks: bool = False
    world: World | None = None
    stages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, fill in (("observation_center", 0.0), ("observation_scale", 1.0)):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if value.size == 0:
                value = np.full(self.observation_dim, fill)
            if value.shape != (self.observation_dim,):
                raise ValueError(f"{self.name}: {name} has shape {value.shape}, expected ({self.observation_dim},)")
            value.setflags(write=False)
            object.__setattr__(self, name, value)

    def normalise(self, obs: Array) -> Array:
        """(obs - center) / scale of observations [..., D], bounded: what every learner's networks see."""
        scaled = (obs - self.observation_center) / self.observation_scale
        return np.clip(scaled, -self.observation_clip, self.observation_clip)

    @property
    def normaliser(self) -> dict[str, list[float] | float]:
        """The constants behind ``normalise`` as plain numbers: models are of use only with those they learnt with."""
        center, scale = self.observation_center.tolist(), self.observation_scale.tolist()
        return {"center": center, "scale": scale, "clip": self.observation_clip}

    @property
    def action_kind(self) -> ActionKind:
        return "discrete" if isinstance(self.action_space, spaces.Discrete) else "continuous"

    @property
    def action_dim(self) -> int:
        """Number of actions (discrete) or of action coordinates (continuous); the size of one step's noise."""
        if isinstance(self.action_space, spaces.Discrete):
            return int(self.action_space.n)
        return int(np.prod(self.action_space.shape))


@dataclass(frozen=True)
class Episodes:
    """A batch of episodes, padded to the horizon; arrays are made read-only.

    Attributes (T tasks, E episodes per task, H steps, D observation size):
        obs: [T, E, H, D] observation before each step.
        action: [T, E, H, A] float for continuous, [T, E, H] int64 for discrete actions.
        reward: [T, E, H] float.
        terminated: [T, E, H] bool, the task itself ended at this step.
        truncated: [T, E, H] bool, the time limit ended the episode at this step.
        mask: [T, E, H] bool, True where the step was really taken; always a prefix of the episode.
        log_prob: [T, E, H] log-probability of the action under the policy that took it (0 for scripted ones).
        success: [T, E, H] bool, the family's success flag after the step.
        final_obs: [T, E, D] observation after the last step taken.
        training_reward: [T, E, H] float, what a learner may optimise in meta-training where a family offers a denser
            signal than the reward; the reward itself everywhere else, and by default. Evidence is always ``reward``.
            What a learner is given of training, validation and test tasks: ``for_training``, ``for_validation``,
            ``as_evidence``.
        optimal_return: [T, E] float, the largest expected return of the episode, by a policy that knows the task; NaN
            where nobody knows it, and by default. For judging alone, as ``stage`` is: learners receive neither.
        stage: [T, E] int, the furthest of ``FamilySpec.stages`` that the episode got to; -1 where a family has none,
            and by default.

    Episodes of one task that share a memory (a trial) are adjacent and in order.

    Raises:
        ValueError: when a shape does not fit, or a mask is not a prefix.
    """

    obs: Array
    action: Array
    reward: Array
    terminated: Array
    truncated: Array
    mask: Array
    log_prob: Array
    success: Array
    final_obs: Array
    training_reward: Array = field(default_factory=lambda: np.zeros(0))
    optimal_return: Array = field(default_factory=lambda: np.zeros(0))
    stage: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        lead = self.reward.shape[:2]
        defaults = (("training_reward", self.reward), ("optimal_return", np.full(lead, np.nan)))
        for name, default in (*defaults, ("stage", np.full(lead, -1))):
            if getattr(self, name).size == 0:
                object.__setattr__(self, name, default)
        if self.obs.ndim != 4:
            raise ValueError(f"obs has shape {self.obs.shape}, expected [task, episode, time, obs_dim]")
        steps = self.obs.shape[:3]
        for name in ("reward", "terminated", "truncated", "mask", "log_prob", "success", "training_reward"):
            if getattr(self, name).shape != steps:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {steps}")
        for name in ("optimal_return", "stage"):
            if getattr(self, name).shape != steps[:2]:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {steps[:2]}")
        if self.action.shape[:3] != steps:
            raise ValueError(f"action has shape {self.action.shape}, expected {steps} first")
        if self.final_obs.shape != (steps[0], steps[1], self.obs.shape[3]):
            raise ValueError(f"final_obs has shape {self.final_obs.shape}, expected [task, episode, obs_dim]")
        if (self.mask[:, :, 1:] & ~self.mask[:, :, :-1]).any():
            raise ValueError("mask is not a prefix of each episode: a step was taken after the episode had ended")
        for item in fields(self):
            getattr(self, item.name).setflags(write=False)

    @property
    def n_tasks(self) -> int:
        return int(self.obs.shape[0])

    @property
    def n_episodes(self) -> int:
        """Episodes per task."""
        return int(self.obs.shape[1])

    @property
    def lengths(self) -> Array:
        """[T, E] steps taken in each episode."""
        return np.asarray(self.mask.sum(axis=2))

    @property
    def steps(self) -> int:
        """Environment steps taken in all episodes together."""
        return int(self.mask.sum())

    @property
    def returns(self) -> Array:
        """[T, E] undiscounted sum of rewards."""
        return np.asarray((self.reward * self.mask).sum(axis=2))

    @property
    def success_any(self) -> Array:
        """[T, E] the success flag was up at some step (Meta-World's own rule)."""
        flags: Array = self.success & self.mask
        return np.asarray(flags.any(axis=2))

    @property
    def success_last(self) -> Array:
        """[T, E] the success flag was up at the last step taken."""
        last = np.maximum(self.lengths - 1, 0)[:, :, None]
        flag: Array = np.take_along_axis(self.success, last, axis=2)[:, :, 0]
        return flag & (self.lengths > 0)

    @property
    def first_success(self) -> Array:
        """[T, E] number of steps up to and including the first success, or -1."""
        flags = self.success & self.mask
        return np.where(flags.any(axis=2), flags.argmax(axis=2) + 1, -1)

    def select(self, tasks: slice | Array, episodes: slice | Array = slice(None)) -> Episodes:
        """The same batch restricted to some tasks and episodes (copies the arrays)."""
        return replace(self, **{f.name: getattr(self, f.name)[tasks][:, episodes].copy() for f in fields(self)})

    @classmethod
    def joined(cls, parts: Sequence[Episodes]) -> Episodes:
        """Episodes of the same tasks in one batch, in the order of the parts."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts], axis=1) for f in fields(cls)})

    def for_training(self) -> Episodes:
        """What a learner may see of episodes of training tasks: all but what is for judging alone."""
        return replace(self, optimal_return=np.zeros(0), stage=np.zeros(0, dtype=np.int64))

    def for_validation(self) -> Episodes:
        """What it may see of validation tasks when it chooses: of the signals the task's own, with success to judge by.

        ``training_reward`` is then the reward: what is chosen for test tasks must not rest on what these do not offer.
        """
        return replace(self.for_training(), training_reward=np.zeros(0))

    def as_evidence(self) -> Episodes:
        """What it may see of a test task: what one who plays it sees, and nothing else.

        That is observations, actions, rewards, and how each episode ended. ``training_reward`` is the reward, no
        success flag is up, and what stands behind the last step of an episode is 0.
        """
        steps = {"success": np.zeros_like(self.success), "training_reward": np.zeros(0)}
        if not self.mask.all():
            for name in ("obs", "action", "reward", "terminated", "truncated", "log_prob"):
                value = getattr(self, name)
                mask = self.mask.reshape(*self.mask.shape, *(1,) * (value.ndim - 3))
                steps[name] = np.where(mask, value, np.zeros((), dtype=value.dtype))
        return replace(self.for_training(), **steps)


@runtime_checkable
class Policy(Protocol):
    """A policy as a value: it never changes; memory goes in and comes out. One policy serves T tasks at once."""

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        """Memory at the beginning of a trial, every array with leading axes [n_tasks, n_copies].

        ``keys`` [n_tasks, n_copies] decide what else is random in a policy than its action noise, such as a sample
        from a posterior; None asks for none of it.
        """
        ...

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        """Choose one action per task and copy.

        Args:
            obs: [T, C, D].
            memory: as returned by ``start``, ``act`` or ``observe``.
            noise: [T, C, action_dim]; standard normal for continuous, standard Gumbel for discrete actions.
                None asks for the mean (continuous) or most probable (discrete) action.

        Returns:
            action [T, C, A] (continuous; environments clip) or [T, C] int64, its log_prob [T, C], the new memory.
        """
        ...

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        """Take in what the step gave: action as returned by ``act``, reward [T, C], done [T, C] (episode ended)."""
        ...


@runtime_checkable
class TrialPolicy(Policy, Protocol):
    """A scripted policy that says whether its memory outlasts an episode, so that it is played for whole trials."""

    @property
    def trial_memory(self) -> bool: ...


class Collect(Protocol):
    """How a learner obtains experience; handed to it by the runner, which counts every step."""

    def __call__(self, policy: Policy, tasks: Sequence[Task], copies: int, episodes: int = 1) -> Episodes:
        """Run ``copies`` trials of ``episodes`` consecutive episodes per task with sampled actions.

        Memory starts once per trial and is carried over its episodes.
        The result has E = copies * episodes, trial by trial.
        """
        ...

    def demonstrations(self, tasks: Sequence[Task], n: int, arrangement: int = 0) -> Episodes:
        """``n`` expert episodes per task, in one of its arrangements. Raises ValueError where the family has none."""
        ...


class MetaLearner(Protocol):
    """An algorithm. It never builds environments, loops over steps, evaluates itself, logs or writes files.

    A module ``algorithms/<name>.py`` provides

    - ``EVIDENCE: Evidence`` and ``ACTIONS: frozenset[ActionKind]``, what it needs and can handle;
    - ``TEST_ACTIONS: Mode``, how it is meant to choose actions when it is tested, as in its paper or its authors' code:
      reports compare learners by these actions, whatever else was recorded;
    - ``Settings``, a frozen dataclass with every hyper-parameter and its default;
    - ``build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> MetaLearner``.
    """

    @property
    def tasks_per_step(self) -> int:
        """How many training tasks one ``meta_step`` wants."""
        ...

    @property
    def fixed_tasks(self) -> bool:
        """True for learners that come back to the same tasks, as those that keep experience do.

        Every ``meta_step`` then receives the same ``tasks_per_step`` training tasks in the same order.
        """
        ...

    @property
    def adaptation_episodes(self) -> int:
        """How many episodes (or demonstrations) per task make a block of evidence for ``adapt``."""
        ...

    @property
    def max_evidence(self) -> int | None:
        """The most evidence the learner can use on one task, or None when there is no limit."""
        ...

    @property
    def trains(self) -> bool:
        """False for baselines whose parameters stay as they were initialised."""
        ...

    def policy(self) -> Policy:
        """The policy before any evidence; it serves any number of tasks."""
        ...

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        """Improve the meta-parameters; ``progress`` in [0, 1) is the share of the budget already used.

        The metric "updates" is the number of gradient updates that took, 1 where it is left out.

        Raises:
            FloatingPointError: a loss, gradient or parameter is not finite; the run counts as diverged.
        """
        ...

    def adapt(self, policy: Policy, evidence: Episodes) -> Policy:
        """A new policy that has taken in more evidence; neither argument changes.

        At test the evidence holds what ``Episodes.as_evidence`` leaves of it.
        Of its own episodes a learner is given one block per task at a time. Demonstrations come one or several blocks
        at a time, and in which parts they came makes no difference.
        ``policy`` is this learner's own ``policy()`` or an earlier result of ``adapt`` for the same tasks.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything training needs to go on exactly as if never interrupted (tensors, numbers, nested dicts).

        What stands under "replay" is needed for that alone: model files leave it out.
        """
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@runtime_checkable
class Calibrated(Protocol):
    """What a learner has besides that chooses something on validation tasks, once, after its training."""

    @property
    def calibration_tasks(self) -> int:
        """How many validation tasks it wants."""
        ...

    def calibrate(self, tasks: Sequence[Task], collect: Collect) -> Metrics:
        """Choose; what was chosen is part of ``state_dict`` and returned.

        ``collect`` shows demonstrations as at test (``Episodes.as_evidence``), and gives of played episodes what is
        needed to judge them as well (``Episodes.for_validation``).

        Raises:
            FloatingPointError: every choice gives numbers that are not finite; the run counts as diverged.
        """
        ...


@runtime_checkable
class Explains(Protocol):
    """What a learner fed with demonstrations has besides that can say how likely an expert's decisions are."""

    def explain(self, policy: Policy, demonstrations: Episodes) -> Array:
        """[T] mean log-likelihood per decision, in nats, of demonstrations that ``policy`` has not adapted to.

        ``policy`` is this learner's own ``policy()`` or a result of ``adapt`` for the same T tasks. What has no
        decision in an episode, such as steps in which an expert has no choice, does not count.
        """
        ...


ReferencePolicy = Callable[[Sequence[Task]], Policy]


class TaskFamily(Protocol):
    """A distribution over tasks and the environments that play them.

    A module ``envs/<name>.py`` (or package) provides

    - ``ACTIONS: ActionKind`` and ``EVIDENCE: frozenset[Evidence]``;
    - ``Settings``, a frozen dataclass with every parameter of the family and its default;
    - ``build(settings: Settings) -> TaskFamily``;
    - optionally ``headline(settings) -> Literal["return", "success_last", "trial_return"]``, the figure that comes
      first in reports (default "return");
    - optionally ``official_obstacle(settings) -> str``, why Metaworld's own evaluation cannot take place with these
      settings, empty if it can; the family is then an ``OfficialFamily``.
    """

    @property
    def spec(self) -> FamilySpec: ...

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies to compare with, by name.

        Always "random" and "oracle" (which knows the task), usually "task_blind" (the best found without knowing the
        task), and others a family wants shown. See ``TrialPolicy`` for those with memory.
        """
        ...

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` distinct tasks of a split; same arguments, same tasks.

        Splits are disjoint, unless ``spec.shared_tasks`` says that all hold the same ones.

        Raises:
            ValueError: the split is finite and has fewer than ``n`` tasks.
        """
        ...

    def vector_env(self, tasks: Sequence[Task], copies: int) -> VectorEnv[Array, Array, Array]:
        """``len(tasks) * copies`` sub-environments, task-major, with autoreset disabled.

        ``reset(seed=list)`` takes one integer per sub-environment for the environment's own randomness; ``reset()``
        starts the next episode of the same tasks. ``info["success"]`` of ``step`` is a bool array. Out-of-range
        actions are clipped. Stepping a sub-environment that has ended is allowed and meaningless.

        Optional arrays [N] (see ``Episodes``): ``info["optimal_return"]`` of ``reset``, the largest expected return of
        the episode that begins there; ``info["training_reward"]`` of ``step``; ``info["stage"]`` of ``step``, how far
        the episode has got, as an index of ``spec.stages``.
        """
        ...

    def reference(self, task: Task) -> dict[str, float]:
        """Known values of the undiscounted episode return; empty where nothing is known.

        Some of "random", "task_blind", "oracle", and "bayes_optimal_trial", which is the total over a trial of
        ``spec.episodes_per_trial`` episodes.
        """
        ...


@runtime_checkable
class DemonstrationFamily(Protocol):
    """What a family has besides when its module lists "demonstrations" in ``EVIDENCE``."""

    def demonstrations(self, tasks: Sequence[Task], n: int, keys: NDArray[np.uint64], arrangement: int = 0) -> Episodes:
        """``n`` expert episodes per task, E = n, with rewards of 0; ``keys`` [T] decide their randomness.

        Where the surroundings of a task vary, all of them show the same one, which ``arrangement`` numbers; what a
        learner adapts on at test is number 0, and the environment has others.
        """
        ...


@runtime_checkable
class OfficialFamily(Protocol):
    """What a family has besides when its module has an ``official_obstacle``."""

    def official_env(
        self, num_envs: int | None = None, goals_per_class: int | None = None
    ) -> VectorEnv[Array, Array, Array]:
        """Metaworld's own vector environment on the test goals, for ``metaworld.evaluation.metalearning_evaluation``.

        Observations are [N, D + A + 2]: the family's, then the last action, reward and end of episode, which are zeros
        at the beginning of an episode. None asks for the family's own numbers.
        """
        ...
