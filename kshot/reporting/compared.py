"""The headline tables: every policy of a section at one K, and each learner with all the evidence it can use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kshot import seeding
from kshot.reporting import stats
from kshot.reporting.data import BAYES, Data, Section
from kshot.reporting.layout import SCALE, Parts, Row, Table, digits_for, interval, lay_out, number, part_title, title
from kshot.reporting.rows import brackets, columns, runs, runs_text, scripted

Entries = list[tuple[Row, str]]
"""Numbers of each row, and what its last column says."""


def headline(data: Data) -> Table:
    """Headline metric before any evidence and at the K that every learner reaches, and that of scripted policies."""
    numbers: list[Row] = []
    parts: Parts = {}
    for family, evidence, learners in data.sections:
        section = (family, evidence)
        entries = _entries(data, section, learners)
        parts[part_title(family, evidence)] = _laid_out(data, section, entries)
        numbers += [entry for entry, _ in entries]
    caption = _caption(numbers)
    return lay_out("headline", "Headline comparison", caption, numbers, parts, ("summary.csv", "scores.csv"))


def _caption(numbers: Sequence[Row]) -> str:
    """How to read the headline table; of columns that it may lack only where it has them."""
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
    return " ".join([*sentences, SCALE, "Task s.e.: standard error over test tasks."])


def all_evidence(data: Data) -> Table:
    """Learners with all the evidence that each can use, where that is more than all of them reach."""
    numbers: list[Row] = []
    parts: Parts = {}
    for family, evidence, _ in data.sections:
        section, metric = (family, evidence), data.single(family)
        names = data.algorithms(family, evidence)
        points = {name: data.point(family, name, metric, "all") for name in names}
        if all(point is None or point["k"] <= data.comparison(section) for point in points.values()):
            continue
        scale = data.scale(family, metric)
        found = [(name, point) for name, point in points.items() if point is not None]
        digits = digits_for([point["mean"] for _, point in found])
        for name, point in found:
            entry: Row = {"family": family, "algorithm": name, "evidence": evidence, "metric": metric}
            entry |= columns("score", point) | {name: point[name] for name in ("mode", "adaptation_steps", "n_seeds")}
            entry["normalised"] = float(stats.normalise(np.array([point["mean"]]), *scale)[0])
            numbers.append(entry)
            at = f" at K = {entry['score_k']:.0f}"
            shown = {"policy": title(name), "score": interval(entry, "score", digits) + at}
            shown |= {"evidence": _steps(point["adaptation_steps"])}
            shown |= {"normalised": number(entry["normalised"], 2) + at if np.isfinite(entry["normalised"]) else ""}
            shown |= {"actions": str(point["mode"]), "runs": runs_text(data, family, name)}
            parts.setdefault(part_title(family, evidence), []).append(shown)
    caption = (
        "Single episodes after all the evidence that each learner can use and the suite asks for; its K stands beside "
        "the score. Rows with other K or other environment steps of evidence are no comparison. "
        f"{SCALE} Mean over runs, {brackets(entry['n_seeds'] for entry in numbers)}."
    )
    name = "All the evidence each can use"
    return lay_out("all_evidence", name, caption, numbers, parts, ("summary.csv",))


def _entries(data: Data, section: Section, learners: Sequence[str]) -> Entries:
    """Rows of a section: learners by their scores, those that are not ranked, scripted policies."""
    family, evidence = section
    metric, single, k = data.headline(section), data.single(family), data.comparison(section)
    info = data.families[family]
    unranked = set(learners) - set(data.ranked(section)) if metric == "trial_return" else set()
    entries: Entries = []
    for name, kind in [*((name, "algorithm") for name in learners), *scripted(data, section)]:
        entry: Row = {"family": family, "algorithm": name, "kind": kind, "evidence": evidence, "metric": metric, "k": k}
        entry |= columns("first", data.point(family, name, single, 0))
        there = data.point(family, name, single, k)
        entry |= columns("at_k", there)
        entry |= {"adaptation_steps": there["adaptation_steps"] if there and kind == "algorithm" else np.nan}
        score = None if name in unranked else data.point(family, name, metric, k)
        entry |= columns("score", score)
        for key in ("task_se", "mean_lo_tasks", "mean_hi_tasks"):
            entry[key] = score[key] if score else np.nan
        entry["actions"] = there["mode"] if there else ""
        entry["unranked"] = name in unranked and there is not None
        entry["block"] = data.tested(family, name).block if there else np.nan
        scaled = _scaled(data, section, name)
        ok, expected, _ = runs(data, family, name)
        entry |= {"n_seeds": ok, "n_seeds_expected": expected, "n_tasks": info.tasks}
        entry |= {"normalised": scaled.value, "normalised_lo": scaled.lo, "normalised_hi": scaled.hi}
        entries.append((entry | {"normalised_n": ok}, runs_text(data, family, name)))
    if metric == "trial_return" and BAYES in info.known:
        entries.append((_known_entry(data, family, entries[0][0]), "exact"))
    entries.sort(
        key=lambda e: (e[0]["kind"] != "algorithm", e[0]["unranked"], -np.nan_to_num(e[0]["score"], nan=-np.inf))
    )
    return entries


def _laid_out(data: Data, section: Section, entries: Entries) -> list[Row]:
    """The text of a section's rows."""
    k, trial = data.comparison(section), data.headline(section) == "trial_return"
    digits, single_digits = (digits_for([entry[key] for entry, _ in entries]) for key in ("score", "at_k"))
    steps = {entry["adaptation_steps"] for entry, _ in entries if np.isfinite(entry["adaptation_steps"])}
    tasks = any(np.isfinite(entry["mean_lo_tasks"]) for entry, _ in entries)
    shown = []
    for entry, run_text in entries:
        row = {"policy": title(entry["algorithm"])}
        if trial:
            after = f"adapts after {entry['block']:.0f}" if entry["unranked"] else ""
            row["trial"] = after or interval(entry, "score", digits)
        row["K = 0"] = interval(entry, "first", single_digits)
        row[f"K = {k}"] = interval(entry, "at_k", single_digits)
        if len(steps) > 1:
            row["evidence"] = _steps(entry["adaptation_steps"])
        if tasks:
            ends = (entry["mean_lo_tasks"], entry["mean_hi_tasks"])
            text = f"[{', '.join(number(end, digits) for end in ends)}]"
            row["over seeds and tasks"] = text if np.isfinite(ends[0]) else ""
        row |= {"normalised": interval(entry, "normalised", 2), "task s.e.": number(entry["task_se"], digits + 1)}
        shown.append(row | {"actions": entry["actions"], "runs": run_text})
    return shown


def _steps(steps: float) -> str:
    """``1,500 steps``: how much a policy has used; empty for a scripted one."""
    return f"{steps:,.0f} steps" if np.isfinite(steps) else ""


def _known_entry(data: Data, family: str, like: Row) -> Row:
    """The exact value of the best possible trial as a row of the headline table."""
    info = data.families[family]
    value = info.known[BAYES]
    scaled = stats.normalise(np.array([value]), *data.scale(family, info.headline))[0]
    known = {key: like[key] for key in ("family", "evidence", "metric", "n_tasks", "k")}
    known |= {"algorithm": BAYES, "kind": "known", "score": value, "normalised": scaled}
    known |= {"actions": "", "unranked": False}
    return {**dict.fromkeys(like, np.nan), **known}


def _scaled(data: Data, section: Section, name: str) -> stats.Estimate:
    """Mean normalised headline score of one policy in one section."""
    scores = data.normalised(section, name)
    if not scores.size or not np.isfinite(scores).all():
        return stats.Estimate(np.nan, np.nan, np.nan)
    return stats.estimate([scores], stats.mean, seeding.generator("bootstrap", data.suite, section[0], name))
