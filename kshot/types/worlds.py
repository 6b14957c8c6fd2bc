"""What planners may know of a family: a finite decision problem with known dynamics, but no reward.

See docs/adr/0009-known-dynamics.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from kshot.types.data import Array, Episodes


@dataclass(frozen=True)
class Dynamics:
    """Where actions lead in a finite decision problem; one of the two tables is given.

    Attributes:
        successor: [S, A] or, where it depends on the layout, [B, S, A] int: the next state; -1 where an action cannot
            be taken.
        probability: [S, A, S] or [B, S, A, S]: of the next state.
        box: where the states are the cells of a box of this shape, the last axis fastest, and the actions all moves of
            -1, 0 or 1 along its axes in the order of ``itertools.product``, as ``successor`` says too: planners are
            then faster.
        crossing: with ``box``: the states are the cells of two such boxes, one after the other, and a last action leads
            from cells of the first, [B, S / 2] bool, to one cell of the second, [B] int.
    """

    successor: Array | None = None
    probability: Array | None = None
    box: tuple[int, ...] = ()
    crossing: tuple[Array, Array] | None = None

    def __post_init__(self) -> None:
        if (self.successor is None) == (self.probability is None):
            raise ValueError("dynamics are given by successors or by probabilities, one of the two")


class World(Protocol):
    """What a planner may know of a family: a finite decision problem with known dynamics, but no reward.

    Nothing here depends on the task. What an episode's first observation shows of its surroundings, where things
    stand for example, is its ``layout``.
    """

    @property
    def decisions(self) -> int:
        """T, the number of decisions in an episode."""
        ...

    @property
    def rewards(self) -> Literal["states", "pairs"]:
        """What a reward may depend on: the state, in T + 1 of them, or the state and the action, in T decisions."""
        ...

    def layout(self, obs: Array) -> Array:
        """[..., D] observations -> [..., L] what does not change within an episode; L may be 0."""
        ...

    def state(self, obs: Array) -> Array:
        """[..., D] observations -> [...] int states."""
        ...

    def dynamics(self, layout: Array) -> Dynamics:
        """The dynamics in layouts [B, L]."""
        ...

    def features(self, layout: Array) -> Array:
        """What a reward may depend on, in layouts [B, L]: [B, S, F] of states or [B, S, A, F] of pairs."""
        ...

    def paths(self, episodes: Episodes) -> tuple[Array, Array]:
        """States [T, E, decisions + 1] and actions [T, E, decisions] of whole episodes.

        Raises:
            ValueError: naming task and episode, when one is too short or takes a step that the dynamics do not know.
        """
        ...
