"""Families whose observations hold a directed acyclic graph, node after node of which a decision is made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kshot.types.data import Array
from kshot.types.family import FamilySpec

MOST_NODES = 25
"""Largest graph: the predecessors of a node are bits of one number, and single precision holds 24 of them exactly."""
_MASK = 2.0**24


@dataclass(frozen=True)
class GraphLayout:
    """Where the parts of an observation [..., D] are, for graphs of up to N nodes with F features each.

    Nodes stand in the order in which they are decided, predecessors first. Entries of nodes that a smaller graph lacks
    are 0; the first feature of all others is positive.

    Attributes:
        nodes: N.
        features: F.
    """

    nodes: int
    features: int

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= MOST_NODES:
            raise ValueError(f"a graph in an observation has 1 to {MOST_NODES} nodes, not {self.nodes}")

    @property
    def size(self) -> int:
        """D: the share of N decided, the features of the node to decide, N decisions, N parents, N * F features."""
        return 1 + self.features + self.nodes * (2 + self.features)

    @property
    def current(self) -> slice:
        """F features of the node that is decided now."""
        return slice(1, 1 + self.features)

    @property
    def decisions(self) -> slice:
        """N decisions: 1 for action 1, -1 for action 0, 0 where none was made yet."""
        return slice(1 + self.features, 1 + self.features + self.nodes)

    @property
    def parents(self) -> slice:
        """N numbers: bit j of number i times 2**24 says whether node j precedes node i."""
        return slice(1 + self.features + self.nodes, 1 + self.features + 2 * self.nodes)

    @property
    def all_features(self) -> slice:
        """N * F features, node after node."""
        return slice(1 + self.features + 2 * self.nodes, self.size)

    def step_of(self, obs: Array) -> Array:
        """[...] int, the number of the node to decide."""
        return np.asarray(np.rint(obs[..., 0] * self.nodes).astype(np.int64))

    def features_of(self, obs: Array) -> Array:
        """[..., N, F]."""
        return np.asarray(obs[..., self.all_features].reshape(*obs.shape[:-1], self.nodes, self.features))

    def parents_of(self, obs: Array) -> Array:
        """[..., N] int, the bits of every node's predecessors."""
        return np.asarray(np.rint(obs[..., self.parents] * _MASK).astype(np.int64))

    def as_numbers(self, parents: Array) -> Array:
        """The inverse of ``parents_of``: [..., N] numbers below 1, exact in single precision."""
        return np.asarray(parents / _MASK)


@dataclass(frozen=True)
class GraphSpec(FamilySpec):
    """The spec of a family whose observations hold a graph.

    Attributes:
        layout: where in the observation it is. Its entries are not shifted by ``normalise``, and parents not scaled.

    Raises:
        ValueError: the layout does not fit the observation, or its normalisation moves what networks decode.
    """

    layout: GraphLayout = GraphLayout(1, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layout.size != self.observation_dim:
            raise ValueError(
                f"{self.name}: observations of {self.observation_dim} numbers, a layout of {self.layout.size}"
            )
        if self.observation_center.any() or (self.observation_scale[self.layout.parents] != 1).any():
            raise ValueError(f"{self.name}: the graph in observations must not be shifted, nor its parents scaled")
