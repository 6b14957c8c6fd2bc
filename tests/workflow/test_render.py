"""Clips show the episodes that were scored, and say so; the same clip has the same bytes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from kshot import records
from kshot.errors import ConfigError
from kshot.places import ROOT
from kshot.rendering import clips, drawings, graphics, video
from kshot.rendering.footage import Scored, Take, shoot
from kshot.suites.model import Suite
from kshot.suites.reading import load_suite
from tests.workflow.conftest import Called
from tests.workflow.pipeline import write_suite

Evaluated = Callable[[str, str], None]
pytestmark = pytest.mark.workflow

TINY: dict[str, Any] = {"meta_batch": 4, "episodes": 2, "test_episodes": 2, "hidden": [8]}
WORLDS: dict[str, Any] = {
    "name": "worlds",
    "seeds": [0],
    "families": {
        "nav2d": {
            "settings": {"horizon": 12},
            "steps": 200,
            "evaluation": {"tasks": 3, "k": [0, 2, 4], "mean_episodes": 2},
            "references": ["oracle"],
        },
        "gridnavi": {
            "settings": {"horizon": 15},
            "steps": 200,
            "evaluation": {"tasks": 5, "k": [0, 1, 2]},
            "references": ["random", "bayes_optimal"],
        },
        "nav2d_sparse": {"steps": 200, "evaluation": {"tasks": 2, "k": [0, 1]}, "references": ["search"]},
        "spritegrid": {
            "settings": {"side": 6, "horizon": 8, "copies": 3},
            "steps": 200,
            "evaluation": {"tasks": 3, "k": [0, 2]},
            "references": ["oracle"],
        },
        "bandit": {"steps": 200, "evaluation": {"tasks": 3, "k": [0, 1]}, "references": ["random"]},
        "reach": {
            "family": "metaworld",
            "settings": {"benchmark": "ML1", "task": "reach-v3", "horizon": 30},
            "steps": 240,
            "evaluation": {"tasks": 2, "k": [0, 2]},
            "references": ["oracle"],
        },
    },
    "algorithms": {
        "maml": {"settings": TINY},
        "behaviour-cloning": {"algorithm": "behaviour_cloning", "settings": {"hidden": [8], "calibration_tasks": 2}},
    },
    "exclude": [
        {
            "algorithm": "maml",
            "family": ["gridnavi", "nav2d_sparse", "spritegrid", "bandit"],
            "reason": "none",
        },
        {
            "algorithm": "behaviour-cloning",
            "family": ["nav2d", "nav2d_sparse", "gridnavi", "bandit", "reach"],
            "reason": "of no use here",
        },
    ],
}


def of(family: str, algorithm: str) -> list[str]:
    return ["--family", family, "--algorithm", algorithm, "--seed", "0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("worlds")
    (path / "worlds.yaml").write_text(yaml.safe_dump(WORLDS))
    return path


@pytest.fixture
def evaluated(folder: Path, called: Called) -> Evaluated:
    """``evaluated(family, algorithm)`` trains and evaluates a run, once."""

    def do(family: str, algorithm: str) -> None:
        for step in ("train", "evaluate") if algorithm in WORLDS["algorithms"] else ("evaluate",):
            done = called(folder, step, "worlds.yaml", *of(family, algorithm))
            assert done.returncode == 0, done.stderr

    return do


def suite(folder: Path) -> Suite:
    return load_suite(folder / "worlds.yaml")


RUNS = [
    ("nav2d", "maml", 2, [0, 4]),
    ("nav2d", "oracle", 1, [0]),
    ("gridnavi", "bayes_optimal", 3, [0, 3]),
    ("nav2d_sparse", "search", 1, [0, 2, 5]),
    ("spritegrid", "oracle", 0, [0]),
    ("spritegrid", "behaviour-cloning", 1, [0, 2]),
    ("reach", "maml", 1, [0, 2]),
]


@pytest.mark.parametrize("family, algorithm, task, points", RUNS, ids=lambda value: str(value))
def test_the_episode_shown_is_the_one_that_was_scored(
    folder: Path, evaluated: Evaluated, family: str, algorithm: str, task: int, points: list[int]
) -> None:
    evaluated(family, algorithm)
    run = suite(folder).find(family, algorithm, 0)
    footage = shoot(run, Path("results"), task, points)
    table = records.read_table(run.directory() / "curve.parquet", records.CURVE_SCHEMA)
    table = table[(table["mode"] == run.test_actions) & (table["episode"] == 0) & (table["task"] == footage.task.id)]
    assert [take.k for take in footage.takes] == points
    for take in footage.takes:
        (row,) = [row for _, row in table.iterrows() if row["k"] == take.k]
        assert take.as_scored and take.episode_return == row["return"]
        assert take.steps == row["env_steps"] == len(take.observations) - 1
        assert take.success[-1] == row["success_last"] and take.success.any() == row["success_any"]
        assert f"return {row['return']:.2f}" in clips.scored(take)
        assert clips.caption(take, take.steps, "episode")[1][0].endswith(f"return so far {row['return']:.2f}")
        if family == "reach":  # states of the simulation, whose memory goes on to the next one
            assert len(np.unique([scene.state for scene in take.scenes], axis=0)) == len(take.scenes) == take.steps + 1
    assert len({take.episode_return for take in footage.takes}) == len(points) or algorithm == "search"


def test_a_clip_has_a_frame_for_every_moment_and_the_same_bytes_again(
    folder: Path, evaluated: Evaluated, called: Called
) -> None:
    evaluated("gridnavi", "bayes_optimal")
    command = ["render", "worlds.yaml", *of("gridnavi", "bayes_optimal"), "--task", "2"]
    done = called(folder, *command)
    path = Path("reports/worlds/clips/gridnavi/bayes_optimal-seed-0-task-2.gif")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(path)
    assert [line.split(":")[0] for line in done.stdout.splitlines()[:-1]] == ["K = 0", "K = 3"]
    again = called(folder, *command, "--out", "again.gif")
    assert again.returncode == 0 and (folder / "again.gif").read_bytes() == (folder / path).read_bytes()
    image = Image.open(folder / path)
    assert image.n_frames == 16
    assert image.width > 2 * drawings.SIDE
    frames = []
    for i in range(16):
        image.seek(i)
        frames.append(np.asarray(image.convert("RGB")))
    assert all((a != b).any() for a, b in pairwise(frames)), "nothing moves"
    few = called(folder, *command, "--out", "few.gif", "--frames", "5")
    assert few.returncode == 0 and Image.open(folder / "few.gif").n_frames == 6


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([*of("gridnavi", "bayes_optimal"), "--k", "7"], "--k 7: the run is scored after K = 0, 1, 2, 3"),
        ([*of("gridnavi", "bayes_optimal"), "--task", "5"], "--task 5: the evaluation has tasks 0 to 4"),
        ([*of("gridnavi", "bayes_optimal"), "--out", "clip.avi"], "--out clip.avi: clips are written as .gif or .mp4"),
        (of("bandit", "random"), "there is no picture of family 'bandit'; there are of gridnavi, metaworld"),
        (of("nav2d", "mamll"), "no algorithm 'mamll'"),
    ],
)
def test_what_cannot_be_shown_is_one_line(folder: Path, called: Called, arguments: list[str], message: str) -> None:
    done = called(folder, "render", "worlds.yaml", *arguments)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_run_without_a_model_and_one_that_diverged_are_one_line(tmp_path: Path, called: Called) -> None:
    write_suite(tmp_path)
    coins = ["suite.yaml", "--family", "coins", "--seed", "0", "--algorithm"]
    done = called(tmp_path, "render", *coins, "counting")
    assert done.returncode == 2 and "model.pt: no such file; train this run first" in done.stderr
    assert called(tmp_path, "train", *coins, "doomed").returncode == 0
    done = called(tmp_path, "render", *coins, "doomed")
    assert done.returncode == 2 and "training diverged" in done.stderr and "no policy to show" in done.stderr


def test_a_family_of_ones_own_brings_its_picture(tmp_path: Path, called: Called) -> None:
    """``picture`` in the module of the family; and a run that is trained but not evaluated says so."""
    write_suite(tmp_path)
    coins = ["suite.yaml", "--family", "coins", "--seed", "0", "--algorithm", "counting"]
    assert called(tmp_path, "train", *coins).returncode == 0
    done = called(tmp_path, "render", *coins, "--k", "0", "2", "--out", "coins.gif")
    assert done.returncode == 0, done.stderr
    assert "not scored yet" in done.stdout
    assert not (tmp_path / "results/tiny/coins/counting/seed-0/curve.parquet").exists()
    assert '"state": "trained"' in (tmp_path / "results/tiny/coins/counting/seed-0/progress.json").read_text()


def test_an_episode_that_comes_out_differently_says_so() -> None:
    take = Take(0, np.ones(2), np.zeros(2, dtype=bool), 2.0, np.zeros((3, 1)), [], Scored(2.5, True, False))
    assert clips.scored(take) == "scored: return 2.50, success on the way (played again: 2.00)"


@pytest.mark.parametrize("name", drawings.DRAWN)
def test_a_drawing_shows_where_the_agent_is(name: str) -> None:
    from kshot import registry

    module = registry.load("envs", name)
    family = module.build(module.Settings())
    task = family.tasks("test", 1, 0)[0]
    env = family.vector_env([task], 1)
    start = env.reset(seed=[3])[0][0]
    other = start.copy()
    other[:2] += 1.0 if start[0] < 2 else -1.0
    draw = drawings.drawing(name, module)
    assert draw is not None
    first, second = (draw(task, np.stack([start, other]), t) for t in (0, 1))
    assert first.shape == second.shape == (drawings.SIDE, drawings.SIDE, 3) and first.dtype == np.uint8
    assert 0 < (first != second).any(axis=2).mean() < 0.5


def test_h264_is_written_where_its_package_is(tmp_path: Path) -> None:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    frames = [Image.new("RGB", (64, 48), (40 * i, 0, 0)) for i in range(5)]
    video.write(tmp_path / "clip.mp4", frames, 5.0)
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "clip.mp4"))
    facts = next(reader)
    assert facts["codec"] == "h264" and facts["size"] == (64, 48)
    pictures = [np.frombuffer(data, np.uint8).reshape(48, 64, 3) for data in reader]
    assert len(pictures) == 5 + round(video.LAST_SECONDS * 5)
    assert abs(int(pictures[4][20, 20, 0]) - 160) < 12


def test_h264_without_its_package_is_refused_before_anything_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ConfigError, match=r"pip install imageio-ffmpeg.*\.gif needs none"):
        video.check(Path("clip.mp4"))


def test_meta_world_is_drawn_by_its_cameras(folder: Path, evaluated: Evaluated) -> None:
    evaluated("reach", "oracle")
    graphics_free = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "DISPLAY")}
    command = [sys.executable, "-m", "kshot", "render", "worlds.yaml", *of("reach", "oracle"), "--frames", "2"]
    done = subprocess.run(
        [*command, "--out", "reach.gif"],
        cwd=folder,
        env=graphics_free | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if "no way to draw" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    image = Image.open(folder / "reach.gif")
    assert image.n_frames == 3
    first = np.asarray(image.convert("RGB")).astype(int)
    image.seek(2)
    last = np.asarray(image.convert("RGB")).astype(int)
    assert (np.abs(first - last).sum(axis=2) > 60)[120:].mean() > 0.01, "the arm does not move"


def test_where_nothing_draws_one_line_says_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.setenv(name, "put back afterwards, even where it was not set and choose() sets it")
        monkeypatch.delenv(name)
    monkeypatch.setattr(graphics, "_why_not", lambda name: f"no {name}")
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(ConfigError) as refused:
        graphics.choose_for("metaworld")
    (line,) = refused.value.problems
    assert "tried MUJOCO_GL=egl (no egl), osmesa (no osmesa)" in line and "libosmesa6" in line
    graphics.choose_for("nav2d")  # needs none
    monkeypatch.setattr(graphics, "_why_not", lambda name: "" if name == "osmesa" else "no")
    assert graphics.choose() == "osmesa" == os.environ["MUJOCO_GL"]
    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.setenv("MUJOCO_GL", "of my own")
    assert graphics.choose() == "of my own"


def test_gifs_are_white_where_paper_is() -> None:
    frames = [Image.new("RGB", (32, 32), "#ffffff") for _ in range(2)]
    frames[1].putpixel((3, 3), (10, 20, 30))
    image = Image.open(io.BytesIO(video._gif(frames, 2.0)))
    image.seek(1)
    pixels = np.asarray(image.convert("RGB"))
    assert pixels[20, 20].tolist() == [255, 255, 255] and pixels[3, 3].max() < 60
    assert image.info["duration"] == 1500
