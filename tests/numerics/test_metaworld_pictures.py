"""Pictures show the state that was simulated: compared with what an official environment draws after the same steps."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from kshot.places import ROOT

COMPARE = textwrap.dedent("""
    import sys
    import numpy as np
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    try:
        import mujoco
        mujoco.GLContext(8, 8).make_current()
    except Exception as error:
        print("no graphics:", type(error).__name__)
        sys.exit(0)

    from kshot.envs.metaworld import MetaWorldVectorEnv
    from kshot.envs.metaworld._goals import Source, goals
    from kshot.envs.metaworld._tasks import official_task

    first, second = goals(Source("ML1", "drawer-open-v3"), "train")[:2]
    env = MetaWorldVectorEnv([first, second], render_mode="rgb_array", camera_name="corner2")
    official = ALL_V3_ENVIRONMENTS["drawer-open-v3"](render_mode="rgb_array", camera_name="corner2")
    official.set_task(official_task(second))
    env.reset(), official.reset()
    action = np.array([0.3, 0.5, -0.5, 1.0], dtype=np.float32)
    for _ in range(20):
        env.step(np.tile(action, (2, 1))), official.step(action)
    env.set_goals([first, first])  # of the next episode; the picture is of this one
    mine, theirs = env.render(1), official.render()[::-1, ::-1]
    assert mine.shape == (480, 480, 3) and mine.std() > 10
    print("differing pixels:", int((mine != theirs).any(axis=2).sum()))
    print("other goal:", int((np.abs(mine.astype(int) - env.render(0)) > 8).any(axis=2).sum()))
""")


def test_a_picture_is_of_the_state_that_was_simulated() -> None:
    """Run in a process of its own, because the graphics library is chosen once per process."""
    done = subprocess.run(
        [sys.executable, "-c", COMPARE],
        cwd=ROOT,
        env={**os.environ, "MUJOCO_GL": "egl"},
        capture_output=True,
        text=True,
    )
    if "no graphics" in done.stdout:
        pytest.skip(f"this machine cannot draw: {done.stdout}")
    assert done.stdout, done.stderr
    lines = dict(line.split(": ") for line in done.stdout.splitlines())
    assert int(lines["differing pixels"]) == 0
    assert int(lines["other goal"]) > 1000
