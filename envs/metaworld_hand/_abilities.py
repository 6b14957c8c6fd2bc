"""What the hand can do in every class, and where: the fixed, known part of the abstraction.

A class that needs the object to be taken hold of, or its handle to be met from a certain side, has a ``Grip``: a skill
with a fixed target beside the object, as Metaworld's scripted policies have it (metaworld/policies). It knows neither
the goal nor the task.
"""

from __future__ import annotations

from dataclasses import dataclass

from kshot.errors import suggest

Vector = tuple[float, float, float]
CELL = 0.04
"""Edge of a cell in metres."""
RELATIVE = "reach-relative"


@dataclass(frozen=True)
class Grip:
    """How to take hold of the object: go to ``contact + clearance``, then to ``contact``, then use ``effort``.

    Attributes:
        contact: of the hand, relative to the object's position at the beginning of an episode, in metres.
        clearance: from where it is approached in free space, relative to ``contact``.
        effort: of the gripper from then on, from -1 (open) to 1 (closed).
        gain: of the servo from then on; what resists needs more than free space.
        closing: environment steps that closing takes.
    """

    contact: Vector
    clearance: Vector
    effort: float
    gain: float = 10.0
    closing: int = 12


@dataclass(frozen=True)
class Ability:
    """The hand's world in one class.

    Attributes:
        env_name: Metaworld's class.
        low: corner of the box of cells, in metres.
        shape: cells along x, y and z.
        decisions: T, decisions in an episode.
        effort: of the gripper before anything is held.
        grip: None where the hand's place is all that matters.
        aim: what the demonstrating expert is told to add to the target, in metres: what has to get there hangs below
            the point of the hand that is observed and steered.
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


_REACH = Ability("reach-v3", (-0.20, 0.48, 0.03), (10, 12, 9), 15, aim=(0.001, -0.004, 0.045))
ABILITIES: dict[str, Ability] = {
    "reach-v3": _REACH,
    RELATIVE: _REACH,
    "push-v3": Ability(
        "push-v3",
        _REACH.low,
        _REACH.shape,
        22,
        grip=Grip((-0.005, 0.0, 0.03), (0.0, 0.0, 0.10), effort=0.6),
        aim=(0.005, 0.0, 0.03),
    ),
    "pick-place-v3": Ability(
        "pick-place-v3",
        _REACH.low,
        _REACH.shape,
        22,
        grip=Grip((-0.005, 0.0, 0.03), (0.0, 0.0, 0.10), effort=1.0, closing=20),
        aim=(0.005, 0.0, 0.045),
    ),
    "button-press-v3": Ability(
        "button-press-v3",
        (-0.20, 0.32, 0.03),
        (10, 12, 7),
        20,
        grip=Grip((0.0, -0.06, -0.065), (0.0, -0.08, 0.0), effort=0.0, gain=25.0, closing=0),
    ),
    "drawer-open-v3": Ability(
        "drawer-open-v3",
        (-0.20, 0.44, 0.03),
        (10, 9, 8),
        22,
        effort=-1.0,
        grip=Grip((0.0, 0.0, -0.02), (0.0, 0.0, 0.12), effort=-1.0, gain=25.0, closing=0),
    ),
    "drawer-close-v3": Ability(
        "drawer-close-v3",
        (-0.20, 0.44, 0.07),
        (10, 9, 9),
        25,
        effort=1.0,
        grip=Grip((0.0, -0.09, -0.02), (0.0, 0.0, 0.12), effort=1.0, gain=25.0, closing=0),
    ),
    "window-open-v3": Ability(
        "window-open-v3",
        (-0.24, 0.36, 0.03),
        (14, 12, 10),
        32,
        effort=1.0,
        grip=Grip((-0.03, -0.03, -0.08), (0.0, 0.0, 0.12), effort=1.0, gain=25.0, closing=0),
    ),
    "door-close-v3": Ability("door-close-v3", (-0.56, 0.48, 0.09), (24, 9, 9), 36, effort=1.0, gain=25.0),
}


def ability(task: str) -> Ability:
    """Raises ValueError for a task without an entry, naming the nearest."""
    if task not in ABILITIES:
        raise ValueError(f"metaworld_hand: unknown task {task!r}{suggest(task, ABILITIES)}")
    return ABILITIES[task]
