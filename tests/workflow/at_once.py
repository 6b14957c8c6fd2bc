"""A clone in which pipelines end in seconds: suites are small, and all that Snakemake starts are forks.

Most of what a pipeline of tiny runs takes is starting Python for each of its jobs. Here ``python``, as jobs call it, is
a script that has the work done by ``tests.forked``. That jobs also work by a Python of their own is tested elsewhere
(test_workflow.py, and the smoke suite of continuous integration).
"""

from __future__ import annotations

import importlib
import os
import re
import shlex
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kshot import places, yaml_text
from kshot.places import ROOT
from tests import forked
from tests.workflow import pipeline

SUITES, PYTHON = "SUITES_OF_TESTS", "PYTHON_OF_TESTS"
"""Variables: the folder that stands for config/suites, and what stands for ``python``."""
SCRIPT = """#!/bin/bash
case "$2" in kshot | snakemake) ;; *) exec {python} "$@" ;; esac
exec 3<>/dev/tcp/127.0.0.1/{port}
{{ printf '%s\\0' "$PWD" "$@"; printf '\\0'; env -0; printf '\\0'; }} >&3
read -r status <&3
cat <&3
exit "$status"
"""
PATIENCE = 300


def kshot(*arguments: str) -> int:
    """The command, in a fork."""
    _settle()
    return forked.kshot(*arguments)


def snakemake(*arguments: str) -> int:
    """The command, in a fork; as in a clone, it finds the Snakefile by itself."""
    _settle()
    return forked.snakemake("--snakefile", str(ROOT / "Snakefile"), *arguments)


def module(*arguments: str) -> int:
    """``python -m MODULE ...``, where it has a function ``main``."""
    _settle()
    name, *rest = arguments
    sys.argv = [name, *rest]
    importlib.import_module(name).main()
    return 0


def _settle() -> None:
    places.SUITES = Path(os.environ[SUITES])
    sys.executable = os.environ[PYTHON]


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        """Do what the script was called with, and answer with the exit status and what was printed."""
        received = b""
        while received.count(b"\0\0") < 2:  # no word is empty
            received += self.connection.recv(65536)
        words, variables = (part.decode().split("\0") for part in received.removesuffix(b"\0\0").split(b"\0\0"))
        folder, *arguments = words
        environment = dict(variable.split("=", 1) for variable in variables)
        done = run(Path(folder), environment, *arguments)
        self.wfile.write(f"{done.returncode}\n{done.stdout}{done.stderr}".encode())


def run(folder: Path, environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m kshot ...``, ``python -m snakemake ...`` or another module in a folder, by a fork."""
    option, name, *rest = arguments
    assert option == "-m", arguments
    if name == "snakemake" and rest[0] == "--snakefile":  # as `kshot run` calls it
        assert rest[1] == str(ROOT / "Snakefile")
        rest = rest[2:]
    works: dict[str, forked.Work] = {"kshot": kshot, "snakemake": snakemake}
    work = works.get(name, module)
    return forked.run(
        work, *rest if name in works else (name, *rest), folder=folder, environment=environment, patience=PATIENCE
    )


class Shown(NamedTuple):
    """A command of the documentation, and what it does; or one that prepares another.

    Attributes:
        command: as it is shown.
        leaves: files that were not there before, or are written anew.
        says: what stands in its output.
        status: that it ends with.
        jobs: how many Snakemake does; None for what says nothing of jobs.
        prepares: it need not be shown anywhere.
    """

    command: str
    leaves: tuple[str, ...] = ()
    says: str = ""
    status: int = 0
    jobs: int | None = None
    prepares: bool = False


Step = Shown | Callable[[Path], None]
"""A command, or what is done to the folder between two."""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def play(story: Iterable[Step], folder: Path, environment: Mapping[str, str], run: Run = run) -> None:
    """Do steps one after the other in a folder, and hold each command to what it should do.

    ``run(folder, variables, "-m", "kshot", ...)`` does one.
    """
    variables = dict(environment)
    for step in story:
        if not isinstance(step, Shown):
            step(folder)
            continue
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
        program, *words = shlex.split(step.command.replace("/elsewhere/", f"{folder}/elsewhere/"))
        if program == "export":
            variables |= dict(word.replace("$PWD", str(folder)).split("=", 1) for word in words)
            continue
        if program in ("mkdir", "cd"):
            (name,) = words
            (folder / name).mkdir(exist_ok=program == "cd")
            folder = folder / name if program == "cd" else folder
            continue
        done = run(folder, variables, *(words if program == "python" else ("-m", program, *words)))
        said = f"{step.command}\n{done.stdout}{done.stderr}"
        assert done.returncode == step.status, said
        assert step.says in said, said
        assert step.jobs is None or _jobs(said) == step.jobs, said
        for name in step.leaves:
            found = list(folder.glob(name))
            assert found, f"no {name} after {said}"
            assert any(before.get(path) != path.stat().st_mtime_ns for path in found), f"{name} stays after {said}"


def _jobs(said: str) -> int:
    """How many jobs were done, of those that were to be done."""
    if "Nothing to be done" in said or "There was nothing to be done." in said:
        return 0
    done, of = re.findall(r"^(\d+) of (\d+) (?:steps \(100%\)|jobs) done", said, flags=re.MULTILINE)[-1]
    assert done == of, said
    return int(done)


@contextmanager
def python(folder: Path) -> Iterator[Path]:
    """What stands for ``python``, in a folder of its own."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler) as server:
        script = folder / "python"
        script.write_text(SCRIPT.format(python=shlex.quote(sys.executable), port=server.server_address[1]))
        script.chmod(0o755)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()


def environment(folder: Path, script: Path) -> dict[str, str]:
    """Of a user in a clone whose suites are those of ``write_suites``."""
    own = {SUITES: str(folder / "config" / "suites"), PYTHON: str(script)}
    inherited = {name: value for name, value in pipeline.environment().items() if name != "KSHOT_PATH"}
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    return inherited | threads | own


def write_suites(folder: Path, *suites: Mapping[str, Any]) -> None:
    """Write suites to where they lie in a clone."""
    place = folder / "config" / "suites"
    place.mkdir(parents=True, exist_ok=True)
    for suite in suites:
        (place / f"{suite['name']}.yaml").write_text(yaml_text.dump(dict(suite)), encoding="utf-8")
