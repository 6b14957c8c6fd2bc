"""docs/metaworld-users.md: every block, every command and every line of its table runs; and what the commands write."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from metaworld.env_dict import ALL_V3_ENVIRONMENTS

from benchmarks import ppo
from kshot import cli
from kshot.envs.metaworld import MetaWorldVectorEnv
from kshot.errors import ConfigError, RecordError
from kshot.metaworld import demonstration_files as files
from kshot.metaworld import demonstrations
from kshot.metaworld.demonstrations import Demonstration, How, demonstrate, tasks_of
from kshot.places import ROOT
from tests.parity import reset_official

PAGE = (ROOT / "docs" / "metaworld-users.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
PRINTS = {
    "Multi-task": r"\(20, 49\) \[0\. 1\. 0\. 0\. 0\. 0\. 0\. 0\. 0\. 0\.\]\n",
    "States": "True True\n",
    "Several cameras": r"\(2, 2, 64, 64, 3\) uint8\n",
    "Demonstrations": r"reach-v3 0 \(\d+, 4\) [\d.]+\nreach-v3 1 \(\d+, 4\) [\d.]+\n",
    "Metaworld's own": r"success 1\.00, return \d+\n",
    "PPO": r"\[[\d.]+, [\d.]+\]\n",
}
"""What the block below each heading prints."""


RUN = """
import json, sys

for block in json.load(sys.stdin):
    try:
        exec(compile(block, "block", "exec"), {"__name__": "block"})
    except RuntimeError as error:
        if "no picture with MUJOCO_GL" not in str(error):
            raise
        print("cannot draw")
    print("----")
"""


def test_every_block_of_the_page_runs_and_prints_what_it_should(tmp_path: Path) -> None:
    """All in one process, each with names of its own: starting Python six times would take longer than they do."""
    assert cli.main(["demonstrations", "reach-v3", "--tasks", "2", "--out", str(tmp_path / "reach.parquet")]) == 0
    assert len(BLOCKS) == len(PRINTS)
    assert inspect.getsource(ppo.ppo).strip() in BLOCKS[-1]
    assert all(
        block in PAGE.split(f"\n## {heading}")[1].split("\n## ")[0]
        for heading, block in zip(PRINTS, BLOCKS, strict=True)
    )
    graphics = {"MUJOCO_GL": "egl", "OMP_NUM_THREADS": "1"}  # what blocks set before the first import
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=tmp_path,
        env=os.environ | graphics,
        input=json.dumps(BLOCKS),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    for expected, printed in zip(PRINTS.values(), done.stdout.split("----\n"), strict=False):
        assert re.fullmatch(expected, printed) or printed == "cannot draw\n", printed


@pytest.fixture
def at_reach() -> list[Demonstration]:
    return next(demonstrate(tasks_of("reach-v3", per_class=2), How(per_task=2, noise=0.5, seed=3), threads=1))


def test_demonstrations_are_episodes_of_the_official_class(at_reach: list[Demonstration]) -> None:
    """The actions that were kept bring the observations and rewards that were kept; the last step is a success."""
    assert [(d.task, d.episode) for d in at_reach] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    env: Any = ALL_V3_ENVIRONMENTS["reach-v3"]()
    for d in at_reach:
        seen, steps = [reset_official(env, (d.env_name, d.rand_vec))], []
        for action in d.action:
            obs, reward, _, _, info = env.step(action)
            seen.append(obs)
            steps.append((float(reward), info["success"] == 1.0))
        np.testing.assert_array_equal(seen, d.observation)
        np.testing.assert_array_equal(steps, np.stack([d.reward, d.success], axis=1))
        np.testing.assert_array_equal(env._target_pos, d.target)
        assert d.success.tolist() == [False] * (len(d.success) - 1) + [True] and not d.truncated
        assert d.action.dtype == np.float32 and np.abs(d.action).max() <= 1.0
        assert not d.observation[:, -3:].any()  # the target is hidden
    assert not np.array_equal(at_reach[0].action[:5], at_reach[1].action[:5])  # other noise


def test_noise_belongs_to_the_episode_and_not_to_what_else_is_played(
    at_reach: list[Demonstration], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demonstrations, "_TOGETHER", 3)
    goals = tasks_of("reach-v3", per_class=2)
    (again,) = demonstrate(goals, How(per_task=2, noise=0.5, seed=3), threads=2)
    (other,) = demonstrate(goals, How(per_task=2, noise=0.5, seed=4), threads=2)
    assert [d.action.tobytes() for d in again] == [d.action.tobytes() for d in at_reach]
    assert again[0].action.tobytes() != other[0].action.tobytes()


def test_whole_episodes_are_kept_by_their_last_step_and_failures_played_again() -> None:
    """So much noise that the hand is near the target at the end of some episodes only."""
    goals, settled = tasks_of("reach-v3", per_class=4), list[int]()
    how = How(noise=1.0, whole=True, horizon=60, goal_observable=True)
    (found,) = demonstrate(goals, how, progress=settled.append)
    assert found and all(d.success[-1] and d.truncated and len(d.action) == 60 for d in found)
    assert max(d.attempt for d in found) > 1 and settled[-1] == 4
    assert all((d.observation[0, -3:] == d.target).all() for d in found)
    (none,) = demonstrate(goals, How(horizon=2))  # nobody succeeds in two steps
    assert none == []


def test_a_file_has_all_of_it(at_reach: list[Demonstration], tmp_path: Path) -> None:
    path = tmp_path / "new" / "reach.parquet"
    assert files.write(str(path), [at_reach, at_reach[:1]], {"seed": 3}) == 5
    for read, written in zip(files.read(path), [*at_reach, at_reach[0]], strict=True):
        for name, value in vars(written).items():
            np.testing.assert_array_equal(getattr(read, name), value)
            assert np.asarray(getattr(read, name)).dtype == np.asarray(value).dtype, name
    note = json.loads(pq.read_schema(path).metadata[b"kshot"])
    assert note["seed"] == 3 and set(note["versions"]) == {"metaworld", "mujoco"}
    whole = path.read_bytes()
    with pytest.raises(ConfigError, match=r"reach\.parquet is there already; --replace replaces it"):
        files.write(str(path), [at_reach], {})

    def interrupted() -> Iterator[list[Demonstration]]:
        yield at_reach
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write(str(path), interrupted(), {}, replace=True)
    assert path.read_bytes() == whole and list(path.parent.iterdir()) == [path]
    with pytest.raises(ConfigError, match="no episode succeeded"):
        files.write(str(tmp_path / "none.parquet"), [[]], {})
    path.write_bytes(whole[:-9])
    with pytest.raises(RecordError, match="not a complete parquet file"):
        files.read(path)
    assert not (tmp_path / "none.parquet").exists()


def test_the_command_writes_the_same_bytes_and_says_what_it_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["demonstrations", "ML10", "--split", "test", "--tasks", "1", "--number", "2", "--noise", "0.3"]
    written = []
    for name in ("a.parquet", "b.parquet"):
        assert cli.main([*command, "--threads", "1", "--out", str(tmp_path / name)]) == 0
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"drawer-open-v3: 2 of 2 episodes, of 1 of 1 tasks, \d+ steps", lines[0])
    assert len(lines) == 12 and lines[5] == f"{tmp_path / 'a.parquet'}: 10 demonstrations"
    found = files.read(tmp_path / "a.parquet")
    env = MetaWorldVectorEnv([(found[0].env_name, found[0].rand_vec)], clip_actions=True)
    np.testing.assert_array_equal(env.reset()[0], found[0].observation[:1])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("reach-v2 --out a.parquet", "unknown class or benchmark 'reach-v2' (did you mean 'reach-v3'?)"),
        ("reach-v3 --out a.csv", "'a.csv' is neither a .parquet file nor minari:NAME"),
        ("reach-v3 --out minari:Reach", "a data set of Minari is called like metaworld/reach-v0, got 'Reach'"),
        ("reach-v3 --number 2 --out a.parquet", "without noise all 2 episodes of a task would be the same"),
        ("reach-v3 --noise -1 --out a.parquet", "noise must be a number of at least 0, got -1.0"),
        ("reach-v3 --split tset --out a.parquet", "unknown split 'tset' (did you mean 'test'?)"),
        ("reach-v3 --goal-seed -1 --out a.parquet", "the seed of the goals must not be negative, got -1"),
        ("MT10 --split test --out a.parquet", "MT10 has no test split, all its tasks are for training"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    arguments: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demonstrations", *arguments.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("kshot: demonstrations: ") and told in line
    assert not list(tmp_path.iterdir())


def test_without_minari_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minari.storage.datasets_root_dir", None)
    with pytest.raises(ConfigError, match="needs the package minari: pip install minari"):
        files.check_target("minari:metaworld/reach-v0", replace=False)


def test_minari_opens_what_was_written_for_it(
    at_reach: list[Demonstration], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    for replace in (False, True):
        assert files.write("minari:metaworld/reach-v0", [at_reach], {"seed": 3}, replace) == 4
    with pytest.raises(ConfigError, match="reach-v0 is there already"):
        files.write("minari:metaworld/reach-v0", [at_reach], {})
    assert os.environ["MINARI_DATASETS_PATH"] == str(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metaworld"]
    data = minari.load_dataset("metaworld/reach-v0")
    assert data.total_episodes == 4 and '"seed": 3' in data.storage.metadata["description"]
    for i, (episode, d) in enumerate(zip(data.iterate_episodes(), at_reach, strict=True)):
        for theirs, ours in ((episode.observations, d.observation), (episode.actions, d.action)):
            np.testing.assert_array_equal(theirs, ours)
        np.testing.assert_array_equal(episode.rewards, d.reward)
        assert episode.terminations.tolist() == d.success.tolist() and not episode.truncations.any()
        (kept,) = data.storage.get_episode_metadata([i])
        assert (kept["task"], tuple(kept["rand_vec"])) == (d.task, d.rand_vec)
