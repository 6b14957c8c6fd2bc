"""A GRU over sequences for processors: what PyTorch's gives, with gradients in a good deal less time.

PyTorch's own multiplies small matrices that are views, and on the way back adds to the weights' gradients at every
step. Here only what has to wait for the step before it is done step by step; the rest is one product over all steps.
The factors of those products may be rounded to bfloat16, which some processors multiply several times as fast:
gradients then differ by some thousandths, and nothing else does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def gru(inputs: Tensor, state: Tensor, cell: torch.nn.GRU, factors: torch.dtype) -> tuple[Tensor, Tensor]:
    """What ``cell`` (one layer, ``batch_first``) gives: outputs [B, L, H] and the last state [B, H].

    Args:
        inputs: [B, L, I].
        state: [B, H] before the first step.
        cell: its parameters.
        factors: type of the factors of gradients' products over all steps.
    """
    arguments = (inputs, state, *cell.all_weights[0], factors)
    outputs: Tensor = _GRU.apply(*arguments)  # type: ignore[no-untyped-call]  # PyTorch leaves it without types
    return outputs.transpose(0, 1), outputs[-1]


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Operations within are not split among threads, which gain little from such small ones and wait by spinning."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _GRU(torch.autograd.Function):
    """With r = sigmoid(p_r + q_r), z = sigmoid(p_z + q_z), n = tanh(p_n + r q_n): h' = n + z (h - n).

    p = W_i x + b_i and q = W_h h + b_h [..., 3 H] hold reset, update and new state in this order, as in PyTorch. All
    sequences are by time, [L, B, ...], but the inputs, [B, L, I].
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h: Tensor, w_i: Tensor, w_h: Tensor, b_i: Tensor, b_h: Tensor, factors: torch.dtype
    ) -> Tensor:
        batch, length, width = x.shape[0], x.shape[1], h.shape[1]
        split, hidden = 2 * width, w_h.t().contiguous()  # small products with a view take twice as long
        by_time = x.transpose(0, 1).reshape(length * batch, -1)
        bias = torch.cat([b_i[:split] + b_h[:split], b_i[split:]])
        p = torch.addmm(bias, by_time, w_i.t()).view(length, batch, 3 * width)
        states = x.new_empty(length + 1, batch, width)
        states[0] = h
        gates, q_new, new = (x.new_empty(length, batch, n * width) for n in (2, 1, 1))
        q = x.new_empty(batch, 3 * width)
        q_gates, q_last, b_new = q[:, :split], q[:, split:], b_h[split:]
        steps = (p[..., :split], p[..., split:], states[:-1], states[1:], gates)
        results = (gates[..., :width], gates[..., width:], q_new, new)
        with _one_thread():
            for p_gates, p_new, before, after, both, r, z, u, n in zip(*steps, *results, strict=True):
                torch.mm(before, hidden, out=q)
                torch.add(p_gates, q_gates, out=both).sigmoid_()
                torch.add(q_last, b_new, out=u)
                torch.addcmul(p_new, r, u, out=n).tanh_()
                torch.lerp(n, before, z, out=after)
        ctx.factors = factors
        ctx.save_for_backward(by_time, states, gates, q_new, new, w_i, w_h)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, states, gates, q_new, new, w_i, w_h = ctx.saved_tensors
        length, batch, width = new.shape
        r, z = gates.split(width, dim=-1)
        # What the gradient of an output is multiplied by on its way to q, and to the new state's part of p.
        to_new = (1 - z) * (1 - new * new)
        to_q_new = to_new * r
        to_q = torch.stack([to_q_new * q_new * (1 - r), (states[:-1] - new) * z * (1 - z), to_q_new], dim=-2)
        total = gradient.clone(memory_format=torch.contiguous_format)  # to which what comes back is added
        by_q = torch.empty_like(to_q)
        carried = torch.zeros_like(states[0])
        steps = list(zip(total, z, to_q, by_q, by_q.view(length, batch, 3 * width), strict=True))
        with _one_thread():
            for total_t, z_t, to_q_t, by_q_t, row in reversed(steps):
                total_t += carried
                torch.mul(to_q_t, total_t.unsqueeze(1), out=by_q_t)
                carried = torch.addmm(total_t * z_t, row, w_h)

        def product(a: Tensor, b: Tensor) -> Tensor:
            return torch.mm(a.to(ctx.factors), b.to(ctx.factors)).to(a.dtype)

        flat = by_q.view(length * batch, 3 * width)
        by_w_h, by_b_h = product(flat.t(), states[:-1].view(length * batch, width)), flat.sum(dim=0)
        torch.mul(total, to_new, out=by_q[:, :, 2])  # from here on with respect to p: the same but for the new state
        by_x = product(flat, w_i).view(length, batch, -1).transpose(0, 1)
        return by_x, carried, product(flat.t(), x), by_w_h, flat.sum(dim=0), by_b_h, None
