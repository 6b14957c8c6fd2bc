"""Policies that decide node after node of a graph: an encoder, and an LSTM decoder with attention over the nodes.

The decoder is the same for all encoders. Its state begins as a layer of the graph's vector; it reads the vector of the
node to decide and the decision before; it attends to all nodes by Luong's "general" score (Luong et al. 2015, arXiv
1508.04025), and its state and what it attended to give the logits and a value, as in MRLCO (Wang et al. 2021, arXiv
2008.02033), which has two layers and embeds the last action alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from kshot.learning import distributions
from kshot.learning.graph_encoders import ENCODERS, Design, Encoder, Graph, affine, encode, initial, lstm_step, matched
from kshot.learning.networks import Params, torch_generator
from kshot.seeding import key
from kshot.types import Array, FamilySpec, Memory
from kshot.types.graphs import MOST_NODES, GraphLayout, GraphSpec

_WIDEST = 1024
SHRINK = 0.1  # a nearly uniform first policy tries everything


class NetworkSettings(Protocol):
    """What the settings of learners on graphs have in common; documented where they stand."""

    @property
    def graph_encoder(self) -> Encoder: ...
    @property
    def hops(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def decoder(self) -> int: ...


def check_network(settings: NetworkSettings) -> None:
    """Raise ValueError for settings that no network can be made of."""
    if settings.graph_encoder not in ENCODERS:
        raise ValueError(f"graph_encoder must be one of {', '.join(ENCODERS)}, got {settings.graph_encoder!r}")
    for name, least, most in (("hops", 1, MOST_NODES), ("width", 4, _WIDEST), ("decoder", 1, _WIDEST)):
        if not least <= getattr(settings, name) <= most:
            raise ValueError(f"{name} must be at least {least} and at most {most}, got {getattr(settings, name)}")


@dataclass(frozen=True)
class GraphPolicy:
    """A ``kshot.types.Policy``. Parameters are shared by all tasks, or stacked with a leading task axis.

    Memory: vectors of the nodes [T, C, N, width], made in the first step of an episode, and the decoder's state
    [T, C, 2 H]. ``updates`` counts the adaptation steps behind the parameters.
    """

    params: Mapping[str, Tensor]
    spec: GraphSpec
    design: Design
    updates: int = 0

    @property
    def layout(self) -> GraphLayout:
        return self.spec.layout

    @property
    def hidden(self) -> int:
        """H, width of the decoder."""
        return int(self.params["weight_recurrent"].shape[-2])

    @property
    def n_tasks(self) -> int | None:
        """How many tasks the parameters are stacked over; None where they are shared."""
        weight = self.params["weight_0"]
        return int(weight.shape[0]) if weight.ndim == 3 else None

    def normalise(self, obs: Array) -> Tensor:
        """The family's normalised observations as a tensor of the parameters' type and device."""
        anchor = self.params["weight_0"]
        return torch.as_tensor(self.spec.normalise(obs), dtype=anchor.dtype, device=anchor.device)

    def graph(self, obs: Tensor) -> Graph:
        """The graphs that normalised observations [T, B, D] hold."""
        return decoded(self.layout, obs)

    def first_state(self, params: Mapping[str, Tensor], graph: Tensor) -> Tensor:
        """[..., H], of graphs' vectors: hidden and cell state before the first node."""
        return torch.tanh(affine(params, "start", graph))

    def heads(
        self, params: Mapping[str, Tensor], hidden: Tensor, nodes: Tensor, exists: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits [T, B, S, A] and values [T, B, S] for hidden states [T, B, S, H] and the nodes attended to."""
        both = torch.cat([hidden, attended(params, hidden, nodes, exists)], dim=-1)
        return affine(params, "1", both), affine(params, "value", both).squeeze(-1)

    def evaluate(self, obs: Tensor, params: Mapping[str, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Logits [T, E, H, A] and values [T, E, H] of whole episodes, normalised observations [T, E, H, D].

        ``params`` replaces the policy's own.
        """
        params = self.params if params is None else params
        graph = self.graph(obs[:, :, 0])
        nodes, whole = encode(self.design, params, graph)
        last = torch.diagonal(obs[..., self.layout.decisions], offset=-1, dim1=2, dim2=3)  # [T, E, H - 1]
        last = torch.nn.functional.pad(last, (1, 0))
        entering = affine(params, "input", torch.cat([nodes, embedded(last)], dim=-1))
        hidden = cell = self.first_state(params, whole)
        states = []
        for step in entering.unbind(dim=2):
            hidden, cell = lstm_step(step + affine(params, "recurrent", hidden), cell)
            states.append(hidden)
        return self.heads(params, torch.stack(states, dim=2), nodes, graph.exists)

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        if self.n_tasks not in (None, n_tasks):
            raise ValueError(f"policy adapted to {self.n_tasks} tasks cannot act on {n_tasks}")
        anchor, lead = torch.zeros(()), (n_tasks, n_copies)
        nodes = anchor.new_zeros(*lead, self.layout.nodes, self.design.width)
        return {"nodes": nodes.numpy(), "state": anchor.new_zeros(*lead, 2 * self.hidden).numpy()}

    @torch.no_grad()
    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        seen = self.normalise(obs)
        nodes, state = (torch.as_tensor(memory[name]).to(seen) for name in ("nodes", "state"))
        graph, step = self.graph(seen), torch.as_tensor(self.layout.step_of(obs), device=seen.device)
        if (step == 0).any():
            vectors, whole = encode(self.design, self.params, graph)
            first = (step == 0).unsqueeze(-1)
            nodes = torch.where(first.unsqueeze(-1), vectors, nodes)
            state = torch.where(first, self.first_state(self.params, whole).repeat(1, 1, 2), state)
        step = step.clamp(max=self.layout.nodes - 1)
        current = nodes.gather(2, step[..., None, None].expand(-1, -1, 1, nodes.shape[-1])).squeeze(2)
        decisions = torch.nn.functional.pad(seen[..., self.layout.decisions], (1, 0))
        last = decisions.gather(-1, step.unsqueeze(-1)).squeeze(-1)
        hidden, cell = state.chunk(2, dim=-1)
        entering = affine(self.params, "input", torch.cat([current, embedded(last)], dim=-1))
        hidden, cell = lstm_step(entering + affine(self.params, "recurrent", hidden), cell)
        logits, _ = self.heads(self.params, hidden.unsqueeze(2), nodes, graph.exists)
        distribution = (logits.squeeze(2),)
        given = None if noise is None else torch.as_tensor(noise).to(seen)
        action = distributions.sample(distribution, given)
        log_prob = distributions.log_prob(distribution, action)
        kept = {"nodes": nodes.cpu().numpy(), "state": torch.cat([hidden, cell], dim=-1).cpu().numpy()}
        return action.cpu().numpy(), log_prob.cpu().numpy(), kept

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return memory

    def with_params(self, params: Mapping[str, Tensor], updates: int = 0) -> GraphPolicy:
        """The same network with other parameters of the same names, types and devices."""
        return replace(self, params={n: v.to(self.params[n]) for n, v in params.items()}, updates=updates)


def decoded(layout: GraphLayout, obs: Tensor) -> Graph:
    """The graphs that normalised observations [T, B, D] hold."""
    n = layout.nodes
    features = obs[..., layout.all_features].reshape(*obs.shape[:-1], n, layout.features)
    bits = torch.nan_to_num(obs[..., layout.parents] * 2.0**24).round().long().unsqueeze(-1)
    before = ((bits >> torch.arange(n, device=obs.device)) & 1).to(obs.dtype)
    return Graph(features, before, features[..., 0] > 0)


def attended(params: Mapping[str, Tensor], hidden: Tensor, nodes: Tensor, exists: Tensor) -> Tensor:
    """Mean node vectors [T, B, S, width], weighted by how well they go with hidden states [T, B, S, H]."""
    scores = affine(params, "attention", hidden) @ nodes.transpose(-1, -2)  # [T, B, S, N]
    return scores.masked_fill(~exists.unsqueeze(-2), -1e9).softmax(dim=-1) @ nodes


def embedded(last: Tensor) -> Tensor:
    """[..., 3] which of no decision, action 0 and action 1 a decision (0, -1 or 1) stands for."""
    return torch.stack([last == 0, last < 0, last > 0], dim=-1).to(last.dtype)


def decoder_shapes(width: int, hidden: int, actions: int, more: int = 0) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the decoder's parameters; "1" is the layer of the logits. ``more`` inputs stand last."""
    sizes = {
        "start": (width, hidden),
        "input": (width + 3 + more, 4 * hidden),
        "recurrent": (hidden, 4 * hidden),
        "attention": (hidden, width),
        "1": (hidden + width, actions),
        "value": (hidden + width, 1),
    }
    shapes: dict[str, tuple[int, ...]] = {}
    for name, size in sizes.items():
        shapes[f"weight_{name}"] = size
        if name not in ("recurrent", "attention"):
            shapes[f"bias_{name}"] = size[1:]
    return shapes


def checked_spec(spec: FamilySpec, learner: str) -> GraphSpec:
    """The spec of a family that a learner on graphs can play. Raises ValueError, naming both, for any other."""
    if not isinstance(spec, GraphSpec):
        raise ValueError(f"{learner} decides on nodes of graphs, and observations of {spec.name!r} hold none")
    if spec.action_kind != "discrete" or spec.action_dim != 2:
        raise ValueError(f"{learner} decides between two actions, {spec.name!r} has other ones")
    return spec


def init_policy(spec: FamilySpec, settings: NetworkSettings, seed: int, device: str, learner: str) -> GraphPolicy:
    """The policy at its first parameters, which ``seed`` decides.

    Raises:
        ValueError: the family's observations hold no graph.
    """
    known = checked_spec(spec, learner)
    design = matched(settings.graph_encoder, settings.hops, known.layout.features, settings.width)
    shapes = design.shapes() | decoder_shapes(settings.width, settings.decoder, known.action_dim)
    params = initial(shapes, torch_generator(key(seed, "initial parameters")))
    params["weight_1"] *= SHRINK
    return GraphPolicy({name: value.to(device) for name, value in params.items()}, known, design)


def per_task(params: Mapping[str, Tensor], n_tasks: int) -> Params:
    """Parameters stacked over tasks: as they are if they already are, else a view [T, ...] of the shared ones."""
    if params["weight_0"].ndim == 3:
        return dict(params)
    return {name: value.expand(n_tasks, *value.shape) for name, value in params.items()}
