"""What else differs between the two sides of a comparison: tasks, measures, settings, code, runs that are not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from kshot.reporting.compare import UNTESTED, Compared, Comparison
from kshot.reporting.compare_sides import Side
from kshot.reporting.names import policy_name
from kshot.suites.run import NAMES, RunConfig

Note = tuple[str, str]
"""(severity as on the page, text)."""
MOST = 4
"""Names that one line lists before it counts the others."""
_OWN = (*NAMES, "seed", "evidence", "test_actions", "headline", "from_scratch", "family_module", "learning_curve")


def notes(comparison: Comparison) -> list[Note]:
    """A line for everything that bears on what the numbers mean."""
    a, b, both = comparison.a, comparison.b, [row for row in comparison.rows if row.both]
    found = [*_tests(comparison, both), *_runs("A", a, both), *_runs("B", b, both), *_measures(a, b, both)]
    found += _settings(a, b, both)
    if other := [row for row in both if _digest(a, row.family, row.a) != _digest(b, row.family, row.b)]:
        known = [row for row in other if _digest(a, row.family, row.a) and _digest(b, row.family, row.b)]
        found += [("note", f"Made by other source code: {_listed(known)}.")] * bool(known)
    for title, side, mine in (("A", a, "a"), ("B", b, "b")):
        alone = [row for row in comparison.rows if not row.both and getattr(row, mine)]
        found += [("note", f"Only in {title}: {_listed(alone)}.")] * bool(alone)
        absent = [family for family in side.families if family not in {row.family for row in comparison.rows}]
        found += [("note", f"Families only in {title}: {_some(absent)}.")] * bool(absent)
    return found


def _tests(comparison: Comparison, both: list[Compared]) -> Iterator[Note]:
    if not both:
        yield "warn", "No learner is on both sides under one name; --pair NAME_IN_A=NAME_IN_B compares two."
    if few := [row for row in both if row.verdict == UNTESTED]:
        yield "warn", f"Fewer than three seeds on a side allow no test, so that nothing is significant: {_listed(few)}."
    views = [(row, row.headline) for row in both]
    if other := [row for row, view in views if view.noise is not None and not view.noise.paired]:
        yield "warn", f"Other test tasks, so that outcomes are not paired by task: {_listed(other)}."
    if absent := [row for row, view in views if view.contrast is None]:
        yield "warn", f"Not compared, since a side has no result at that K or by that measure: {_listed(absent)}."
    for row, view in views:
        if view.a is not None and view.b is not None and view.a.mode != view.b.mode:
            yield "warn", f"{_pair(row)}: A by {view.a.mode} actions, B by {view.b.mode} ones."


def _runs(title: str, side: Side, both: list[Compared]) -> Iterator[Note]:
    """Runs that are in no mean."""
    for state in ("diverged", "missing"):
        names = [(row, row.a if title == "A" else row.b) for row in both]
        cells = side.grid.cells[side.grid.cells["state"] == state]
        learners = cells[cells["kind"] == "algorithm"]
        counts = Counter(zip(learners["family"].tolist(), learners["algorithm"].tolist(), strict=True))
        lost = [f"{_pair(row)} ({n})" for row, name in names if (n := counts.pop((row.family, name), 0))]
        lost += [f"{policy_name(name)} on {family} ({n})" for (family, name), n in counts.items()]
        if lost:
            yield "warn", f"Runs of {title} that are {state} and in no mean: {_some(lost)}."


def _measures(a: Side, b: Side, both: list[Compared]) -> Iterator[Note]:
    for family in dict.fromkeys(row.family for row in both):
        first, second = a.headline(family), b.headline(family)
        used = next(row.headline.metric for row in both if row.family == family)
        if first and second and first != second:
            yield "warn", f"{family}: the headline measure of A is {first}, that of B {second}; compared by {used}."
        if not (first or second):
            yield "note", f"{family}: no suite says what its headline measure is; compared by {used}."


def _settings(a: Side, b: Side, both: list[Compared]) -> Iterator[Note]:
    """One line for each learner whose settings differ, and one for those of which they are not known."""
    differing: dict[str, list[Compared]] = {}
    unknown = []
    for row in both:
        first, second = a.grid.pairs.get((row.family, row.a)), b.grid.pairs.get((row.family, row.b))
        if first is None or second is None:
            unknown.append(row)
        elif changed := _changes(first, second):
            differing.setdefault(_some(changed), []).append(row)
    for text, rows in differing.items():
        yield "note", f"Settings differ (A → B): {text}: {_listed(rows)}."
    if unknown:
        yield "note", f"Settings are not known on both sides, and may differ: {_listed(unknown)}."


def _changes(a: RunConfig, b: RunConfig) -> list[str]:
    first, second = _flat(a), _flat(b)
    return [
        f"{name} {first.get(name, 'not set')} → {second.get(name, 'not set')}"
        for name in dict.fromkeys([*first, *second])
        if first.get(name) != second.get(name)
    ]


def _flat(run: RunConfig) -> dict[str, Any]:
    """Settings by name, those of one run's parts among them."""
    flat: dict[str, Any] = {}
    for name, value in run.to_dict().items():
        if name in _OWN:
            continue
        parts: Mapping[str, Any] = value if isinstance(value, dict) else {"": value}
        flat |= {f"{name.removesuffix('_settings')} {part}".strip(): of for part, of in parts.items()}
    return flat


def _digest(side: Side, family: str, name: str) -> tuple[str, ...]:
    """The source code that made a learner's results; empty where it is not known."""
    cells = side.grid.cells
    mine = cells[(cells["family"] == family) & (cells["algorithm"] == name) & (cells["state"] == "ok")]
    return tuple(sorted({*mine["source_digest"], *mine["train_source_digest"]} - {""}))


def _pair(row: Compared) -> str:
    return f"{row.name} on {row.family}"


def _listed(rows: list[Compared]) -> str:
    return _some([_pair(row) for row in rows])


def _some(names: list[str]) -> str:
    """``a, b, c, d and 3 more``."""
    more = len(names) - MOST
    return ", ".join(names[:MOST]) + (f" and {more} more" if more > 0 else "")
