"""Writes what a figure gets into docs/plugins.md, from the code: ``python -m docs.building.figures``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from docs.building.settings import as_table, meanings
from kshot import records
from kshot.places import ROOT
from kshot.reporting import figures, looks, names, style, values
from kshot.reporting.evidence import IntendedTest
from kshot.reporting.families import FamilyInfo
from kshot.reporting.grid import Grid
from kshot.reporting.names import METRIC_NAMES
from kshot.reporting.page_parts import FILES, TABS
from kshot.reporting.results import Results, RunScores, TaskOutcomes
from kshot.reporting.schemas import CELL_COLUMNS, EPISODE_METRICS, SCORE_COLUMNS, TASKS_SCHEMA, Point
from kshot.reporting.sections import Section
from kshot.reporting.summary import Summary
from kshot.reporting.training import TrainingRecords
from kshot.suites.run import RunConfig

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
    "A run": RunConfig,
}
_MADE_OF: dict[str, type] = {
    "A table": values.Table,
    "A part of it": values.Part,
    "A row": values.Row,
    "A cell": values.Cell,
    "How many runs count": values.RunCount,
}
_FIELDS_ALONE = (RunConfig, *_MADE_OF.values())
"""Classes of which the fields are shown alone: what they do is for what shows them."""
_HELP: tuple[tuple[ModuleType, tuple[Callable[..., Any], ...]], ...] = (
    (style, (style.panels, style.legend, style.empty)),
    (looks, (looks.looks, looks.reference_line)),
    (names, (names.policy_name,)),
    (values, (values.digits_for, values.number)),
)
"""What figures and tables are drawn with."""
_TYPES = {
    "Array": "array",
    "NDArray[Any]": "array",
    "At": 'int | "all"',
    "Pair": "(family, policy)",
    "Curve": "tuple[Point, ...]",
    "Evidence": '"rollouts" | "demonstrations"',
    "RunKind": '"algorithm" | "reference"',
    "Mode": '"sampled" | "mean"',
    "Headline": "str",
    "Value": "Cell | RunCount | str",
    "ALL": '"all"',
    "pd.DataFrame": "DataFrame",
    "pd.Series[float]": "Series[float]",
    "PANEL_HEIGHT": str(style.PANEL_HEIGHT),
    "NAN": "NaN",
    "math.nan": "NaN",
    "math.inf": "infinity",
}
"""Names of types and values in annotations, and what they stand for."""
_DTYPES = {
    "dictionary<values=string, indices=int32, ordered=0>": "str",
    "double": "float",
    "int32": "int",
    "int64": "int",
}
_COLUMNS = {
    "suite": "its name.",
    "seed": "of the run.",
    "score": "of the run; NaN where it has none.",
    "task": "id of the test task.",
    "iteration": "meta-step, from 0.",
    "env_steps": "training steps up to and with it.",
    "value": "of the metric.",
    "measure": '"loss", "return" or "success".',
    "shots": "evidence that was adapted on.",
    "steps": "inner steps.",
    "part": "of the training after which the model was kept, from 1.",
    "trained_steps": "of the model.",
    **{name: f"mean {text}." for name, text in METRIC_NAMES.items()},
}
"""What columns hold that no docstring explains."""


def page() -> str:
    """The page, with this part as the code has it now."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    assert begin and end, "the marks are gone"
    parts = [_module(), *(_part(title, shown) for title, shown in _SHOWN.items()), *_frames()]
    parts += [_part(title, shown) for title, shown in _MADE_OF.items()] + [_helpers()]
    metrics = ", ".join(f"`{name}`" for name in METRIC_NAMES)
    words = (
        f"A `metric` is one of {metrics}, or `stage_0`, `stage_1`, ... for shares of a family's `stages`; `at` is a K "
        'or "all", the most that there is; `policy` is the name of a learner or of a scripted policy. DataFrame and '
        "Series are those of pandas, an array is one of numpy, and [runs] in front of a text is its shape."
    )
    return f"{before}{_BEGIN}\n{words}\n\n{''.join(parts)}{_END}{after}"


def _module() -> str:
    """What a module of a figure says besides."""
    text = inspect.cleandoc(figures.__doc__ or "").replace("``", "`")
    text = text.replace("`kshot.reporting.page_parts.PLACES`", "the list below")
    tabs = ", ".join(f"`{name}` ({title})" for name, title in TABS.items())
    return (
        f"### The module\n\n{text}\n\nPlaces: {tabs}, `{figures.TOGETHER}`, what is about all families, "
        f"and `{FILES}`, what the page does not show.\n\n"
    )


def _part(title: str, shown: type) -> str:
    """A table of all that one of the classes offers."""
    text = inspect.cleandoc(shown.__doc__ or "").split("\n\n")[0].replace("``", "`")
    return f"### {title}\n\n{' '.join(text.split())}\n\n{as_table(('', 'type', ''), _members(shown))}\n"


def _members(shown: type) -> Iterator[tuple[str, str, str]]:
    """Its fields, then its properties and methods, with the type and a text on each."""
    said = meanings(shown)
    for item in fields(shown):
        default = _default(item) if shown in _MADE_OF.values() else ""  # of what one makes, not of what one gets
        yield f"`{item.name}{default}`", f"`{_type(item.type)}`", said[item.name]
    for name, member in vars(shown).items():
        if name.startswith("_") or shown in _FIELDS_ALONE:
            continue
        if isinstance(member, property | cached_property):
            function: Any = member.fget if isinstance(member, property) else member.func
            yield f"`{name}`", _returned(function), _text(function)
        elif inspect.isfunction(member):
            yield _called(member, name, inspect.signature(member).parameters.values().__iter__(), skip=1)


def _called(function: Any, name: str, parameters: Iterator[inspect.Parameter], skip: int = 0) -> tuple[str, str, str]:
    shown = [_argument(one) for one in list(parameters)[skip:] if one.kind is not one.VAR_KEYWORD]
    return f"`{name}({', '.join(shown)})`", _returned(function), _text(function)


def _argument(parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty:
        return parameter.name
    return f"{parameter.name}={_value(parameter.default)}"


def _default(item: Field[Any]) -> str:
    if item.default is not MISSING:
        return f" = {_value(item.default)}"
    return f" = {_value(item.default_factory())}" if item.default_factory is not MISSING else ""


def _value(value: Any) -> str:
    """A default as one would write it."""
    if isinstance(value, str):
        return f'"{value}"'
    return _TYPES.get(f"math.{value}", repr(value)) if isinstance(value, float) else repr(value)


def _returned(function: Any) -> str:
    return f"`{_type(function.__annotations__['return'])}`"


def _type(annotation: Any) -> str:
    """An annotation with the names in it that are kshot's own replaced by what they stand for."""
    text = str(annotation)
    for name, meaning in _TYPES.items():
        text = re.sub(rf"(?<![\w.]){re.escape(name)}(?![\w.])", lambda _, meaning=meaning: meaning, text)  # type: ignore[misc]
    return text


def _text(function: Any) -> str:
    """A docstring without its sections, in one line. Raises ValueError where there is none."""
    if not function.__doc__:
        raise ValueError(f"{function.__qualname__} has no docstring")
    text, *_ = re.split(r"^(?:Args|Returns|Raises|Yields):$", inspect.cleandoc(function.__doc__), flags=re.MULTILINE)
    text = " ".join(text.split())
    return text[0].lower() + text[1:] if text[1:2].islower() else text  # as fields are described


def _frames() -> Iterator[str]:
    """The columns of every DataFrame."""
    tasks = {field.name: _DTYPES[str(field.type)] for field in TASKS_SCHEMA}
    points = {item.name: str(item.type) for item in fields(Point)} | {"seed": "int", "score": "float"}
    yield _frame("`results.scores.frame`", {name: _type(points[name]) for name in SCORE_COLUMNS}, _said())
    yield _frame("`results.tasks.frame`", tasks, _said())
    run = {"family": "str", "algorithm": "str", "seed": "int"}
    recorded = {field.name: _DTYPES.get(str(field.type), "str") for field in records.TRAIN_SCHEMA}
    metric = {"metric": 'the measure: "return" before adaptation, "return_adapted" after it.'}
    yield _frame("`results.training.returns`", run | recorded, _said() | metric)
    measured = run | {"measure": "str", "shots": "int", "steps": "int", "value": "float"}
    yield _frame("`results.training.validation`", measured, _said() | {"value": "of the measure."})
    along = run | {"part": "int", "trained_steps": "int", "mode": "str", "k": "int"}
    yield _frame("`results.training.along`", along | dict.fromkeys(EPISODE_METRICS, "float"), _said())
    yield _frame("`results.grid.cells`", {name: _of_cells(name) for name in CELL_COLUMNS}, _documented() | _said())


def _frame(title: str, columns: dict[str, str], said: dict[str, str]) -> str:
    rows = ((f"`{name}`", f"`{kind}`", said[name]) for name, kind in columns.items())
    return f"### Columns of {title}\n\n{as_table(('', 'type', ''), rows)}\n"


def _said() -> dict[str, str]:
    """What columns mean, by name."""
    return {**meanings(Point), **_COLUMNS}


def _documented() -> dict[str, str]:
    """What columns of ``cells.csv`` mean, as results/README.md has it."""
    text = (ROOT / "results" / "README.md").read_text(encoding="utf-8").partition("### `cells.csv`")[2]
    rows = [line.strip("| ").split(" | ") for line in text.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    return {name: f"{meaning}." for named, meaning in rows for name in re.findall(r"`(\w+)`", named)}


def _of_cells(name: str) -> str:
    """The type of a column of ``cells.csv``."""
    counts = ("seed", "adaptation_episodes", "max_evidence", "threads", "train_updates")
    if name in counts or name.endswith("_env_steps"):
        return "int"
    return "float" if name.endswith(("_seconds", "_gb")) else "str"


def _helpers() -> str:
    """The functions that figures and tables are made with."""
    rows = []
    for module, functions in _HELP:
        for function in functions:
            name = f"{module.__name__.removeprefix('kshot.reporting.')}.{function.__name__}"
            rows.append(_called(function, name, iter(inspect.signature(function).parameters.values())))
    text = "Functions of modules of `kshot.reporting`. A `Look` has `color`, `marker` and `dashes`."
    return f"### What they are made with\n\n{text}\n\n{as_table(('', 'type', ''), rows)}\n"


def main() -> None:
    """Write the page with that part made anew."""
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
