"""Measurements that name parts of learners still find them."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import cost, gaits, learners, robots
from benchmarks._physics import BarePhysics
from kshot.envs import cheetah_vel
from kshot.suites.reading import find_suite, load_suite

SMALL: dict[str, dict[str, Any]] = {
    "maml": {"meta_batch": 10, "episodes": 1, "hidden": (8,), "curvature_stride": 1},
    "rl2": {"meta_batch": 10, "hidden": 8, "encoder": (8,), "trial_episodes": 2, "chunk": 5, "burn_in": 2, "epochs": 1},
}


@pytest.mark.parametrize("name", sorted(learners.OUTER))
def test_all_parts_of_a_meta_step_are_timed(name: str) -> None:
    found = learners.measure(name, SMALL[name], steps=1, horizon=10, profile=False)
    assert all(found[part] > 0 for part in learners.PARTS)
    assert found["rate"] == pytest.approx(found["steps"] / sum(found[part] for part in learners.PARTS))


def test_another_commit_is_checked_out_for_the_while_of_a_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    git("init")
    for text in ("before", "now"):
        (tmp_path / "code.py").write_text(text)
        git("add", ".")
        git("commit", "-m", text)
    monkeypatch.setattr(learners, "HERE", tmp_path)
    with learners.trees("HEAD~1") as folders:
        assert {name: (folder / "code.py").read_text() for name, folder in folders.items()} == {
            "HEAD~1": "before",
            "present": "now",
        }
    assert not folders["HEAD~1"].exists()


def test_company_is_gone_after_the_measurement() -> None:
    with learners.company(busy=True) as process:
        assert process is not None and process.poll() is None
    assert process.poll() is not None
    with learners.company(busy=False) as process:
        assert process is None


def test_the_script_is_run_from_where_no_file_of_its_folder_shadows_a_library() -> None:
    """``benchmarks/metaworld.py`` would be imported instead of the package of that name."""
    script = learners.__file__
    assert script is not None
    environment = os.environ | {"PYTHONPATH": str(learners.HERE)}
    subprocess.run([sys.executable, "-P", script, "--help"], check=True, capture_output=True, env=environment)


def test_bare_physics_are_those_of_the_environment() -> None:
    """Whose states it has to arrive at, step by step, under the same actions."""
    family = cheetah_vel.build(cheetah_vel.Settings(horizon=20))
    env = family.vector_env(family.tasks("train", 2, 0), 2)
    env.reset(seed=[1, 2, 3, 4])
    physics = BarePhysics(env, 2)
    physics.reset()
    for action in np.random.default_rng(0).uniform(-1, 1, (20, 4, 6)).astype(np.float32):
        env.step(action)
        physics.step(action, np.ones(4, dtype=bool))
        for state, data in zip(env.states, physics.simulations, strict=True):
            assert np.array_equal(state[1:10], data.qpos) and np.array_equal(state[10:19], data.qvel)
    assert physics.seconds > 0


def test_all_contenders_of_a_family_are_timed() -> None:
    found = robots.measure("cheetah_dir", copies=1, rounds=1)
    assert sorted(found) == ["1", "2", "physics 1", "physics 2"] and min(found.values()) > 0


def test_the_search_for_gaits_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(gaits.SEARCHES["hopper_rand_params"], together=2, directions=2, horizon=6, further=1, hardest=2)
    monkeypatch.setitem(gaits.SEARCHES, "hopper_rand_params", small)
    first, second = (gaits.searched("hopper_rand_params", 10) for _ in range(2))
    assert first == second
    weights = np.array(first["weights"])
    assert weights.shape == (2, 3, 14) and np.abs(weights[0]).max() > 0.0
    assert np.array(first["normaliser"]).shape == (2, 11)


def test_what_a_suite_costs_is_its_steps_by_the_rate(capsys: pytest.CaptureFixture[str]) -> None:
    cost.main(["smoke", "--families", "bandit", "--learners", "maml", "untrained", "--seconds", "0.05"])
    _, _, row, total = capsys.readouterr().out.splitlines()
    family, learner, steps, rate, hours = (part.strip().replace(",", "") for part in row.strip("|").split("|"))
    assert (family, learner) == ("bandit", "maml") and total == f"| all |  |  |  | {hours} |"
    seeds = len(load_suite(find_suite("smoke")).seeds)
    assert float(hours) == pytest.approx(seeds * int(steps) / float(rate) / 3600, abs=0.06)
