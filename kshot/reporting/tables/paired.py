"""What evidence is worth, and whether a learner beats the best that can be done blindly, task by task."""

from __future__ import annotations

from kshot.reporting.names import TASK_BLIND, At
from kshot.reporting.results import Results
from kshot.reporting.sections import Section
from kshot.reporting.tables._common import Entry, cell, difference, part, row
from kshot.reporting.values import Part, Row, Table, Value, digits_for

PLACES = {"tasks": 30}


def build(results: Results) -> Table:
    numbers: list[Entry] = []
    parts: list[Part] = []
    for section in results.sections:
        rows = [_row(results, section, name, numbers) for name in section.finished]
        parts += [part(section, rows)] if rows else []
    caption = (
        "Mean difference on the same test tasks with 95 % t interval over tasks, taking the trained runs as given, by "
        "the actions that each learner is meant to be tested with. Gain: single episodes at that K minus K = 0. Above "
        "task-blind: the score minus that of the task-blind policy, the best found without knowing the task; a learner "
        "that is not above it has not been shown to know its task. At the K that all learners reach and, where some "
        "can use more, after all the evidence that each can use, with its K beside the number."
    )
    return Table("paired", "Differences on the same tasks", caption, numbers, parts, ("tasks.parquet",), PLACES)


def _row(results: Results, section: Section, name: str, numbers: list[Entry]) -> Row:
    """A learner's row; as plain numbers, it is added to ``numbers``."""
    family, single = section.family, section.episode_metric
    everything = results.summary.point(family, name, single, "all")
    assert everything is not None  # it has results
    scored = section.metric if name in section.judged else single
    views: list[tuple[str, At, str]] = [(f"K = {section.k}", section.k, scored)]
    if _some_use_more(results, section):
        views.append(("all it can use", "all", single))
    values: dict[str, Value] = {}
    for view, at, metric in views:
        entry: Entry = {"family": family, "algorithm": name, "evidence": section.evidence, "view": view}
        entry |= {"k": at if at != "all" else everything.k, "metric": metric, "gain_metric": single}
        values |= _view(results, section, entry, at)
        numbers.append(entry)
    return row(results.grid, section, name, values)


def _some_use_more(results: Results, section: Section) -> bool:
    """Whether some learner can use more evidence than all of them reach."""
    family, metric = section.family, section.episode_metric
    points = [results.summary.point(family, name, metric, "all") for name in section.finished]
    return any(point is not None and point.k > section.k for point in points)


def _view(results: Results, section: Section, entry: Entry, at: At) -> dict[str, Value]:
    """The values of one learner in one view; as plain numbers, they go into ``entry``."""
    family, name, view, single = (entry[key] for key in ("family", "algorithm", "view", "gain_metric"))
    k = entry["k"] if at == "all" else None
    values: dict[str, Value] = dict.fromkeys((f"gain, {view}", f"improved, {view}", f"above task-blind, {view}"), "")
    point = results.summary.point(family, name, single, at)
    before, after = (results.task_values(family, name, single, n) for n in (0, at))
    if point is not None and before is not None and after is not None:
        if point.k > 0:
            entry["tasks_improved"] = float((after > before).mean())
            entry |= difference("gain", after, before)
            values[f"gain, {view}"] = cell(entry, "gain", digits_for([entry["gain"]]), k=k)
            values[f"improved, {view}"] = f"{100 * entry['tasks_improved']:.0f} %"
        elif at != "all" and at > 0:
            values[f"gain, {view}"] = f"adapts after {results.summary.tests[family, name].block}"
    scored = results.task_values(family, name, entry["metric"], at)
    blind = results.task_values(family, TASK_BLIND, entry["metric"], at)
    if scored is not None and blind is not None:
        entry |= difference("above_task_blind", scored, blind)
        digits = digits_for([entry["above_task_blind"]])
        values[f"above task-blind, {view}"] = cell(entry, "above_task_blind", digits, k=k)
    return values
