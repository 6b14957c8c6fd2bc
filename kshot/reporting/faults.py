"""A figure or table that fails costs that figure or table, and the report says so."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from kshot import plugins, records
from kshot.errors import RecordError
from kshot.places import NOT_SHOWN
from kshot.reporting import side_by_side
from kshot.reporting.style import DrawingError

_log = logging.getLogger(__name__)
Item = TypeVar("Item")
Made = TypeVar("Made")


class Faults:
    """What could not be made of a report.

    Attributes:
        places: for every fault, in a line that says what it is and why, the file and line that it comes from.
    """

    def __init__(self) -> None:
        self.places: dict[str, str] = {}

    @property
    def lines(self) -> list[str]:
        """One for every fault: what it is, and why."""
        return list(self.places)

    @contextmanager
    def caught(self, what: str) -> Iterator[list[str]]:
        """Note and log the error with which ``what`` fails, with its traceback for whoever wrote it.

        Yields:
            An empty list, which holds the error in one line once it has failed.

        Raises:
            RecordError: the results themselves cannot be read, which is no fault of what shows them.
        """
        failed: list[str] = []
        try:
            yield failed
        except RecordError:
            raise
        except Exception as error:
            text = " ".join(str(error).split())
            failed.append(text if isinstance(error, DrawingError) else f"{type(error).__name__}: {text}")
            line = f"{what}: {failed[0]}"
            if line not in self.places:
                self.places[line] = plugins.where(error)
                _log.exception("%s cannot be made", what)

    def each(self, make: Callable[[Item], Made], items: Sequence[Item]) -> list[Made]:
        """``make`` of every item, in their order, by several processes at once; what ``make`` catches here is noted.

        Raises:
            RecordError: of ``make``.
        """

        def noting(item: Item) -> tuple[Made, dict[str, str]]:
            known = len(self.places)
            return make(item), dict(list(self.places.items())[known:])

        found = side_by_side.each(noting, items)
        for _, places in found:
            self.places |= places
        return [made for made, _ in found]

    def write(self, folder: Path) -> None:
        """Note them beside a page, for whoever made it to tell; without any, no note of earlier ones is left."""
        path = folder / NOT_SHOWN
        if self.places:
            faults = [{"text": text, "place": place} for text, place in self.places.items()]
            records.write_json(path, {"faults": faults})
        else:
            path.unlink(missing_ok=True)

    def modules(self, kind: plugins.Shown, package: str, path: Iterable[str]) -> list[ModuleType]:
        """The modules of a package by name, without those whose names begin with ``_``, and those of plug-ins."""
        found, what = [], plugins.NOUNS[kind]
        for name in sorted(info.name for info in pkgutil.iter_modules(path) if not info.name.startswith("_")):
            with self.caught(f"{what} {name}"):
                found.append(importlib.import_module(f"{package}.{name}"))
        taken = {info.name for info in pkgutil.iter_modules(path)}
        for name in plugins.names(kind):
            with self.caught(f"{what} {name}"):
                module = plugins.load(kind, name, taken)
                found.append(module)
                taken.add(getattr(module, "NAME", module.__name__.rpartition(".")[2]))
        return found
