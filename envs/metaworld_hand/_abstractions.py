"""The abstraction of each class: a box of cells, a number of decisions, and a skill that takes hold of the object.

Classes in which the object has to be held, or its handle met from a certain side, have such a skill, a ``Grip``. It
moves to a fixed point beside the object, as Metaworld's scripted policies do (metaworld/policies), and depends neither
on the goal nor on the task.
"""

from __future__ import annotations

from dataclasses import dataclass

from kshot.errors import suggest

Vector = tuple[float, float, float]
CELL_SIZE = 0.04
"""Edge of a cell in metres."""
RELATIVE = "reach-relative"
"""The task of a hidden offset from the object to the goal."""


@dataclass(frozen=True)
class Grip:
    """The skill of taking hold of the object: go to ``contact + clearance``, then to ``contact``, then use ``effort``.

    Attributes:
        contact: position of the hand relative to the object's at the beginning of an episode, in metres.
        clearance: position from which the hand approaches, relative to ``contact``, in metres.
        effort: of the gripper from then on, from -1 (open) to 1 (closed).
        gain: of the servo from then on; against resistance it is larger than in free space.
        closing: environment steps that closing takes.
    """

    contact: Vector
    clearance: Vector
    effort: float
    gain: float = 10.0
    closing: int = 12


@dataclass(frozen=True)
class Abstraction:
    """One class of Meta-World as planners know it.

    Attributes:
        env_name: Metaworld's class.
        low: lowest corner of the box of cells, in metres.
        shape: cells along x, y and z.
        decisions: T, decisions in an episode.
        effort: of the gripper before anything is held.
        grip: None where only the hand's position matters.
        aim: metres that the demonstrating expert adds to the target: what has to get there hangs below the point of the
            hand that is observed and steered.
        gain: of the servo in free space.
    """

    env_name: str
    low: Vector
    shape: tuple[int, int, int]
    decisions: int
    effort: float = 0.0
    grip: Grip | None = None
    aim: Vector = (0.0, 0.0, 0.0)
    gain: float = 10.0


_REACH = Abstraction("reach-v3", (-0.20, 0.48, 0.03), (10, 12, 9), 15, aim=(0.001, -0.004, 0.045))
ABSTRACTIONS: dict[str, Abstraction] = {
    "reach-v3": _REACH,
    RELATIVE: _REACH,
    "push-v3": Abstraction(
        "push-v3",
        _REACH.low,
        _REACH.shape,
        22,
        grip=Grip((-0.005, 0.0, 0.03), (0.0, 0.0, 0.10), effort=0.6),
        aim=(0.005, 0.0, 0.03),
    ),
    "pick-place-v3": Abstraction(
        "pick-place-v3",
        _REACH.low,
        _REACH.shape,
        22,
        grip=Grip((-0.005, 0.0, 0.03), (0.0, 0.0, 0.10), effort=1.0, closing=20),
        aim=(0.005, 0.0, 0.045),
    ),
    "button-press-v3": Abstraction(
        "button-press-v3",
        (-0.20, 0.32, 0.03),
        (10, 12, 7),
        20,
        grip=Grip((0.0, -0.06, -0.065), (0.0, -0.08, 0.0), effort=0.0, gain=25.0, closing=0),
    ),
    "drawer-open-v3": Abstraction(
        "drawer-open-v3",
        (-0.20, 0.44, 0.03),
        (10, 9, 8),
        22,
        effort=-1.0,
        grip=Grip((0.0, 0.0, -0.02), (0.0, 0.0, 0.12), effort=-1.0, gain=25.0, closing=0),
    ),
    "drawer-close-v3": Abstraction(
        "drawer-close-v3",
        (-0.20, 0.44, 0.07),
        (10, 9, 9),
        25,
        effort=1.0,
        grip=Grip((0.0, -0.09, -0.02), (0.0, 0.0, 0.12), effort=1.0, gain=25.0, closing=0),
    ),
    "window-open-v3": Abstraction(
        "window-open-v3",
        (-0.24, 0.36, 0.03),
        (14, 12, 10),
        32,
        effort=1.0,
        grip=Grip((-0.03, -0.03, -0.08), (0.0, 0.0, 0.12), effort=1.0, gain=25.0, closing=0),
    ),
    "door-close-v3": Abstraction("door-close-v3", (-0.56, 0.48, 0.09), (24, 9, 9), 36, effort=1.0, gain=25.0),
}


def abstraction(task: str) -> Abstraction:
    """The abstraction of ``task``. Raises ValueError for one that has none, with the nearest name."""
    if task not in ABSTRACTIONS:
        raise ValueError(f"metaworld_hand: unknown task {task!r}{suggest(task, ABSTRACTIONS)}")
    return ABSTRACTIONS[task]
