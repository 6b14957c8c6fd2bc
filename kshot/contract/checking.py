"""Runs the contract on an algorithm, a family, a figure or a table: ``kshot test``."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from kshot import plugins, registry
from kshot.contract import families, learners, tiny, worlds
from kshot.contract import shown as shows
from kshot.errors import ConfigError, RegistryError, suggest
from kshot.types import TaskFamily

QUICK = ("bandit", "nav2d", "gridnavi", "spritegrid")
"""Families on which an algorithm is checked unless others are named, with those of plug-ins; all, if it fits none."""
LEARNERS = ("rl2", "behaviour_cloning")
"""Algorithms that are checked on a family."""


class Check(NamedTuple):
    """A check with a title, to be run in a folder of its own."""

    title: str
    run: Callable[[Path], None]


def test(name: str, on: Sequence[str], tell: Callable[[str], None]) -> bool:
    """Run every check of what has this name.

    Args:
        name: of an algorithm, a task family, or a figure or table of a plug-in.
        on: for an algorithm, the families to check it on; for a family, the algorithms; a choice if none are named.
        tell: is called with a line for every check.

    Returns:
        Whether all passed.

    Raises:
        ConfigError: there is nothing of that name, or it and what ``on`` names do not fit.
        RegistryError: it cannot be used at all.
    """
    if not __debug__:
        raise ConfigError(
            ["checks are assertions, which Python leaves out with -O and PYTHONOPTIMIZE: start it without"]
        )
    passed = failed = 0
    for check in _checks(name, on):
        with tempfile.TemporaryDirectory(prefix="kshot-test-") as scratch:
            try:
                check.run(Path(scratch))
            except families.Unchecked as reason:
                tell(f"--      {check.title}: not checked, {reason}")
            except Exception as error:  # a check may meet any fault of the code that it checks
                failed += 1
                tell(f"FAILED  {check.title}")
                tell(f"        {_reason(error)}")
            else:
                passed += 1
                tell(f"ok      {check.title}")
    checks = f"{passed} check{'' if passed == 1 else 's'} passed"
    tell(f"{name}: {checks}, {failed} failed" if failed else f"{name}: {'all ' if passed > 1 else ''}{checks}")
    return not failed


def _checks(name: str, on: Sequence[str]) -> Iterator[Check]:
    """Every check of what has this name, in the order in which they are run."""
    kinds = [kind for kind in registry.KINDS if name in registry.names(kind)]
    shown: list[tuple[plugins.Shown, str]] = [
        (kind, found) for kind in ("figures", "tables") for found in plugins.names(kind) if plugins.stem(found) == name
    ]
    if not kinds and not shown:
        known = [found for kind in registry.KINDS for found in registry.names(kind)]
        raise ConfigError(
            [f"there is no algorithm, family, figure or table {name!r}{suggest(name, known)}; {plugins.searched()}"]
        )
    for kind in kinds:
        if reason := plugins.mistake(kind, name):
            raise RegistryError(reason)
        try:
            registry.load(kind, name)
        except RegistryError:
            raise
        except Exception as error:  # a module may fail to import in any way
            raise RegistryError(f"{kind}/{name} does not import: {plugins.why(error)}") from error
        yield from _of_algorithm(name, on) if kind == "algorithms" else _of_family(name, on)
    for of, found in shown:
        _load_shown(of, found)
        yield Check(f"{name}: is made of any results", partial(shows.is_made_of_any_results, of, found))


def _load_shown(kind: plugins.Shown, name: str) -> None:
    """Raise RegistryError where a figure or table cannot be used at all."""
    try:
        plugins.load(kind, name, set())
    except RegistryError as error:
        raise RegistryError(f"{name}: {error}") from None
    except Exception as error:  # as above
        raise RegistryError(f"{kind}/{plugins.stem(name)} does not import: {plugins.why(error)}") from error


def _failed(error: Exception, folder: Path) -> None:
    raise error


def _ignoring_folder(check: families.Check, family: TaskFamily, folder: Path) -> None:
    check(family)


def _of_algorithm(name: str, on: Sequence[str]) -> Iterator[Check]:
    fitting = [family for algorithm, family in _pairs() if algorithm == name]
    chosen = [family for family in fitting if family in QUICK or not registry.is_own("envs", family)] or fitting
    yield from _on(name, _named(on, fitting, chosen, f"the algorithm {name!r} cannot play"))


def _of_family(name: str, on: Sequence[str]) -> Iterator[Check]:
    try:
        built = families.make(name)
    except Exception as error:
        yield Check(f"{name}: is built with its default settings", partial(_failed, error))
        return
    for check in families.CHECKS:
        yield Check(f"{name}: {_words(check)}", partial(_ignoring_folder, check, built))
    if worlds.demonstrates(name):
        built = worlds.make(name)
        for check in worlds.checks(built):
            yield Check(f"{name}: {_words(check)}", partial(_ignoring_folder, check, built))
    fitting = [algorithm for algorithm, family in _pairs() if family == name]
    chosen = [algorithm for algorithm in fitting if algorithm in LEARNERS] or fitting[:1]
    for algorithm in _named(on, fitting, chosen, f"the family {name!r} cannot be played by"):
        yield from _on(algorithm, [name])


def _on(algorithm: str, names: Sequence[str]) -> Iterator[Check]:
    for family in names:
        try:
            checks = learners.checks(algorithm, family)
        except Exception as error:
            yield Check(f"{algorithm} on {family}: is built with small settings", partial(_failed, error))
            continue
        for check in checks:
            title = f"{algorithm} on {family}: {_words(check)}"
            yield Check(title, partial(check, algorithm, family))


def _pairs() -> Iterator[tuple[str, str]]:
    """Algorithms and families that fit each other; those that cannot be used are left out."""
    for family in registry.names("envs"):
        for algorithm in registry.names("algorithms"):
            try:
                if tiny.fit(algorithm, family):
                    yield algorithm, family
            except Exception:  # a broken plug-in must not be in the way of another one
                continue


def _named(on: Sequence[str], fitting: Sequence[str], chosen: Sequence[str], text: str) -> Sequence[str]:
    for name in on:
        if name not in fitting:
            raise ConfigError([f"{text} {name!r}{suggest(name, fitting)}"])
    return on or chosen


def _words(check: Callable[..., None]) -> str:
    return check.__name__.replace("_", " ")


def _reason(error: Exception) -> str:
    """What failed, in one line: the message, or the assertion that does not hold, and where."""
    if not isinstance(error, AssertionError):
        return plugins.why(error)  # the line of a plug-in, rather than that of a library that it calls
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split()) or f"does not hold: {(frame.line or '').removeprefix('assert ')}"
    return f"{type(error).__name__}: {text[:300]} ({frame.filename}:{frame.lineno})"
