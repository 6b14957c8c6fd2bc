"""Writes docs/settings/ from dataclasses of settings and the schema of suites: ``python -m docs.building.settings``."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, get_type_hints

from kshot import registry
from kshot.places import ROOT
from kshot.suites.schema import json_schema
from kshot.suites.settings import expected

FOLDER = Path(__file__).resolve().parents[1] / "settings"
_MADE = "<!-- Made by `python -m docs.building.settings`; change the docstrings instead. -->"
_KINDS: dict[registry.Kind, tuple[str, str, str, str]] = {
    "algorithms": (
        "learners",
        "Settings of learners",
        "algorithms",
        "What a suite can say under `settings` of an algorithm, with the defaults of the code. What kshot sets "
        "otherwise, on all families or on some, stands with its source in `config/algorithms/`; a suite's own settings "
        "win over both "
        "([how suites are configured](../../config/README.md)).",
    ),
    "envs": (
        "families",
        "Settings of task families",
        "families",
        "What a suite can say under `settings` of a family, with the defaults of the code "
        "([how suites are configured](../../config/README.md)).",
    ),
}
_PARTS = {
    "An entry of `families`": "FamilyCell",
    "Its `evaluation`": "Evaluation",
    "Its `learning_curve`": "LearningCurve",
    "An entry of `algorithms`": "SweptRow",
    "Its `sample`": "Sample",
    "A range in it": "Range",
    "What it has on one of the `families`": "FamilyOverride",
    "An entry of `exclude`": "Exclude",
}
_ELSEWHERE = {
    "see ``parameters``": "see [its page](../families/gymnasium.md#settings)",
}
"""What docstrings say to readers of the code, and what it is for readers of the pages."""
_WRITTEN = ("facts",)
"""Keys that kshot writes, and nobody else."""


def pages() -> dict[str, str]:
    """The text of every page, by the name of its file."""
    texts = {f"{name}.md": _page(kind, *rest) for kind, (name, *rest) in _KINDS.items()}
    return texts | {"suites.md": _suites()}


def _page(kind: registry.Kind, title: str, folder: str, text: str) -> str:
    parts = [f"# {title}\n\n{_MADE}\n\n{text}\n"]
    for name in registry.names(kind):
        if registry.source(kind, name) is None or not _ours(kind, name):
            continue
        settings = registry.load(kind, name).Settings
        notes = meanings(settings)
        hints = get_type_hints(settings)
        rows = [
            (f"`{item.name}`", _default(item), notes[item.name], expected(hints[item.name]))
            for item in fields(settings)
        ]
        table = as_table(("setting", "default", "meaning", "value"), rows) if rows else "It has no settings.\n"
        parts.append(f"## {name}\n\n[What it is](../{folder}/{name}.md)\n\n{table}")
    return "\n".join(parts)


def _ours(kind: registry.Kind, name: str) -> bool:
    """Whether it is of this repository and no plug-in's."""
    path = registry.source(kind, name)
    return path is not None and path.resolve().is_relative_to(ROOT / kind)


def meanings(settings: type) -> dict[str, str]:
    """What each field of a dataclass means, by the docstring of the class or of one that it builds on.

    Raises:
        ValueError: a field is nowhere explained.
    """
    found: dict[str, str] = {}
    for owner in reversed(settings.__mro__):
        found |= _attributes(owner.__dict__.get("__doc__") or "")
    names = [item.name for item in fields(settings)]
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"{settings.__module__}.{settings.__qualname__} does not say what {missing[0]!r} means")
    return {name: found[name] for name in names}


def _attributes(docstring: str) -> dict[str, str]:
    """The entries of the section "Attributes" of a docstring in Google's style, each in one line."""
    _, _, section = inspect.cleandoc(docstring).partition("Attributes:\n")
    section = re.split(r"^\S", section, maxsplit=1, flags=re.MULTILINE)[0]
    entries = re.split(r"^ {4}(?=\w)", section, flags=re.MULTILINE)[1:]
    pairs = (entry.partition(":") for entry in entries)
    return {name.strip(): " ".join(text.split()) for name, _, text in pairs}


def _default(item: Field[Any]) -> str:
    value = item.default_factory() if item.default_factory is not MISSING else item.default
    return "" if value is MISSING else f"`{json.dumps(value, ensure_ascii=False)}`"


def as_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Rows of text as it stands in docstrings, as a table in Markdown."""
    lines = [head, ("---",) * len(head), *(tuple(map(_cell, row)) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(text: str) -> str:
    """Text of a docstring as Markdown within a table."""
    for code, page in _ELSEWHERE.items():
        text = text.replace(code, page)
    return text.replace("``", "`").replace("|", "\\|").replace("<", "\\<")


def _suites() -> str:
    """The keys of a suite's file, part by part, from the schema by which editors complete it."""
    whole = json_schema()
    parts = [
        f"# Keys of a suite\n\n{_MADE}\n\nWhat stands in `config/suites/*.yaml`; "
        "[config/README.md](../../config/README.md) shows a whole one.\n",
        _part("The whole", whole),
    ]
    parts += [_part(title, whole["$defs"][name]) for title, name in _PARTS.items()]
    return "\n".join(parts)


def _part(title: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", [])
    rows = []
    for name, key in schema["properties"].items():
        if name not in _WRITTEN:
            default = "has to be there" if name in required else f"`{json.dumps(key.get('default'))}`"
            rows.append((f"`{name}`", default, " ".join(key.get("description", "").split())))
    return f"## {title}\n\n{schema['description']}\n\n{as_table(('key', 'default', 'meaning'), rows)}"


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
