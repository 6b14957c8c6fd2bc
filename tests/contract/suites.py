"""An example of a suite, and ways to spoil it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kshot.errors import ConfigError
from kshot.suites.reading import load_suite

GOOD = """\
name: trial
seeds: [0, 1]
families:
  bandit-2-3:
    family: bandit
    settings: {arms: 2, pulls: 3}
    steps: 600
    evaluation: {tasks: 4, k: [0, 1, 3]}
  nav2d:
    steps: 4000
    evaluation: {tasks: 4, k: [0, 2]}
algorithms:
  maml: {}
  small-rl2:
    algorithm: rl2
    settings: {hidden: 8}
    families:
      nav2d: {settings: {lr: 1e-4}, steps: 8000}
exclude:
  - {algorithm: maml, family: nav2d, reason: an example}
"""

PLUGINS = {
    "continuous_only": 'EVIDENCE = "rollouts"\nACTIONS = frozenset({"continuous"})\nTEST_ACTIONS = "mean"\n',
    "imitator": 'EVIDENCE = "demonstrations"\nACTIONS = frozenset({"continuous", "discrete"})\nTEST_ACTIONS = "mean"\n',
    "broken": "import a_package_that_is_not_there\n",
    "contractless": "ACTIONS = frozenset()\n",
}
SETTINGS = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Settings:
    rate: float = 0.1

def build(spec, settings, seed, device):
    raise AssertionError("checking a configuration builds nothing")
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "plugins" / "algorithms"
    folder.mkdir(parents=True)
    for name, text in PLUGINS.items():
        (folder / f"{name}.py").write_text(text + ("" if name in ("broken", "contractless") else SETTINGS))
    monkeypatch.setenv("KSHOT_PATH", str(folder.parent))
    return folder.parent


def write(folder: Path, text: str) -> Path:
    path = folder / "suite.yaml"
    path.write_text(text)
    return path


def problems(source: Path | dict[str, object]) -> str:
    with pytest.raises(ConfigError) as caught:
        load_suite(source)
    return str(caught.value)


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, f"{old!r} must stand in the example once"
    return GOOD.replace(old, new)


def added_row(row: str) -> str:
    return changed("  maml: {}\n", f"  maml: {{}}\n  {row}\n")
