"""Commands within the process of the tests, for those that would spend most of their time on starting Python."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from kshot import cli
from tests.workflow import at_once
from tests.workflow.pipeline import PLUGINS

Called = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Called]:
    """``forks(folder, "snakemake", ...)`` or ``"kshot"``: a command whose jobs are forks, too; see ``at_once``."""
    place = tmp_path_factory.mktemp("python")
    with at_once.python(place) as script:

        def run(
            folder: Path, program: str, *arguments: str, plugins: Sequence[Path] = (PLUGINS,)
        ) -> subprocess.CompletedProcess[str]:
            own = {"KSHOT_PATH": os.pathsep.join(map(str, plugins))}
            return at_once.run(folder, at_once.environment(folder, script) | own, "-m", program, *arguments)

        yield run


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Called:
    """``called(folder, "train", ...)`` is ``kshot train ...`` in a folder: its exit status and what it printed."""

    def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("KSHOT_PATH", str(PLUGINS))
        for library in ("OMP", "OPENBLAS", "MKL"):
            monkeypatch.setenv(f"{library}_NUM_THREADS", "1")
        capsys.readouterr()
        status = cli.main(arguments)
        printed = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, status, printed.out, printed.err)

    return call
