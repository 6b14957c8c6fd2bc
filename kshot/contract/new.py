"""Writes a small working plug-in under a name of one's own: ``kshot new``."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Literal

from kshot import plugins, records, registry
from kshot.errors import ConfigError
from kshot.places import ROOT

Kind = Literal["algorithm", "family", "figure"]
KINDS: tuple[Kind, ...] = ("algorithm", "family", "figure")
_EXAMPLES: dict[Kind, tuple[str, str, str]] = {
    "algorithm": ("counting", "Counting", "algorithms"),
    "family": ("coins", "Coins", "envs"),
    "figure": ("gain", "", "figures"),
}
"""The example that is copied, what its class is called, and the folder that the copy belongs to."""
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
    if _taken(kind, name):
        raise ConfigError(
            [f"there is {'an' if kind == 'algorithm' else 'a'} {kind} called {name!r} already: choose another name"]
        )
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
    for path, content in files.items():
        records.write_text(path, content)
    return list(files)


def next_steps(kind: Kind, name: str, folder: Path) -> list[str]:
    """What to do with what was written, a line each."""
    lines = [f"export KSHOT_PATH={folder.resolve()}", f"kshot test {name}    # does it fulfil the contract?"]
    if kind == "figure":
        drawn = "kshot figures SUITE && kshot report SUITE"
        return [*lines, f"{drawn}    # draws it with all others, and puts it on the page"]
    return [*lines, f"kshot run {name}     # training to report"]


def _taken(kind: Kind, name: str) -> bool:
    if kind == "figure":
        own = Path(__file__).parents[1] / "reporting" / "figures" / f"{name}.py"
        return own.is_file() or any(Path(found).stem == name for found in plugins.names("figures"))
    return name in registry.names("algorithms" if kind == "algorithm" else "envs") or _is_suite(name)


def _is_suite(name: str) -> bool:
    return (ROOT / "config" / "suites" / f"{name}.yaml").is_file()
