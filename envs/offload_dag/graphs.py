"""Directed acyclic graphs like those of daggen, drawn by keys, in the order in which their nodes are placed.

The generator follows frs69wq/daggen (``generateTasks``, ``generateDependencies``) with jumps of one level, and for
sizes the modified version whose files are in linkpark/metarl-offloading: a node returns U[5, 50] MiB and processes that
amount divided by the communication-to-computation ratio. No code is taken over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kshot.envs.offload_dag.simulator import njit
from kshot.types import Array
from kshot.types.graphs import MOST_NODES

OUTPUT_RANGE = (5.0, 50.0)
"""MiB that a node returns (daggen's --mindata 5242880 --maxdata 52428800)."""
NOMINAL_BANDWIDTH, NOMINAL_RATIO = 7.0, 10.0
"""Mbit/s of both links, and how much faster than the device the server is: the authors' (``meta_trainer.py``)."""
DEVICE_RATE = 1.0
"""MiB that the device processes per second; a Mbit is 2**20 bits."""


@dataclass(frozen=True)
class Graphs:
    """B graphs of up to N nodes, in the order in which nodes are placed: by falling upward rank (``upward_order``).

    Attributes:
        nodes: [B] number of nodes.
        sizes: [B, N] MiB to process, which is also what is sent up; 0 for nodes that are not there.
        outputs: [B, N] MiB that come back.
        parents: [B, N] bits of the predecessors of each node.
    """

    nodes: Array
    sizes: Array
    outputs: Array
    parents: Array

    def times(self, bandwidth: Array, ratio: Array) -> Array:
        """[B, N, 4] seconds on device, uplink, server and downlink, for links of ``bandwidth`` [B] Mbit/s."""
        per_mib = 8.0 / bandwidth[:, None]
        device = self.sizes / DEVICE_RATE
        return np.stack([device, self.sizes * per_mib, device / ratio[:, None], self.outputs * per_mib], axis=-1)

    def structure(self) -> Array:
        """[B, N, 3] number of predecessors, number of successors, and depth: edges of the longest path to a node."""
        bits = np.arange(self.parents.shape[1])
        precedes = ((self.parents[:, :, None] >> bits) & 1).astype(bool)  # [B, node, predecessor]
        depth = np.zeros(self.parents.shape)
        for i in range(1, self.parents.shape[1]):
            depth[:, i] = np.where(precedes[:, i], depth + 1, 0).max(axis=1)
        return np.stack([precedes.sum(axis=2), precedes.sum(axis=1), depth], axis=-1)


@njit
def _uniform(key: int, counter: int) -> float:
    """``kshot.seeding.uniform`` of one key and counter."""
    z = np.uint64(key) + (np.uint64(counter) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (float(z >> np.uint64(11)) + 0.5) * 2.0**-53


@njit
def _order(nodes: int, sizes: Array, outputs: Array, parents: Array) -> Array:
    """[N] nodes by falling upward rank at nominal resources; ``parents`` [N] must precede their children."""
    rank = np.zeros(nodes)
    for i in range(nodes - 1, -1, -1):
        after = rank[i]  # of its successors, which came before
        link = 8.0 / NOMINAL_BANDWIDTH
        remote = sizes[i] * link + sizes[i] / NOMINAL_RATIO + outputs[i] * link
        rank[i] = after + min(sizes[i], remote)
        for j in range(i):
            if (parents[i] >> j) & 1:
                rank[j] = max(rank[j], rank[i])
    order = np.arange(nodes)
    for i in range(1, nodes):  # few nodes: sorted by insertion, which compiles faster than numpy's sorts
        node, at = order[i], i
        while at > 0 and rank[order[at - 1]] < rank[node]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = node
    return order


@njit
def _reordered(
    order: Array, sizes: Array, outputs: Array, parents: Array, to_sizes: Array, to_outputs: Array, to_parents: Array
) -> None:
    """Write one graph's nodes in another order."""
    for place, i in enumerate(order):
        to_sizes[place], to_outputs[place] = sizes[i], outputs[i]
        bits = 0
        for before, j in enumerate(order):
            if (parents[i] >> j) & 1:
                bits |= 1 << before
        to_parents[place] = bits


@njit
def _generate(
    keys: Array, nodes: Array, fat: Array, density: Array, ccrs: Array, regularity: float,
    sizes: Array, outputs: Array, parents: Array,
) -> None:  # fmt: skip
    most = parents.shape[1]
    level_start = np.zeros(most + 1, dtype=np.int64)
    own_sizes, own_outputs = np.zeros(most), np.zeros(most)
    own_parents = np.zeros(most, dtype=np.int64)
    low, high = OUTPUT_RANGE
    for b in range(len(keys)):
        key, n, at = keys[b], nodes[b], 1
        ratio = ccrs[int(_uniform(key, 0) * len(ccrs))]
        # Levels: about n^fat nodes each, more or less by up to 1 - regularity of it, and at least one.
        perfect, levels, total = int(n ** fat[b]), 0, 0
        while total < n:
            size = int(perfect * (1.0 + (1.0 - regularity) * (2.0 * _uniform(key, at) - 1.0)))
            at += 1
            total = min(n, total + max(1, size))
            levels += 1
            level_start[levels] = total
        for i in range(n):
            own_outputs[i] = low + (high - low) * _uniform(key, at)
            own_sizes[i] = own_outputs[i] / ratio
            own_parents[i] = 0
            at += 1
        for level in range(1, levels):
            before, width = level_start[level - 1], level_start[level] - level_start[level - 1]
            for i in range(level_start[level], level_start[level + 1]):
                wanted = min(1 + int(density[b] * width * _uniform(key, at)), width)
                at += 1
                for _ in range(wanted):
                    parent = int(width * _uniform(key, at))
                    at += 1
                    while (own_parents[i] >> (before + parent)) & 1:
                        parent = (parent + 1) % width
                    own_parents[i] |= 1 << (before + parent)
        order = _order(n, own_sizes, own_outputs, own_parents)
        _reordered(order, own_sizes, own_outputs, own_parents, sizes[b], outputs[b], parents[b])


def generate(
    keys: Array, nodes: Array, fat: Array, density: Array, ccrs: Sequence[float], regularity: float, most: int
) -> Graphs:
    """B graphs, decided by ``keys`` [B]: same key and parameters, same graph.

    Args:
        keys: [B] uint64.
        nodes: [B] numbers of nodes.
        fat: [B] exponent of the width: levels have about nodes^fat nodes.
        density: [B] share of the level before that a node depends on at most.
        ccrs: communication-to-computation ratios, one of which a graph has.
        regularity: 1 for levels of equal width, 0 for widths between none and twice as many.
        most: N, to which graphs are padded.

    Raises:
        ValueError: a parameter out of its range; the message names it and its value.
    """
    for name, values, low, high in (
        ("nodes", nodes, 1, min(most, MOST_NODES)),
        ("fat", fat, 0, 1),
        ("ccr", np.array(ccrs), None, np.inf),
        ("density", density, None, 1),
        ("regularity", np.array([regularity]), 0, 1),
    ):
        check_range(name, values, low, high)
    shape = (len(keys), most)
    sizes, outputs, parents = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=np.int64)
    arrays = (np.asarray(nodes, dtype=np.int64), np.asarray(fat, dtype=float), np.asarray(density, dtype=float))
    _generate(
        np.asarray(keys, dtype=np.uint64), *arrays, np.array(ccrs, dtype=float), regularity, sizes, outputs, parents
    )
    return Graphs(arrays[0], sizes, outputs, parents)


def check_range(name: str, values: Array, low: float | None, high: float) -> None:
    """Raise ValueError for a value outside [low, high]; without ``low``, outside (0, high]."""
    values = np.asarray(values, dtype=float)
    if values.size == 0:
        raise ValueError(f"offload_dag: {name} is empty")
    wrong = ~((values > 0) if low is None else (values >= low)) | ~(values <= high)
    if wrong.any():
        above = "above 0" if low is None else f"at least {low:g}"
        most = "" if high == np.inf else f" and at most {high:g}"
        raise ValueError(f"offload_dag: {name} must be {above}{most}, got {values[wrong].flat[0]:g}")


def from_edges(sizes: Array, outputs: Array, edges: Sequence[tuple[int, int]]) -> Graphs:
    """One graph (B = 1) of nodes with ``sizes`` and ``outputs`` [n] MiB and edges (predecessor, successor).

    Raises:
        ValueError: an edge names a node that is not there, edges form a cycle, there are too many nodes, or a size is
            not above 0.
    """
    n = len(sizes)
    check_range("nodes", np.array([n]), 1, MOST_NODES)
    check_range("size", sizes, None, np.inf)
    check_range("output", outputs, 0, np.inf)
    before: list[set[int]] = [set() for _ in range(n)]
    for first, then in edges:
        if not (0 <= first < n and 0 <= then < n):
            raise ValueError(f"offload_dag: edge {first} -> {then} of a graph with nodes 0 to {n - 1}")
        before[then].add(first)
    order = _topological(before)
    place = {node: at for at, node in enumerate(order)}
    parents = np.array([sum(1 << place[j] for j in before[node]) for node in order], dtype=np.int64)
    sorted_sizes, sorted_outputs = (np.asarray(values, dtype=float)[order] for values in (sizes, outputs))
    graph = Graphs(np.array([n]), np.zeros((1, n)), np.zeros((1, n)), np.zeros((1, n), dtype=np.int64))
    ranked = _order(n, sorted_sizes, sorted_outputs, parents)
    _reordered(ranked, sorted_sizes, sorted_outputs, parents, graph.sizes[0], graph.outputs[0], graph.parents[0])
    return graph


def _topological(before: Sequence[set[int]]) -> list[int]:
    """Nodes with their predecessors first. Raises ValueError naming a cycle."""
    order: list[int] = []
    left = set(range(len(before)))
    while left:
        free = [node for node in sorted(left) if not before[node] & left]
        if not free:
            path = [min(left)]
            while path[-1] not in path[:-1]:
                path.append(min(before[path[-1]] & left))
            cycle = path[path.index(path[-1]) :][::-1]
            raise ValueError(f"offload_dag: the graph has a cycle, {' -> '.join(map(str, cycle))}; it must be acyclic")
        order += free
        left -= set(free)
    return order
