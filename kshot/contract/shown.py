"""What every figure and table promises: it is made of any results, without a warning, and each time the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kshot import plugins
from kshot.contract import tiny
from kshot.reporting import figures, page_parts, style
from kshot.reporting.aggregate import aggregate
from kshot.reporting.results import Results, load
from kshot.reporting.table_latex import latex
from kshot.reporting.table_text import markdown
from kshot.reporting.values import Table
from kshot.running.evaluate import evaluate
from kshot.running.train import train

_LEARNER, _FAMILY = "rl2", "bandit"
_SCRIPTED = ("random", "task_blind", "oracle")


def results(root: Path) -> Results:
    """Results of a suite so small that its numbers mean nothing: three seeds of a learner, and scripted policies."""
    learners = [tiny.run(_LEARNER, _FAMILY, seed=seed) for seed in range(3)]
    for run in learners:
        train(run, root)
    scripted = replace(learners[0], algorithm_module=None, algorithm_settings={}, steps=0, test_actions="sampled")
    runs = [*learners, *(replace(scripted, algorithm=name, evidence="rollouts") for name in _SCRIPTED)]
    for run in runs:
        evaluate(run, root)
    aggregate(runs, root)
    return load(runs, root)


def is_made_of_any_results(kind: plugins.Shown, name: str, folder: Path) -> None:
    """The module has what it has to, and its files are made, with the same bytes each time.

    Args:
        kind: figure or table.
        name: one of ``kshot.plugins.names``.
        folder: for results.
    """
    module, found = plugins.load(kind, name, set()), results(folder)
    made = []
    for _ in range(2):
        if kind == "figures":
            with style.context(module.NAME):
                drawn = figures.draw(module, found, figures.concerned(module, found))
                made.append([style.render(drawn, format) for format in style.FORMATS])
            page_parts.place_of(getattr(module, "PLACES", {}))
        else:
            table = module.build(found)
            assert isinstance(table, Table), (
                f"build returned a {type(table).__name__}, not a kshot.reporting.values.Table"
            )
            assert table.name.isidentifier(), f"its name {table.name!r}, by which its files go, is no identifier"
            own = plugins.own("tables", table.name)
            assert own is None, f"its name {table.name!r}, by which its files go, is that of kshot's own table ({own})"
            page_parts.place_of(table.places)
            made.append([text.encode() for text in (markdown(table), latex(table, found.grid.suite))])
    assert made[0] == made[1], "made twice of the same results, the files differ"
