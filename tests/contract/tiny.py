"""Tiny versions of every algorithm and family, found by folder: a new file is tested without editing a test."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from kshot import registry
from kshot.suites.run import Evaluation, RunConfig
from kshot.types import Evidence

# What to shrink wherever an algorithm or family has a setting of that name; everything else keeps its default.
_SMALL_ALGORITHM = {
    "meta_batch": 2,
    "episodes": 2,
    "trials": 2,
    "minibatches": 2,
    "epochs": 2,
    "hidden": {int: 8, tuple: (8,)},
    "cg_iterations": 3,
    "encoder_hidden": (8,),
    "width": 8,
    "decoder": 8,
    "training_tasks": 2,  # as many as the smallest family has
    "collect_tasks": 2,
    "initial_episodes": 1,
    "prior_episodes": 1,
    "extra_posterior_episodes": 1,
    "replay_capacity": 100,
    "gradient_steps": 3,
    "batch_size": 8,
    "context_size": 8,
    "shots": (1, 2),
    "test_steps": (1, 3),
    "calibration_tasks": 2,
}
_SMALL_FAMILY = {
    "arms": 3,
    "pulls": 3,
    "horizon": 6,
    "episodes_per_trial": 3,
    "states": 3,
    "observe_dynamics": True,
    "side": 4,
    "copies": 2,
    "demonstrations": 4,
    "train_tasks": 4,
    "nodes": 6,
}
ALIKE = frozenset({"ant_goal", "cheetah_dir", "hopper_rand_params", "metaworld_physics", "walker_rand_params"})
"""Families that are, to a learner, like cheetah_vel or metaworld: one learner is paired with them."""


def _shrink(settings: Any, small: dict[str, Any]) -> dict[str, Any]:
    result = {}
    for item in fields(settings):
        value = small.get(item.name)
        if value is not None:
            result[item.name] = value[type(item.default)] if isinstance(value, dict) else value
    return result


def compatible(evidence: frozenset[Evidence] = frozenset({"rollouts", "demonstrations"})) -> list[Any]:
    """Every (algorithm, family) whose evidence, of the given kinds, and action kinds fit; see ``ALIKE``."""
    pairs = []
    for family in registry.names("envs"):
        envs = registry.load("envs", family)
        for algorithm in registry.names("algorithms"):
            module = registry.load("algorithms", algorithm)
            if family in ALIKE and algorithm != "untrained":
                continue
            seen = getattr(module, "OBSERVES", None) in (None, getattr(envs, "OBSERVES", None))
            if seen and module.EVIDENCE in evidence & envs.EVIDENCE and envs.ACTIONS in module.ACTIONS:
                pairs.append(pytest.param(algorithm, family, id=f"{algorithm}-{family}"))
    return pairs


def run(algorithm: str, family: str, *, seed: int = 0, iterations: int = 3) -> RunConfig:
    """A run of about ``iterations`` meta-steps and an evaluation on two test tasks."""
    envs, module = registry.load("envs", family), registry.load("algorithms", algorithm)
    family_settings = _shrink(envs.Settings(), _SMALL_FAMILY)
    algorithm_settings = _shrink(module.Settings(), _SMALL_ALGORITHM)
    # Of the hand, its class decides.
    horizon = family_settings.get("horizon", family_settings.get("nodes", 15 if family == "metaworld_hand" else 1))
    # At least two tasks x two episodes per call of collect, so this many steps take at least two meta-steps.
    steps = iterations * 2 * 2 * horizon
    return RunConfig(
        suite="contract",
        family=family,
        family_module=family,
        algorithm=algorithm,
        algorithm_module=algorithm,
        seed=seed,
        steps=steps * family_settings.get("pulls", family_settings.get("episodes_per_trial", 1)) * 2,
        evaluation=Evaluation(tasks=2, k=(0, 1, 2)),
        family_settings=family_settings,
        algorithm_settings=algorithm_settings,
        evidence=module.EVIDENCE,
        test_actions=module.TEST_ACTIONS,
        headline=envs.headline(envs.Settings(**family_settings)) if hasattr(envs, "headline") else "return",
        from_scratch=getattr(module, "FROM_SCRATCH", False),
    )
