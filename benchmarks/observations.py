"""How much of what Meta-World's experts see is cut off by the bounds of normalised observations.

``python -m benchmarks.observations [CLASS ...]`` plays five test goals of each class by its expert and prints a row of
Markdown: the share of all entries beyond the bound, and the entry with most of them, when the class is trained on by
itself (ML1) and when it is met in ML10, ML25 or ML45, with their training classes' numbers. The last columns have the
same for what kshot had before: the observation at reset, a factor of .1 and a bound of 5.
"""

from __future__ import annotations

import argparse

import numpy as np
from metaworld.policies import ENV_POLICY_MAP

from kshot import seeding
from kshot.envs import metaworld
from kshot.envs.metaworld._goals import Source, goals
from kshot.envs.metaworld.engine import prototype
from kshot.running.rollout import rollout
from kshot.types import Array, FamilySpec

GOALS = 5
BENCHMARKS = ("ML10", "ML25", "ML45")


def expert_observations(name: str) -> Array:
    """[N, 39] observations of full-length episodes of the class's expert on test goals."""
    family = metaworld.build(metaworld.Settings(task=name))
    tasks = family.tasks("test", GOALS, 0)
    keys = seeding.split(seeding.key("observations"), np.arange(GOALS))
    played = rollout(family, family.references["oracle"](tasks), tasks, keys, copies=1)
    obs: Array = played.obs.reshape(-1, played.obs.shape[-1])
    return obs


def beyond(obs: Array, center: Array, scale: Array, clip: float) -> Array:
    """[39] share of the observations whose entry is beyond the bound."""
    return np.asarray((np.abs(obs - center) > clip * scale).mean(axis=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("classes", nargs="*", metavar="CLASS")
    classes = parser.parse_args().classes or sorted(ENV_POLICY_MAP)
    wide = {name: metaworld.build(metaworld.Settings(benchmark=name)).spec for name in BENCHMARKS}
    members = {name: {*Source(name).classes("train"), *Source(name).classes("test")} for name in BENCHMARKS}
    print("| class | ML1 | worst entry | " + " | ".join(BENCHMARKS) + " | before | worst entry |")
    print("|---" * (6 + len(BENCHMARKS)) + "|")
    for name in classes:
        obs = expert_observations(name)
        own = metaworld.build(metaworld.Settings(task=name))
        reset = prototype(name, False).snapshot(goals(Source("ML1", name), "train")[0]).obs
        parts = [name, *_shown(beyond(obs, *_bounds(own.spec)))]
        for benchmark, spec in wide.items():
            parts.append(_percent(beyond(obs, *_bounds(spec)).mean()) if name in members[benchmark] else "")
        parts += _shown(beyond(obs, reset, np.full(39, 0.1), 5.0))
        print("| " + " | ".join(parts) + " |", flush=True)


def _bounds(spec: FamilySpec) -> tuple[Array, Array, float]:
    return spec.observation_center, spec.observation_scale, spec.observation_clip


def _shown(shares: Array) -> list[str]:
    worst = int(shares.argmax())
    return [_percent(shares.mean()), f"{worst}: {_percent(shares[worst])}" if shares[worst] else ""]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    main()
