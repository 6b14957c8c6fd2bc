"""GymFamily: a task family from a function that makes an environment and one that draws its tasks

A plug-in that writes its family in Python is a file ``envs/<name>.py`` in a folder of ``KSHOT_PATH``::

    def build(settings):
        return GymFamily(
            "<name>",
            make=lambda task: gymnasium.make("CartPole-v1"),
            sample=lambda split, rng: {"length": float(rng.uniform(0.25, 1.0))},
            apply=lambda env, task: setattr(env.unwrapped, "length", task["length"]),
        )
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from kshot import seeding
from kshot.envs._scripted import uniform_random
from kshot.envs.gymnasium.making import Env, told
from kshot.envs.gymnasium.probing import Probe, probed
from kshot.envs.gymnasium.vector import GymnasiumVectorEnv, Params, Success, fault
from kshot.types import SPLITS, FamilySpec, ReferencePolicy, Split, Task

Sample = Callable[[Split, np.random.Generator], Params]
_ATTEMPTS = 100
"""Draws per task before a split counts as having too few."""


class GymFamily:
    """``kshot.types.TaskFamily`` of any Gymnasium environment.

    Args:
        name: of the family: that of its module.
        make: an environment, given the parameters of a task.
        sample: the parameters of one task, given its split and a generator; or, where there are few, those of every
            task of each split. Splits share no task, or all hold the same ones.
        apply: sets an environment to a task, whatever task it had before. Environments are then made once and used
            again; without it, one is made for every task.
        alike: what of a task's parameters ``make`` looks at, where there is ``apply``: environments for which it is
            equal are used for each other. Nothing by default.
        options: what ``reset`` is given, from the parameters of a task.
        horizon: steps after which an episode is truncated; by default the limit that the environment names itself.
        episodes_per_trial: length of a trial, in episodes, for learners with memory.
        drop: indices of the flattened observation that learners do not see.
        success: when a step counts as a success.
        oracle: a scripted policy that knows the task, if there is one.
        task_blind: the best that is known without knowing the task, if it was searched for.
        probes: parameters of further tasks that are tried when the family is built.
        max_sub_envs: environments that are kept side by side at most.

    Raises:
        ConfigError: the environment cannot be used: it cannot be made or set to its tasks, shows or earns what is not
            finite or other than it declares, does not repeat itself after ``reset(seed=...)``, draws from a global
            generator, has no end, or spaces of a kind that learners cannot handle. One line, with family and task.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[Params], Env],
        sample: Sample | Mapping[Split, Sequence[Params]],
        *,
        apply: Callable[[Env, Params], None] | None = None,
        alike: Callable[[Params], Hashable] = lambda params: (),
        options: Callable[[Params], dict[str, Any]] = lambda params: {},
        horizon: int | None = None,
        episodes_per_trial: int = 2,
        drop: Sequence[int] = (),
        success: Success | None = None,
        oracle: ReferencePolicy | None = None,
        task_blind: ReferencePolicy | None = None,
        probes: Sequence[Params] = (),
        max_sub_envs: int = 1000,
    ) -> None:
        self._name, self._make, self._sample, self._apply, self._options = name, make, sample, apply, options
        self._alike: Callable[[Params], Hashable] = alike if apply is not None else lambda params: tuple(params.items())
        self._idle: dict[Hashable, list[Env]] = {}
        self._max_sub_envs = max_sub_envs
        shared = not callable(sample) and all(list(sample[split]) == list(sample["train"]) for split in SPLITS)
        training = self._training_probes()
        self.probe: Probe = probed(name, self._prepared, options, training, probes, drop, success or Success(), horizon)
        self.spec = FamilySpec(
            name=name,
            observation_dim=len(self.probe.interface.kept),
            action_space=self.probe.interface.action_space,
            horizon=self.probe.horizon,
            episodes_per_trial=episodes_per_trial,
            max_sub_envs=max_sub_envs,
            observation_center=self.probe.center,
            observation_scale=self.probe.scale,
            observation_clip=10.0,
            shared_tasks=shared,
        )
        self.references: Mapping[str, ReferencePolicy] = {
            "random": lambda tasks: uniform_random(self.spec.action_space),
            **({"task_blind": task_blind} if task_blind is not None else {}),
            **({"oracle": oracle} if oracle is not None else {}),
        }

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` distinct tasks; each split and seed has a stream of its own.

        Raises:
            ValueError: the split has fewer.
        """
        if callable(self._sample):
            drawn = list(enumerate(self._drawn(self._sample, split, n, seed)))
        else:
            there = self._sample[split]
            if n > len(there):
                raise ValueError(f"{self._name}: the {split} split has {len(there)} tasks, fewer than {n}")
            chosen = seeding.generator(self._name, "tasks", split, seed).permutation(len(there))[:n]
            drawn = [(int(i), there[i]) for i in chosen]
        return [Task(self._name, split, i, tuple(params.items()), group=self._name) for i, params in drawn]

    def _drawn(self, sample: Sample, split: Split, n: int, seed: int) -> list[Params]:
        found: dict[Hashable, Params] = {}
        for attempt in range(_ATTEMPTS * n):
            params = sample(split, seeding.generator(self._name, "task", split, seed, attempt))
            found.setdefault(tuple(params.items()), params)
            if len(found) == n:
                return list(found.values())
        raise ValueError(f"{self._name}: {_ATTEMPTS * n} draws gave {len(found)} different {split} tasks, not {n}")

    def _training_probes(self) -> list[Params]:
        """Of four training tasks, or of the one that there is for certain."""
        try:
            return [dict(task.params) for task in self.tasks("train", 4, 0)]
        except ValueError:
            return [dict(task.params) for task in self.tasks("train", 1, 0)]

    def vector_env(self, tasks: Sequence[Task], copies: int) -> GymnasiumVectorEnv:
        """Raises ConfigError, then or when it is played, as the constructor does."""
        params = [dict(task.params) for task in tasks for _ in range(copies)]
        return GymnasiumVectorEnv(
            self.probe.interface,
            [self._prepared(one) for one in params],
            params,
            [self._options(one) for one in params],
            self.probe.horizon,
            lambda envs: self._put_back(params, envs),
        )

    def reference(self, task: Task) -> dict[str, float]:
        """Nothing: no return is known of an environment that may be any."""
        return {}

    def _prepared(self, params: Params) -> Env:
        """An environment set to a task: one that is idle, or a new one."""
        idle = self._idle.get(self._alike(params))
        try:
            env = idle.pop() if idle else self._make(params)
        except Exception as error:  # an environment may fail in any way
            raise fault(self._name, params, f"it cannot be made: {told(error)}") from error
        if self._apply is not None:
            try:
                self._apply(env, params)
            except Exception as error:  # likewise
                reason = str(error) if isinstance(error, ValueError) else told(error)
                raise fault(self._name, params, f"it cannot be set to its task: {reason}") from error
        return env

    def _put_back(self, params: Sequence[Params], envs: Sequence[Env]) -> None:
        for one, env in zip(params, envs, strict=True):
            self._idle.setdefault(self._alike(one), []).append(env)
        surplus = sum(map(len, self._idle.values())) - self._max_sub_envs
        for key in list(self._idle):  # those that were made first
            while surplus > 0 and self._idle[key]:
                self._idle[key].pop(0).close()
                surplus -= 1
            if not self._idle[key]:
                del self._idle[key]
