"""Walker with random parameters: walk on, whatever the masses, inertias, damping and friction (rand_param_envs).

Definition as in the authors' code (dennisl88/rand_param_envs, walker_rand_params.py), made for ProMP (Rothfuss et al.
2019, arXiv 1810.06784): see ``kshot.envs._robots.parameters``. Reward v + 1 - .001 |a|^2 (squared norm) until a fall,
200 steps. The robot is Gymnasium's Walker2d-v5, whose rewards and falls are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from kshot.envs._robots import parameters
from kshot.envs._robots.family import Ranged
from kshot.envs._robots.simulation import WALKER
from kshot.types import ActionKind, Array, Evidence

ACTIONS: ActionKind = "continuous"
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts"})


@dataclass(frozen=True)
class Settings(Ranged):
    """Lengths of episodes and trials, and where test tasks are: outside, exponents are up to 4 instead of 3."""


def build(settings: Settings) -> parameters.RandomParametersFamily:
    """The family for ``settings``."""
    return parameters.RandomParametersFamily("walker_rand_params", WALKER, healthy, settings)


def headline(settings: Settings) -> Literal["return"]:
    """The figure of ProMP and PEARL."""
    return "return"


def healthy(position: Array, velocity: Array) -> Array:
    """[N] as Walker2d-v5 has it: the torso between .8 and 2 m high, and upright within 1 rad."""
    upright = np.logical_and(position[:, 2] > -1.0, position[:, 2] < 1.0)
    return np.asarray(upright & (position[:, 1] > 0.8) & (position[:, 1] < 2.0))
