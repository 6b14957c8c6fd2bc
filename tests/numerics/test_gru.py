"""The GRU for processors gives what PyTorch's gives, and its gradients."""

import pytest
import torch
from torch import Tensor, nn

from kshot.algorithms import maml, rl2
from kshot.learning.gru import gru
from kshot.learning.memory_layers import GRU

BATCH, LENGTH, INPUTS, HIDDEN = 3, 6, 4, 5


def cell_and_sequences(kind: torch.dtype, length: int = LENGTH) -> tuple[nn.GRU, list[Tensor]]:
    rng = torch.Generator().manual_seed(2)
    cell = nn.GRU(INPUTS, HIDDEN, batch_first=True).to(kind)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng))
    shapes = ((BATCH, length, INPUTS), (BATCH, HIDDEN), (BATCH, length, HIDDEN), (BATCH, HIDDEN))
    return cell, [torch.randn(shape, generator=rng, dtype=torch.float64).to(kind) for shape in shapes]


def both_ways(kind: torch.dtype, factors: torch.dtype, length: int = LENGTH) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs, last state and gradients with respect to inputs, first state and parameters: ours and PyTorch's."""
    cell, (inputs, state, by_outputs, by_last) = cell_and_sequences(kind, length)
    inputs, state = inputs.requires_grad_(), state.requires_grad_()
    ours = gru(inputs, state, cell, factors)
    outputs, last = cell(inputs, state.unsqueeze(0))
    theirs = (outputs, last.squeeze(0))
    leaves = [inputs, state, *cell.parameters()]
    found, expected = (
        [x.detach() for x in given] + list(torch.autograd.grad(given, leaves, [by_outputs, by_last]))
        for given in (ours, theirs)
    )
    return found, expected


@pytest.mark.parametrize("length", [1, 2, LENGTH])
def test_outputs_and_gradients_are_those_of_torch(length: int) -> None:
    for found, expected in zip(*both_ways(torch.float64, torch.float64, length), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
    for found, expected in zip(*both_ways(torch.float32, torch.float32, length), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_gradients_equal_finite_differences() -> None:
    cell, (inputs, state, *_) = cell_and_sequences(torch.float64)
    arguments = (inputs.requires_grad_(), state.requires_grad_(), *cell.parameters())

    def outputs_of(inputs: Tensor, state: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
        return gru(inputs, state, cell, torch.float64)

    assert torch.autograd.gradcheck(outputs_of, arguments)


def test_rounded_factors_change_gradients_a_little_and_nothing_else() -> None:
    found, expected = both_ways(torch.float32, torch.bfloat16)
    for outputs, known in zip(found[:2], expected[:2], strict=True):
        torch.testing.assert_close(outputs, known, rtol=1e-5, atol=1e-5)
    errors = [float((a - b).norm() / b.norm()) for a, b in zip(found[2:], expected[2:], strict=True)]
    assert max(errors) < 0.01  # the relative rounding error of a factor is at most 2^-8
    assert max(errors) > 1e-4  # they were rounded


def test_the_threads_of_the_process_are_as_before() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        both_ways(torch.float32, torch.float32)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_reading_is_the_same_with_and_without_gradients() -> None:
    layer = GRU(INPUTS, HIDDEN)
    _, (inputs, state, *_) = cell_and_sequences(torch.float32)
    outputs, last = layer(inputs, state)
    with torch.no_grad():
        again, last_again = layer(inputs, state)
    assert outputs.requires_grad
    torch.testing.assert_close(outputs.detach(), again, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(last.detach(), last_again, rtol=1e-6, atol=1e-6)


def test_a_precision_that_would_do_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="precision 'bfloat16' is of a GRU's gradients; use 'float32' with 'lstm'"):
        rl2.Settings(memory="lstm", precision="bfloat16")
    with pytest.raises(ValueError, match="precision 'bfloat16' is of the outer step 'trpo'; use 'float32' with 'ppo'"):
        maml.Settings(outer="ppo", precision="bfloat16")
