"""Pages are whole as they stand: links lead somewhere, what is generated is current, every block is tried by a test."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import get_args

import nbformat
import pandas as pd
import pytest
import yaml

from docs.building import consoles, contents, figures, notebooks, picture, settings
from kshot import registry
from kshot.places import ROOT, SUITES
from kshot.plugins import Shown
from kshot.reporting.results import load
from kshot.suites.reading import load_suite
from tests.contract.reported import Reported

OUTSIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "config/README.md", "reports/README.md", "results/README.md")
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in OUTSIDE}
PAGES |= {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "docs").rglob("*.md"))
}
PAGES |= {
    path.relative_to(ROOT).as_posix(): "\n\n".join(
        cell.source for cell in notebooks.read(path).cells if cell.cell_type == "markdown"
    )
    for path in notebooks.notebooks()
}
TRIED = {
    "sh": {"": "tests/workflow/test_documented_commands.py"},
    "console": {"docs/": "tests/workflow/test_documentation.py"},
    "python": {
        "config/README.md": "tests/workflow/test_catalogue.py",
        "docs/families/gymnasium.md": "tests/contract/test_gymnasium_page.py",
        "docs/metaworld.md": "tests/contract/test_docs.py",
        "docs/metaworld-users.md": "tests/contract/test_metaworld_users.py",
        "docs/python.md": "tests/workflow/test_wheel.py",
        "docs/start.md": "tests/workflow/test_documentation.py",
    },
    "yaml": {
        "config/README.md": "tests/workflow/test_catalogue.py",
        "docs/families/bandit.md": "tests/contract/test_documentation.py",
        "docs/families/gymnasium.md": "tests/contract/test_gymnasium_page.py",
        "docs/faq.md": "tests/workflow/test_documentation.py",
        "docs/gpu.md": "tests/workflow/test_documentation.py",
    },
    "toml": {"docs/plugins.md": "tests/contract/test_documentation.py"},
    "text": {"docs/start.md": "tests/workflow/test_documentation.py"},
    "": {"": "folders and files, drawn with spaces"},
}
"""Languages of blocks, the pages (or beginnings of their names) that have such, and who tries them."""


def slug(heading: str) -> str:
    """The anchor that GitHub and the site give to a heading."""
    plain = re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading)
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


def anchors(text: str) -> set[str]:
    without = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", without, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_within_the_repository_leads_somewhere(page: str) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", PAGES[page], flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.is_file(), f"{page}: {link} is no file"
        if anchor:
            assert anchor in anchors(PAGES[target.resolve().relative_to(ROOT).as_posix()]), f"{page}: {link}"


def test_the_contents_name_every_page_once() -> None:
    lists = [name for name in PAGES if name.startswith("docs/") and name.endswith("README.md")]
    named = [
        contents.document(page, link)
        for page in lists
        for _, links in contents.sections(PAGES[page])
        for _, link in links
    ]
    assert len(named) == len(set(named))
    assert {*named, "docs/README"} == {str(Path(page).with_suffix("")) for page in PAGES} | {"docs/api"}


@pytest.mark.parametrize("name", ["learners.md", "families.md", "suites.md"])
def test_the_pages_of_settings_are_those_of_the_code(name: str) -> None:
    there = (settings.FOLDER / name).read_text(encoding="utf-8")
    assert there == settings.pages()[name], "run `python -m docs.building.settings`"


def test_what_a_figure_gets_is_what_the_code_has() -> None:
    assert PAGES["docs/plugins.md"] == figures.page(), "run `python -m docs.building.figures`"


def test_examples_need_no_results_but_those_of_smoke() -> None:
    """Minutes, not the hour of the laptop suite; what is kept in the repository needs none at all."""
    named = r"(?<!reference/)results/(\w+)/\w|load_results\([\"'](\w+)[\"']|"
    named += r"kshot (?:render|tensorboard|archive|audit|compare|official|select|pack) (\w+)|reports/(\w+)/archive"
    others = {
        (page, suite)
        for page in ("README.md", *(page for page in PAGES if page.startswith("docs/") and "/adr/" not in page))
        for found in re.findall(named, PAGES[page])
        for suite in found
        if (SUITES / f"{suite}.yaml").is_file() and suite != "smoke"
    }
    assert not others


def test_the_columns_that_a_figure_is_promised_are_there(reported: Reported) -> None:
    """With the types that the page says, as far as the made-up results have such rows."""
    results = load(*reported)
    text = PAGES["docs/plugins.md"]
    parts = dict(re.findall(r"^### Columns of `results\.([\w.]+)`\n(.*?)(?=^###)", text, re.MULTILINE | re.DOTALL))
    assert len(parts) == 6
    for path, part in parts.items():
        frame: pd.DataFrame = attrgetter(path)(results)
        promised = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", part, re.MULTILINE))
        assert set(frame.columns) == promised.keys(), path
        for name, kind in promised.items() if len(frame) else ():
            numeric = pd.api.types.is_numeric_dtype(frame[name].dtype)
            assert numeric == (kind in ("int", "float")) or frame[name].isna().all(), (path, name, frame[name].dtype)


def test_examples_of_plug_ins_import_what_plug_ins_may_rely_on() -> None:
    _, _, text = PAGES["docs/plugins.md"].partition("## What plug-ins may rely on")
    named = set(re.findall(r"`(kshot\.[\w.]+)`", text.partition("\n## ")[0]))
    for path in [*(ROOT / "kshot" / "examples").glob("*.py"), *(ROOT / "tests/workflow/plugins/envs").glob("*.py")]:
        source = path.read_text(encoding="utf-8")
        found = {f"kshot.{name}" for name in re.findall(r"^from kshot import (\w+)", source, re.MULTILINE)}
        found |= set(re.findall(r"^from (kshot\.[\w.]+) import", source, re.MULTILINE)) - {"kshot.reporting"}
        found |= {f"kshot.reporting.{name}" for name in re.findall(r"^from kshot.reporting import (\w+)", source, re.M)}
        assert found <= named, path


def test_every_learner_and_family_has_its_settings_there() -> None:
    for kind, name in (("algorithms", "learners.md"), ("envs", "families.md")):
        titles = re.findall(r"^## (\w+)$", PAGES[f"docs/settings/{name}"], re.MULTILINE)
        assert titles == registry.names(kind)  # type: ignore[arg-type]


def test_the_page_of_every_learner_leads_to_its_settings() -> None:
    for name in registry.names("algorithms"):
        assert f"](../settings/learners.md#{name})" in PAGES[f"docs/algorithms/{name}.md"]
    assert "`parameters`" not in PAGES["docs/settings/families.md"], "a module, which is no page"


def test_a_setting_that_is_nowhere_explained_is_noticed() -> None:
    @dataclass(frozen=True)
    class Settings:
        """Of nothing.

        Attributes:
            pages: how many,
                at least.

        Raises:
            ValueError: never.
        """

        pages: int = 1

    assert settings.meanings(Settings) == {"pages": "how many, at least."}

    @dataclass(frozen=True)
    class More(Settings):
        """Of nothing, with links."""

        links: int = 2

    with pytest.raises(ValueError, match="does not say what 'links' means"):
        settings.meanings(More)


def test_the_picture_is_the_codes() -> None:
    assert picture.FILE.read_text(encoding="utf-8") == picture.picture(), "run `python -m docs.building.picture`"


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_tried_by_a_test(page: str) -> None:
    for language in {block.language for block in consoles.blocks(PAGES[page])}:
        places = TRIED.get(language, {})
        assert any(page.startswith(place) for place in places), (
            f"{page}: nothing tries blocks of {language or 'no'} language"
        )


def test_those_who_try_blocks_are_there() -> None:
    files = {file for places in TRIED.values() for file in places.values() if file.endswith(".py")}
    assert all((ROOT / file).is_file() for file in files)


def test_the_bandits_example_is_a_family_of_a_suite() -> None:
    (block,) = (block for block in consoles.blocks(PAGES["docs/families/bandit.md"]) if block.language == "yaml")
    suite = {"name": "page", "seeds": [0], "algorithms": {"rl2": {}}} | yaml.safe_load(block.text)
    assert {run.family_settings["arms"] for run in load_suite(suite).runs()} == {10}


def test_the_entry_points_that_are_shown_are_those_that_are_read() -> None:
    (block,) = (block for block in consoles.blocks(PAGES["docs/plugins.md"]) if block.language == "toml")
    groups = tomllib.loads(block.text)["project"]["entry-points"]
    assert set(groups) == {f"kshot.{kind}" for kind in (*registry.KINDS, *get_args(Shown))}


def test_messages_among_the_questions_are_messages_of_the_code() -> None:
    """The headings in backticks, but for what a shell or Snakemake says; what consoles show is tried elsewhere."""
    places = [*(ROOT / "kshot").rglob("*.py"), *(ROOT / "envs").rglob("*.py"), ROOT / "Makefile"]
    # Strings that go over several lines, and values within them, are read as one text.
    said = "\n".join(re.sub(r'"\s+f?"', "", path.read_text(encoding="utf-8")) for path in places)
    said += "\n".join(block.text for block in consoles.blocks(PAGES["docs/faq.md"]) if block.language == "console")
    asked = re.findall(r"^### `(.+)`$", PAGES["docs/faq.md"], re.MULTILINE)
    assert len(asked) > 8
    for message in set(asked) - {"kshot: command not found", "No Snakefile found"}:
        parts = [part.strip() for part in message.split("...") if part.strip()]
        assert re.search(".{0,80}".join(map(re.escape, parts)), said), message


@pytest.mark.parametrize("path", notebooks.notebooks(), ids=lambda path: path.stem)
def test_a_notebook_is_stored_as_it_was_run(path: Path) -> None:
    """In order, without errors, and with nothing in it that only Jupyter understands."""
    notebook = notebooks.read(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [line for cell in code for line in cell.source.splitlines() if line.startswith(("%", "!"))]
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
    assert nbformat.writes(notebook) == path.read_text(encoding="utf-8").rstrip("\n")
