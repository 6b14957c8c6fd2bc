"""Trust-region policy optimisation's outer step (Schulman et al. 2015, arXiv 1502.05477) as plain functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kshot.learning.distributions import Distribution, fisher
from kshot.learning.networks import flatten

Product = Callable[[Tensor], Tensor]
"""v -> A v for some matrix A."""


def gauss_newton_product(outputs: Distribution, weight: Tensor, params: Sequence[Tensor]) -> Product:
    """The product v -> J^T F J v with J = d outputs / d params and F the outputs' Fisher information.

    At the current parameters this is the Hessian of the mean KL divergence. Unlike a double backward of the KL it
    differentiates the outputs only: J v is obtained as the derivative of u -> J^T u, which is linear in u, so its
    graph is built once and every product costs two backward passes (Schraudolph 2002, "Fast curvature matrix-vector
    products"; the double-vjp identity for J v).

    Args:
        outputs: parameters of the action distribution [T, N, A] each, with a graph back to ``params``.
        weight: [T, N] weight of every sample; the products are weighted sums.
        params: tensors that require gradients.
    """
    dummies = [torch.zeros_like(output, requires_grad=True) for output in outputs]
    transposed = torch.autograd.grad(outputs, params, grad_outputs=dummies, create_graph=True, materialize_grads=True)
    fixed = tuple(output.detach() for output in outputs)

    def product(vector: Tensor) -> Tensor:
        parts = torch.split(vector, [p.numel() for p in params])
        tangents = [part.reshape(p.shape) for part, p in zip(parts, params, strict=True)]
        jv = torch.autograd.grad(transposed, dummies, grad_outputs=tangents, retain_graph=True, materialize_grads=True)
        cotangent = [part * weight.unsqueeze(-1) for part in fisher(fixed, tuple(jv))]
        jfv = torch.autograd.grad(outputs, params, grad_outputs=cotangent, retain_graph=True, materialize_grads=True)
        return flatten(jfv)

    return product


def summed_product(parts: Sequence[Callable[[], Product]], damping: float) -> Product:
    """The sum of several products and ``damping`` times the identity.

    A single part is built once and kept, so that the graph behind it serves all products; of several, each is built
    anew for every product and forgotten after it, so that memory holds one graph at a time.
    """
    kept = parts[0]() if len(parts) == 1 else None

    def product(vector: Tensor) -> Tensor:
        result = damping * vector
        for part in parts:
            result = result + (kept or part())(vector)
        return result

    return product


def conjugate_gradient(product: Product, target: Tensor, iterations: int) -> tuple[Tensor, float]:
    """Approximate solution x of A x = target for symmetric positive definite A, and x^T A x."""
    x = torch.zeros_like(target)
    residual, direction = target.clone(), target.clone()
    norm = residual @ residual
    for _ in range(iterations):
        if norm < 1e-20:
            break
        a_direction = product(direction)
        step = norm / (direction @ a_direction)
        x = x + step * direction
        residual = residual - step * a_direction
        new_norm = residual @ residual
        direction = residual + (new_norm / norm) * direction
        norm = new_norm
    return x, float(x @ (target - residual))  # the residual is target - A x: no further product is needed


def full_step(product: Product, gradient: Tensor, iterations: int, max_kl: float) -> Tensor:
    """The longest step along A^-1 gradient whose quadratic KL divergence, x^T A x / 2, is ``max_kl`` (appendix C).

    Raises:
        FloatingPointError: the curvature is not finite.
    """
    direction, quadratic = conjugate_gradient(product, gradient, iterations)
    if not math.isfinite(quadratic):
        raise FloatingPointError("the curvature of the trust region is not finite")
    return direction * math.sqrt(2 * max_kl / max(quadratic, 1e-12))


@dataclass(frozen=True)
class Step:
    """What a line search settled on: the vector, whether it moved, and surrogate and KL there."""

    vector: Tensor
    accepted: bool
    surrogate: float
    kl: float
    trials: int


def line_search(
    start: Tensor,
    full_step: Tensor,
    evaluate: Callable[[Tensor], tuple[float, float]],
    before: float,
    max_kl: float,
    backtrack: float,
    trials: int,
) -> Step:
    """The largest of ``full_step * backtrack**i`` that improves the surrogate within the KL bound.

    ``evaluate(vector)`` returns (surrogate, kl); ``before`` is the surrogate at ``start``. When no trial qualifies the
    result is ``start`` itself, unmoved: keeping the last rejected trial is a classic way to corrupt a policy silently.
    """
    for trial in range(trials):
        vector = start + full_step * backtrack**trial
        surrogate, divergence = evaluate(vector)
        if surrogate > before and divergence <= max_kl:  # a NaN fails both comparisons
            return Step(vector, True, surrogate, divergence, trial + 1)
    return Step(start, False, before, 0.0, trials)
