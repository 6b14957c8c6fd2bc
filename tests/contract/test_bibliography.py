"""Whom to cite: every algorithm and family has entries or says why not, and entries are of what the modules name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from kshot import registry
from kshot.errors import RecordError
from kshot.places import ROOT
from kshot.reporting import references
from tests import synthetic

pytestmark = pytest.mark.contract

ENTRIES, CITED = references.entries(), references.cited()
FIELD = re.compile(r"^  (\w+) += \{(.*)\},$", re.MULTILINE)


def fields(key: str) -> dict[str, str]:
    return dict(FIELD.findall(ENTRIES[key]))


def own(kind: registry.Kind) -> set[str]:
    return {name for name in registry.names(kind) if registry.is_own(kind, name)}


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_module_has_an_entry_or_says_why_not(kind: registry.Kind) -> None:
    assert set(CITED[kind]) == own(kind)
    for name, found in CITED[kind].items():
        assert found, name
        assert isinstance(found, str) or set(found) <= ENTRIES.keys(), name


def test_every_entry_belongs_to_something() -> None:
    lists = [CITED["every_suite"], *CITED["algorithms"].values(), *CITED["envs"].values()]
    assert {key for found in lists if not isinstance(found, str) for key in found} == ENTRIES.keys()


@pytest.mark.parametrize("key", ENTRIES)
def test_an_entry_is_whole(key: str) -> None:
    """Title, authors and year, a place to find it, and a key of its first author and year."""
    entry, found = ENTRIES[key], fields(key)
    assert {"title", "author", "year"} <= found.keys()
    assert found.keys() & {"eprint", "doi", "url", "pages"}
    kind = re.match(r"@(\w+)", entry)
    assert kind is not None and {"inproceedings": "booktitle", "article": "journal", "misc": "eprint"}[kind[1]] in found
    assert entry.count("{") == entry.count("}")
    assert "eprint" not in found or re.fullmatch(r"\d{4}\.\d{5}|\d{4}\.\d{4}", found["eprint"])
    first = re.sub(r"[^a-z]", "", found["author"].split(",")[0].replace(r"{\"o}", "oe").lower())
    assert key.startswith(first) and found["year"] in key
    assert all(", " in name for name in found["author"].split(" and "))


def test_the_file_holds_nothing_but_entries_and_comments() -> None:
    text = (ROOT / "config" / "references.bib").read_text(encoding="utf-8")
    for entry in ENTRIES.values():
        text = text.replace(entry, "", 1)
    assert all(not line or line.startswith("%") for line in text.splitlines()), text
    assert list(ENTRIES) == sorted(ENTRIES)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in registry.KINDS for name in sorted(own(kind))])
def test_papers_that_a_modules_first_lines_name_are_among_its_entries(kind: registry.Kind, name: str) -> None:
    path = registry.source(kind, name)
    assert path is not None
    named = set(re.findall(r"\b\d{4}\.\d{5}\b", ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""))
    found = CITED[kind][name]
    assert named <= {fields(key).get("eprint", "") for key in ([] if isinstance(found, str) else found)}


def test_a_suite_cites_what_it_uses_and_nothing_else() -> None:
    families = [synthetic.Family(name, "return", (0, 10), 4) for name in ("nav2d", "spritegrid")]
    runs = synthetic.runs_of(families, learners=("maml", "replay"), seeds=1)
    text = references.bibliography(runs)
    keys = re.findall(r"^@\w+\{(\w+),", text, re.MULTILINE)
    assert keys[0] == "kshot"
    expected = {
        *CITED["every_suite"],
        *CITED["algorithms"]["maml"],
        *CITED["envs"]["nav2d"],
        *CITED["envs"]["spritegrid"],
    }
    assert keys[1:] == sorted(expected)
    assert "% algorithms/replay: plays the first demonstration again" in text
    strange = synthetic.runs_of([synthetic.POINT], learners=("mine",), seeds=1)
    text = references.bibliography(strange)
    assert "% algorithms/mine: no part of kshot" in text and "% envs/point: no part of kshot" in text


def test_mistakes_in_the_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = tmp_path / "twice.bib"
    twice.write_text(ENTRIES["finn2017maml"] * 2)
    with pytest.raises(RecordError, match="the key finn2017maml stands there twice"):
        references.entries(twice)
    noted = references.cited() | {"every_suite": ["nobody2000"]}
    monkeypatch.setattr(references, "cited", lambda: noted)
    with pytest.raises(RecordError, match=r"names nobody2000, which references\.bib does not have"):
        references.bibliography(synthetic.runs_of([synthetic.POINT], seeds=1))


def test_kshot_is_cited_as_its_citation_file_says() -> None:
    text = references.own_entry()
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    for name in ("title", "version", "license"):
        (value,) = re.findall(rf'^{name}: "?(.*?)"?$', citation, re.MULTILINE)
        assert value in text
    assert references._person({"family-names": "Doe", "given-names": "Jo"}) == "Doe, Jo"
