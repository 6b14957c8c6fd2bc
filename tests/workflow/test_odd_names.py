"""Folders and files with names that mean something to a shell, to HTML, to TeX or to a path."""

from __future__ import annotations

import copy
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

from kshot.errors import ConfigError
from kshot.reporting import links
from kshot.suites.reading import load_suite
from tests.workflow.pipeline import SUITE, kshot, snakemake, write_suite

ODD = "a b <i>&x %d #1 'q' $HOME {y} \N{LATIN SMALL LETTER A WITH DIAERESIS}_\\tex"
FILE, OUT = "odd <b> name's.yaml", "o <u> %41 #"


def test_a_suite_runs_to_its_report_whatever_its_folders_are_called(tmp_path: Path) -> None:
    folder = tmp_path / ODD
    folder.mkdir()
    suite = copy.deepcopy(SUITE) | {"algorithms": {"counting": {}}}
    suite["description"] = "<script>alert(1)</script> \\input{x} & 100 % $a$"
    write_suite(folder, suite, FILE)
    done = snakemake(folder, "--cores", "2", config=FILE)
    assert done.returncode == 0, done.stderr
    for command in ("check-config", "aggregate", "audit"):
        assert kshot(folder, command, FILE).returncode == 0, command
    for command in ("figures", "tables", "report"):
        done = kshot(folder, command, FILE, "--out", OUT)
        assert done.returncode == 0 and done.stdout.startswith(f"{OUT}/"), done.stderr
    page = folder / OUT / "index.html"
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text
    targets = {unquote(unescape(target).partition("#")[0]) for target in links.targets(text)}
    files = {target for target in targets if target and ":" not in target}
    assert len(files) > 20 and all((page.parent / target).is_file() for target in files)


@pytest.mark.parametrize("name", ["a b", "<b>x</b>", "../up", "a/b", "\\input", "a&b", "x$y", "", ".hidden", "a%b"])
@pytest.mark.parametrize("what", ["name", "families", "algorithms"])
def test_names_that_would_need_quoting_are_refused(name: str, what: str) -> None:
    suite = {
        "name": "plain",
        "seeds": [0],
        "families": {"bandit": {"steps": 1000, "evaluation": {"tasks": 4, "k": [0, 10]}}},
        "algorithms": {"maml": {}},
    }
    if what == "name":
        suite["name"] = name
    else:
        (module, value) = suite[what].popitem()  # type: ignore[attr-defined]  # a mapping here
        suite[what] = {name: value | {"family" if what == "families" else "algorithm": module}}
    with pytest.raises(ConfigError) as error:
        load_suite(suite)
    assert all("\n" not in line for line in error.value.problems)
