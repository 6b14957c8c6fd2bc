"""Policies, which are values, and the learners that make and adapt them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from kshot.types.data import Array, Episodes, Metrics, Task

Memory = dict[str, Array]
"""What a policy carries from step to step: named arrays with leading axes [T, C]. Empty for a memoryless policy."""


@runtime_checkable
class Policy(Protocol):
    """An immutable policy for T tasks at once; its memory is an argument and a result of its methods."""

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        """Memory at the beginning of a trial, every array with leading axes [n_tasks, n_copies].

        ``keys`` [n_tasks, n_copies] decide what is random in a policy besides its action noise, such as a sample from a
        posterior; None asks for a deterministic choice.
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
        """The memory after a step: action as returned by ``act``, reward [T, C], done [T, C] (episode ended)."""
        ...


@runtime_checkable
class TrialPolicy(Policy, Protocol):
    """A scripted policy that says whether it learns over the episodes of a trial."""

    @property
    def trial_memory(self) -> bool:
        """Whether its memory outlasts an episode; it is then played for whole trials."""
        ...


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
    - optionally ``FROM_SCRATCH = True``, where it learns each task from its evidence alone and is the one that reports
      compare others with, to tell what the other tasks are worth;
    - ``Settings``, a frozen dataclass with every hyper-parameter and its default;
    - ``build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> MetaLearner``.
    """

    @property
    def tasks_per_step(self) -> int:
        """How many training tasks one ``meta_step`` wants."""
        ...

    @property
    def fixed_tasks(self) -> bool:
        """True for learners that need the same tasks in every ``meta_step``, as those with a replay buffer do.

        They are the same ``tasks_per_step`` training tasks in the same order.
        """
        ...

    @property
    def adaptation_episodes(self) -> int:
        """Number of episodes (or demonstrations) per task in a block of evidence for ``adapt``."""
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

        The metric "updates" is the number of gradient updates in this step, 1 if it is left out.

        Raises:
            FloatingPointError: a loss, gradient or parameter is not finite; the run counts as diverged.
        """
        ...

    def adapt(self, policy: Policy, evidence: Episodes) -> Policy:
        """A new policy that has taken in more evidence; neither argument changes.

        At test the evidence is what ``Episodes.as_evidence`` leaves of it. Own episodes come one block per task at a
        time, demonstrations one or several blocks at a time; how they are divided makes no difference.
        ``policy`` is this learner's own ``policy()`` or an earlier result of ``adapt`` for the same tasks.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that training needs to go on exactly as without an interruption (tensors, numbers, nested dicts).

        The entry "replay" is for that only: model files leave it out.
        """
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@runtime_checkable
class Calibrated(Protocol):
    """What a learner has besides if it chooses something on validation tasks, once, after its training."""

    @property
    def calibration_tasks(self) -> int:
        """How many validation tasks it wants."""
        ...

    def calibrate(self, tasks: Sequence[Task], collect: Collect) -> Metrics:
        """Choose. The choice becomes part of ``state_dict``, and is returned as metrics.

        ``collect`` gives demonstrations as at test (``Episodes.as_evidence``), and played episodes with success flags
        (``Episodes.for_validation``).

        Raises:
            FloatingPointError: no choice gives finite numbers; the run counts as diverged.
        """
        ...


@runtime_checkable
class Explains(Protocol):
    """What a learner from demonstrations has besides if it can compute the likelihood of an expert's decisions."""

    def explain(self, policy: Policy, demonstrations: Episodes) -> Array:
        """[T] mean log-likelihood per decision, in nats, of demonstrations that ``policy`` has not adapted to.

        ``policy`` is this learner's own ``policy()`` or a result of ``adapt`` for the same T tasks. Steps in which an
        expert has no choice are no decisions and do not count.
        """
        ...
