"""Every command that the documentation shows exists and takes its arguments; those that are quick are run."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from kshot import cli
from kshot.places import ROOT
from tests.workflow.conftest import Called
from tests.workflow.pipeline import snakemake

PAGES = [
    ROOT / name
    for name in ("README.md", "CONTRIBUTING.md", "results/README.md", "reports/README.md", "config/README.md")
]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
OURS = ("kshot", "snakemake", "make", "python")
SCRIPTS = ("benchmarks/accelerator.sh",)  # tests/workflow/test_accelerator.py runs it
OTHERS = ("conda", "export", "pip", "source", ".venv/bin/pre-commit", ".venv/bin/pytest")
PROGRAMS = (*OURS, *SCRIPTS, *OTHERS)
RUN = {"list": 0, "check-config": 0, "status": 0, "audit": 2}
"""Those that are run, in an empty folder, with the status they end with there."""
PLACEHOLDERS = {"SUITE": "smoke", "fidelity-<name>": "fidelity-reach"}


def documented() -> list[list[str]]:
    """The commands in shell blocks and between backticks, as lists of words."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
        lines = [line.split(" # ")[0].strip() for block in blocks for line in block.splitlines()]
        spans = re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        commands = [part for line in lines for part in line.split(" && ")]
        commands += [span for span in spans if span.split()[0] in PROGRAMS and " " in span]
        for command in filter(None, commands):
            for placeholder, value in PLACEHOLDERS.items():
                command = command.replace(placeholder, value)
            found.append(shlex.split(command))
    return [list(words) for words in dict.fromkeys(map(tuple, found))]


DOCUMENTED = documented()


def of(program: str) -> list[list[str]]:
    return [words[1:] for words in DOCUMENTED if words[0] == program]


def test_shell_blocks_hold_nothing_that_is_not_tested_here() -> None:
    assert {words[0] for words in DOCUMENTED} <= set(PROGRAMS)
    assert {*OURS, *SCRIPTS} <= {words[0] for words in DOCUMENTED}
    assert all((ROOT / script).is_file() for script in SCRIPTS)


@pytest.mark.parametrize("words", of("kshot"), ids=" ".join)
def test_a_command_of_ours_is_one(words: list[str], tmp_path: Path, called: Called) -> None:
    if len(words) == 1 and words[0] not in ("list", "--version"):  # the name alone, in a sentence about it
        with pytest.raises(SystemExit) as ended:
            cli.main([*words, "--help"])
        assert ended.value.code == 0
        return
    assert cli._parser().parse_args(words)
    if words[0] in RUN:
        done = called(tmp_path, *words)
        assert done.returncode == RUN[words[0]], done.stderr


def test_the_readme_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    commands = re.findall(r"^    ([a-z-]+)(?: |$)", capsys.readouterr().out, flags=re.MULTILINE)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert commands and not [name for name in commands if f"`{name}`" not in text and f"`kshot {name}`" not in text]


@pytest.mark.parametrize("words", of("snakemake"), ids=" ".join)
def test_a_call_of_snakemake_plans_something(words: list[str], tmp_path: Path) -> None:
    if "--workflow-profile" in words:  # its executor is a plugin that not everybody has
        place = words.index("--workflow-profile")
        assert (ROOT / words[place + 1] / "config.yaml").is_file()
        words = words[:place] + words[place + 2 :]
    rest = list(words)
    if "--configfile" in words:
        place = words.index("--configfile")
        rest = words[:place] + words[place + 2 :]
        assert not [word for word in words[place + 2 :] if not word.startswith("-")], "--configfile swallows targets"
        words = [*words[: place + 1], str(ROOT / words[place + 1]), *words[place + 2 :]]
        assert Path(words[place + 1]).is_file()
    if rest in (["--cores", "all"], ["-n"], []):
        return  # test_workflow plans every suite
    done = snakemake(tmp_path, *words, "--dry-run", config=None)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("words", of("make"), ids=" ".join)
def test_a_target_of_make_is_one(words: list[str]) -> None:
    done = subprocess.run(["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", of("python"), ids=" ".join)
def test_a_module_that_is_run_takes_its_options(words: list[str]) -> None:
    assert words[0] == "-m"
    spec = importlib.util.find_spec(words[1])
    assert spec is not None and spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")
    assert "__main__" in source
    assert not [word for word in words if word.startswith("--") and f'"{word}"' not in source]
