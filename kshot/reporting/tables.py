"""The tables of a suite, each as numbers (CSV) and as text for papers (LaTeX) and documents (Markdown)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kshot import records, seeding
from kshot.reporting import stats
from kshot.reporting.aggregate import write_csv
from kshot.reporting.data import BAYES, DEMONSTRATIONS, Data, Section, load
from kshot.reporting.demonstrated import likelihood, value_difference
from kshot.reporting.layout import (
    FROM_DEMONSTRATIONS,
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
from kshot.reporting.rows import by_k, columns, difference, runs, runs_text, scripted
from kshot.run_config import RunConfig

TASK_BLIND = "task_blind"


def write_tables(runs: Sequence[RunConfig], root: Path, out: Path) -> list[Path]:
    """Write every table as ``out/<name>.csv``, ``.tex`` and ``.md``.

    Args:
        runs: the complete grid that the suite expects.
        root: folder of all results.
        out: folder of the tables.

    Raises:
        kshot.records.RecordError: the suite has not been aggregated since its runs last changed.
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
    alone = (headline, after_k, value_difference, likelihood, success, official, classes, paired)
    made = (*alone, normalised, improvement)
    return [table for table in (make(data) for make in made) if table.parts]


def headline(data: Data) -> Table:
    """Headline metric before any evidence and with the most, with the scripted policies around it."""
    numbers: list[Row] = []
    parts: Parts = {}
    for family, evidence, learners in data.sections:
        info, metric = data.families[family], data.headline((family, evidence))
        # A trial has no K: single episodes are shown before and after, and the whole trial beside them.
        trial, single = metric == "trial_return", data.single(family)
        entries = []
        for name, kind in [*((name, "algorithm") for name in learners), *scripted(data, (family, evidence))]:
            entry: Row = {"family": family, "algorithm": name, "kind": kind, "evidence": evidence}
            entry["metric"] = metric
            entry |= columns("first", data.point(family, name, single, "first"))
            entry |= columns("last", data.point(family, name, single, "last"))
            score = data.point(family, name, metric)
            entry |= columns("score", score) | {"task_se": score["task_se"] if score else np.nan}
            scaled = _scaled(data, (family, evidence), name)
            entry |= {"normalised": scaled.value, "normalised_lo": scaled.lo, "normalised_hi": scaled.hi}
            ok, expected, _ = runs(data, family, name)
            entry |= {"n_seeds": ok, "n_seeds_expected": expected, "n_tasks": info.tasks}
            entries.append((entry, runs_text(data, family, name)))
        if trial and BAYES in info.known:
            entries.append((_known_entry(data, family, entries[0][0]), "exact"))
        entries.sort(key=lambda e: (e[0]["kind"] != "algorithm", -np.nan_to_num(e[0]["score"], nan=-np.inf)))
        digits, single_digits = (digits_for([e[key] for e, _ in entries]) for key in ("score", "last"))
        for entry, run_text in entries:
            shown = {"policy": title(entry["algorithm"])}
            shown |= {"trial": interval(entry, "score", digits)} if trial else {}
            shown |= {"K = 0": interval(entry, "first", single_digits)}
            # Scripted policies and learners that do not adapt score the same at every K; others may stop early.
            early = entry["kind"] == "algorithm" and 0 < entry["last_k"] < info.k[-1]
            at = f" @ {entry['last_k']:.0f}" if early else ""
            shown |= {f"K = {info.k[-1]}": interval(entry, "last", single_digits) + at}
            shown |= {"normalised": interval(entry, "normalised", 2)}
            shown |= {"task s.e.": number(entry["task_se"], digits + 1), "runs": run_text}
            parts.setdefault(part_title(family, evidence), []).append(shown)
        numbers += [entry for entry, _ in entries]
    caption = (
        "Mean over runs with 95 % bootstrap interval (none for fewer than three runs); learners act by their mean, "
        "except in trials. @ marks scores of learners that cannot use the full K. Where the headline is the return of "
        "a trial, the columns by K are returns of single episodes, and learners from demonstrations, to whom a trial "
        "means nothing, are scored by these alone. Normalised: 0 is the random policy, 1 the oracle. "
        "Task s.e.: standard error over test tasks. Scripted policies are floor and ceiling."
    )
    return lay_out("headline", "Headline comparison", caption, numbers, parts, ("summary.csv", "scores.csv"))


def _known_entry(data: Data, family: str, like: Row) -> Row:
    """The exact value of the best possible trial as a row of the headline table."""
    info = data.families[family]
    value = info.known[BAYES]
    scaled = stats.normalise(np.array([value]), *data.scale(family, info.headline))[0]
    known = {key: like[key] for key in ("family", "evidence", "metric", "n_tasks")}
    known |= {"algorithm": BAYES, "kind": "known", "score": value, "normalised": scaled}
    return {**dict.fromkeys(like, np.nan), **known}


def after_k(data: Data) -> Table:
    """The headline metric (the return of single episodes where that is a trial's) for every K."""
    sections = [((family, evidence), learners, data.single(family)) for family, evidence, learners in data.sections]
    numbers, parts = by_k(data, sections)
    caption = (
        "Score after K episodes of evidence, or K demonstrations; mean actions, mean over runs with 95 % bootstrap "
        "interval. Learners that adapt on blocks of episodes have values at multiples of their block."
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
            for at, when in (("first", "K = 0"), ("last", f"K = {data.families[family].k[-1]}")):
                entry: Row = {"family": family, "algorithm": name, "kind": kind, "evidence": evidence, "at": at}
                for metric in ("success_last", "success_any", "first_success"):
                    entry |= columns(metric, data.point(family, name, metric, "first" if at == "first" else "last"))
                shown |= {f"last step, {when}": interval(entry, "success_last", 2)}
                shown |= {f"any step, {when}": interval(entry, "success_any", 2)}
                numbers.append(entry)
            shown |= {"steps to it": number(numbers[-1]["first_success"], 0)}
            shown |= {"runs": runs_text(data, family, name)}
            parts.setdefault(part_title(family, evidence), []).append(shown)
    caption = (
        "Share of episodes that end in success (last step) and that succeed at any step. Steps to it: from the start "
        "of an episode to the first success, with the most evidence, over the episodes that have one."
    )
    return lay_out("success", "Two readings of success", caption, numbers, parts, ("summary.csv",))


def classes(data: Data) -> Table:
    """The headline metric of every class of tasks, for families with several."""
    numbers: list[Row] = []
    parts: Parts = {}
    for family, evidence, learners in data.sections:
        metric = data.single(family)
        for group in data.families[family].classes:
            shown: Row = {"class": group}
            for name, kind in [*((name, "algorithm") for name in learners), *scripted(data, (family, evidence))]:
                last = data.point(family, name, metric, "last", group)
                if last is None:
                    continue
                entry: Row = {"family": family, "class": group, "algorithm": name, "kind": kind, "evidence": evidence}
                entry |= {"metric": metric} | columns("first", data.point(family, name, metric, "first", group))
                entry |= columns("last", last) | {"task_se": last["task_se"], "n_tasks": last["n_tasks"]}
                numbers.append(entry)
                shown[title(name)] = interval(entry, "last", digits_for([last["mean"]]))
            parts.setdefault(part_title(family, evidence), []).append(shown)
        if data.families[family].classes:
            present = [*learners, *data.references((family, evidence))]
            texts = {title(name): runs_text(data, family, name) for name in present}
            parts[part_title(family, evidence)].append({"class": "runs"} | texts)
    caption = "Headline score of each class of tasks with the most evidence, mean over runs with 95 % interval."
    return lay_out("classes", "Classes of tasks", caption, numbers, parts, ("summary.csv",))


def paired(data: Data) -> Table:
    """What evidence is worth, and whether a learner beats the best that can be done blindly, task by task."""
    numbers: list[Row] = []
    parts: Parts = {}
    for family, evidence, learners in data.sections:
        metric, single = data.headline((family, evidence)), data.single(family)
        for name in learners:
            last = data.task_values(family, name, metric)
            if last is None:
                continue
            entry: Row = {"family": family, "algorithm": name, "evidence": evidence, "metric": metric}
            shown: Row = {"policy": title(name), "gain from evidence": "", "tasks improved": "", "above task-blind": ""}
            if len(data.curve(family, name, single)) > 1:
                before, after = (data.task_values(family, name, single, at) for at in ("first", "last"))
                assert before is not None and after is not None
                improved = float((after > before).mean())
                entry |= difference("gain", after, before) | {"gain_metric": single, "tasks_improved": improved}
                shown["gain from evidence"] = interval(entry, "gain", digits_for([entry["gain"]]))
                shown["tasks improved"] = f"{100 * improved:.0f} %"
            blind = data.task_values(family, TASK_BLIND, metric)
            if blind is not None:
                entry |= difference("above_task_blind", last, blind)
                shown["above task-blind"] = interval(entry, "above_task_blind", digits_for([entry["above_task_blind"]]))
            numbers.append(entry)
            shown["runs"] = runs_text(data, family, name)
            parts.setdefault(part_title(family, evidence), []).append(shown)
    caption = (
        "Mean difference on the same test tasks with 95 % t interval over tasks, taking the trained runs as given: the "
        "largest K minus K = 0 (single episodes), and the headline score minus that of the task-blind policy, the best "
        "found without knowing the task. A learner that is not above task-blind has not been shown to know its task."
    )
    return lay_out("paired", "Differences on the same tasks", caption, numbers, parts, ("tasks.parquet",))


def normalised(data: Data) -> Table:
    """Normalised headline scores over all families."""
    numbers: list[Row] = []
    parts: Parts = {}
    for evidence in data.evidences:
        usable = [f for f in data.families if np.isfinite(_scale_span(data, (f, evidence)))]
        for name in data.algorithms(evidence=evidence):
            strata = {f: data.normalised((f, evidence), name) for f in usable}
            strata = {f: scores for f, scores in strata.items() if scores.size}
            if not strata:
                continue
            entry: Row = {"algorithm": name, "evidence": evidence}
            for label, statistic in (("mean", stats.mean), ("iqm", stats.trimmed)):
                generator = seeding.generator("bootstrap", data.suite, "families", name)
                found = stats.estimate(list(strata.values()), statistic, generator)
                entry |= {label: found.value, f"{label}_lo": found.lo, f"{label}_hi": found.hi}
            entry |= {"n_runs": sum(len(s) for s in strata.values()), "n_families": len(strata)}
            entry |= {"families": " ".join(strata)}
            numbers.append(entry)
        total = len({family for family, of, _ in data.sections if of == evidence})
        ranked = sorted((e for e in numbers if e["evidence"] == evidence), key=lambda e: (-e["n_families"], -e["iqm"]))
        for entry in ranked:
            name = entry["algorithm"]
            shown = {"policy": title(name), "IQM": interval(entry, "iqm", 2), "mean": interval(entry, "mean", 2)}
            shown |= {"runs": str(entry["n_runs"]), "families": f"{entry['n_families']} of {total}"}
            parts.setdefault(_across(data, evidence), []).append(shown)
    caption = (
        "Headline scores on each family's scale from the random policy (0) to the oracle (1), with the most evidence, "
        "over all runs and families: interquartile mean and mean with 95 % stratified bootstrap interval. Rows over "
        "other families are not comparable."
    )
    return lay_out("normalised", "Normalised scores", caption, numbers, parts, ("scores.csv",))


def improvement(data: Data) -> Table:
    """How likely a run of one learner beats a run of another, over the families both were run on."""
    numbers: list[Row] = []
    parts: Parts = {}
    for evidence in data.evidences:
        names = data.algorithms(evidence=evidence)
        for x in names if len(names) > 1 else []:
            shown = {"row beats column": title(x)}
            for y in names:
                scores = [[_headline_runs(data, (f, evidence), name) for name in (x, y)] for f in data.families]
                pairs = [(a, b) for a, b in scores if a.size and b.size]
                if x == y or not pairs:
                    shown[title(y)] = "" if x == y else "no common family"
                    continue
                generator = seeding.generator("bootstrap", data.suite, "improvement", x, y)
                found = stats.improvement_estimate([a for a, _ in pairs], [b for _, b in pairs], generator)
                entry: Row = {"x": x, "y": y, "evidence": evidence, "probability": found.value}
                entry |= {"probability_lo": found.lo, "probability_hi": found.hi, "n_families": len(pairs)}
                numbers.append(entry)
                shown[title(y)] = interval(entry, "probability", 2)
            parts.setdefault(_across(data, evidence), []).append(shown)
    caption = (
        "Probability that a run of the row's learner scores above a run of the column's on the headline metric, with "
        "the most evidence (Mann-Whitney U / nm, averaged over common families), with 95 % interval."
    )
    return lay_out("improvement", "Probability of improvement", caption, numbers, parts, ("scores.csv",))


def _across(data: Data, evidence: str) -> str:
    """The title of a part over all families; needed only where learners differ in their evidence."""
    if evidence == DEMONSTRATIONS:
        return FROM_DEMONSTRATIONS
    return "" if len(data.evidences) == 1 else "from own episodes"


def _headline_runs(data: Data, section: Section, name: str) -> np.ndarray[Any, Any]:
    return data.run_scores(section[0], name, data.headline(section))


def _scale_span(data: Data, section: Section) -> float:
    """Oracle minus random on the headline metric; NaN where that is no scale."""
    random, oracle = data.scale(section[0], data.headline(section))
    return oracle - random if oracle > random else np.nan


def _scaled(data: Data, section: Section, name: str) -> stats.Estimate:
    """Mean normalised headline score of one policy in one section."""
    scores = data.normalised(section, name)
    if not scores.size or not np.isfinite(scores).all():
        return stats.Estimate(np.nan, np.nan, np.nan)
    return stats.estimate([scores], stats.mean, seeding.generator("bootstrap", data.suite, section[0], name))
