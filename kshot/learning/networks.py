"""Multi-layer perceptrons as dictionaries of tensors, so that one call can serve a different network per task.

A parameter is either shared, e.g. a weight [in, out], or stacked over tasks, [T, in, out]; ``mlp`` takes both.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

Params = dict[str, Tensor]


def torch_generator(seed: int) -> torch.Generator:
    """A CPU generator from a 64-bit key (torch wants it signed-safe); initial values do not depend on the device."""
    return torch.Generator().manual_seed(seed % 2**63)


def standard_normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers from a CPU generator, of the shape, type and device of ``like``: noise to sample with."""
    return torch.randn(like.shape, generator=generator).to(like)


def init_mlp(sizes: Sequence[int], generator: torch.Generator, final_scale: float = 1.0) -> Params:
    """Xavier-uniform weights and zero biases for layers ``sizes[0] -> ... -> sizes[-1]``.

    ``final_scale`` shrinks the last layer, so that the first policy's mean does not depend much on its input.
    """
    params: Params = {}
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        bound = (6.0 / (fan_in + fan_out)) ** 0.5
        weight = (torch.rand(fan_in, fan_out, generator=generator) * 2 - 1) * bound
        last = layer == len(sizes) - 2
        params[f"weight_{layer}"] = weight * final_scale if last else weight
        params[f"bias_{layer}"] = torch.zeros(fan_out)
    return params


def n_layers(params: Mapping[str, Tensor]) -> int:
    """Number of linear layers in an MLP's parameters."""
    return sum(name.startswith("weight_") for name in params)


def mlp(params: Mapping[str, Tensor], x: Tensor, activation: Callable[[Tensor], Tensor] = torch.tanh) -> Tensor:
    """Apply the network: x [T, N, in] -> [T, N, out].

    ``activation`` stands between the layers; by default tanh, which is smooth, for second derivatives.
    """
    layers = n_layers(params)
    for layer in range(layers):
        x = x @ params[f"weight_{layer}"] + params[f"bias_{layer}"].unsqueeze(-2)  # [T, N, width]
        if layer < layers - 1:
            x = activation(x)
    return x


def head_names(params: Mapping[str, Tensor]) -> frozenset[str]:
    """Names of the last layer's parameters (what ANIL adapts)."""
    last = n_layers(params) - 1
    return frozenset({f"weight_{last}", f"bias_{last}"})


def stack(params: Mapping[str, Tensor], n_tasks: int) -> Params:
    """One copy of shared parameters per task (a view): [...] -> [T, ...]."""
    return {name: value.expand(n_tasks, *value.shape) for name, value in params.items()}


def per_task(params: Mapping[str, Tensor], n_tasks: int) -> Params:
    """An MLP's parameters stacked over tasks: as they are if they already are, else ``stack``."""
    return dict(params) if params["weight_0"].ndim == 3 else stack(params, n_tasks)


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers of some tensors in one vector."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def unflatten(vector: Tensor, like: Mapping[str, Tensor]) -> Params:
    """The inverse of ``flatten`` over ``like.values()``."""
    parts = torch.split(vector, [value.numel() for value in like.values()])
    return {name: part.reshape(value.shape) for (name, value), part in zip(like.items(), parts, strict=True)}


def tanh_layers(widths: Sequence[int]) -> nn.Sequential:
    """Layers ``widths[0] -> ... -> widths[-1]``, a tanh after each; with one width, the identity."""
    return nn.Sequential(*(nn.Sequential(nn.Linear(a, b), nn.Tanh()) for a, b in itertools.pairwise(widths)))


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Fill a module built on the "meta" device (so that torch's global generator is not used) from ``generator``.

    Xavier-uniform weights, zero biases; the recurrent matrices of GRUs and LSTMs are orthogonal gate by gate, the
    scales of layer norms 1.
    """
    module.to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "bias" in name:
                parameter.zero_()
            elif parameter.ndim == 1:
                parameter.fill_(1.0)
            elif "weight_hh" in name:
                for gate in torch.split(parameter, parameter.shape[1]):
                    nn.init.orthogonal_(gate, generator=generator)
            else:
                nn.init.xavier_uniform_(parameter, generator=generator)
