"""Writes what a figure gets into docs/plugins.md, from the code: ``python -m docs.building.figures``."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from docs.building.settings import as_table, meanings
from kshot.reporting.evidence import IntendedTest
from kshot.reporting.families import FamilyInfo
from kshot.reporting.grid import Grid
from kshot.reporting.names import METRIC_NAMES
from kshot.reporting.results import Results, RunScores, TaskOutcomes
from kshot.reporting.schemas import Point
from kshot.reporting.sections import Section
from kshot.reporting.summary import Summary
from kshot.reporting.training import TrainingRecords

PAGE = Path(__file__).resolve().parents[1] / "plugins.md"
_BEGIN = "<!-- Made by `python -m docs.building.figures`; change the docstrings instead. -->\n"
_END = "<!-- made until here -->"
_SHOWN: dict[str, type] = {
    "`results`": Results,
    "Each of `sections`, and of `results.sections`": Section,
    "`section.info`": FamilyInfo,
    "`results.summary`": Summary,
    "A point of it": Point,
    "`results.scores`": RunScores,
    "`results.tasks`": TaskOutcomes,
    "`results.training`": TrainingRecords,
    "`results.grid`": Grid,
    "One of its `tests`": IntendedTest,
}


def page() -> str:
    """The page, with this part as the code has it now."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    assert begin and end, "the marks are gone"
    parts = [_part(title, shown) for title, shown in _SHOWN.items()]
    metrics = ", ".join(f"`{name}`" for name in METRIC_NAMES)
    words = f'A `metric` is one of {metrics}; `at` is a K or "all", the most that there is.'
    return f"{before}{_BEGIN}\n{words}\n\n{''.join(parts)}{_END}{after}"


def _part(title: str, shown: type) -> str:
    """A table of all that one of the classes offers."""
    text = inspect.cleandoc(shown.__doc__ or "").split("\n\n")[0].replace("``", "`")
    return f"### {title}\n\n{' '.join(text.split())}\n\n{as_table(('', ''), _members(shown))}\n"


def _members(shown: type) -> Iterator[tuple[str, str]]:
    """Its fields, then its properties and methods, with a line on each."""
    yield from ((f"`{name}`", text) for name, text in meanings(shown).items())
    for name, member in vars(shown).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property | cached_property):
            yield f"`{name}`", _line(member.__doc__, name)
        elif inspect.isfunction(member):
            arguments = list(inspect.signature(member).parameters)[1:]
            yield f"`{name}({', '.join(arguments)})`", _line(member.__doc__, name)


def _line(docstring: str | None, name: str) -> str:
    """The first paragraph of a docstring. Raises ValueError where there is none."""
    if not docstring:
        raise ValueError(f"{name} has no docstring")
    text = " ".join(inspect.cleandoc(docstring).split("\n\n")[0].split())
    return text[0].lower() + text[1:] if text[1:2].islower() else text  # as fields are described


def main() -> None:
    """Write the page with that part made anew."""
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
