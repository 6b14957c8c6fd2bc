"""Writes a small working plug-in under a name of one's own: ``kshot new``."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Literal

from kshot import plugins, records, registry
from kshot.errors import ConfigError
from kshot.places import suite_files

Kind = Literal["algorithm", "family", "figure", "table"]
KINDS: tuple[Kind, ...] = ("algorithm", "family", "figure", "table")
_EXAMPLES: dict[Kind, tuple[str, str, str]] = {
    "algorithm": ("counting", "Counting", "algorithms"),
    "family": ("coins", "Coins", "envs"),
    "figure": ("gain", "", "figures"),
    "table": ("gains", "", "tables"),
}
"""The example that is copied, what its class is called, and the folder that the copy belongs to."""
_CALLED: dict[plugins.Kind, str] = {
    "algorithms": "an algorithm",
    "envs": "a family",
    "figures": "a figure",
    "tables": "a table",
}
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SUITES = {
    "algorithm": """\
name: {name}
description: A first try of {name}, beside RL2, on the bandit.
seeds: [0, 1, 2]
families:
  bandit:
    settings: {{arms: 3, pulls: 6}}
    steps: 3000
    evaluation: {{tasks: 100, k: [0, 1, 2, 3, 4, 5]}}
algorithms:
  {name}: {{}}
  rl2: {{settings: {{hidden: 16, meta_batch: 50}}}}
""",
    "family": """\
name: {name}
description: A first try of RL2 on {name}.
seeds: [0, 1, 2]
families:
  {name}:
    steps: 3000
    evaluation: {{tasks: 100, k: [0, 1]}}
algorithms:
  rl2: {{settings: {{hidden: 16, meta_batch: 50}}}}
""",
}


def write(kind: Kind, name: str, folder: Path) -> list[Path]:
    """Write a plug-in, and for an algorithm or a family a suite to try it with.

    Args:
        kind: of plug-in.
        name: of the new one.
        folder: to be named in ``KSHOT_PATH``.

    Returns:
        The files written.

    Raises:
        ConfigError: the name is none for a module or is taken, or a file is there already; nothing is written then.
    """
    example, class_name, part = _EXAMPLES[kind]
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        remedy = "use lower-case letters, digits and '_', with a letter first"
        raise ConfigError([f"{name!r} cannot be the name of a Python module and of a row in a suite: {remedy}"])
    text = (Path(__file__).parents[1] / "examples" / f"{example}.py").read_text(encoding="utf-8")
    text = re.sub(rf'^NAME = "{example}"', f'NAME = "{name}"', text, flags=re.MULTILINE)
    if class_name:
        text = re.sub(rf"\b{example}\b", name, text)
        text = re.sub(rf"\b{class_name}(?=Env\b|\b)", "".join(word.title() for word in name.split("_")), text)
    files = {folder / part / f"{name}.py": text}
    if kind in _SUITES:
        files[folder / "config" / "suites" / f"{name}.yaml"] = _SUITES[kind].format(name=name)
    if there := [path for path in files if path.exists()]:
        raise ConfigError([f"{there[0]}: is there already; nothing is written"])
    if taken := _taken(kind, name):
        raise ConfigError([f"there is {taken} called {name!r} already: choose another name"])
    for path, content in files.items():
        records.write_text(path, content)
    return list(files)


def next_steps(kind: Kind, name: str, folder: Path) -> list[str]:
    """What to do with what was written, a line each."""
    lines = [f"export KSHOT_PATH={folder.resolve()}", f"kshot test {name}    # does it fulfil the contract?"]
    if kind in ("figure", "table"):
        made = f"kshot {kind}s SUITE && kshot report SUITE"
        return [*lines, f"{made}    # makes it with all others, and puts it on the page"]
    return [*lines, f"kshot run {name}     # training to report"]


def _taken(kind: Kind, name: str) -> str:
    """What has this name already and would be confused with a new one, in words; empty if nothing has.

    Learners, families and scripted policies stand beside each other in tables and sentences, and ``kshot test NAME``
    takes all kinds. Figures and tables may share a name, as those of the same numbers do, and may have that of a suite.
    """
    part = _EXAMPLES[kind][2]
    others = {"figures": "tables", "tables": "figures"}
    found = [noun for of, noun in _CALLED.items() if of != others.get(part) and _is(of, name)]
    if kind in _SUITES:
        found += ["a scripted policy"] * _is_scripted(name) + ["a suite"] * _is_suite(name)
    return found[0] if found else ""


def _is(kind: plugins.Kind, name: str) -> bool:
    """Whether kshot or a plug-in has an algorithm, family, figure or table of this name."""
    if kind == "figures" or kind == "tables":
        return plugins.own(kind, name) is not None or name in map(plugins.stem, plugins.names(kind))
    return name in registry.names(kind)


def _is_scripted(name: str) -> bool:
    """Whether a family of kshot's own has a scripted policy of this name."""
    modules = (registry.load("envs", family) for family in registry.names("envs") if registry.is_own("envs", family))
    return any(name in module.build(module.Settings()).references for module in modules)


def _is_suite(name: str) -> bool:
    return name in {path.stem for path in (*suite_files(), *plugins.suite_files())}
