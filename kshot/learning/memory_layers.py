"""Memory layers of networks over sequences: GRU, LSTM and a causal transformer behind one interface.

A memory layer maps inputs [B, L, width_in] and a state [B, state_size] to outputs [B, L, width] and the state after the
last input. The state is one flat vector of numbers per sequence, zeros before the first step, so that whoever carries
it need not know what it means. Reading a sequence in pieces, or step by step, gives the same outputs as in one go.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from kshot.learning.gru import gru


class GRU(nn.Module):
    """Gated recurrent unit (Cho et al. 2014, arXiv 1406.1078); the state is its hidden vector.

    ``factors``: on processors, the type of the factors of gradients' large matrix products.
    """

    def __init__(self, width_in: int, width: int, factors: torch.dtype = torch.float32) -> None:
        super().__init__()
        self._factors = factors
        self.width = self.state_size = width
        self.cell = nn.GRU(width_in, width, batch_first=True)

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled() and inputs.device.type == "cpu":
            return gru(inputs, state, self.cell, self._factors)
        output, last = self.cell(inputs, state.unsqueeze(0).contiguous())
        return output, last.squeeze(0)


class LSTM(nn.Module):
    """Long short-term memory (Hochreiter & Schmidhuber 1997); the state is the hidden and the cell vector."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.width, self.state_size = width, 2 * width
        self.cell = nn.LSTM(width_in, width, batch_first=True)

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        hidden, cell = (part.unsqueeze(0).contiguous() for part in torch.split(state, self.width, dim=1))
        output, (hidden, cell) = self.cell(inputs, (hidden, cell))
        return output, torch.cat([hidden.squeeze(0), cell.squeeze(0)], dim=1)


def require_heads(width: int, heads: int) -> None:
    """Raise ValueError where a width cannot be shared out among attention heads, whose coordinates come in pairs."""
    if width % (2 * heads):
        raise ValueError(f"width {width} is not a multiple of twice the {heads} heads")


class Transformer(nn.Module):
    """Causal attention over the last ``context`` steps and the present one, in pre-norm layers.

    Vaswani et al. 2017 (arXiv 1706.03762) with the layer norms inside the residual branches (Xiong et al. 2020, arXiv
    2002.04745) and rotary positions (Su et al. 2021, arXiv 2104.09864), which depend on the distance between steps
    alone. The state holds keys and values of the last ``context`` steps in every layer, which of them are filled, and
    the number of steps read: 2 * layers * context * width + context + 1 numbers.
    """

    def __init__(self, width_in: int, width: int, layers: int, heads: int, context: int) -> None:
        super().__init__()
        require_heads(width, heads)
        self.width, self.context = width, context
        self.state_size = 2 * layers * context * width + context + 1
        self.embedding = nn.Linear(width_in, width)
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        batch, length, _ = inputs.shape
        sizes = [state.shape[1] - self.context - 1, self.context, 1]
        cached, filled, position = torch.split(state, sizes, dim=1)
        caches = cached.view(batch, len(self.layers), 2, self.context, self.width).unbind(dim=1)
        steps = position + torch.arange(length, device=inputs.device)  # [B, L]
        filled = torch.cat([filled, filled.new_ones(batch, length)], dim=1)  # [B, context + L]
        # Query i is entry context + i of the keys: it sees itself and the ``context`` entries before it.
        distance = (
            self.context
            + torch.arange(length, device=inputs.device)[:, None]
            - torch.arange(self.context + length, device=inputs.device)
        )
        visible = (distance >= 0) & (distance <= self.context) & (filled[:, None] > 0)  # [B, L, context + L]
        x, kept = self.embedding(inputs), []
        for layer, cache in zip(self.layers, caches, strict=True):
            x, cache = layer(x, cache, visible.unsqueeze(1), steps)
            kept.append(cache[:, :, length:])
        memory = torch.stack(kept, dim=1).flatten(1)
        return self.norm(x), torch.cat([memory, filled[:, length:], position + length], dim=1)


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, cache: Tensor, visible: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs [B, L, width], cache [B, 2, context, width] -> outputs, and the cache with L steps appended."""
        query, key, value = self.query_key_value(self.attention_norm(x)).chunk(3, dim=-1)
        query, key = self._rotated(query, steps), self._rotated(key, steps)
        cache = torch.cat([cache, torch.stack([key, value], dim=1)], dim=2)
        keys, values = (self._split(part) for part in cache.unbind(dim=1))
        mixed = scaled_dot_product_attention(self._split(query), keys, values, attn_mask=visible)
        x = x + self.attention_out(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.mlp_norm(x)), cache

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self._heads, -1).transpose(1, 2)  # [B, heads, steps, width / heads]

    def _rotated(self, x: Tensor, steps: Tensor) -> Tensor:
        """Pairs of coordinates turned by step * frequency: products of two such depend on the steps' distance."""
        half = x.shape[-1] // self._heads // 2
        frequency = torch.exp(-math.log(10_000.0) * torch.arange(half, device=x.device, dtype=x.dtype) / half)
        angle = (steps.to(x.dtype).unsqueeze(-1) * frequency).unsqueeze(2)  # [B, L, 1, half]
        a, b = x.reshape(*x.shape[:2], self._heads, 2, half).unbind(dim=-2)
        return torch.stack([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], dim=-2).flatten(2)
