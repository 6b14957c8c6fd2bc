"""The tables over all families: normalised scores, and how likely one learner is to beat another."""

from __future__ import annotations

import numpy as np

from kshot import seeding
from kshot.reporting import stats
from kshot.reporting.data import DEMONSTRATIONS, Data, Section
from kshot.reporting.layout import FROM_DEMONSTRATIONS, Parts, Row, Table, interval, lay_out, title
from kshot.reporting.rows import brackets


def normalised(data: Data) -> Table:
    """Normalised headline scores over all families."""
    numbers: list[Row] = []
    parts: Parts = {}
    for evidence in data.evidences:
        usable = [section for section in _sections(data, evidence) if np.isfinite(_scale_span(data, section))]
        for name in data.algorithms(evidence=evidence):
            strata = {section[0]: data.normalised(section, name) for section in usable}
            strata = {family: scores for family, scores in strata.items() if scores.size}
            if not strata:
                continue
            entry: Row = {"algorithm": name, "evidence": evidence}
            least = min(len(scores) for scores in strata.values())
            for label, statistic in (("mean", stats.mean), ("iqm", stats.trimmed)):
                generator = seeding.generator("bootstrap", data.suite, "families", name)
                found = stats.estimate(list(strata.values()), statistic, generator)
                entry |= {label: found.value, f"{label}_lo": found.lo, f"{label}_hi": found.hi, f"{label}_n": least}
            entry |= {"n_runs": sum(len(s) for s in strata.values()), "n_families": len(strata)}
            entry |= {"families": " ".join(strata)}
            numbers.append(entry)
        total = len(_sections(data, evidence))
        ranked = sorted((e for e in numbers if e["evidence"] == evidence), key=lambda e: (-e["n_families"], -e["iqm"]))
        for entry in ranked:
            name = entry["algorithm"]
            shown = {"policy": title(name), "IQM": interval(entry, "iqm", 2), "mean": interval(entry, "mean", 2)}
            shown |= {"runs": str(entry["n_runs"]), "families": f"{entry['n_families']} of {total}"}
            parts.setdefault(_across(data, evidence), []).append(shown)
    caption = (
        "Headline scores on each family's scale from the random policy (0) to the scripted oracle (1), which is no "
        f"bound, so that scores can exceed 1; all learners of a family at the same K ({_ks(data)}) and by the actions "
        "that each is meant to be tested with, over all runs and families: interquartile mean and mean, "
        f"{brackets(entry['mean_n'] for entry in numbers)}, stratified by family. A learner that adapts only after a "
        "trial is left out where the headline is a trial's return. Rows over other families are not comparable."
    )
    return lay_out("normalised", "Normalised scores", caption, numbers, parts, ("scores.csv",))


def improvement(data: Data) -> Table:
    """How likely a run of one learner beats a run of another, over the families where both have five runs."""
    numbers: list[Row] = []
    parts: Parts = {}
    for evidence in data.evidences:
        names = data.algorithms(evidence=evidence)
        rows = []
        for x in names if len(names) > 1 else []:
            shown = {"row beats column": title(x)}
            for y in names:
                entry = None if x == y else _entry(data, evidence, x, y)
                shown[title(y)] = "" if x == y else "too few runs"
                if entry is not None:
                    numbers.append(entry)
                    shown[title(y)] = f"{interval(entry, 'probability', 2)} ({_basis(entry)})"
            rows.append(shown)
        if any(entry["evidence"] == evidence for entry in numbers):
            parts[_across(data, evidence)] = rows
    caption = (
        "Probability that a run of the row's learner scores above a run of the column's on the headline metric, at the "
        f"same K ({_ks(data)}) and by the actions that each is meant to be tested with: Mann-Whitney U / nm, averaged "
        "over the families in which both have at least five runs, with 95 % score interval (Newcombe 2006). Beside "
        "it: families, and the fewest runs of the row's and the column's learner in one of them."
    )
    return lay_out("improvement", "Probability of improvement", caption, numbers, parts, ("scores.csv",))


def _entry(data: Data, evidence: str, x: str, y: str) -> Row | None:
    """One ordered pair of learners; None where no family has enough runs of both."""
    scores = [[data.headline_scores(section, name) for name in (x, y)] for section in _sections(data, evidence)]
    pairs = [(a, b) for a, b in scores if min(a.size, b.size) >= stats.INTERVAL_RUNS]
    if not pairs:
        return None
    found = stats.improvement_estimate([a for a, _ in pairs], [b for _, b in pairs])
    return {
        "x": x,
        "y": y,
        "evidence": evidence,
        "probability": found.value,
        "probability_lo": found.lo,
        "probability_hi": found.hi,
        "n_families": len(pairs),
        "n_runs_x": min(a.size for a, _ in pairs),
        "n_runs_y": min(b.size for _, b in pairs),
    }


def _basis(entry: Row) -> str:
    """``3 families, n = 5 and 10``."""
    families = "1 family" if entry["n_families"] == 1 else f"{entry['n_families']} families"
    n = entry["n_runs_x"], entry["n_runs_y"]
    return f"{families}, n = {n[0]}" + (f" and {n[1]}" if n[0] != n[1] else "")


def _sections(data: Data, evidence: str) -> list[Section]:
    return [(family, of) for family, of, _ in data.sections if of == evidence]


def _ks(data: Data) -> str:
    """``point 20, bandit a trial``: what each section is compared at."""
    texts = []
    for family, evidence, _ in data.sections:
        section = (family, evidence)
        at = "a trial" if data.headline(section) == "trial_return" else str(data.comparison(section))
        texts.append(f"{family} {at}" + f" {FROM_DEMONSTRATIONS}" * (evidence == DEMONSTRATIONS))
    return ", ".join(texts)


def _across(data: Data, evidence: str) -> str:
    """The title of a part over all families; needed only where learners differ in their evidence."""
    if evidence == DEMONSTRATIONS:
        return FROM_DEMONSTRATIONS
    return "" if len(data.evidences) == 1 else "from own episodes"


def _scale_span(data: Data, section: Section) -> float:
    """Oracle minus random on the headline metric; NaN where that is no scale."""
    random, oracle = data.scale(section[0], data.headline(section))
    return oracle - random if oracle > random else np.nan
