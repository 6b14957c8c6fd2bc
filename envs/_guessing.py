"""Guessing a hidden place from what is seen: the floor of families whose scenes differ from task to task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from kshot.types import Array

_VARIES = 1e-6
"""Standard deviation above which an entry counts as varying, and relative size of singular values that count."""


Guessing = Callable[[Array], Array]
"""Seen [..., D] -> a place [..., 3]."""


@dataclass(frozen=True)
class Guess:
    """``place`` + (seen - ``center``) @ ``weights``; ``weights`` [D, 3] are 0 where only the middle is known."""

    place: Array
    center: Array
    weights: Array

    def __call__(self, seen: Array) -> Array:
        """[..., 3] for what is seen [..., D]."""
        return np.asarray(self.place + (seen - self.center) @ self.weights)


MEDIAN = frozenset({"push-v3"})
"""Classes of Meta-World in which it pays to aim at the median of the targets, entry by entry, and not at their mean.

On validation tasks the scripted expert that is told the mean, 8 mm beside it, lets the object drift away by the end of
an episode: .02 instead of .44 succeed at the last step (``benchmarks.task_blind``).
"""


def fitted(seen: Array, places: Array, name: str = "") -> Guess:
    """The middle of ``places`` [n, 3], or a linear function of ``seen`` [n, D] where that is far better.

    The middle is the mean, or the median for the classes ``name`` in ``MEDIAN``.

    The linear function is fitted by least squares (of those that fit equally well, the smallest). It is taken where its
    mean error on points that are left out one at a time is at most half of the mean's: where what is seen tells most of
    the place, as that of an object whose target is a part of it.
    """
    if len(seen) < 3 or _left_out(linear, seen, places) > 0.5 * _left_out(average, seen, places):
        middle = average(seen, places)
        return replace(middle, place=np.median(places, axis=0)) if name in MEDIAN else middle
    return linear(seen, places)


def average(seen: Array, places: Array) -> Guess:
    """The mean place, whatever is seen."""
    return Guess(places.mean(axis=0), seen.mean(axis=0), np.zeros((seen.shape[1], places.shape[1])))


def linear(seen: Array, places: Array) -> Guess:
    """The linear function of what varies that fits best."""
    guess = average(seen, places)
    spread = seen.std(axis=0)
    varies = spread > _VARIES
    scaled = (seen - guess.center)[:, varies] / spread[varies]
    weights = guess.weights.copy()
    weights[varies] = np.linalg.lstsq(scaled, places - guess.place, rcond=_VARIES)[0] / spread[varies, None]
    return Guess(guess.place, guess.center, weights)


def _left_out(fit: Callable[[Array, Array], Guess], seen: Array, places: Array) -> float:
    """Mean distance from a place to what ``fit`` makes of all the others."""
    others = [np.arange(len(seen)) != i for i in range(len(seen))]
    guesses = [fit(seen[kept], places[kept])(seen[i]) for i, kept in enumerate(others)]
    return float(np.linalg.norm(np.array(guesses) - places, axis=1).mean())
