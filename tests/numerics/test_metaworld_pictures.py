"""Pictures show the state that was simulated: compared with what official environments draw after the same steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from kshot.places import ROOT

BEGIN = textwrap.dedent("""
    import json
    import numpy as np
    from kshot.envs.metaworld import MetaWorldVectorEnv
    from kshot.envs.metaworld._goals import Source, goals

    CLASSES = ["reach-v3", "drawer-open-v3", "door-open-v3"]
    GOALS = [goals(Source("ML1", name), "train")[1] for name in CLASSES]
    ACTION = np.array([0.3, 0.5, -0.5, 1.0], dtype=np.float32)

    def made(chosen):
        env = MetaWorldVectorEnv(chosen, render_mode="rgb_array", camera_name="corner2")
        env.reset()
        for _ in range(20):
            env.step(np.tile(ACTION, (len(chosen), 1)))
        return env

    def differing(one, other):
        return [float((np.abs(a.astype(int) - b) > 0).any(axis=2).mean()) for a, b in zip(one, other, strict=True)]
""")

OURS = BEGIN + textwrap.dedent("""
    import threading
    env = made(GOALS)
    env.set_goals([goals(Source("ML1", name), "train")[0] for name in CLASSES])  # of the next episode
    first = env.render()
    np.save(FILE, np.stack(first))
    found = {"again": differing(first, env.render()), "one": differing(first[1:2], [env.render(1)])}
    other = made(GOALS[::-1])
    theirs = other.render()
    found["beside another"] = differing(first, env.render())
    found["classes"] = differing(first, theirs[::-1])
    taken = {}
    def take(name, env):
        taken[name] = [env.render() for _ in range(3)][-1]
    threads = [threading.Thread(target=take, args=item) for item in (("env", env), ("other", other))]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    found["threads"] = differing(first, taken["env"]) + differing(theirs, taken["other"])
    other.close()
    found["after the other is closed"] = differing(first, env.render())
    found["of another class"] = differing(first[:1], first[1:2])
    print(json.dumps(found))
""")

OFFICIAL = BEGIN + textwrap.dedent("""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    from kshot.envs.metaworld._tasks import official_task
    official = ALL_V3_ENVIRONMENTS[CLASSES[I]](render_mode="rgb_array", camera_name="corner2")
    official.set_task(official_task(GOALS[I]))
    official.reset()
    for _ in range(20):
        official.step(ACTION)
    print(json.dumps(differing([np.load(FILE)[I]], [official.render()[::-1, ::-1]])))
    official.close()
""")

# Stands in for moviepy, which encodes the frames and asks for an older Pillow than the lock's.
VIDEO = BEGIN + textwrap.dedent("""
    import sys
    import types

    class Clip:
        def __init__(self, frames, fps):
            found.append([len(frames), fps, *differing(frames[-1:], pictures[:1])])

        def write_videofile(self, path, logger=None):
            pass

    found = []
    for name in ("moviepy", "moviepy.video", "moviepy.video.io", "moviepy.video.io.ImageSequenceClip"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["moviepy.video.io.ImageSequenceClip"].ImageSequenceClip = Clip
    import gymnasium as gym
    env = gym.wrappers.vector.RecordVideo(made(GOALS), FOLDER, episode_trigger=lambda i: i == 0, record_first_only=True)
    env.reset()
    for _ in range(5):
        env.step(np.tile(ACTION, (3, 1)))
    pictures = env.unwrapped.render()
    env.close()
    print(json.dumps(found))
""")


def result(code: str, **environment: str) -> object:
    """What the code prints last, run in a process of its own: the graphics library is chosen once per process."""
    done = run(code, MUJOCO_GL="egl", **environment)
    if "no picture with MUJOCO_GL set to egl" in done.stderr:
        pytest.skip(f"this machine cannot draw: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    graphics = ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY")
    inherited = {name: value for name, value in os.environ.items() if name not in graphics}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, env=inherited | environment, capture_output=True, text=True, timeout=300)


def test_pictures_are_of_the_class_and_the_state_that_were_simulated(tmp_path: Path) -> None:
    """Whoever else draws: other classes, other environments, other threads."""
    file = str(tmp_path / "pictures.npy")
    found = result(OURS.replace("FILE", repr(file)))
    assert isinstance(found, dict)
    assert min(found.pop("of another class")) > 0.01  # they do differ
    assert found == {name: [0.0] * len(values) for name, values in found.items()}
    for i in range(3):
        assert result(OFFICIAL.replace("FILE", repr(file)).replace("[I]", f"[{i}]")) == [0.0]


def test_gymnasium_records_videos_of_them(tmp_path: Path) -> None:
    assert result(VIDEO.replace("FOLDER", repr(str(tmp_path)))) == [[6, 80, 0.0]]


def test_what_stands_in_the_way_of_a_picture_is_said_in_one_line() -> None:
    unset = run(BEGIN + "made(GOALS[:1]).render()").stderr
    assert unset.splitlines()[-1].startswith(
        "RuntimeError: metaworld: there is no screen to draw with, and MUJOCO_GL is"
    )
    early = run(BEGIN + 'MetaWorldVectorEnv(GOALS, render_mode="rgb_array").render()').stderr
    assert early.splitlines()[-1].startswith("ValueError: metaworld: call reset() before render()")
