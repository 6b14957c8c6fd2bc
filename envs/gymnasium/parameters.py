"""What varies between the tasks of an environment: ranges and values, and where they are set

In settings, the parameters of a task stand below where they are set::

    task:
      make: {g: [5.0, 15.0]}                        # a keyword argument of the function that makes the environment
      attributes: {length: {values: [0.5, 1.0]}}    # an attribute of the unwrapped environment
      model: {"body_mass[torso]": [0.5, 2.0]}       # times this, in MuJoCo's model
      options: {low: [-0.1, 0.0]}                   # an entry of the options of reset

``[low, high]`` is a range, from which tasks are drawn uniformly; ``{values: [...]}`` a list of values; a single value
is the same in all tasks.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import gymnasium
import numpy as np

from kshot.errors import suggest

PLACES = ("make", "attributes", "model", "options")
"""Where a parameter can be set."""
_ARRAY = re.compile(r"^([A-Za-z_][\w.]*?)(?:\[([^\]]+)\])?$")
_OBJECTS = {"body": "BODY", "geom": "GEOM", "jnt": "JOINT", "actuator": "ACTUATOR", "site": "SITE", "tendon": "TENDON"}
"""What rows of an array of MuJoCo's model are about, by the beginning of its name."""

Params = Mapping[str, Hashable]
"""A task's parameters, by names such as ``attributes.length``."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a task.

    Attributes:
        place: one of ``PLACES``.
        name: there.
        values: those it can have; empty for a range.
        low: smallest value of a range.
        high: largest value of a range.
    """

    place: str
    name: str
    values: tuple[Hashable, ...] = ()
    low: float = 0.0
    high: float = 0.0

    @property
    def key(self) -> str:
        """Its name in ``Task.params``."""
        return f"{self.place}.{self.name}"

    @property
    def ends(self) -> tuple[Hashable, Hashable]:
        """The values between which, or from which to which, it varies."""
        return (self.values[0], self.values[-1]) if self.values else (self.low, self.high)

    def draw(self, rng: np.random.Generator) -> Hashable:
        """One value."""
        if self.values:
            return self.values[int(rng.integers(len(self.values)))]
        return float(rng.uniform(self.low, self.high))

    def overlaps(self, other: Parameter) -> bool:
        """Whether some value, or some part of a range, is possible for both."""
        if self.values:
            return any(other.holds(value) for value in self.values)
        if other.values:
            return other.overlaps(self)
        return max(self.low, other.low) < min(self.high, other.high)

    def holds(self, value: Hashable) -> bool:
        """Whether it can have this value."""
        if self.values:
            return value in self.values
        return isinstance(value, (int, float)) and self.low <= value <= self.high


def parse(setting: str, layout: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """The parameters of a mapping {place: {name: range, values or value}}, in alphabetic order.

    Tasks are drawn in this order. That of the mapping itself is not part of a run's settings, which do not know it
    either once they are read from a record.

    Args:
        setting: its name, for messages.
        layout: as in the module's example.

    Raises:
        ValueError: with the name and the value at fault.
    """
    found = []
    for place, entries in layout.items():
        if place not in PLACES:
            raise ValueError(f"{setting}: unknown place {place!r}{suggest(str(place), PLACES)}")
        if not isinstance(entries, Mapping) or not entries:
            raise ValueError(f"{setting}.{place}: expected a mapping of parameters, got {entries!r}")
        found += [_parameter(f"{setting}.{place}.{name}", place, str(name), value) for name, value in entries.items()]
    return tuple(sorted(found, key=lambda one: one.key))


def _parameter(where: str, place: str, name: str, value: Any) -> Parameter:
    if isinstance(value, Mapping):
        values = value.get("values")
        if set(value) != {"values"} or not isinstance(values, Sequence) or isinstance(values, str) or not values:
            raise ValueError(f"{where}: expected [low, high] or {{values: [...]}}, got {dict(value)!r}")
        found = Parameter(place, name, tuple(map(_frozen, values)))
        if len(set(found.values)) < len(found.values):
            raise ValueError(f"{where}: a value stands twice in {list(values)!r}")
    elif isinstance(value, (list, tuple)):
        if len(value) != 2 or not all(_is_number(item) for item in value):
            raise ValueError(f"{where}: expected a range [low, high] of two numbers, got {list(value)!r}; a list of "
                             f"values is {{values: {list(value)!r}}}")  # fmt: skip
        low, high = map(float, value)
        if not low < high:
            raise ValueError(f"{where}: the range [{value[0]}, {value[1]}] is upside down or empty; low comes first")
        found = Parameter(place, name, (), low, high)
    else:
        found = Parameter(place, name, (_frozen(value),))
    if place == "model":
        if not _ARRAY.match(name):
            raise ValueError(f"{where}: expected the name of an array of MuJoCo's model, such as body_mass[torso]")
        if not all(_is_number(item) for item in found.ends):
            raise ValueError(f"{where}: arrays of the model are multiplied by numbers, got {value!r}")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))


def _frozen(value: Any) -> Hashable:
    """A value of a list as tasks hold it: lists as tuples."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    if isinstance(value, Mapping):
        raise ValueError(f"a value of a task is a number, text, true or false, or a list of these, not {dict(value)!r}")
    return value  # type: ignore[no-any-return]  # YAML has no other kinds


def _thawed(value: Hashable) -> Any:
    """The inverse: environments expect lists."""
    return [_thawed(item) for item in value] if isinstance(value, tuple) else value


def all_tasks(parameters: Sequence[Parameter]) -> list[dict[str, Hashable]]:
    """Every combination of the values of parameters none of which is a range."""
    names = [one.key for one in parameters]
    return [dict(zip(names, values, strict=True)) for values in product(*(one.values for one in parameters))]


def part(params: Params, place: str) -> dict[str, Any]:
    """The parameters of one place, by the names that they have there."""
    start = f"{place}."
    return {key.removeprefix(start): _thawed(value) for key, value in params.items() if key.startswith(start)}


def apply(env: gymnasium.Env[Any, Any], params: Params) -> None:
    """Set the attributes and the model of an environment to those of a task, whatever it was set to before.

    Raises:
        ValueError: it has no such attribute, or no such array; with the nearest name.
    """
    target = env.unwrapped
    for name, value in part(params, "attributes").items():
        if not hasattr(target, name):
            known = [
                other for other in dir(target) if not other.startswith("_") and not callable(getattr(target, other))
            ]
            raise ValueError(f"{type(target).__name__} has no attribute {name!r}{_nearest(name, known)}")
        setattr(target, name, value)
    factors = part(params, "model")
    if factors:
        _scale(target, factors)


def _nearest(name: str, known: Sequence[str]) -> str:
    """The nearest name; or the beginning of what is known, of which there can be hundreds."""
    hint = suggest(name, known)
    return hint if "did you mean" in hint else suggest(name, sorted(known)[:20])


def _scale(target: Any, factors: Mapping[str, float]) -> None:
    """Set arrays of ``target.model`` to what they were when it was made, times the factors."""
    import mujoco  # only where a task varies a model: it takes a third of a second

    model, data = getattr(target, "model", None), getattr(target, "data", None)
    if not isinstance(model, mujoco.MjModel) or data is None:
        raise ValueError(f"{type(target).__name__} has no MuJoCo model to vary")
    arrays = {name: _ARRAY.fullmatch(name).group(1, 2) for name in factors}  # type: ignore[union-attr]  # checked
    originals: dict[str, Any] = target.__dict__.setdefault("_kshot_model", {})
    for array, _ in arrays.values():
        if array not in originals:
            originals[array] = _array(model, array).copy()
    for array, original in originals.items():
        _array(model, array)[:] = original
    for name, (array, row) in arrays.items():
        values = _array(model, array)
        at = slice(None) if row is None else _row(model, array, row)
        values[at] = values[at] * factors[name]
    mujoco.mj_setConst(model, data)  # what MuJoCo has derived from them, such as inverse weights


def _array(model: Any, name: str) -> Any:
    value: Any = model
    for step in name.split("."):
        if not hasattr(value, step):
            known = [other for other in dir(value) if isinstance(getattr(value, other, None), np.ndarray)]
            raise ValueError(f"MuJoCo's model has no array {name!r}{_nearest(step, known)}")
        value = getattr(value, step)
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        raise ValueError(f"{name!r} of MuJoCo's model is no array of real numbers")
    return value


def _row(model: Any, array: str, row: str) -> int:
    """The number of the row of an array that is given by its number or by the name of what it is about."""
    import mujoco

    count = len(_array(model, array))
    if row.isdecimal():
        if int(row) >= count:
            raise ValueError(f"{array!r} of MuJoCo's model has {count} rows, and no row {row}")
        return int(row)
    kind = _OBJECTS.get(array.partition("_")[0])
    if kind is None:
        raise ValueError(f"rows of {array!r} have no names: write a number, 0 to {count - 1}, instead of {row!r}")
    of = getattr(mujoco.mjtObj, f"mjOBJ_{kind}")
    names = [mujoco.mj_id2name(model, of, i) for i in range(count)]
    if row not in names:
        raise ValueError(f"MuJoCo's model has no {kind.lower()} {row!r}{suggest(row, filter(None, names))}")
    return names.index(row)
