"""Tiny versions of every algorithm and family, found by name: a new file is checked without editing a check."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from kshot import registry
from kshot.running import build
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
    "memory_width": 8,
    "decoder_hidden": (8,),
    "vae_updates": 2,
    "vae_batch": 2,
    "initial_trials": 2,
    "replay_trials": 20,
    "width": 8,
    "decoder": 8,
    "test_episodes": 2,
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


def _shrink(settings: Any, small: dict[str, Any]) -> dict[str, Any]:
    result = {}
    for item in fields(settings):
        value = small.get(item.name)
        if value is not None:
            result[item.name] = value[type(item.default)] if isinstance(value, dict) else value
    return result


def fit(algorithm: str, family: str) -> bool:
    """Whether an algorithm can play a family: evidence, kinds of actions and of observations fit."""
    module, envs = registry.load("algorithms", algorithm), registry.load("envs", family)
    seen = getattr(module, "OBSERVES", None) in (None, getattr(envs, "OBSERVES", None))
    return seen and module.EVIDENCE in envs.EVIDENCE and envs.ACTIONS in module.ACTIONS


def compatible(evidence: frozenset[Evidence] = frozenset({"rollouts", "demonstrations"})) -> list[tuple[str, str]]:
    """Every (algorithm, family) that fit, of algorithms that adapt on evidence of the given kinds."""
    return [
        (algorithm, family)
        for family in registry.names("envs")
        for algorithm in registry.names("algorithms")
        if registry.load("algorithms", algorithm).EVIDENCE in evidence and fit(algorithm, family)
    ]


def run(algorithm: str, family: str, *, seed: int = 0, iterations: int = 3) -> RunConfig:
    """A run of about ``iterations`` meta-steps and an evaluation on two test tasks."""
    envs, module = registry.load("envs", family), registry.load("algorithms", algorithm)
    family_settings = _shrink(envs.Settings(), _SMALL_FAMILY)
    algorithm_settings = _shrink(module.Settings(), _SMALL_ALGORITHM)
    # Of the hand, its class decides.
    horizon = family_settings.get("horizon", family_settings.get("nodes", 15 if family == "metaworld_hand" else 1))
    # At least two tasks x two episodes per call of collect, so this many steps take at least two meta-steps.
    steps = iterations * 2 * 2 * horizon
    found = RunConfig(
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
    if registry.is_own("algorithms", algorithm):
        return found
    # A plug-in's block has a setting of any name, or none: the evidence follows it.
    block = build.learner(found, build.family(found).spec).adaptation_episodes
    return replace(found, evaluation=Evaluation(tasks=2, k=(0, block, 2 * block)))
