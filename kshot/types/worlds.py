"""What planners may know of a family: states, actions and dynamics, but no reward (docs/adr/0009-known-dynamics.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from kshot.types.data import Array, Episodes


@dataclass(frozen=True)
class Dynamics:
    """The next state of every state and action, either as ``successor`` or as ``probability``.

    S states, A actions, B layouts; tables that do not depend on the layout have no axis B.

    Attributes:
        successor: [S, A] or [B, S, A] int, the next state; -1 where an action cannot be taken.
        probability: [S, A, S] or [B, S, A, S], of the next state.
        box: shape of a box if the states are its cells, the last axis fastest, and the actions all moves of -1, 0 or 1
            along its axes, in the order of ``itertools.product``. ``successor`` then says the same; planners are faster
            with ``box``.
        crossing: for two such boxes, whose cells are the states, one box after the other. Besides the moves there is
            one more action, the last, which leads from the cells of the first box in [B, S / 2] bool to the cell [B]
            of the second.
    """

    successor: Array | None = None
    probability: Array | None = None
    box: tuple[int, ...] = ()
    crossing: tuple[Array, Array] | None = None

    def __post_init__(self) -> None:
        if (self.successor is None) == (self.probability is None):
            raise ValueError("dynamics are given by successors or by probabilities, one of the two")


class World(Protocol):
    """What a planner may know of a family: states, actions and dynamics, but no reward.

    Nothing here depends on the task. The ``layout`` of an episode is what its first observation shows of its
    surroundings, for example where objects are.
    """

    @property
    def decisions(self) -> int:
        """T, the number of decisions in an episode."""
        ...

    @property
    def rewards(self) -> Literal["states", "pairs"]:
        """Whether rewards are of states, earned in all T + 1 of an episode, or of the T pairs (state, action)."""
        ...

    def layout(self, obs: Array) -> Array:
        """[..., L] the part of observations [..., D] that does not change within an episode; L may be 0."""
        ...

    def state(self, obs: Array) -> Array:
        """[...] int, the states of observations [..., D]."""
        ...

    def dynamics(self, layout: Array) -> Dynamics:
        """The dynamics in layouts [B, L]."""
        ...

    def features(self, layout: Array) -> Array:
        """[B, S, F] features of states or [B, S, A, F] of pairs in layouts [B, L], which a reward may depend on."""
        ...

    def paths(self, episodes: Episodes) -> tuple[Array, Array]:
        """States [T, E, decisions + 1] and actions [T, E, decisions] of whole episodes.

        Raises:
            ValueError: an episode is too short or takes a step that the dynamics do not know; the message names it.
        """
        ...
