"""Published results stand beside ours only where the tasks are the same, and say what differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kshot import registry
from kshot.errors import RecordError
from kshot.reporting.aggregate import aggregate
from kshot.reporting.results import Results, load
from kshot.reporting.tables import published
from tests import synthetic

pytestmark = pytest.mark.contract

PUSH = replace(synthetic.ML10, name="push", n_tasks=5, k=(0, 10), classes=())
REACH = replace(PUSH, name="reach")
SETTINGS = {"push": {"benchmark": "ML1", "task": "push-v3", "horizon": 500}, "reach": {"benchmark": "ML1"}}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Two families of Meta-World, of which one is a published one, with two rows of the same algorithm."""
    runs = [
        replace(
            run,
            family_module="metaworld",
            family_settings=SETTINGS[run.family],
            algorithm_module={"maml-fast": "maml"}.get(run.algorithm, run.algorithm_module),
        )
        for run in synthetic.runs_of([PUSH, REACH], ("maml", "maml-fast", "reptile"), seeds=3)
    ]
    synthetic.write_suite([PUSH, REACH], runs, tmp_path)
    aggregate(runs, tmp_path)
    return load(runs, tmp_path)


def test_every_row_of_an_algorithm_stands_beside_what_was_published_of_it(results: Results) -> None:
    table = published.build(results)
    assert [part.title for part in table.parts] == ["push"]  # nothing is noted of reach without its task
    known = [entry for entry in published.entries() if entry.about("metaworld", SETTINGS["push"])]
    assert {entry.algorithm for entry in known} == {"maml", "rl2"}
    assert [row.name for row in table.parts[0].rows] == ["rl2", "maml", "maml-fast"]  # rl2 is no row of this suite
    numbers = {entry["row"]: entry for entry in table.numbers}
    point = results.summary.point("push", "maml-fast", "success_any", 10)
    assert point is not None and numbers["maml-fast"]["success_any"] == point.mean
    for entry in known:
        assert entry.source in table.caption


def test_what_is_noted_is_about_something_that_there_is() -> None:
    families = set(registry.names("envs"))
    for entry in published.entries():
        assert entry.family in families
        assert 0 <= entry.value <= 1 and entry.protocol and entry.differs and entry.source


@pytest.mark.parametrize(
    ("text", "message"),
    [("- {family: metaworld}", r"published\.yaml: 0\.algorithm: Field required"), ("[", r"published\.yaml")],
)
def test_a_mistake_in_the_notes_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "published.yaml"
    path.write_text(text)
    with pytest.raises(RecordError, match=message):
        published.entries(path)
