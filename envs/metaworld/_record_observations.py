"""Records the numbers that observations of Meta-World are normalised by: ``observations.json``.

``python -m kshot.envs.metaworld._record_observations`` plays the first training goals of each of the 50 classes, half
of the episodes by Metaworld's expert and half by random actions. It writes, for every class and entry of the
observation, the mean at the start of an episode, the mean, and the mean square. The entries of the target are recorded
as if the target were shown.
"""

from __future__ import annotations

import json

import numpy as np
from metaworld.policies import ENV_POLICY_MAP

from kshot import seeding
from kshot.envs.metaworld._goals import Source, goals
from kshot.envs.metaworld._observations import FILE
from kshot.envs.metaworld._references import target_conditioned_expert
from kshot.envs.metaworld._vector import MAX_HORIZON, MetaWorldVectorEnv
from kshot.envs.metaworld.engine import prototype
from kshot.types import Array

N_GOALS = 10
"""Training goals that are recorded, of 50: placements vary by centimetres, episodes by decimetres."""


def record(name: str) -> Array:
    """Mean at the start, mean, and mean square [3, 39] of observations of class ``name``, targets shown."""
    chosen = goals(Source("ML1", name), "train")[:N_GOALS]
    targets = np.array([prototype(name, False).snapshot(goal).target for goal in chosen])
    expert = target_conditioned_expert(name)
    env = MetaWorldVectorEnv([*chosen, *chosen], threads=1, clip_actions=True, autoreset_mode="Disabled")
    obs, _ = env.reset()
    observations = []
    for step in range(MAX_HORIZON):
        observations.append(obs)
        expert_actions = [expert(o, target) for o, target in zip(obs[:N_GOALS], targets, strict=True)]
        keys = seeding.split(seeding.key("recorded observations", name, step), np.arange(N_GOALS)[:, None])
        random_actions = 2 * seeding.uniform(keys, np.arange(4)) - 1
        obs, *_ = env.step(np.concatenate([np.asarray(expert_actions), random_actions]))
    env.close()
    recorded = np.array(observations)  # [steps, 2 * goals, 39]
    recorded[..., -3:] = np.tile(targets, (2, 1))
    return np.array([recorded[0].mean(axis=0), recorded.mean(axis=(0, 1)), (recorded**2).mean(axis=(0, 1))])


def main() -> None:
    """Write the file anew."""
    lines = []
    for name in sorted(ENV_POLICY_MAP):
        # Nine digits: enough to tell a variance from rounding, few enough to be the same on every processor.
        moments = [[float(f"{value:.9g}") for value in moment] for moment in record(name)]
        lines.append(f"{json.dumps(name)}: {json.dumps(moments)}")
        print(name, flush=True)
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
