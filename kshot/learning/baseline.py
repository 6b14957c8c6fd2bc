"""The linear feature baseline of Duan et al. 2016 (arXiv 1604.06778), fitted per task and per batch."""

from __future__ import annotations

import numpy as np

from kshot.types import Array

_CLIP = 10.0
_RIDGE = 1e-5


def time_features(obs: Array) -> Array:
    """[T, E, H, 2 D + 4] features: o, o^2, t, t^2, t^3, 1 with o clipped to +-10 and t in hundreds of steps."""
    clipped = np.clip(obs, -_CLIP, _CLIP).astype(np.float64)
    t = np.broadcast_to(np.arange(obs.shape[2])[:, None] / 100.0, (*obs.shape[:3], 1))
    return np.concatenate([clipped, clipped**2, t, t**2, t**3, np.ones_like(t)], axis=-1)


def fit_predict(obs: Array, returns: Array, mask: Array) -> Array:
    """Values predicted by ridge regression of the returns on the features, one regression per task.

    Args:
        obs: [T, E, H, D] observations (normalised as the policy sees them).
        returns: [T, E, H] discounted returns.
        mask: [T, E, H] steps taken.

    Returns:
        [T, E, H] values; they do not look across tasks, so one task's data never moves another's advantage.
    """
    features = time_features(obs)
    flat = features.reshape(obs.shape[0], -1, features.shape[-1])
    weight = mask.reshape(obs.shape[0], -1, 1).astype(np.float64)
    target = returns.reshape(obs.shape[0], -1, 1)
    gram = flat.transpose(0, 2, 1) @ (flat * weight)
    moment = flat.transpose(0, 2, 1) @ (target * weight)
    ridge = _RIDGE * np.eye(features.shape[-1])
    # Constant features make the gram matrix singular but for the ridge; the trace keeps it sized to the data.
    scale = np.trace(gram, axis1=1, axis2=2)[:, None, None] / features.shape[-1]
    coefficients = np.linalg.solve(gram + ridge * np.maximum(scale, 1.0), moment)
    return (flat @ coefficients)[..., 0].reshape(returns.shape)
