"""Scripted gaits: actions that are linear in what is observed and in a rhythm, the latter as the task asks for.

Their numbers stand in the files beside this module and were searched for by ``benchmarks.gaits``. They are scripts,
found within minutes, and no limit of what a policy can earn.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from kshot.envs._scripted import Scripted
from kshot.types import Array


@dataclass(frozen=True)
class Gaits:
    """What a file holds: L gaits of a robot with A actions.

    Attributes:
        seen: [d] which entries of an observation the gaits see.
        center: [d] of these.
        scale: [d] of these.
        rhythm: cycles per step.
        weights: [L, A, F] with F = d + 3 (1 + K) for requests of K numbers, see ``features``.
        normaliser: [2, D] centre and scale of observations along episodes of these gaits and of random actions.
    """

    seen: Array
    center: Array
    scale: Array
    rhythm: float
    weights: Array
    normaliser: Array

    def features(self, obs: Array, step: Array, asked: Array) -> Array:
        """[T, C, F] of observations [T, C, D] at ``step`` [T, C] for requests [T, C, K].

        They are the normalised entries that are seen, and the products of (1, asked) and (1, sin, cos).
        """
        angle = 2.0 * np.pi * self.rhythm * step[..., None]
        z = np.clip((obs[..., self.seen] - self.center) / self.scale, -5.0, 5.0)
        beat = np.concatenate([np.ones_like(angle), np.sin(angle), np.cos(angle)], axis=-1)
        by = np.concatenate([np.ones_like(angle), asked], axis=-1)
        products = (by[..., :, None] * beat[..., None, :]).reshape(*step.shape, -1)
        return np.concatenate([z, products], axis=-1)

    def policy(self, asks: Callable[[Array], Array], chosen: Array) -> Scripted:
        """Gaits ``chosen`` [T], asked for ``asks(obs)`` [T, C, K]; actions are within [-1, 1]."""
        weights = self.weights[chosen]
        return Scripted(lambda obs, step, noise: act(weights, self.features(obs, step, asks(obs))))

    def asked(self, requests: Array, chosen: Array | int = 0) -> Scripted:
        """Gaits ``chosen`` ([T], or one for all) with constant requests [T, K]."""

        def asks(obs: Array) -> Array:
            return np.broadcast_to(requests[:, None], (*obs.shape[:2], requests.shape[1]))

        return self.policy(asks, np.broadcast_to(chosen, (len(requests),)))


def act(weights: Array, features: Array) -> Array:
    """Actions [T, C, A] by weights [T, A, F] and features [T, C, F]."""
    return np.asarray(np.clip(np.einsum("taf,tcf->tca", weights, features), -1.0, 1.0))


@cache
def load(name: str) -> Gaits:
    """The gaits of family ``name``."""
    values = json.loads(Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8"))
    numbers = {key: np.array(values[key], dtype=np.float64) for key in ("center", "scale", "weights", "normaliser")}
    return Gaits(seen=np.array(values["seen"], dtype=np.int64), rhythm=values["rhythm"], **numbers)
