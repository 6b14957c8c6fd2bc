"""Predicting a task's hidden target from an observation: the floor of Meta-World's families.

Where the observation tells the target, a policy needs no evidence to find it. A family's "task_blind" policy therefore
goes to the best prediction that its training tasks allow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from kshot.types import Array

_NEGLIGIBLE = 1e-6
"""Standard deviation up to which an input counts as constant, and relative size of singular values that count as 0."""


TargetPredictor = Callable[[Array], Array]
"""Inputs [..., D] -> targets [..., 3] in metres."""


@dataclass(frozen=True)
class LinearPredictor:
    """``target`` + (inputs - ``center``) @ ``weights``; with ``weights`` [D, 3] of 0 it predicts a constant.

    Attributes:
        target: [3] metres.
        center: [D].
        weights: [D, 3].
    """

    target: Array
    center: Array
    weights: Array

    def __call__(self, inputs: Array) -> Array:
        """[..., 3] for inputs [..., D]."""
        return np.asarray(self.target + (inputs - self.center) @ self.weights)


MEDIAN_CLASSES = frozenset({"push-v3"})
"""Classes of Meta-World whose constant prediction is the median of the targets, entry by entry, instead of their mean.

On validation tasks, with the mean (8 mm beside the median) as its target, the scripted expert lets the object drift
away by the end of an episode: .02 instead of .44 succeed at the last step (``benchmarks.task_blind``).
"""


def fit(inputs: Array, targets: Array, class_name: str = "") -> LinearPredictor:
    """Predict targets [n, 3] by a linear function of inputs [n, D] if that is far better than a constant.

    Far better: its mean leave-one-out error is at most half of the mean target's. So it is where the target is a part
    of an object that the inputs locate. The constant is the mean target, or for ``MEDIAN_CLASSES`` the median.
    """
    if len(inputs) < 3 or _leave_one_out(fit_linear, inputs, targets) > 0.5 * _leave_one_out(fit_mean, inputs, targets):
        mean = fit_mean(inputs, targets)
        return replace(mean, target=np.median(targets, axis=0)) if class_name in MEDIAN_CLASSES else mean
    return fit_linear(inputs, targets)


def fit_mean(inputs: Array, targets: Array) -> LinearPredictor:
    """The mean target, whatever the inputs."""
    return LinearPredictor(targets.mean(axis=0), inputs.mean(axis=0), np.zeros((inputs.shape[1], targets.shape[1])))


def fit_linear(inputs: Array, targets: Array) -> LinearPredictor:
    """Least squares over the inputs that vary; of solutions that fit equally well, the one of smallest norm."""
    mean = fit_mean(inputs, targets)
    deviation = inputs.std(axis=0)
    varies = deviation > _NEGLIGIBLE
    scaled = (inputs - mean.center)[:, varies] / deviation[varies]
    weights = mean.weights.copy()
    solution = np.linalg.lstsq(scaled, targets - mean.target, rcond=_NEGLIGIBLE)[0]
    weights[varies] = solution / deviation[varies, None]
    return LinearPredictor(mean.target, mean.center, weights)


def _leave_one_out(fit_to: Callable[[Array, Array], LinearPredictor], inputs: Array, targets: Array) -> float:
    """Mean distance from each target to its prediction by what ``fit_to`` makes of all the others."""
    others = [np.arange(len(inputs)) != i for i in range(len(inputs))]
    predictions = [fit_to(inputs[other], targets[other])(inputs[i]) for i, other in enumerate(others)]
    return float(np.linalg.norm(np.array(predictions) - targets, axis=1).mean())
