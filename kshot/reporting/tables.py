"""The tables of a suite, each as numbers (CSV) and as text for papers (LaTeX) and documents (Markdown)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kshot import records
from kshot.reporting.across import improvement, normalised
from kshot.reporting.aggregate import write_csv
from kshot.reporting.compared import all_evidence, headline
from kshot.reporting.data import At, Data, Section, load
from kshot.reporting.demonstrated import likelihood, value_difference
from kshot.reporting.layout import (
    Parts,
    Row,
    Table,
    digits_for,
    interval,
    latex,
    lay_out,
    markdown,
    number,
    part_title,
    title,
)
from kshot.reporting.official import official
from kshot.reporting.rows import brackets, by_k, columns, difference, runs_text, scripted
from kshot.suites.run import RunConfig

TASK_BLIND = "task_blind"


def write_tables(runs: Sequence[RunConfig], root: Path, out: Path) -> list[Path]:
    """Write every table as ``out/<name>.csv``, ``.tex`` and ``.md``.

    Args:
        runs: the complete grid that the suite expects.
        root: folder of all results.
        out: folder of the tables.

    Raises:
        RecordError: the suite has not been aggregated since its runs last changed.
    """
    data = load(runs, root)
    paths = []
    for table in build(data):
        stem = out / table.name
        write_csv(stem.with_suffix(".csv"), table.numbers)
        records.write_text(stem.with_suffix(".tex"), latex(table, data.suite))
        records.write_text(stem.with_suffix(".md"), markdown(table))
        paths += [stem.with_suffix(suffix) for suffix in (".csv", ".tex", ".md")]
    return paths


def build(data: Data) -> list[Table]:
    """Every table of a suite; those that would be empty are left out."""
    alone = (headline, all_evidence, after_k, value_difference, likelihood, success, official, classes, paired)
    made = (*alone, normalised, improvement)
    return [table for table in (make(data) for make in made) if table.parts]


def after_k(data: Data) -> Table:
    """The headline metric (the return of single episodes where that is a trial's) for every K."""
    sections = [((family, evidence), learners, data.single(family)) for family, evidence, learners in data.sections]
    numbers, parts = by_k(data, sections)
    caption = (
        "Score after K episodes of evidence, or K demonstrations, by the actions that each learner is meant to be "
        "tested with: within a block of episodes, by what it learnt from the complete ones; empty beyond what it can "
        f"use. Mean over runs, {brackets(entry['n_seeds'] for entry in numbers)}."
    )
    return lay_out("after_k", "Score after K", caption, numbers, parts, ("summary.csv",))


def success(data: Data) -> Table:
    """Both readings of success side by side."""
    numbers: list[Row] = []
    parts: Parts = {}
    for family, evidence, learners in data.sections:
        rows = data.summary[(data.summary["family"] == family) & (data.summary["metric"] == "success_any")]
        if not (rows["mean"] > 0).any():
            continue  # the family defines no success
        for name, kind in [*((name, "algorithm") for name in learners), *scripted(data, (family, evidence))]:
            shown: Row = {"policy": title(name)}
            for k in sorted({0, data.comparison((family, evidence))}):
                entry: Row = {"family": family, "algorithm": name, "kind": kind, "evidence": evidence, "k": k}
                for metric in ("success_last", "success_any", "first_success"):
                    entry |= columns(metric, data.point(family, name, metric, k))
                shown |= {f"last step, K = {k}": interval(entry, "success_last", 2)}
                shown |= {f"any step, K = {k}": interval(entry, "success_any", 2)}
                numbers.append(entry)
            shown |= {"steps to it": number(numbers[-1]["first_success"], 0)}
            shown |= {"runs": runs_text(data, family, name)}
            parts.setdefault(part_title(family, evidence), []).append(shown)
    caption = (
        "Share of episodes that end in success (last step) and that succeed at any step, at the K that all learners "
        "reach and by the actions that each is meant to be tested with. Mean over runs, "
        f"{brackets(entry['success_last_n'] for entry in numbers)}. Steps to it: from the start of an episode to the "
        "first success, at the larger K, over the episodes that have one."
    )
    return lay_out("success", "Two readings of success", caption, numbers, parts, ("summary.csv",))


def classes(data: Data) -> Table:
    """The headline metric of every class of tasks, for families with several."""
    numbers: list[Row] = []
    parts: Parts = {}
    for family, evidence, learners in data.sections:
        metric, k = data.single(family), data.comparison((family, evidence))
        for group in data.families[family].classes:
            shown: Row = {"class": group}
            for name, kind in [*((name, "algorithm") for name in learners), *scripted(data, (family, evidence))]:
                there = data.point(family, name, metric, k, group)
                if there is None:
                    continue
                entry: Row = {"family": family, "class": group, "algorithm": name, "kind": kind, "evidence": evidence}
                entry |= {"metric": metric, "k": k} | columns("first", data.point(family, name, metric, 0, group))
                entry |= columns("at_k", there) | {"task_se": there["task_se"], "n_tasks": there["n_tasks"]}
                numbers.append(entry)
                shown[title(name)] = interval(entry, "at_k", digits_for([there["mean"]]))
            parts.setdefault(part_title(family, evidence), []).append(shown)
        if data.families[family].classes:
            present = [*learners, *data.references((family, evidence))]
            texts = {title(name): runs_text(data, family, name) for name in present}
            parts[part_title(family, evidence)].append({"class": "runs"} | texts)
    at = {(entry["family"], entry["k"]) for entry in numbers}
    caption = (
        "Headline score of each class of tasks at the K that all learners reach "
        f"({', '.join(f'{family}: K = {k}' for family, k in sorted(at))}), by the actions that each is meant to be "
        f"tested with. Mean over runs, {brackets(entry['at_k_n'] for entry in numbers)}."
    )
    return lay_out("classes", "Classes of tasks", caption, numbers, parts, ("summary.csv",))


def paired(data: Data) -> Table:
    """What evidence is worth, and whether a learner beats the best that can be done blindly, task by task."""
    numbers: list[Row] = []
    parts: Parts = {}
    for family, evidence, learners in data.sections:
        section = (family, evidence)
        k, metric, single = data.comparison(section), data.headline(section), data.single(family)
        for name in learners:
            if data.point(family, name, single, 0) is None:
                continue
            everything = data.point(family, name, single, "all")
            assert everything is not None
            scored = metric if name in data.ranked(section) or metric != "trial_return" else single
            shown: Row = {"policy": title(name)}
            views: list[tuple[str, At, str]] = [(f"K = {k}", k, scored)]
            if _differs(data, section):
                views.append(("all it can use", "all", single))
            for label, at, judged in views:
                entry: Row = {"family": family, "algorithm": name, "evidence": evidence, "view": label}
                entry |= {"k": k if at != "all" else everything["k"], "metric": judged, "gain_metric": single}
                shown |= _differences(data, entry, at)
                numbers.append(entry)
            shown["runs"] = runs_text(data, family, name)
            parts.setdefault(part_title(family, evidence), []).append(shown)
    caption = (
        "Mean difference on the same test tasks with 95 % t interval over tasks, taking the trained runs as given, by "
        "the actions that each learner is meant to be tested with. Gain: single episodes at that K minus K = 0. Above "
        "task-blind: the score minus that of the task-blind policy, the best found without knowing the task; a learner "
        "that is not above it has not been shown to know its task. At the K that all learners reach and, where some "
        "can use more, after all the evidence that each can use, with its K beside the number."
    )
    return lay_out("paired", "Differences on the same tasks", caption, numbers, parts, ("tasks.parquet",))


def _differs(data: Data, section: Section) -> bool:
    """Whether some learner can use more evidence than all of them reach."""
    family, metric = section[0], data.single(section[0])
    points = [data.point(family, name, metric, "all") for name in data.algorithms(*section)]
    return any(point is not None and point["k"] > data.comparison(section) for point in points)


def _differences(data: Data, entry: Row, at: At) -> Row:
    """The cells of one learner in one view; the numbers go into ``entry``."""
    family, name, view, single = (entry[key] for key in ("family", "algorithm", "view", "gain_metric"))
    suffix = f" at K = {entry['k']}" if at == "all" else ""
    cells = dict.fromkeys((f"gain, {view}", "improved, " + view, f"above task-blind, {view}"), "")
    point = data.point(family, name, single, at)
    before, after = (data.task_values(family, name, single, k) for k in (0, at))
    if point is not None and before is not None and after is not None:
        if point["k"] > 0:
            entry["tasks_improved"] = float((after > before).mean())
            entry |= difference("gain", after, before)
            cells[f"gain, {view}"] = interval(entry, "gain", digits_for([entry["gain"]])) + suffix
            cells[f"improved, {view}"] = f"{100 * entry['tasks_improved']:.0f} %"
        elif at != "all" and at > 0:
            cells[f"gain, {view}"] = f"adapts after {data.tested(family, name).block}"
    judged = data.task_values(family, name, entry["metric"], at)
    blind = data.task_values(family, TASK_BLIND, entry["metric"], at)
    if judged is not None and blind is not None:
        entry |= difference("above_task_blind", judged, blind)
        digits = digits_for([entry["above_task_blind"]])
        cells[f"above task-blind, {view}"] = interval(entry, "above_task_blind", digits) + suffix
    return cells
