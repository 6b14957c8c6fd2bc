"""The commit that code is at."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

UNKNOWN = ("unknown", True)
_LEFT_BEHIND = (":(exclude,glob)**/MUJOCO_LOG.TXT", ":(exclude,glob)**/__pycache__/**")
"""What running writes into a folder: MuJoCo its warnings, Python compiled modules."""
_log = logging.getLogger(__name__)


@cache
def commit_of(file: Path, folder: Path) -> tuple[str, bool]:
    """The commit of the checkout that tracks ``file``, and whether anything in ``folder`` differs from it.

    ``UNKNOWN``, with a warning that says why, where git is missing or no checkout tracks the file: one that lies
    further up, such as somebody's whole home, tells nothing of it.
    """
    try:
        _git(folder, "ls-files", "--error-unmatch", str(file))
        differs = _git(folder, "status", "--porcelain", "--", ".", *_LEFT_BEHIND) != ""
        return _git(folder, "rev-parse", "HEAD"), differs
    except subprocess.CalledProcessError as error:
        reason = str(error.stderr).strip().splitlines()
        _log.warning("the commit of %s is unknown: %s", folder, reason[0] if reason else error)
    except OSError as error:
        _log.warning("the commit of %s is unknown: git cannot be run (%s)", folder, error.strerror)
    return UNKNOWN


def _git(folder: Path, *arguments: str) -> str:
    # What the surroundings say of another repository, as a hook of git does, is not about this one; and code that is
    # being run is trusted, whoever owns it.
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-c", "safe.directory=*", "-C", str(folder), *arguments]
    return subprocess.run(command, env=own, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def unmentioned() -> Iterator[None]:
    """Within, nothing warns of an unknown commit: where no results are filed, nobody asks for one."""
    before = _log.level
    _log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        _log.setLevel(before)
