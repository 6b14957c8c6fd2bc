"""Finding a way to draw Meta-World on this machine, before MuJoCo is imported and has chosen one."""

from __future__ import annotations

import os
import subprocess
import sys

from kshot.errors import ConfigError

SIMULATED = ("metaworld", "metaworld_hand")
"""The families whose pictures MuJoCo draws."""
REMEDY = "install Mesa's libEGL (Debian: libegl1 and libgl1-mesa-dri) or libosmesa6, or set MUJOCO_GL yourself"
_PROBE = """
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco/>")
renderer = mujoco.Renderer(model, 16, 16)
renderer.update_scene(mujoco.MjData(model))
renderer.render()
"""


def choose_for(family: str) -> None:
    """``choose`` for a family that MuJoCo draws; nothing for another."""
    if family in SIMULATED:
        choose()


def choose() -> str:
    """Set ``MUJOCO_GL`` to the first library of OpenGL that draws, unless it is set; returns what it is set to.

    Every library is tried in a process of its own, since the first one that a process loads is the one it keeps.

    Raises:
        ConfigError: none of them draws; the message has the reasons.
    """
    if chosen := os.environ.get("MUJOCO_GL"):
        return chosen
    screen = any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    candidates = ["egl", "osmesa", *(["glfw"] if screen else [])] if sys.platform == "linux" else ["glfw"]
    reasons = []
    for name in candidates:
        if not (reason := _why_not(name)):
            os.environ["MUJOCO_GL"] = name
            return name
        reasons.append(f"{name} ({reason})")
    raise ConfigError([f"no way to draw Meta-World on this machine: tried MUJOCO_GL={', '.join(reasons)}; {REMEDY}"])


def _why_not(name: str) -> str:
    """Why this library draws nothing here; empty if it does."""
    command = [sys.executable, "-c", _PROBE]
    try:
        done = subprocess.run(command, env=os.environ | {"MUJOCO_GL": name}, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "no picture within a minute"
    if done.returncode == 0:
        return ""
    # What Python says when it cleans up comes last, and is not why.
    told = [line for line in done.stderr.splitlines() if line[:1].isalpha() and "Error" in line.split(":")[0]]
    return told[-1] if told else f"status {done.returncode}"
