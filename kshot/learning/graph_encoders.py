"""Encoders of directed acyclic graphs as pure functions over dictionaries of tensors, of about equally many parameters.

Each turns features of nodes [T, B, N, F] into a vector per node and one for the graph, the maximum over its nodes:

- ``mlp``: every node by itself;
- ``seq2seq``: an LSTM over nodes in their order, which sees ids of six predecessors and successors, as in MRLCO (Wang
  et al. 2021, arXiv 2008.02033; linkpark/metarl-offloading, ``policies/meta_seq2seq_policy.py``);
- ``graph2seq``: k hops of mean aggregation over predecessors and, with weights of their own, over successors (Xu et al.
  2018, arXiv 1804.00823; IBM/Graph2Seq, ``main/aggregators.py``);
- ``gat``: k hops of attention over the same (Velickovic et al. 2018, arXiv 1710.10903).

Parameters are shared by all tasks or stacked with a leading task axis; everything can be differentiated twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from kshot.learning.networks import Params

Encoder = Literal["mlp", "seq2seq", "graph2seq", "gat"]
ENCODERS: tuple[Encoder, ...] = ("mlp", "seq2seq", "graph2seq", "gat")
HEADS = 4
"""Attention heads of ``gat`` in each direction."""
NEIGHBOURS = 6
"""Ids of predecessors, and of successors, that ``seq2seq`` sees of a node: the first ones, as in MRLCO."""


@dataclass(frozen=True)
class Graph:
    """B graphs of T tasks: features [T, B, N, F], before [T, B, N, N] (1 where j precedes i), exists [T, B, N]."""

    features: Tensor
    before: Tensor
    exists: Tensor


def affine(params: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """[T, ..., in] times ``weight_<name>`` ([in, out], or one per task) plus ``bias_<name>``, where there is one."""
    lead, flat = x.shape[:-1], x.reshape(x.shape[0], -1, x.shape[-1])
    y = flat @ params[f"weight_{name}"]
    if f"bias_{name}" in params:
        y = y + params[f"bias_{name}"].unsqueeze(-2)
    return y.reshape(*lead, y.shape[-1])


def lstm_step(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden state and cell from the cell before and [..., 4 H] for the gates: input, forget, output and candidate."""
    enter, forget, out, candidate = gates.chunk(4, dim=-1)
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(candidate)
    return torch.sigmoid(out) * torch.tanh(cell), cell


@dataclass(frozen=True)
class Design:
    """The sizes of an encoder.

    Attributes:
        encoder: its kind.
        hops: k, of ``graph2seq`` and ``gat``.
        features: F.
        embedding: width of the nodes' first layer.
        inner: width of the layers, hops (per direction) or cells behind it.
        width: of the vectors of nodes and graphs.
    """

    encoder: Encoder
    hops: int
    features: int
    embedding: int
    inner: int
    width: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all parameters; biases have one axis."""
        e, d = self.embedding, self.inner
        shapes: dict[str, tuple[int, ...]] = {}

        def add(name: str, fan_in: int, fan_out: int, bias: bool = True) -> None:
            shapes[f"weight_{name}"] = (fan_in, fan_out)
            if bias:
                shapes[f"bias_{name}"] = (fan_out,)

        add("0", self.features + (2 * NEIGHBOURS if self.encoder == "seq2seq" else 0), e)
        last = d
        if self.encoder == "mlp":
            add("layer_1", e, d)
            add("layer_2", d, d)
        elif self.encoder == "seq2seq":
            for layer, fan_in in ((1, e), (2, d)):
                add(f"input_{layer}", fan_in, 4 * d)
                add(f"recurrent_{layer}", d, 4 * d, bias=False)
        else:
            for hop in range(1, self.hops + 1):
                fan_in = e if hop == 1 else 2 * d if self.encoder == "graph2seq" else d
                for way in ("before", "after"):
                    add(f"self_{way}_{hop}", fan_in, d)
                    if self.encoder == "graph2seq":
                        add(f"neighbour_{way}_{hop}", fan_in, d)
                    else:
                        shapes[f"from_{way}_{hop}"] = shapes[f"to_{way}_{hop}"] = (d,)
            last = 4 * d if self.encoder == "graph2seq" else 2 * d
        add("node", last, self.width)
        add("graph", self.width, self.width)
        return shapes

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return sum(torch.Size(shape).numel() for shape in self.shapes().values())


def matched(encoder: Encoder, hops: int, features: int, width: int) -> Design:
    """The encoder with as many parameters as ``graph2seq`` of two hops whose every layer is ``width`` / 2 wide.

    Of all widths, those with the nearest number of parameters, at the least difference between the two.
    """
    target = Design("graph2seq", 2, features, width // 2, width // 2, width).size
    step = HEADS if encoder == "gat" else 1
    found: list[tuple[float, int, Design]] = []
    for inner in range(step, 4 * width + 1, step):
        one, two = (Design(encoder, hops, features, embedding, inner, width).size for embedding in (1, 2))
        exact = 1 + (target - one) / (two - one)  # the number of parameters grows evenly with the embedding
        for embedding in (inner, min(max(round(exact), inner // 2, 1), 2 * inner)):
            design = Design(encoder, hops, features, embedding, inner, width)
            off = abs(design.size - target) / target
            found.append((0.0 if off <= 0.02 else off, abs(embedding - inner), design))
    return min(found, key=lambda entry: entry[:2])[2]


def encode(design: Design, params: Mapping[str, Tensor], graph: Graph) -> tuple[Tensor, Tensor]:
    """Vectors of nodes [T, B, N, width], 0 for those that are not there, and of graphs [T, B, width]."""
    x = graph.features
    if design.encoder == "seq2seq":
        x = torch.cat([x, _ids(graph.before), _ids(graph.before.transpose(-1, -2))], dim=-1)
    x = torch.relu(affine(params, "0", x))
    if design.encoder == "mlp":
        x = torch.relu(affine(params, "layer_2", torch.relu(affine(params, "layer_1", x))))
    elif design.encoder == "seq2seq":
        x = _read(params, 2, _read(params, 1, x))
    else:
        ways = {"before": graph.before, "after": graph.before.transpose(-1, -2)}
        hop = _mean_hop if design.encoder == "graph2seq" else _attention_hop
        ends = []
        for way, neighbours in ways.items():
            h = x
            for k in range(1, design.hops + 1):
                h = hop(params, f"{way}_{k}", h, neighbours)
            ends.append(h)
        x = torch.cat(ends, dim=-1)
    there = graph.exists.unsqueeze(-1)
    nodes = torch.tanh(affine(params, "node", x)) * there
    pooled = affine(params, "graph", nodes).masked_fill(~there, -1e9).amax(dim=-2)
    return nodes, torch.tanh(torch.where(graph.exists.any(dim=-1, keepdim=True), pooled, torch.zeros_like(pooled)))


def _mean_hop(params: Mapping[str, Tensor], name: str, h: Tensor, neighbours: Tensor) -> Tensor:
    """relu([W_self h, W_neighbour mean over neighbours of h]), Graph2Seq's mean aggregator."""
    mean = neighbours @ h / neighbours.sum(dim=-1, keepdim=True).clamp(min=1.0)
    both = [affine(params, f"self_{name}", h), affine(params, f"neighbour_{name}", mean)]
    return torch.relu(torch.cat(both, dim=-1))


def _attention_hop(params: Mapping[str, Tensor], name: str, h: Tensor, neighbours: Tensor) -> Tensor:
    """Attention over the node itself and its neighbours (eq. 1 to 5 of the paper), heads concatenated."""
    z = affine(params, f"self_{name}", h)
    parts = z.reshape(*z.shape[:-1], HEADS, -1)  # [T, B, N, heads, d]

    def score(end: str) -> Tensor:
        vector = params[f"{end}_{name}"]
        vector = vector.reshape(*vector.shape[:-1], 1, 1, HEADS, -1) if vector.ndim > 1 else vector.reshape(HEADS, -1)
        return (parts * vector).sum(dim=-1)  # [T, B, N, heads]

    scores = torch.nn.functional.leaky_relu(score("to").unsqueeze(3) + score("from").unsqueeze(2), 0.2)
    seen = neighbours + torch.eye(neighbours.shape[-1], device=neighbours.device)
    scores = scores.masked_fill(seen.unsqueeze(-1) == 0, -1e9).softmax(dim=3)  # [T, B, i, j, heads]
    mixed = torch.einsum("tbijh,tbjhd->tbihd", scores, parts)
    return torch.nn.functional.elu(mixed.flatten(-2))


def _ids(related: Tensor) -> Tensor:
    """[T, B, N, 6] ids of the first related nodes, (id + 1) / N, and 0 where there are fewer."""
    n = related.shape[-1]
    ids = torch.where(related > 0, torch.arange(n, device=related.device), n)
    if n < NEIGHBOURS:
        ids = torch.nn.functional.pad(ids, (0, NEIGHBOURS - n), value=n)
    first = ids.sort(dim=-1).values[..., :NEIGHBOURS]
    return torch.where(first < n, (first + 1) / n, 0.0).to(related.dtype)


def _read(params: Mapping[str, Tensor], layer: int, x: Tensor) -> Tensor:
    """An LSTM over axis N of x [T, B, N, in]."""
    entering = affine(params, f"input_{layer}", x)
    hidden = cell = entering.new_zeros(*entering.shape[:2], entering.shape[-1] // 4)
    outputs = []
    for step in entering.unbind(dim=2):
        hidden, cell = lstm_step(step + affine(params, f"recurrent_{layer}", hidden), cell)
        outputs.append(hidden)
    return torch.stack(outputs, dim=2)


def initial(shapes: Mapping[str, tuple[int, ...]], generator: torch.Generator) -> Params:
    """Xavier-uniform weights and attention vectors, zero biases; those of recurrent layers forget little at first."""
    params: Params = {}
    for name, shape in shapes.items():
        if name.startswith("bias_"):
            params[name] = torch.zeros(shape)
            if name.startswith("bias_input"):
                params[name][shape[0] // 4 : shape[0] // 2] = 1.0
        else:
            fan_in, fan_out = shape if len(shape) == 2 else (shape[0], 1)
            bound = (6.0 / (fan_in + fan_out)) ** 0.5
            params[name] = (torch.rand(shape, generator=generator) * 2 - 1) * bound
    return params
