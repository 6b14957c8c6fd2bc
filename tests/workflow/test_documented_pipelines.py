"""Every command of Snakemake, and of ``kshot run``, that the documentation shows is run from beginning to end.

In a clone whose suites have the names, the families and the rows of the shipped ones, but few and tiny runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.building import consoles
from kshot.places import ROOT
from tests.workflow import at_once
from tests.workflow.at_once import Shown
from tests.workflow.documented import cut

pytestmark = pytest.mark.workflow

MAML = {"hidden": [8], "meta_batch": 2, "episodes": 2, "test_episodes": 2}
EVALUATION = {"tasks": 2, "k": [0, 2]}
POINT: dict[str, Any] = {"steps": 80, "settings": {"horizon": 10}, "evaluation": EVALUATION, "references": ["oracle"]}
PEARL = {
    **{"hidden": [8], "encoder_hidden": [8], "training_tasks": 4, "initial_episodes": 1, "collect_tasks": 2},
    **{"prior_episodes": 1, "extra_posterior_episodes": 1, "gradient_steps": 2, "batch_size": 8},
    **{"replay_capacity": 1000, "meta_batch": 2},
}
RL2 = {
    **{"hidden": 4, "encoder": [4], "trial_episodes": 3, "meta_batch": 2},
    **{"minibatches": 1, "epochs": 1, "chunk": 5, "burn_in": 1},
}
REACH = POINT | {"steps": 40, "settings": {"horizon": 5}}


def curve(suite: str, family: str, n: int) -> str:
    return f"results/{suite}/{family}/maml/seed-{n}/curve.parquet"


LAPTOP, SMOKE = "reports/laptop/index.html", "reports/smoke/index.html"
PARTIAL, HALF = "reports/laptop/partial/index.html", "reports/smoke/partial/index.html"
NOTHING = "There was nothing to be done."
STORIES: dict[str, list[Shown]] = {
    "laptop": [
        Shown("snakemake -n", says="Job stats:"),
        Shown("kshot run laptop", (LAPTOP, curve("laptop", "nav2d", 0)), f"The report: {LAPTOP}", jobs=8),
        Shown("snakemake --cores all", jobs=0),  # the same without a line of progress
        Shown("snakemake --cores all figures tables", jobs=0),
        Shown("snakemake --cores all --resources gpu=1", jobs=0),
        Shown("snakemake --cores all --set-threads train=2", jobs=0),
        Shown("kshot run laptop -- --resources gpu=1", says=NOTHING, jobs=0),
        Shown("snakemake --cores all tables paper_figures", ("reports/laptop/paper_figures/nav2d-*.pdf",), jobs=1),
        Shown("snakemake --cores all --config 'seeds=[0,1]'", (LAPTOP, curve("laptop", "nav2d", 1)), jobs=7),
        Shown("kshot run laptop -- --config 'seeds=[0,1]'", says=NOTHING, jobs=0),
        Shown("snakemake --cores 1 partial_report", (PARTIAL,), jobs=1),
        Shown("kshot run laptop --cores 1 -- partial_report", (PARTIAL,), f"The report: {PARTIAL}", jobs=1),
        Shown("snakemake --cores 1 audit", says="all made by this code", jobs=1),
    ],
    "smoke": [
        Shown("snakemake --cores all --configfile config/suites/smoke.yaml", (SMOKE,), jobs=8),
        Shown("kshot run smoke", says=NOTHING, jobs=0),
        Shown("kshot run smoke --cores 2 -- --keep-going", says=NOTHING, jobs=0),
        Shown("kshot run smoke --cores 1 -- partial_report", (HALF,), f"The report: {HALF}", jobs=1),
        Shown(
            "snakemake --cores all --config 'seeds=[0,1]' --configfile config/suites/smoke.yaml",
            (SMOKE, curve("smoke", "nav2d", 1)),
            jobs=7,
        ),
        Shown("kshot run smoke -- --config 'seeds=[0,1]'", says=NOTHING, jobs=0),
        Shown("kshot pack smoke", prepares=True),
        Shown("snakemake --cores all reference", ("reports/reference/smoke/index.html",), jobs=1),
    ],
    "reference-ml1": [
        Shown(
            "snakemake --cores all --configfile config/suites/reference-ml1.yaml",
            ("reports/reference-ml1/index.html",),
            jobs=11,
        ),
        Shown(
            "python -m benchmarks.whose_rewards reference-ml1 --family ml1-push --algorithm rl2 --k 0",
            says="| another task's |",
        ),
        Shown(
            "python -m benchmarks.whose_goal reference-ml1 --family ml1-reach --algorithm rl2 --k 9", says="| both |"
        ),
    ],
    "sweep": [
        Shown(
            "snakemake --cores all selection --configfile config/suites/sweep.yaml",
            ("reports/sweep/selection.yaml", "reports/sweep/selection.md"),
            jobs=7,
        )
    ],
    "fidelity-reach": [
        Shown(
            "snakemake --cores all fidelity --configfile config/suites/fidelity-reach.yaml",
            ("reports/reference/fidelity/fidelity-reach.csv", "docs/fidelity.md"),
        ),
        Shown("python -m benchmarks.whose_goal fidelity-reach --family ml1-reach --algorithm pearl", says="| both |"),
    ],
    "begun": [
        Shown("kshot evaluate begun.yaml --family nav2d --algorithm oracle --seed 0", prepares=True),
        Shown("kshot run begun.yaml -- partial_report", ("reports/begun/partial/index.html",), jobs=1),
    ],
}
"""Of each suite, in a folder of its own, the commands in this order."""


def suite(name: str) -> dict[str, Any]:
    """A shipped suite, cut down."""
    if name == "fidelity-reach":  # PEARL at every K that config/fidelity.yaml asks for
        reach = REACH | {"evaluation": {"tasks": 2, "k": [0, 1, 2, 3, 10]}}
        return cut(name, {"ml1-reach": reach}, {"pearl": PEARL})
    if name == "reference-ml1":
        family = REACH | {"evaluation": EVALUATION | {"official": False}}
        return cut(name, {"ml1-push": family, "ml1-reach": family}, {"rl2": RL2})
    families, rows = {"nav2d": POINT}, {"maml": MAML}
    if name == "sweep":
        rows["maml-inner-half"] = MAML | {"inner_lr": 0.05}
    return cut(name, families, rows)


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    (tmp_path / "bin").mkdir()
    with at_once.python(tmp_path / "bin") as script:
        yield at_once.environment(tmp_path / "clone", script)


@pytest.mark.parametrize("name", STORIES)
def test_pipelines_do_what_is_said_of_them(name: str, tmp_path: Path, environment: dict[str, str]) -> None:
    clone = tmp_path / "clone"
    if name == "begun":
        at_once.write_suites(clone)
        page = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
        (text,) = (block.text for block in consoles.blocks(page) if block.text.startswith("# begun.yaml"))
        (clone / "begun.yaml").write_text(text)
    else:
        at_once.write_suites(clone, suite(name), suite("laptop"))
    at_once.play(STORIES[name], clone, environment)
