"""What docs/families/gymnasium.md shows does run, and names every setting."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from kshot import registry, seeding
from kshot.contract import checking, learners
from kshot.errors import ConfigError
from kshot.interface.before import refused
from kshot.places import ROOT
from kshot.running import build
from kshot.running.rollout import rollout
from kshot.suites.reading import load_suite

PAGE = (ROOT / "docs" / "families" / "gymnasium.md").read_text(encoding="utf-8")
CELLS = {
    name: cell for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.S) for name, cell in yaml.safe_load(block).items()
}
GRID, POLES = re.findall(r"```python\n(.*?)```", PAGE, re.S)


def suite(name: str) -> dict[str, object]:
    learner = {"maml": {"settings": {"meta_batch": 2, "episodes": 5}}}
    return {"name": "page", "seeds": [0], "families": {name: CELLS[name]}, "algorithms": learner}


class FourRooms(gymnasium.Env[dict[str, Any], int]):
    """What stands for MiniGrid's environment where that is not installed: its spaces, and a goal of one's choice."""

    observation_space = spaces.Dict(
        {"image": spaces.Box(0, 255, (7, 7, 3), np.uint8), "direction": spaces.Discrete(4), "mission": spaces.Text(9)}
    )
    action_space = spaces.Discrete(7)

    def __init__(self, goal_pos: tuple[int, int]) -> None:
        self.goal = goal_pos

    def _seen(self) -> dict[str, Any]:
        return {"image": np.zeros((7, 7, 3), np.uint8), "direction": 0, "mission": "reach"}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], Any]:
        super().reset(seed=seed)
        return self._seen(), {}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        return self._seen(), float(action == sum(self.goal) % 7), False, False, {}


class ImgObsWrapper(gymnasium.ObservationWrapper[Any, Any, Any]):
    """As MiniGrid's: the picture alone."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = env.observation_space["image"]  # type: ignore[index]

    def observation(self, observation: dict[str, Any]) -> Any:
        return observation["image"]


def stand_in_for_minigrid(monkeypatch: pytest.MonkeyPatch) -> None:
    package, wrappers = ModuleType("minigrid"), ModuleType("minigrid.wrappers")
    wrappers.ImgObsWrapper = ImgObsWrapper  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "minigrid", package)
    monkeypatch.setitem(sys.modules, "minigrid.wrappers", wrappers)
    specs = gymnasium.registry | {"MiniGrid-FourRooms-v0": EnvSpec("MiniGrid-FourRooms-v0", entry_point=FourRooms)}
    monkeypatch.setattr(gymnasium.envs.registration, "registry", specs)


@pytest.mark.parametrize("name", CELLS)
def test_an_example_is_a_family_that_can_be_played(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "four-rooms":
        if importlib.util.find_spec("minigrid") is None:
            stand_in_for_minigrid(monkeypatch)
        (tmp_path / "my_envs.py").write_text(GRID)
        monkeypatch.setenv("KSHOT_PATH", str(tmp_path))
    runs = load_suite(suite(name), further=refused).runs()
    family = build.family(runs[0])
    tasks = family.tasks("test", 2, 0)
    for make in family.references.values():
        played = rollout(family, make(tasks), tasks, seeding.split(0, np.arange(2)), 1)
        assert np.isfinite(played.returns).all() and played.steps > 2
    known = {reference for reference in ("random", "task_blind", "oracle") if reference in family.references}
    assert set(CELLS[name].get("references", ("random", "task_blind", "oracle"))) == known


def test_the_family_in_python_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "my_poles.py").write_text(POLES)
    monkeypatch.setenv("KSHOT_PATH", str(tmp_path))
    module = registry.load("envs", "my_poles")
    family = module.build(module.Settings(longest=2.0))
    lengths = [task["length"] for task in family.tasks("train", 200, 0)]
    assert 0.25 < min(lengths) < 0.4 and 1.9 < max(lengths) < 2.0
    env = family.vector_env(family.tasks("train", 2, 0), 2)
    assert env.reset(seed=[1, 2, 3, 4])[0].shape == (4, 4)
    # It has neither oracle nor task-blind policy: what is about these is not checked, and that is said.
    said: list[str] = []
    monkeypatch.setattr(learners, "checks", lambda algorithm, family: [])
    assert checking.test("my_poles", ["rl2"], said.append), said
    assert "--      my_poles: the oracle is better than random: not checked, the family has no oracle" in said
    assert sum(line.startswith("--") for line in said) == 3


def test_the_table_names_every_setting() -> None:
    fields = {field.name for field in dataclasses.fields(registry.load("envs", "gymnasium").Settings)}
    table = PAGE.split("## Settings")[1].split("**Where")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == fields


def test_the_kind_of_actions_is_that_of_the_environment() -> None:
    """A learner for continuous actions alone is accepted on Pendulum and refused on CartPole."""
    learner = {"algorithms": {"pearl": {}}}
    assert load_suite(suite("pendulum") | learner).runs()
    with pytest.raises(ValueError, match="'pearl' needs continuous actions, 'gymnasium' has discrete ones"):
        load_suite(suite("cartpole") | learner)


def test_policies_that_nobody_named_are_not_there() -> None:
    cell = CELLS["cartpole-longer"] | {"references": ["random", "oracle"]}
    said = "the family has no reference policy 'oracle' (known: random); list others in references"
    with pytest.raises(ConfigError) as error:
        load_suite(suite("cartpole-longer") | {"families": {"far": cell}}, further=refused)
    assert error.value.problems == (f"suite: families.far.references[1]: {said}",)
