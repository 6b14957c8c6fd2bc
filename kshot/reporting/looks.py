"""How policies are drawn: a colour, marker and dashes for each name, always the same (``config/looks.yaml``)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from kshot import yaml_text
from kshot.errors import ConfigError
from kshot.places import LOOKS

Dashes = Literal["-", "--", "-.", ":"] | tuple[float, tuple[float, ...]]
"""A line style of matplotlib: a name, or (offset, (on, off, ...)) in line widths."""


@dataclass(frozen=True)
class Look:
    """How a learner is drawn. Marker and dashes differ as well, for readers who do not see the colours."""

    color: str
    marker: str
    dashes: Dashes


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Spare(_Model):
    colors: tuple[str, ...]
    markers: tuple[str, ...]
    dashes: tuple[Dashes, ...]


class _Scripted(_Model):
    color: str
    dashes: Dashes


class _Looks(_Model):
    learners: dict[str, Look]
    spare: _Spare
    scripted: dict[str, _Scripted]
    other_scripted: _Scripted


@cache
def _configured() -> _Looks:
    """What ``config/looks.yaml`` says. Raises ConfigError naming its first mistake."""
    try:
        return _Looks.model_validate(yaml_text.parse(LOOKS.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError([f"{LOOKS}: {'.'.join(map(str, first['loc']))}: {first['msg']}"]) from None


def known() -> Mapping[str, Look]:
    """The looks that are fixed by name."""
    return _configured().learners


@cache
def spare() -> tuple[Look, ...]:
    """The looks of everyone else: so many learners without one of their own can be told apart in one suite."""
    shared = _configured().spare
    markers = shared.markers
    return tuple(
        # Moved on by three from one kind of dashes to the next: a colour and a marker come together once.
        Look(color, markers[(i + 3 * j) % len(markers)], dashes)
        for j, dashes in enumerate(shared.dashes)
        for i, color in enumerate(shared.colors)
    )


def looks(names: Iterable[str]) -> Mapping[str, Look]:
    """A look for each learner: fixed for names that are known, for others derived from the name alone.

    As many unknown names as there are spare looks have different ones, and different colours while there are any left:
    where two would get the same, the later in the alphabet takes the next.
    """
    chosen: dict[str, Look] = {}
    for name in sorted(set(names)):
        if (shown := name.replace("_", "-")) in known():
            chosen[name] = known()[shown]
            continue
        start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
        order = [spare()[(start + i) % len(spare())] for i in range(len(spare()))]
        taken = set(chosen.values())
        colors = {look.color for look in taken}
        free = [look for look in order if look not in taken] or order
        chosen[name] = next((look for look in free if look.color not in colors), free[0])
    return chosen


def reference_line(name: str) -> tuple[str, Dashes]:
    """(colour, dashes) of a scripted policy's line."""
    line = _configured().scripted.get(name, _configured().other_scripted)
    return line.color, line.dashes
