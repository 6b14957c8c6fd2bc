"""Task families: what a learner may know of one, and what the runner asks of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from kshot.types.data import ActionKind, Array, Episodes, Evidence, Split, Task
from kshot.types.learner import Policy
from kshot.types.worlds import World

ReferencePolicy = Callable[[Sequence[Task]], Policy]


@dataclass(frozen=True)
class FamilySpec:
    """What a learner may know about a family before it sees a task.

    Attributes:
        name: of the family.
        observation_dim: D, size of an observation.
        action_space: of one sub-environment.
        horizon: largest number of steps in an episode.
        episodes_per_trial: length of a trial, in episodes, for learners that carry memory over episodes.
        evidence: what learners can adapt on.
        max_sub_envs: how many sub-environments one vector environment should hold at most, for the sake of RAM.
        observation_center: [D], a constant of the family, estimated on training tasks or known by construction.
        observation_scale: [D], likewise. Networks get (obs - center) / scale, see ``normalise``.
        observation_clip: bound on what networks get.
        shared_tasks: True where there are so few tasks that all splits hold all of them. A learner then does not know
            which one it plays, but its score says nothing about tasks it was not trained on.
        world: what planners may know; None where there is no finite model of the family.
        stages: names of how far an episode can get, from the first stage to the last; empty where there are none.
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
        """[..., D] what networks get for observations [..., D]: (obs - center) / scale, bounded."""
        scaled = (obs - self.observation_center) / self.observation_scale
        return np.clip(scaled, -self.observation_clip, self.observation_clip)

    @property
    def normaliser(self) -> dict[str, list[float] | float]:
        """The constants of ``normalise`` as plain data: a model works only with those that it was trained with."""
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


class TaskFamily(Protocol):
    """A distribution over tasks and the environments that play them.

    A module ``envs/<name>.py`` (or package) provides

    - ``ACTIONS: ActionKind`` and ``EVIDENCE: frozenset[Evidence]``;
    - ``Settings``, a frozen dataclass with every parameter of the family and its default;
    - ``build(settings: Settings) -> TaskFamily``;
    - optionally ``headline(settings) -> Headline``, the measure that comes first in reports (default "return");
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
