"""Any Gymnasium environment as a task family: what varies between its tasks is said in settings.

Gymnasium: Towers et al. 2024, arXiv 2407.17032. Without settings it is CartPole-v1 (Barto, Sutton and Anderson 1983),
in which the pole's length, gravity and the direction in which actions push vary. ``parameters`` says how tasks are
written, ``GymFamily`` is the same in Python.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from gymnasium import spaces

from kshot import seeding
from kshot.envs.gymnasium import making, parameters
from kshot.envs.gymnasium.cartpole import keep_consistent
from kshot.envs.gymnasium.family import GymFamily
from kshot.envs.gymnasium.making import Env
from kshot.envs.gymnasium.parameters import Parameter, Params
from kshot.envs.gymnasium.vector import Success
from kshot.errors import suggest
from kshot.types import ActionKind, Evidence, ReferencePolicy, Split

__all__ = ["ACTIONS", "EVIDENCE", "GymFamily", "Settings", "Success", "actions", "build", "headline"]

ACTIONS: ActionKind = "discrete"
"""Of the environment without settings; ``actions`` has those of any."""
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts"})
EXAMPLE: dict[str, Any] = {
    "environment": "CartPole-v1",
    "task": {
        "attributes": {"length": [0.25, 1.0], "gravity": [5.0, 15.0], "force_mag": {"values": [-10.0, 10.0]}},
    },
    "oracle": "kshot.envs.gymnasium.cartpole:oracle",
    "task_blind": "kshot.envs.gymnasium.cartpole:task_blind",
}
"""What the family is without settings."""


@dataclass(frozen=True)
class Settings:
    """An environment, and what varies in it.

    Attributes:
        environment: an id of Gymnasium's registry (MODULE:ID where a package registers it on import), or
            MODULE:FUNCTION, a function that returns an environment. Empty: the example above, CartPole-v1.
        make: keyword arguments of ``gymnasium.make`` or of the function, the same for all tasks.
        task: what varies, and where it is set; see ``parameters``.
        ood: parameters of ``task`` that test tasks draw from here instead, in the same form: tasks outside of what is
            trained on. The others are drawn as in training.
        held_out: where no parameter is a range, how many of the finitely many tasks only the test split has; the
            validation split has as many others to itself. With 0 every split has all tasks.
        drop: indices of the flattened observation that would give the task away, and which learners do not see.
        success: when a step counts as a success: {info: KEY}, a key of info, or {return: NUMBER}, from which return of
            the episode so far on. Empty: no step does.
        first: the headline of reports: "return", "trial_return", or "success_last".
        horizon: steps after which an episode is cut; null is the environment's own limit.
        episodes_per_trial: length of a trial, in episodes, for learners with memory.
        oracle: MODULE:FUNCTION, tasks -> a scripted policy that knows them. Empty: there is none.
        task_blind: MODULE:FUNCTION, likewise, the best one that does not know the task. Empty: none was searched for.
        refresh: MODULE:FUNCTION, called with an environment whose attributes were set to a task, to compute anew what
            it has derived from them. Empty: there is nothing to do, or it is CartPole.
        max_sub_envs: environments that are kept side by side at most.
        code: fingerprint of the files of every MODULE:FUNCTION, filled in: results made with other files are outdated.

    Raises:
        ValueError: a value is impossible, nothing is registered by that id, or a function cannot be imported.
    """

    environment: str = ""
    make: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    ood: dict[str, Any] = field(default_factory=dict)
    held_out: int = 0
    drop: tuple[int, ...] = ()
    success: dict[str, str | float] = field(default_factory=dict)
    first: Literal["return", "trial_return", "success_last"] = "return"
    horizon: int | None = None
    episodes_per_trial: int = 2
    oracle: str = ""
    task_blind: str = ""
    refresh: str = ""
    max_sub_envs: int = 1000
    code: str = ""

    def __post_init__(self) -> None:
        if not self.environment:
            given = [name for name in ("make", "task", "ood", "drop", "oracle", "task_blind") if getattr(self, name)]
            if given:
                raise ValueError(f"{given[0]} is given, but no environment: name the one that it is for")
            for name, value in EXAMPLE.items():
                object.__setattr__(self, name, value)
        for name in ("episodes_per_trial", "max_sub_envs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.horizon is not None and self.horizon < 1:
            raise ValueError(f"horizon must be at least 1, got {self.horizon}")
        making.maker(self.environment)
        for name in ("oracle", "task_blind", "refresh"):
            if getattr(self, name):
                making.function(getattr(self, name))
        _check_parameters(self)
        _success(self.success)
        if self.first == "success_last" and not self.success:
            raise ValueError("first is 'success_last', but success does not say what counts as one")
        if not self.code:
            object.__setattr__(self, "code", _digest(self))


def build(settings: Settings) -> GymFamily:
    """The family for ``settings``.

    Raises:
        ConfigError: as ``GymFamily``.
        ValueError: a file of a MODULE:FUNCTION has changed since the settings were completed.
    """
    if settings.code != _digest(settings):
        raise ValueError(f"a file behind {settings.environment} has changed since the suite was read: start again")
    task, ood = parameters.parse("task", settings.task), parameters.parse("ood", settings.ood)
    replaced = {one.key: one for one in ood}
    test = tuple(replaced.get(one.key, one) for one in task)
    make = making.maker(settings.environment)
    refresh = making.function(settings.refresh) if settings.refresh else keep_consistent

    def made(params: Params) -> Env:
        env: Env = make(**settings.make, **parameters.part(params, "make"))
        return env

    def apply(env: Env, params: Params) -> None:
        parameters.apply(env, params)
        refresh(env.unwrapped)

    def sample(split: Split, rng: Any) -> Params:
        return {one.key: one.draw(rng) for one in (test if split == "test" else task)}

    finite = all(one.values for one in test)
    return GymFamily(
        "gymnasium",
        made,
        _splits(settings.held_out, task, test) if finite else sample,
        apply=apply,
        alike=lambda params: _text(parameters.part(params, "make")),
        options=lambda params: parameters.part(params, "options"),
        horizon=settings.horizon or making.time_limit(settings.environment),
        episodes_per_trial=settings.episodes_per_trial,
        drop=settings.drop,
        success=_success(settings.success),
        oracle=_reference(settings.oracle),
        task_blind=_reference(settings.task_blind),
        probes=[{one.key: one.ends[end] for one in of} for of in (task, test) for end in (0, 1)],
        max_sub_envs=settings.max_sub_envs,
    )


def headline(settings: Settings) -> Literal["return", "trial_return", "success_last"]:
    """As the settings say."""
    return settings.first


def actions(settings: Settings) -> ActionKind:
    """The kind of the environment's actions.

    Raises:
        ConfigError, ValueError: as ``build``, which it takes to know.
    """
    return _actions(settings.environment, _text(settings.make), _text(settings.task))


@cache
def _actions(environment: str, make: str, task: str) -> ActionKind:
    params = {one.key: one.ends[0] for one in parameters.parse("task", json.loads(task))}
    try:
        env = making.maker(environment)(**json.loads(make), **parameters.part(params, "make"))
    except Exception as error:  # an environment may fail in any way
        raise ValueError(f"{environment} cannot be made: {making.told(error)}") from None
    kind: ActionKind = "discrete" if isinstance(env.action_space, spaces.Discrete) else "continuous"
    env.close()
    return kind


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _digest(settings: Settings) -> str:
    return making.digest(settings.environment, settings.oracle, settings.task_blind, settings.refresh)


def _reference(name: str) -> ReferencePolicy | None:
    return making.function(name) if name else None


def _success(value: Mapping[str, Any]) -> Success:
    match dict(value):
        case {"info": str(key), **rest} if not rest:
            return Success(info=key)
        case {"return": int() | float() as number, **rest} if not rest and not isinstance(number, bool):
            return Success(threshold=float(number))
        case {}:
            if not value:
                return Success()
    raise ValueError(f"success: expected {{info: KEY}} or {{return: NUMBER}}, got {dict(value)!r}")


def _check_parameters(settings: Settings) -> None:
    """Raise ValueError if the parameters of tasks are impossible."""
    task, ood = parameters.parse("task", settings.task), parameters.parse("ood", settings.ood)
    by_key = {one.key: one for one in task}
    for one in task:
        if one.place == "make" and one.name in settings.make:
            raise ValueError(f"task.{one.key} varies, but make sets it for all tasks")
    for one in ood:
        if one.key not in by_key:
            raise ValueError(f"ood.{one.key} is no parameter of task{suggest(one.key, by_key)}")
        if one.overlaps(by_key[one.key]):
            raise ValueError(f"ood.{one.key} overlaps with what is trained on, task.{one.key}")
    finite = all(one.values for one in task)
    if finite != all({one.key: one for one in (*task, *ood)}[key].values for key in by_key):
        raise ValueError("ood: where task has a range, ood must have one, and where it has values, values")
    if not finite:
        if settings.held_out:
            raise ValueError("held_out is for tasks without a range; those drawn from a range never coincide")
        return
    n, held_out = len(parameters.all_tasks(task)), settings.held_out
    if ood and not held_out:
        raise ValueError("ood with finitely many tasks: set held_out, the number of tasks for validation")
    if not 0 <= held_out <= (n - 1) // 2:
        raise ValueError(f"held_out must be between 0 and {(n - 1) // 2} of the {n} tasks, got {held_out}")


def _splits(held_out: int, task: tuple[Parameter, ...], test: tuple[Parameter, ...]) -> dict[Split, list[Params]]:
    """The tasks of each split where they are finitely many."""
    known: list[Params] = list(parameters.all_tasks(task))
    if not held_out:
        return {"train": known, "validation": known, "test": known}
    order = seeding.generator("gymnasium", "held out").permutation(len(known))
    shuffled = [known[i] for i in order]
    return {
        "train": shuffled[2 * held_out :],
        "validation": shuffled[held_out : 2 * held_out],
        "test": shuffled[:held_out] if test == task else list(parameters.all_tasks(test)),
    }
