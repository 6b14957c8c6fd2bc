"""What observations of Meta-World are centred on and divided by: recorded once, from training goals of every class.

``python -m kshot.envs.metaworld._observations`` plays the first training goals of each of the 50 classes, half of the
episodes by Metaworld's expert and half by random actions. It writes to ``observations.json``, for every entry, its mean
at the start of an episode, its mean, and its mean square; those of the target as where it is shown. A family pools the
classes that it trains on, so its test classes have no part in it. Entries that hardly ever move in the training
classes, but may do so in others, are divided by no less than ``LEAST``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from metaworld.policies import ENV_POLICY_MAP

from kshot import seeding
from kshot.envs.metaworld._goals import Source, goals
from kshot.envs.metaworld._references import told_expert
from kshot.envs.metaworld._vector import MAX_HORIZON, OBJECT_ENTRIES, OBJECT_IRRELEVANT, MetaWorldVectorEnv
from kshot.envs.metaworld.engine import prototype
from kshot.types import Array

FILE = Path(__file__).with_name("observations.json")
GOALS = 10
"""Training goals that are recorded, of 50: placements vary by centimetres, episodes by decimetres."""
_FRAME = [*3 * [0.1], 0.2, *3 * [0.1], *4 * [0.25], *3 * [0.1], *4 * [0.25]]
LEAST = np.array([*_FRAME, *_FRAME, *3 * [0.1]])
"""Of the hand, the gripper and two objects, now and a step before, and the target; positions in metres. What hardly
moves in training may be off by nearly a metre in another class, where training has no second object (its entries are
zero), an entry of a quaternion by 2, the gripper's by 1."""
CLIP = 10.0
"""Bound on normalised observations: no class's expert gets there, whichever class was trained on."""


def record(name: str) -> Array:
    """Mean at the start, mean, and mean square [3, 39] of observations of one class's training goals, targets shown."""
    chosen = goals(Source("ML1", name), "train")[:GOALS]
    targets = np.array([prototype(name, False).snapshot(goal).target for goal in chosen])
    act = told_expert(name)
    env = MetaWorldVectorEnv([*chosen, *chosen], threads=1, clip_actions=True, autoreset_mode="Disabled")
    obs, _ = env.reset()
    seen = []
    for step in range(MAX_HORIZON):
        seen.append(obs)
        told = [act(row, target) for row, target in zip(obs[:GOALS], targets, strict=True)]
        keys = seeding.split(seeding.key("recorded observations", name, step), np.arange(GOALS)[:, None])
        drawn = 2 * seeding.uniform(keys, np.arange(4)) - 1
        obs, *_ = env.step(np.concatenate([np.asarray(told), drawn]))
    env.close()
    every = np.array(seen)  # [steps, goals, 39]
    every[..., -3:] = np.tile(targets, (2, 1))
    return np.array([every[0].mean(axis=0), every.mean(axis=(0, 1)), (every**2).mean(axis=(0, 1))])


def normaliser(classes: Sequence[str], masked: bool, shown: bool) -> tuple[Array, Array]:
    """Centre and scale [39] over the training classes of a family, each counting the same.

    The centre is where episodes start, the scale the root mean square distance from there, so that what a network sees
    first is near zero. Centred on the mean of whole episodes MAML does worse (docs/families/metaworld.md).

    Args:
        classes: of training.
        masked: whether the objects' entries are zero in the classes where they mean nothing.
        shown: whether observations show the target; else its entries are zero.
    """
    recorded = _recorded()
    moments = np.array([recorded[name] for name in classes])  # [classes, 3, 39]
    if masked:
        moments[np.ix_([name in OBJECT_IRRELEVANT for name in classes], [0, 1, 2], OBJECT_ENTRIES)] = 0.0
    if not shown:
        moments[..., -3:] = 0.0
    start, mean, square = moments.mean(axis=0)
    distance = np.sqrt(np.maximum(square - 2.0 * start * mean + start**2, 0.0))
    return start, np.maximum(distance, LEAST)


@cache
def _recorded() -> dict[str, list[list[float]]]:
    """Class -> [mean at the start [39], mean [39], mean square [39]]."""
    found: dict[str, list[list[float]]] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def main() -> None:
    lines = []
    for name in sorted(ENV_POLICY_MAP):
        # Nine digits: enough to tell a variance from rounding, few enough to be the same on every processor.
        rows = [[float(f"{value:.9g}") for value in moment] for moment in record(name)]
        lines.append(f"{json.dumps(name)}: {json.dumps(rows)}")
        print(name, flush=True)
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
