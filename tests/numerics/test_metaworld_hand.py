"""The hand in a box of cells: its dynamics, its demonstrations, and what the abstraction still allows."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kshot import seeding
from kshot.envs.metaworld._goals import Source, goals
from kshot.envs.metaworld_hand import Settings, _experts, _store, build
from kshot.envs.metaworld_hand._abstractions import ABSTRACTIONS, CELL_SIZE, abstraction
from kshot.envs.metaworld_hand._scenes import MIN_SHIFT, RADII
from kshot.envs.metaworld_hand._world import GRIP, STAY, HandWorld
from kshot.learning import planner
from kshot.places import ROOT
from kshot.running.rollout import rollout
from kshot.types import Array
from tests.planning import pushed

KEYS = seeding.split(seeding.key("test"), np.arange(8))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for demonstrations."""
    monkeypatch.setattr(_store, "_folder", lambda: tmp_path)
    return tmp_path


def place(x: float, y: float, z: float) -> Array:
    return np.array([[x, y, z]])


def test_moves_lead_to_neighbours_and_stop_at_walls() -> None:
    world = HandWorld(abstraction("reach-v3"))
    successor = world.dynamics(place(0, 0.6, 0.02)).successor
    assert successor is not None and successor.shape == (world.cells, 27)
    for cell in (0, 500, world.cells - 1):
        for action, reached in enumerate(successor[cell]):
            centre = world.centres[cell] + CELL_SIZE * (np.array(np.unravel_index(action, (3, 3, 3))) - 1)
            outside = (centre < world.abstraction.low).any() or (centre > world.centres.max(axis=0) + 0.01).any()
            assert reached == (-1 if outside else world.cell(centre))
    assert (successor[:, STAY] == np.arange(world.cells)).all()


def test_the_object_is_taken_hold_of_near_its_approach_and_once() -> None:
    world = HandWorld(abstraction("push-v3"))
    layout = np.array([[0.0, 0.65, 0.02], [0.1, 0.6, 0.02]])
    successor = world.dynamics(layout).successor
    assert successor is not None and successor.shape == (2, 2 * world.cells, 28)
    assert (successor[:, world.cells :, GRIP] == -1).all()
    assert (successor[:, world.cells :, :GRIP].max(axis=(1, 2)) < 2 * world.cells).all()
    grip = world.abstraction.grip
    assert grip is not None
    for b in range(2):
        possible = np.flatnonzero(successor[b, : world.cells, GRIP] >= 0)
        approach = layout[b] + np.array(grip.contact) + np.array(grip.clearance)
        assert 0 < len(possible) <= 27 and np.abs(world.centres[possible] - approach).max() < 2 * CELL_SIZE
        assert set(successor[b, possible, GRIP]) == {world.cells + world.cell(layout[b] + np.array(grip.contact))}


@pytest.mark.parametrize("task", ["reach-v3", "push-v3"])
def test_the_planner_without_gathering_equals_the_planner_with_it(task: str) -> None:
    """Values, expected visits and pushed mass, for the box of cells and for the two boxes of a class with a grip."""
    world = HandWorld(abstraction(task))
    dynamics = world.dynamics(np.array([[0.0, 0.65, 0.02], [0.1, 0.6, 0.02]]))
    fast, slow = planner.model_of(dynamics), planner.Deterministic(torch.tensor(dynamics.successor))
    rng = np.random.default_rng(0)
    reward = torch.tensor(3 * rng.normal(size=(2, dynamics.successor.shape[-2])), requires_grad=True)
    assert not isinstance(fast, planner.Deterministic)
    first, second = (planner.soft_values(reward, model, 12) for model in (fast, slow))
    torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)
    visits = [torch.autograd.grad(values[0, :, 5].sum(), reward)[0] for values in (first, second)]
    torch.testing.assert_close(*visits, rtol=1e-10, atol=1e-12)
    assert visits[0].sum().item() == pytest.approx(2 * 13)
    # The meta-gradient differentiates the visits again.
    curvature = []
    for model in (fast, slow):
        values = planner.soft_values(reward, model, 6)[0, :, 5].sum()
        (first_order,) = torch.autograd.grad(values, reward, create_graph=True)
        curvature.append(torch.autograd.grad((first_order * visits[0]).sum(), reward)[0])
    assert curvature[0].isfinite().all() and curvature[0].abs().max() > 0
    torch.testing.assert_close(*curvature, rtol=1e-9, atol=1e-12)
    hard = [planner.hard_values(reward.detach(), model, 12) for model in (fast, slow)]
    torch.testing.assert_close(*hard)
    mass = torch.tensor(rng.random((2, dynamics.successor.shape[-2], world.actions)))
    successor = torch.tensor(np.broadcast_to(dynamics.successor, mass.shape))  # type: ignore[arg-type]  # it is given
    mass = mass * (successor >= 0)
    torch.testing.assert_close(pushed(fast, mass), pushed(slow, mass))


@pytest.mark.parametrize("task", sorted(ABSTRACTIONS))
def test_demonstrations_are_paths_of_cells_that_end_where_they_should(task: str, cache: Path) -> None:
    family = build(Settings(task=task, demonstrations=3))
    tasks = family.tasks("train", 3, 0)
    episodes = family.demonstrations(tasks, 3, KEYS[:3])
    states, actions = family.world.paths(episodes)  # refuses what the dynamics do not know
    assert episodes.success_last.all() and states.shape[2] == family.world.decisions + 1
    if family.world.abstraction.grip is not None:
        assert ((actions == GRIP).sum(axis=2) == 1).all()
    for i in range(3):  # they differ: otherwise a second one would tell nothing new
        assert len({row.tobytes() for row in episodes.obs[i, :, :, :3]}) == 3
    assert len({row.tobytes() for row in states.reshape(9, -1)}) > 3


def test_the_goal_is_in_no_observation(cache: Path) -> None:
    family = build(Settings(task="reach-v3"))
    tasks = family.tasks("train", 2, 0)
    same = np.array(tasks[0]["rand_vec"])[:3]
    moved = [replace_goal(task["rand_vec"], same) for task in tasks]
    env = family.vector_env(tasks, 1)
    env._scenes = [type(s)(s.name, rand_vec=vec) for s, vec in zip(env._scenes, moved, strict=True)]
    obs, _ = env.reset(seed=[1, 2])
    np.testing.assert_array_equal(obs[0], obs[1])


def replace_goal(rand_vec: tuple[float, ...], thing: Array) -> tuple[float, ...]:
    """The same goal with the object at ``thing``."""
    return (*thing.tolist(), *rand_vec[3:])


def test_the_object_moves_and_the_offset_stays() -> None:
    family = build(Settings())
    for task in family.tasks("test", 20, 3):
        scene = family.scene(task)
        first = np.array(scene.goal(0)[1])
        assert np.linalg.norm(first[3:5] - first[:2]) >= RADII[0] - 1e-9
        for goal in (scene.goal(1), scene.goal(2), scene.random_goal(7)):
            other = np.array(goal[1])
            assert np.linalg.norm(other[:2] - first[:2]) >= MIN_SHIFT
            np.testing.assert_allclose(other[3:] - other[:3], first[3:] - first[:3], atol=1e-12)
            hand = other[3:] + np.array(family.world.abstraction.aim)
            centre = family.world.centres[family.world.cell(hand)]
            assert np.abs(hand - centre).max() <= CELL_SIZE / 2 + 1e-9  # in the box


@pytest.mark.parametrize("task", ["reach-relative", "reach-v3", "push-v3", "drawer-open-v3"])
def test_what_the_abstraction_allows(task: str) -> None:
    """In the real simulation, on unseen tasks: those who know the goal succeed, chance does not."""
    family = build(Settings(task=task))
    tasks = family.tasks("test", 8, 0)
    shares = {
        name: rollout(family, family.references[name](tasks), tasks, KEYS, 1).success_last.mean()
        for name in ("random", "oracle", "ceiling", "expert")
    }
    last = len(family.spec.stages) - 1
    oracle = rollout(family, family.references["oracle"](tasks), tasks, KEYS, 1)
    assert ((oracle.stage == last) == oracle.success_last).all() and oracle.stage.min() >= min(last - 1, 1)
    assert rollout(family, family.references["random"](tasks), tasks, KEYS, 1).stage.min() == 0
    assert shares["random"] <= 0.25 and min(shares["oracle"], shares["ceiling"]) >= 0.85 and shares["expert"] >= 0.6


def test_demonstrations_are_kept_and_a_damaged_file_is_made_again(cache: Path) -> None:
    def drawn() -> Array:
        family = build(Settings(task="reach-v3", demonstrations=4))
        return np.asarray(family.demonstrations(family.tasks("train", 1, 0), 2, KEYS[:1]).obs)

    first = drawn()
    (file,) = cache.glob("*.parquet")
    written = file.read_bytes()
    np.testing.assert_array_equal(drawn(), first)
    assert file.read_bytes() == written
    frame = _store.records.read_table(file, _store._SCHEMA)
    frame.loc[1, "hand_x"] += 0.01
    _store.records.write_table(file, frame, _store._SCHEMA)
    with pytest.warns(RuntimeWarning, match="the checksum is wrong; the demonstrations are made again"):
        np.testing.assert_array_equal(drawn(), first)
    file.write_bytes(b"no table")
    with pytest.warns(RuntimeWarning, match="the demonstrations are made again"):
        np.testing.assert_array_equal(drawn(), first)


def test_a_demonstration_is_the_same_whoever_makes_it(tmp_path: Path) -> None:
    """In another process, beside other tasks, and with other numbers of threads."""
    code = (
        "import numpy as np\n"
        "from kshot.envs.metaworld_hand import Settings, build\n"
        "from kshot import seeding\n"
        "family = build(Settings(task='push-v3', demonstrations=4))\n"
        "tasks = family.tasks('train', 3, 0)[2:] if {alone} else family.tasks('train', 3, 0)\n"
        "keys = seeding.split(seeding.key('test'), np.arange(3))[-len(tasks):]\n"
        "print(family.demonstrations(tasks, 2, keys).obs[-1].tobytes().hex())\n"
    )
    outputs = set()
    for alone, threads in ((True, "1"), (False, "2")):
        environment = {**os.environ, "OMP_NUM_THREADS": threads, _store.CACHE: str(tmp_path / threads)}
        command = [sys.executable, "-W", "ignore", "-c", code.format(alone=alone)]
        outputs.add(subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True).stdout)
    assert len(outputs) == 1


@pytest.mark.parametrize("task", ["reach-v3", "push-v3"])
def test_a_demonstration_is_the_same_in_whatever_company(task: str) -> None:
    """Experts that are simulated together end at different times, which tells nothing of where each came to rest."""
    world = HandWorld(abstraction(task))
    chosen = goals(Source("ML1", task), "train")[:6]
    together = _experts.demonstrate(world, chosen, KEYS[:6])
    assert sum(path is not None for path in together) > 3
    for goal, key, path in zip(chosen, KEYS, together, strict=False):
        (alone,) = _experts.demonstrate(world, [goal], np.array([key]))
        assert (alone is None) == (path is None)
        if alone is not None and path is not None:
            for name in ("hand", "held", "action", "object"):
                np.testing.assert_array_equal(getattr(alone, name), getattr(path, name), err_msg=name)


def test_a_demonstration_outside_the_box_is_named(cache: Path) -> None:
    family = build(Settings(task="reach-v3"))
    episodes = family.demonstrations(family.tasks("train", 2, 0), 2, KEYS[:2])
    obs = episodes.obs.copy()
    obs[1, 0, 3, 2] += 1.0
    with pytest.raises(ValueError, match="demonstration 0 of task 1 leaves the box"):
        family.world.paths(replace(episodes, obs=obs))


def test_an_expert_that_leaves_the_box_has_not_succeeded() -> None:
    """What is kept can be read again: by the same rule that refuses paths, one in thousands of experts strays."""
    world = build(Settings(task="reach-v3")).world
    way = world.centres[0] + np.linspace(0, 5 * CELL_SIZE, 60)[:, None] * np.array([1.0, 0.0, 0.0])
    kept = _experts._as_decisions(world, way, np.zeros(3))
    assert kept is not None and not world.outside(kept.hand).any()
    lower = world.centres[0] - np.array([0.0, 0.0, CELL_SIZE / 2])  # on the floor of the box
    for lean, strays in ((0.9 * CELL_SIZE, False), (1.1 * CELL_SIZE, True)):
        leaning = np.concatenate([[lower - np.array([0.0, 0.0, lean])], way])
        assert world.outside(leaning).any() == strays
        assert (_experts._as_decisions(world, leaning, np.zeros(3)) is None) == strays


def test_errors_say_what_would_be_right() -> None:
    with pytest.raises(ValueError, match=r"unknown task 'reach'.*reach-v3"):
        Settings(task="reach")
    family = build(Settings(task="reach-v3", demonstrations=2))
    with pytest.raises(ValueError, match="3 different demonstrations of a training task asked for, there are 2"):
        family.demonstrations(family.tasks("train", 1, 0), 3, KEYS[:1])
    with pytest.raises(ValueError, match="51 test tasks asked for, there are 50"):
        family.tasks("test", 51, 0)
