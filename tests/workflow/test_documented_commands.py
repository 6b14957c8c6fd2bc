"""Every command that the documentation shows is run by a test, or a table says what stands for it, and why.

Those of ``kshot`` are run by test_documented_kshot.py, pipelines by test_documented_pipelines.py, ``python -m`` by
test_documented_modules.py, and what consoles show by test_documentation.py.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from kshot import cli
from kshot.places import ROOT
from tests.workflow import test_documented_kshot, test_documented_modules, test_documented_pipelines
from tests.workflow.at_once import Shown, Step
from tests.workflow.documented import OURS, PAGES, PROGRAMS, commands, documented


class Instead(NamedTuple):
    """What stands for a command that no test runs as it is shown.

    Attributes:
        reason: why none does.
        file: that runs it, or what it does.
        text: that stands in the file: the test's name, or the line that runs it.
    """

    reason: str
    file: str
    text: str


CI = ".ci/run"
_PIP = "it fetches packages"
_WHEEL = "tests/workflow/test_wheel.py"
_RENDER, _GYMNASIUM = "tests/workflow/test_render.py", "tests/contract/test_gymnasium_page.py"
ELSEWHERE: dict[str, Instead] = {
    # Targets of make, each of which the tests below plan: continuous integration is what runs them.
    "make test": Instead("it is what runs this test", CI, "make test"),
    "make test lint docs": Instead("it is what runs this test", CI, "lint docs"),
    "make PYTHON=python3.12 test": Instead("it is what runs this test, by another Python", CI, "make test"),
    "make smoke": Instead("minutes", CI, "make smoke"),
    "make docs": Instead("minutes", CI, "lint docs"),
    "make bench": Instead(
        "an hour; `snakemake --cores all` in small",
        "tests/workflow/test_documented_pipelines.py",
        '"snakemake --cores all"',
    ),
    "snakemake --lint": Instead("`make lint` runs it, on the suite smoke", "Makefile", "snakemake --lint"),
    "make parity": Instead("a quarter of an hour", "tests/numerics/test_metaworld_engine.py", "compare_class"),
    "make test-faults": Instead("an hour; the same in small", "tests/faults/test_faults.py", "def test_"),
    "make test-slurm": Instead("it starts a SLURM, as root", "tests/slurm/__main__.py", "profiles"),
    "make test-tex": Instead(
        "it needs LaTeX; the same file is run where there is one", "tests/workflow/test_tex.py", "def test_"
    ),
    "snakemake --workflow-profile profiles/slurm --configfile config/suites/paper.yaml": Instead(
        "it needs a cluster and 1,200 core-hours; `make test-slurm` does it with the suite smoke",
        "tests/slurm/__main__.py",
        '"--workflow-profile"',
    ),
    "benchmarks/accelerator.sh wheels archives 600 rl2:0 maml:0": Instead(
        "ten minutes on a machine with a GPU",
        "tests/workflow/test_accelerator.py",
        "test_rates_are_printed_and_cells_are_archived_from_which_they_go_on",
    ),
    # What sets up an environment.
    "pip install -r requirements.lock": Instead(_PIP, "Makefile", "pip install --quiet -r requirements.lock"),
    "pip install -r '$(kshot path)/requirements.lock'": Instead(_PIP, _WHEEL, '"requirements.lock"'),
    "pip install --no-deps -e .": Instead(_PIP, _WHEEL, "test_an_editable_install_puts_nothing_but_kshot_on_the_path"),
    "pip install git+URL": Instead(_PIP, _WHEEL, "test_the_pipeline_starts_from_it"),
    "pip install 'kshot-*.whl'": Instead(_PIP, _WHEEL, '"install", "--no-deps", "--target"'),
    "pip wheel --no-deps .": Instead(
        "with --no-build-isolation, which fetches nothing", _WHEEL, '"wheel", "--no-deps"'
    ),
    "pip install imageio-ffmpeg": Instead(_PIP, _RENDER, "test_h264_is_written_where_its_package_is"),
    "pip install tensorboard": Instead(_PIP, "tests/workflow/test_tensorboard.py", "test_event_files_hold_the_records"),
    "pip install minari": Instead(_PIP, "tests/contract/test_metaworld_users.py", "minari"),
    "pip install minigrid": Instead(_PIP, _GYMNASIUM, '"minigrid"'),
    "pip install snakemake-executor-plugin-slurm": Instead(_PIP, "Makefile", "snakemake-executor-plugin-slurm"),
    "conda env create -f environment.yml": Instead(
        "conda is not here", "tests/contract/test_dependencies.py", "environment.yml"
    ),
    "conda activate kshot": Instead("conda is not here", "tests/contract/test_dependencies.py", "environment.yml"),
    "source .venv/bin/activate": Instead(
        "pip makes the file; jobs need no activation", "tests/workflow/pipeline.py", "did not activate"
    ),
    "git config core.symlinks true": Instead(
        "it changes a clone of one's own", _WHEEL, "test_a_copy_that_lost_its_links_says_so"
    ),
    ".venv/bin/pre-commit install": Instead("it changes a clone of one's own", ".pre-commit-config.yaml", "hooks:"),
    ".venv/bin/pytest -m contract": Instead("`make test` runs all tiers", "tests/conftest.py", "add_marker"),
    "tensorboard --logdir runs/smoke": Instead(
        "it serves until it is stopped", "tests/workflow/test_tensorboard.py", "def test_"
    ),
    "export OPENBLAS_CORETYPE=Haswell MKL_ENABLE_INSTRUCTIONS=AVX2 ATEN_CPU_CAPABILITY=avx2": Instead(
        "variables have to be set before a process starts", "tests/workflow/test_kernels.py", "ATEN_CPU_CAPABILITY"
    ),
}
"""Commands -> what runs them, or what they do, in their place."""
DOCUMENTED = documented()


def named(command: str) -> bool:
    """Whether this is a command's name alone, in a sentence about it: ``kshot train``."""
    words = shlex.split(command)
    return len(words) == 2 and words[0] == "kshot" and words[1] not in ("list", "path", "redraw", "--version")


def stories() -> list[Step]:
    files = (test_documented_kshot.STORIES, test_documented_kshot.IN_PROCESSES, test_documented_pipelines.STORIES)
    return [step for file in files for story in file.values() for step in story]


def run_by_tests() -> Counter[str]:
    """Commands, as often as they are run because they are shown."""
    found = Counter(step.command for step in stories() if isinstance(step, Shown) and not step.prepares)
    return found + Counter([*test_documented_modules.MEASUREMENTS, *test_documented_modules.WRITERS])


def test_every_command_is_run_by_a_test_or_in_the_table() -> None:
    run = run_by_tests()
    open_ = {command: pages for command, pages in DOCUMENTED.items() if not named(command) and command not in run}
    assert {command: pages for command, pages in open_.items() if command not in ELSEWHERE} == {}


def test_no_command_is_in_both_or_shown_no_more() -> None:
    run = run_by_tests()
    assert not set(run) & set(ELSEWHERE)
    assert not set(run) - set(DOCUMENTED) and not set(ELSEWHERE) - set(DOCUMENTED)
    assert [command for command, times in run.items() if times > 1] == []


@pytest.mark.parametrize("command", ELSEWHERE)
def test_what_stands_for_a_command_is_there(command: str) -> None:
    instead = ELSEWHERE[command]
    assert instead.reason and instead.text in (ROOT / instead.file).read_text(encoding="utf-8")


def test_commands_are_found_in_blocks_and_between_backticks() -> None:
    text = (
        "Say `kshot run\nSUITE` and `kshot`.\n\n```sh\na && b  # both\n```\n\n"
        "- a list:\n\n  ```sh\n  kshot c 'd e' # f\n  ```\n\n"
        "```console\n$ kshot not\n```\n`python -m x.y --z`, `maml`\n"
    )
    assert commands(text) == ["a", "b", "kshot c 'd e'", "kshot run smoke", "python -m x.y --z"]


def test_shell_blocks_hold_nothing_that_is_not_known_here() -> None:
    programs = {shlex.split(command)[0] for command in DOCUMENTED}
    assert programs <= set(PROGRAMS) and set(OURS) <= programs


def test_no_block_hides_in_a_list() -> None:
    """Those who try blocks of other languages look for them at the margin."""
    for page in PAGES:
        indented = re.findall(r"^ +```(\w+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert set(indented) <= {"sh"}, page


@pytest.mark.parametrize("command", [command for command in DOCUMENTED if named(command)])
def test_a_name_is_that_of_a_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*shlex.split(command)[1:], "--help"])
    assert ended.value.code == 0 and capsys.readouterr().out.startswith("usage: ")


def test_the_readme_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    found = re.findall(r"^    ([a-z-]+)(?: |$)", capsys.readouterr().out, flags=re.MULTILINE)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert found and not [name for name in found if f"`{name}`" not in text and f"`kshot {name}`" not in text]


@pytest.mark.parametrize("command", [command for command in DOCUMENTED if command.startswith("make ")])
def test_a_target_of_make_is_one(command: str) -> None:
    done = subprocess.run(["make", "--dry-run", *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_marks_of_tiers_that_are_shown_are_marks() -> None:
    marks = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"]
    shown = [command for command in DOCUMENTED if command.startswith(".venv/bin/pytest -m ")]
    assert {command.split()[2] for command in shown} <= {mark.split(":")[0] for mark in marks}


def test_the_profile_that_is_shown_is_one() -> None:
    for command in DOCUMENTED:
        if "--workflow-profile" in command:
            words = shlex.split(command)
            profile, suite = (words[words.index(name) + 1] for name in ("--workflow-profile", "--configfile"))
            assert (ROOT / profile / "config.yaml").is_file() and Path(ROOT / suite).is_file()
