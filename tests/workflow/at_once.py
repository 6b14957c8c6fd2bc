"""A clone in which pipelines end in seconds: suites are small, and all that Snakemake starts are forks.

Most of what a pipeline of tiny runs takes is starting Python for each of its jobs. Here ``python``, as jobs call it, is a
script that has the work done by ``tests.forked``. That jobs also work by a Python of their own is tested elsewhere
(test_workflow.py, and the smoke suite of continuous integration).
"""

from __future__ import annotations

import os
import re
import shlex
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
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


def finish(*suites: str) -> int:
    """Train and evaluate all runs of suites, given by their names, as ``kshot`` does one at a time."""
    _settle()
    from kshot.suites.reading import find_suite, load_suite

    for suite in suites:
        for run in load_suite(find_suite(suite), modules=False).runs():
            where = (suite, "--family", run.family, "--algorithm", run.algorithm, "--seed", str(run.seed))
            for step in ("train", "evaluate") if run.kind == "algorithm" else ("evaluate",):
                if status := forked.kshot(step, *where):
                    return status
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
    """``python -m kshot ...`` or ``python -m snakemake ...`` in a folder, by a fork."""
    option, module, *rest = arguments
    assert option == "-m", arguments
    if rest[:1] == ["--snakefile"] and module == "snakemake":
        assert rest[1] == str(ROOT / "Snakefile")
        rest = rest[2:]
    work = {"kshot": kshot, "snakemake": snakemake, "finish": finish}[module]
    return forked.run(work, *rest, folder=folder, environment=environment, patience=PATIENCE)


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


def play(story: Iterable[Shown], folder: Path, environment: Mapping[str, str]) -> None:
    """Run commands one after the other in a folder, and hold each to what it should do."""
    variables = dict(environment)
    for shown in story:
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
        program, *words = shlex.split(shown.command.replace("/elsewhere/", f"{folder}/elsewhere/"))
        if program == "export":
            variables |= dict(os.path.expandvars(word).split("=", 1) for word in words)
            continue
        done = run(folder, variables, "-m", program, *words)
        said = done.stdout + done.stderr
        assert done.returncode == shown.status, f"{shown.command}\n{said}"
        assert shown.says in said, f"{shown.command}\n{said}"
        if shown.jobs is not None:
            assert _jobs(said, folder) == shown.jobs, f"{shown.command}\n{said}"
        for name in shown.leaves:
            found = list(folder.glob(name))
            assert found, f"{shown.command}: no {name}\n{said}"
            assert any(before.get(path) != path.stat().st_mtime_ns for path in found), f"{shown.command}: {name}"


def _jobs(said: str, folder: Path) -> int:
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
