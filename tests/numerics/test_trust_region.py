"""The outer step's pieces against dense linear algebra and double backward."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from kshot.learning import distributions
from kshot.learning.networks import flatten
from kshot.learning.trust_region import conjugate_gradient, full_step, gauss_newton_product, line_search


def dense_kl_hessian(discrete: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Gauss-Newton matrix and the Hessian of the mean KL by double backward, of a small tanh network, in float64."""
    rng = torch.Generator().manual_seed(0)
    w1 = torch.randn(3, 4, generator=rng, dtype=torch.float64).requires_grad_()
    w2 = torch.randn(4, 2, generator=rng, dtype=torch.float64).requires_grad_()
    log_std = torch.tensor([-0.3, 0.2], dtype=torch.float64).requires_grad_()
    x = torch.randn(2, 5, 3, generator=rng, dtype=torch.float64)
    weight = torch.rand(2, 5, generator=rng, dtype=torch.float64)
    leaves = [w1, w2] if discrete else [w1, w2, log_std]

    def outputs() -> tuple[torch.Tensor, ...]:
        head = torch.tanh(x @ w1) @ w2
        return (head,) if discrete else (head, log_std.expand_as(head))

    product = gauss_newton_product(outputs(), weight, leaves)
    size = sum(leaf.numel() for leaf in leaves)
    gauss_newton = torch.stack([product(row) for row in torch.eye(size, dtype=torch.float64)])

    old = tuple(output.detach() for output in outputs())
    kl = (distributions.kl(old, outputs()) * weight).sum()
    gradient = flatten(torch.autograd.grad(kl, leaves, create_graph=True))
    hessian = torch.stack([flatten(torch.autograd.grad(g, leaves, retain_graph=True)) for g in gradient])
    return gauss_newton, hessian


@pytest.mark.parametrize("discrete", [False, True])
def test_gauss_newton_product_is_the_hessian_of_the_kl(discrete: bool) -> None:
    gauss_newton, hessian = dense_kl_hessian(discrete)
    np.testing.assert_allclose(gauss_newton, hessian, rtol=0, atol=1e-10 * float(hessian.abs().max()))


def test_conjugate_gradient_solves_a_dense_system() -> None:
    rng = torch.Generator().manual_seed(1)
    root = torch.randn(8, 8, generator=rng, dtype=torch.float64)
    matrix = root @ root.T + torch.eye(8, dtype=torch.float64)
    target = torch.randn(8, generator=rng, dtype=torch.float64)
    solution, quadratic = conjugate_gradient(lambda v: matrix @ v, target, iterations=8)
    np.testing.assert_allclose(solution, torch.linalg.solve(matrix, target), rtol=1e-8)
    np.testing.assert_allclose(quadratic, solution @ matrix @ solution, rtol=1e-8)
    early, quadratic = conjugate_gradient(lambda v: matrix @ v, target, iterations=3)
    np.testing.assert_allclose(quadratic, early @ matrix @ early, rtol=1e-8)


def test_line_search_takes_the_longest_step_that_qualifies() -> None:
    start, full = torch.zeros(1), torch.ones(1)
    step = line_search(start, full, lambda v: (float(v), float(v) ** 2), 0.0, max_kl=0.3, backtrack=0.5, trials=5)
    assert step.accepted and float(step.vector) == 0.5 and step.trials == 2


def worse_everywhere(vector: torch.Tensor) -> tuple[float, float]:
    return -float(vector.abs().sum()), 0.0


def better_but_too_far(vector: torch.Tensor) -> tuple[float, float]:
    return float(vector.sum()), 1.0 if vector.any() else 0.0


@pytest.mark.parametrize("evaluate", [worse_everywhere, better_but_too_far])
def test_line_search_restores_the_start_when_nothing_qualifies(
    evaluate: Callable[[torch.Tensor], tuple[float, float]],
) -> None:
    start = torch.zeros(3)
    step = line_search(start, torch.ones(3), evaluate, 0.0, max_kl=0.1, backtrack=0.8, trials=4)
    assert not step.accepted
    assert torch.equal(step.vector, start)


def test_line_search_refuses_a_step_that_is_not_a_number() -> None:
    def evaluate(vector: torch.Tensor) -> tuple[float, float]:
        return (float("nan"), float("nan")) if vector.any() else (0.0, 0.0)

    assert not line_search(torch.zeros(1), torch.ones(1), evaluate, 0.0, 0.1, 0.8, 3).accepted


def test_the_full_step_ends_on_the_bound_of_the_quadratic_kl() -> None:
    rng = torch.Generator().manual_seed(1)
    root = torch.randn(5, 5, generator=rng, dtype=torch.float64)
    matrix, gradient = root @ root.T, torch.randn(5, generator=rng, dtype=torch.float64)
    step = full_step(lambda vector: matrix @ vector, gradient, 20, 0.01)
    assert float(step @ matrix @ step) / 2 == pytest.approx(0.01)
    torch.testing.assert_close(step / step.norm(), (x := torch.linalg.solve(matrix, gradient)) / x.norm())
    with pytest.raises(FloatingPointError, match="the curvature of the trust region is not finite"):
        full_step(lambda vector: vector * torch.nan, gradient, 20, 0.01)
