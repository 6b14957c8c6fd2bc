"""What the page says of a suite in words: the figures below its title, warnings, and what every family is like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from kshot import computed_again
from kshot.reporting.grid import Grid
from kshot.reporting.names import CEILING, METRIC_NAMES, policy_name
from kshot.reporting.results import Results
from kshot.reporting.sections import Section
from kshot.reporting.stats import INTERVAL_RUNS, MINIMUM_RUNS, is_range

NEARLY = 0.8
"""The share of what a family's planners can do that is called near."""


def duration(seconds: float) -> str:
    """``2.5 h``, ``40 min`` or ``12 s``."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def count(value: float) -> str:
    """``1.2 M``, ``340 k`` or ``512``."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"


def excluded(item: Mapping[str, Any]) -> dict[str, str]:
    """An entry of ``exclude`` in plain words: names of one or several algorithms and families, and the reason."""
    return {name: _listed(item[name]) for name in ("algorithm", "family")} | {"reason": str(item["reason"])}


def _listed(names: str | Sequence[str]) -> str:
    """``a``, ``a and b``, or ``a, b and c``."""
    *most, last = [names] if isinstance(names, str) else names
    return f"{', '.join(most)} and {last}" if most else last


def facts(grid: Grid) -> list[tuple[str, str]]:
    """(figure, what it counts) of the strip below the title."""
    cells = grid.cells
    learners = cells[cells["kind"] == "algorithm"]
    ok = int((cells["state"] == "ok").sum())
    seeds, done = (of["seed"].nunique() for of in (learners, learners[learners["state"] == "ok"]))
    families, algorithms = cells["family"].nunique(), learners["algorithm"].nunique()
    return [
        (str(families), "task family" if families == 1 else "task families"),
        (str(algorithms), "learner" if algorithms == 1 else "learners"),
        (str(seeds) if done == seeds else f"{done}/{seeds}", "seed" if seeds == 1 else "seeds"),
        (f"{ok}/{len(cells)}", "runs complete"),
        (count(cells["train_env_steps"].fillna(0).sum()), "training steps"),
        (duration(cells["wall_seconds"].fillna(0).sum()), "run time, all runs"),
    ]


def notices(results: Results, faults: Sequence[str]) -> list[tuple[str, Markup]]:
    """(severity, text) of everything a reader must know before believing a number; ``faults`` is what is not shown."""
    cells = results.grid.cells
    said = [("bad", Markup("Not shown, because of an error in its code: {}.").format(fault)) for fault in faults]
    mixed = int((cells["source_flag"] == "mixed").sum())
    if mixed:
        text = (
            "Mixed source code: {} runs share their modules with runs that other code made. Their numbers must not be "
            "compared until the older ones have been run again, or one of them computed again with the same result. "
            '<a href="#provenance">Provenance</a> shows the digests.'
        )
        said.append(("bad", Markup(text).format(mixed)))
    if same := int((cells["source_flag"] == "same numbers").sum()):
        text = (
            "{} runs share their modules with runs that an earlier or later version of the code made. One such run of "
            "each was computed again by the other version, and every value and the model were the same: {}."
        )
        again = ", ".join(note.run for note in computed_again.read(results.grid.root / results.grid.suite))
        said.append(("note", Markup(text).format(same, again)))
    for state, text in (
        ("missing", '<a href="#incomplete">{} of {} runs</a> are missing; averages are over the others.'),
        ("diverged", '<a href="#incomplete">{} of {} runs</a> diverged and count in no average; tables say how many.'),
    ):
        n = int((cells["state"] == state).sum())
        if n:
            said.append(("warn", Markup(text).format(n, len(cells))))
    # Of what is there, not of what is to come: the words go with the numbers.
    expected = max((point.n_seeds for point in results.summary.points if point.kind == "algorithm"), default=0)
    if expected and expected < MINIMUM_RUNS:
        seeds = "One seed of each" if expected == 1 else "One or two seeds of each"
        text = "{}: no difference between learners is established."
        said.append(("warn", Markup(text).format(seeds)))
    elif expected and is_range(expected):
        text = (
            "What stands beside means, and bands in figures, is the range of {} seeds, from the lowest to the highest: "
            "intervals are given from {} seeds on."
        )
        said.append(("note", Markup(text).format(expected, INTERVAL_RUNS)))
    families = results.summary.families
    for split in sorted({info.split for info in families.values()} - {"test"}):
        of = [name for name, info in families.items() if info.split == split]
        where = f" ({_listed(of)})" if len(of) < len(families) else ""
        text = "Evaluated on {} tasks{}: these numbers are for choosing settings, they are not results."
        said.append(("warn", Markup(text).format(split, where)))
    done = cells[cells["state"] != "missing"]
    if (done["git_dirty"] == "True").any():
        said.append(("note", Markup("Some runs were made from a working tree with uncommitted changes.")))
    return said


def description(results: Results, section: Section) -> str:
    """What a section's tasks and episodes are, and how its learners are compared."""
    info = section.info
    headline = METRIC_NAMES[section.metric]
    if section.by_trial:
        headline = f"return of a trial of {info.episodes_per_trial} episodes"
    compared = "" if section.by_trial else f", compared at K = {section.k}"
    parts = [f"{info.tasks} {info.split} tasks", f"headline: {headline}{compared}"]
    parts += [f"K = {', '.join(str(k) for k in info.k)}"] + [f"{len(info.classes)} classes"] * bool(info.classes)
    steps = "step" if info.horizon == 1 else "steps"
    text = "; ".join([*parts, f"episodes of at most {info.horizon} {steps}"])
    note = given_away(results, section) if section.demonstrated else ""
    return f"{text}. {note}" if note else text


def given_away(results: Results, section: Section) -> str:
    """A sentence where the fewest demonstrations are nearly enough without any other task; else nothing."""
    family, metric, summary = section.family, section.metric, results.summary
    ceiling = summary.point(family, CEILING, metric, "all")
    curves = [
        summary.curve(family, n, metric) for n in section.finished if (family, n) in results.grid.without_training
    ]
    first = [next((point for point in curve if point.k > 0), None) for curve in curves]
    best = max((point for point in first if point is not None), key=lambda point: point.mean, default=None)
    # A share of the ceiling means something where 0 is the floor: of success, not of returns.
    if ceiling is None or best is None or not metric.startswith("success") or best.mean < NEARLY * ceiling.mean:
        return ""
    return (
        f"Without any other task {policy_name(best.algorithm)} reaches {best.mean:.2f} with K = "
        f"{best.k}, and the script {CEILING!r} {ceiling.mean:.2f}: there is little left for a prior to show here."
    )
