"""Headline metric before any evidence and at the K that every learner reaches, and that of scripted policies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kshot import seeding
from kshot.reporting import stats
from kshot.reporting.names import BAYES, policy_name
from kshot.reporting.results import Results
from kshot.reporting.sections import Section
from kshot.reporting.tables._common import Entry, brackets, cell, columns, evidence_used, part, row, scale_said
from kshot.reporting.values import Cell, Part, Row, Table, Value, digits_for, number

PLACES = {"headline": 10}
KNOWN = "known"
"""The kind of a value that is no policy's but known exactly."""


def build(results: Results) -> Table:
    numbers: list[Entry] = []
    parts: list[Part] = []
    for section in results.sections:
        entries = _entries(results, section)
        numbers += entries
        parts.append(part(section, _rows(results, section, entries)))
    sources = ("summary.csv", "scores.csv")
    return Table("headline", "Headline comparison", _caption(numbers), numbers, parts, sources, PLACES)


def _caption(numbers: Sequence[Entry]) -> str:
    """How to read the table; of columns that it may lack only where it has them."""
    sentences = [
        "All at one K, the largest of the suite's that every learner reaches, by the actions that each is meant to be "
        "tested with. A learner that adapts on blocks of episodes acts, within a block, by what it learnt from the "
        "complete ones: evidence is the environment steps that the policy has used, shown where they differ."
    ]
    if any(entry["metric"] == "trial_return" for entry in numbers):
        sentences.append(
            "Where the headline is the return of a trial, the columns by K are returns of single episodes; learners "
            "that adapt only after a trial stand below, not ranked by it, and those from demonstrations, to whom a "
            "trial means nothing, are scored by single episodes alone."
        )
    sentences.append(f"Mean over runs, {brackets(entry['n_seeds'] for entry in numbers)}.")
    if any(np.isfinite(entry["mean_lo_tasks"]) for entry in numbers):
        sentences.append(
            "Over seeds and tasks: 95 % interval of the headline score when the test tasks are drawn anew as well."
        )
    return " ".join([*sentences, *scale_said(numbers), "Task s.e.: standard error over test tasks."])


def _entries(results: Results, section: Section) -> list[Entry]:
    """Learners by their scores, those that are not judged by them, scripted policies."""
    summary, family, k = results.summary, section.family, section.k
    entries: list[Entry] = []
    for name, kind in section.policies:
        entry: Entry = {"family": family, "algorithm": name, "kind": kind, "evidence": section.evidence}
        entry |= {"metric": section.metric, "k": k}
        there = summary.point(family, name, section.episode_metric, k)
        unranked = name in section.finished and name not in section.judged
        score = None if unranked else summary.point(family, name, section.metric, k)
        entry |= columns("first", summary.point(family, name, section.episode_metric, 0)) | columns("at_k", there)
        entry["adaptation_steps"] = there.adaptation_steps if there and kind == "algorithm" else np.nan
        entry |= columns("score", score)
        for key in ("task_se", "mean_lo_tasks", "mean_hi_tasks"):
            entry[key] = getattr(score, key) if score else np.nan
        entry["actions"] = there.mode if there else ""
        entry["unranked"] = unranked
        entry["block"] = summary.tests[family, name].block if there else np.nan
        count, scaled = results.grid.run_counts[family, name], _scaled(results, section, name)
        entry |= {"n_seeds": count.counted, "n_seeds_expected": count.expected, "n_tasks": section.info.tasks}
        entry |= {"normalised": scaled.value, "normalised_lo": scaled.lo, "normalised_hi": scaled.hi}
        entries.append(entry | {"normalised_n": count.counted})
    if section.by_trial and BAYES in section.info.known:
        entries.append(_known_entry(results, section, entries[0]))
    entries.sort(key=lambda e: (e["kind"] != "algorithm", e["unranked"], -np.nan_to_num(e["score"], nan=-np.inf)))
    return entries


def _known_entry(results: Results, section: Section, like: Entry) -> Entry:
    """The exact value of the best possible trial."""
    value = section.info.known[BAYES]
    scaled = stats.normalise(np.array([value]), *results.summary.scale(section.family, section.metric))[0]
    known = {key: like[key] for key in ("family", "evidence", "metric", "n_tasks", "k")}
    known |= {"algorithm": BAYES, "kind": KNOWN, "score": value, "normalised": scaled}
    known |= {"actions": "", "unranked": False}
    return {**dict.fromkeys(like, np.nan), **known}


def _scaled(results: Results, section: Section, name: str) -> stats.Estimate:
    """Mean normalised headline score of one policy in one section."""
    scores = results.normalised_scores(section, name)
    if not scores.size or not np.isfinite(scores).all():
        return stats.Estimate(np.nan, np.nan, np.nan)
    generator = seeding.generator("bootstrap", results.grid.suite, section.family, name)
    return stats.estimate([scores], stats.mean, generator)


def _rows(results: Results, section: Section, entries: Sequence[Entry]) -> list[Row]:
    digits, episode_digits = (digits_for([entry[key] for entry in entries]) for key in ("score", "at_k"))
    steps = {entry["adaptation_steps"] for entry in entries if np.isfinite(entry["adaptation_steps"])}
    over_tasks = any(np.isfinite(entry["mean_lo_tasks"]) for entry in entries)
    rows = []
    for entry in entries:
        values: dict[str, Value] = {}
        if section.by_trial:
            after = f"adapts after {entry['block']:.0f}" if entry["unranked"] else ""
            values["trial"] = after or cell(entry, "score", digits)
        values["K = 0"] = cell(entry, "first", episode_digits)
        values[f"K = {section.k}"] = cell(entry, "at_k", episode_digits)
        if len(steps) > 1:
            values["evidence"] = evidence_used(entry["adaptation_steps"])
        if over_tasks:
            ends = (entry["mean_lo_tasks"], entry["mean_hi_tasks"])
            text = f"[{', '.join(number(end, digits) for end in ends)}]"
            values["over seeds and tasks"] = text if np.isfinite(ends[0]) else ""
        values |= {"normalised": cell(entry, "normalised", 2), "task s.e.": Cell(entry["task_se"], digits + 1)}
        values["actions"] = entry["actions"]
        if entry["kind"] == KNOWN:
            rows.append(Row(policy_name(BAYES), {**values, "runs": "exact"}, scripted=True))
        else:
            rows.append(row(results.grid, section, entry["algorithm"], values))
    return rows
