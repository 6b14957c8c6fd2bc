"""The numbers that observations of Meta-World are normalised by: recorded ones of a family's training classes.

``observations.json`` holds them for all 50 classes; ``_record_observations`` writes it. A family pools the classes that
it trains on, so that its test classes have no part in it. An entry that hardly ever moves in the training classes may
do so in others: scales are no smaller than ``MIN_SCALE``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from kshot.envs.metaworld._vector import OBJECT_ENTRIES, OBJECT_IRRELEVANT
from kshot.types import Array

FILE = Path(__file__).with_name("observations.json")
_MIN_SCALE_OF_FRAME = [*3 * [0.1], 0.2, *3 * [0.1], *4 * [0.25], *3 * [0.1], *4 * [0.25]]
MIN_SCALE = np.array([*_MIN_SCALE_OF_FRAME, *_MIN_SCALE_OF_FRAME, *3 * [0.1]])
"""[39] of the present frame, the frame one step before and the target, positions in metres. A frame has the hand, the
gripper, and position and quaternion of two objects. Where training has no second object (its entries are zero), its
position may be off by nearly a metre in another class, an entry of a quaternion by 2, the gripper's by 1."""
CLIP = 10.0
"""Bound on normalised observations: no class's expert gets there, whichever class was trained on."""


def normaliser(classes: Sequence[str], mask_objects: bool, show_target: bool) -> tuple[Array, Array]:
    """Centre and scale [39] over the training classes of a family, each counting the same.

    The centre is the mean at the start of an episode and the scale the root mean square distance from it, so that what
    a network sees first is near zero. With the mean of whole episodes as the centre MAML does worse
    (docs/families/metaworld.md).

    Args:
        classes: of training.
        mask_objects: whether the objects' entries are zero in the classes where objects are irrelevant.
        show_target: whether observations show the target; else its entries are zero.
    """
    recorded = _recorded_moments()
    moments = np.array([recorded[name] for name in classes])  # [classes, 3, 39]
    if mask_objects:
        moments[np.ix_([name in OBJECT_IRRELEVANT for name in classes], [0, 1, 2], OBJECT_ENTRIES)] = 0.0
    if not show_target:
        moments[..., -3:] = 0.0
    start, mean, square = moments.mean(axis=0)
    distance = np.sqrt(np.maximum(square - 2.0 * start * mean + start**2, 0.0))
    return start, np.maximum(distance, MIN_SCALE)


@cache
def _recorded_moments() -> dict[str, list[list[float]]]:
    """Class -> [mean at the start [39], mean [39], mean square [39]]."""
    moments: dict[str, list[list[float]]] = json.loads(FILE.read_text(encoding="utf-8"))
    return moments
