"""Makes environments by a registered id or by a function, with one clear line for what cannot be made"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import runpy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
from gymnasium.envs.registration import registry
from gymnasium.wrappers import OrderEnforcing

from kshot.errors import suggest

Env = gymnasium.Env[Any, Any]
_HEADLESS = ("display", "glfw", "opengl", "egl", "sdl", "video device", "x11", "window")
"""Words in errors of environments that want to draw where nothing can be drawn."""


def is_function(name: str) -> bool:
    """Whether a name is ``module:function`` and no id, of which some hold a colon, too (``module:Name-v0``)."""
    module, colon, function = name.partition(":")
    return bool(colon) and function.isidentifier() and all(part.isidentifier() for part in module.split("."))


def maker(name: str) -> Callable[..., Env]:
    """The function that makes an environment, given its id or ``module:function``.

    An environment made by its id has no time limit of Gymnasium's and no checks that repeat ours.

    Raises:
        ValueError: nothing has that name; with the nearest one.
    """
    if is_function(name):
        return function(name)
    module, _, identifier = name.rpartition(":")
    if module:  # an id that is registered by importing the module
        _import(module, name)
    if identifier not in registry:
        raise ValueError(f"no environment {name!r} in Gymnasium's registry{_nearest(identifier)}")

    def make(**values: Any) -> Env:
        # The time limit is the family's own, so that it can be longer than the one registered.
        env: Env = gymnasium.make(identifier, max_episode_steps=-1, disable_env_checker=True, **values)
        return env.env if isinstance(env, OrderEnforcing) else env  # a batch is never stepped before its reset

    return make


def time_limit(name: str) -> int | None:
    """The largest number of steps that an id is registered with; None where there is none."""
    spec = registry.get(name.rpartition(":")[2])
    return spec.max_episode_steps if spec is not None else None


def _nearest(identifier: str) -> str:
    hint = suggest(identifier, registry)
    if "did you mean" in hint:
        return hint
    return "; an environment of another package is named MODULE:ID, and one that a function makes MODULE:FUNCTION"


def function(name: str) -> Callable[..., Any]:
    """The function ``module:function``; a module can also be a file in a folder of ``KSHOT_PATH``.

    Raises:
        ValueError: there is no such module or function; with the nearest one.
    """
    if not is_function(name):
        raise ValueError(f"expected MODULE:FUNCTION, got {name!r}")
    module_name, _, attribute = name.partition(":")
    module = _import(module_name, name)
    found = getattr(module, attribute, None)
    if not callable(found):
        known = [other for other in vars(module) if not other.startswith("_") and callable(getattr(module, other))]
        raise ValueError(f"{name}: {module_name} has no function {attribute!r}{suggest(attribute, known)}")
    return found  # type: ignore[no-any-return]  # what it takes, its user says


def _import(module: str, name: str) -> Any:
    path = _file_in_path(module)
    try:
        if path is None:
            return importlib.import_module(module)
        return _loaded(path)
    except Exception as error:  # a module may fail to import in any way
        text = " ".join(str(error).split())
        raise ValueError(f"{name}: {module} does not import: {type(error).__name__}: {text}") from None


def _file_in_path(module: str) -> Path | None:
    """The file of a module that is none of an installed package, in the first folder of KSHOT_PATH that has it."""
    for root in filter(None, os.environ.get("KSHOT_PATH", "").split(os.pathsep)):
        path = Path(root).resolve().joinpath(*module.split(".")).with_suffix(".py")
        if path.is_file():
            return path
    return None


@cache
def _loaded(path: Path) -> SimpleNamespace:
    """What a file defines; it is run once, and is no module, so that two folders may use one file name."""
    return SimpleNamespace(**runpy.run_path(str(path)))


def digest(*names: str) -> str:
    """SHA-256 (12 hex digits) of the files of those names that are ``module:function``; empty if none is.

    Files of kshot's own are left out: they are part of the source digest of all results of the family.

    Raises:
        ValueError: there is no such module.
    """
    total = hashlib.sha256()
    chosen = [name for name in names if is_function(name) and not name.startswith("kshot.")]
    for name in chosen:
        total.update(hashlib.sha256(_file(name).read_bytes()).digest())
    return total.hexdigest()[:12] if chosen else ""


def _file(name: str) -> Path:
    module = name.partition(":")[0]
    path = _file_in_path(module)
    if path is None:
        try:
            spec = importlib.util.find_spec(module)
        except Exception:  # a package around it may fail to import in any way
            spec = None
        if spec is None or spec.origin is None or not Path(spec.origin).is_file():
            raise ValueError(f"{name}: no module {module!r}; its folder can be named in KSHOT_PATH")
        path = Path(spec.origin)
    return path


def told(error: BaseException) -> str:
    """An error of an environment in one line, with advice where it wants to draw."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
    if any(word in text.lower() for word in _HEADLESS):
        text += " (environments are played without a display: leave out render_mode, or make it one without a window)"
    return text
