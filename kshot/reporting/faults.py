"""A figure or table that fails costs that figure or table, and the report says so."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import TypeVar

from kshot import plugins
from kshot.errors import RecordError
from kshot.reporting import side_by_side
from kshot.reporting.style import DrawingError

_log = logging.getLogger(__name__)
Item = TypeVar("Item")
Made = TypeVar("Made")


class Faults:
    """What could not be made of a report.

    Attributes:
        lines: one for every fault: what it is, and why.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def caught(self, what: str) -> Iterator[None]:
        """Note and log the error with which ``what`` fails, with its traceback for whoever wrote it.

        Raises:
            RecordError: the results themselves cannot be read, which is no fault of what shows them.
        """
        try:
            yield
        except RecordError:
            raise
        except Exception as error:
            text = " ".join(str(error).split())
            line = f"{what}: {text if isinstance(error, DrawingError) else f'{type(error).__name__}: {text}'}"
            if line not in self.lines:
                self.lines.append(line)
                _log.exception("%s cannot be made", what)

    def each(self, make: Callable[[Item], Made], items: Sequence[Item]) -> list[Made]:
        """``make`` of every item, in their order, by several processes at once; what ``make`` catches here is noted.

        Raises:
            RecordError: of ``make``.
        """

        def noting(item: Item) -> tuple[Made, list[str]]:
            known = len(self.lines)
            return make(item), self.lines[known:]

        found = side_by_side.each(noting, items)
        for _, lines in found:
            self.lines += [line for line in lines if line not in self.lines]
        return [made for made, _ in found]

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
