"""Every command ``kshot`` that the documentation shows is run, but for pipelines (test_documented_pipelines.py).

On suites that have the names, the families and the rows of the shipped ones, but few and tiny runs.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kshot import yaml_text
from tests.workflow import at_once
from tests.workflow.at_once import Shown
from tests.workflow.documented import cut

pytestmark = pytest.mark.workflow

MAML = {"hidden": [8], "meta_batch": 2, "episodes": 2, "test_episodes": 2}
RL2 = {"hidden": 8, "encoder": [8], "meta_batch": 4, "minibatches": 1, "epochs": 1, "chunk": 0, "burn_in": 0}
POINT: dict[str, Any] = {
    "steps": 80,
    "settings": {"horizon": 10},
    "evaluation": {"tasks": 4, "k": [0, 2], "sampled_episodes": 1},
    "references": ["oracle"],
}
BANDIT = {"steps": 100, "evaluation": {"tasks": 4, "k": [0, 1]}, "references": ["oracle"]}
REACH = POINT | {"steps": 40, "settings": {"horizon": 5}, "evaluation": {"tasks": 4, "k": [0, 10]}}
LEFT_OUT = [
    {"algorithm": "rl2", "family": ["nav2d", "ml1-reach"], "reason": "one family is enough"},
    {"algorithm": ["maml", "fomaml"], "family": "bandit", "reason": "one family is enough"},
    {"algorithm": "fomaml", "family": "ml1-reach", "reason": "one family is enough"},
]
SUITES = [
    cut(
        "laptop",
        {"nav2d": POINT, "bandit": BANDIT, "ml1-reach": REACH},
        {"maml": MAML, "fomaml": MAML, "rl2": RL2},
        seeds=[0, 2],
        exclude=LEFT_OUT,
    ),
    cut("smoke", {"ml1-reach": REACH}, {"maml": MAML}),
    cut(
        "reference-ml10",
        {"ml10": REACH | {"evaluation": {"tasks": 5, "k": [0, 1], "official": False}}},
        {"rl2": RL2 | {"meta_batch": 10, "trial_episodes": 2}},
    ),
]
AT_REACH = "--family ml1-reach --algorithm maml --seed 0"
REACHED = "results/smoke/ml1-reach/maml/seed-0/"
OFFICIAL = [
    Shown(f"kshot train smoke {AT_REACH}", (f"{REACHED}model.pt", f"{REACHED}train.parquet", f"{REACHED}run.json")),
    Shown(f"kshot evaluate smoke {AT_REACH}", prepares=True),
    Shown(f"kshot official smoke {AT_REACH}", (f"{REACHED}official.json",)),
    Shown("kshot evaluate smoke --family ml1-reach --algorithm oracle --seed 0", prepares=True),
    Shown("kshot aggregate smoke", prepares=True),
    Shown("kshot report smoke", ("reports/smoke/index.html",)),
]


def missing(package: str, shown: Shown) -> Shown:
    """The command, or, where a package that it needs is not installed, the line that names it."""
    if importlib.util.find_spec(package.replace("-", "_")):
        return shown
    return Shown(shown.command, (), f"pip install {package}", 2)


KEPT = "reports/reference/laptop"
SAME = "0 different as they may be, 0 different as they should not be"
STORIES: dict[str, list[Shown]] = {
    "looking": [
        Shown("kshot --version", says="kshot "),
        Shown("kshot list", says="maml"),
        Shown("kshot path", says="/"),
        Shown("kshot check-config smoke", says="all valid"),
        Shown("kshot status laptop", says="12 of 12 runs finished"),
        Shown("kshot status smoke", says="0 of 2 runs finished"),
        Shown("kshot audit smoke", says="kshot: results/smoke: ", status=2),
        missing("tensorboard", Shown("kshot tensorboard laptop", ("runs/laptop/nav2d/maml/seed-0/*",))),
        Shown(
            "kshot render laptop --family nav2d --algorithm maml --seed 0",
            ("reports/laptop/clips/nav2d/maml-seed-0-task-0.gif",),
        ),
        missing(
            "imageio-ffmpeg", Shown(f"kshot render laptop {AT_REACH} --task 3 --k 0 10 --out reach.mp4", ("reach.mp4",))
        ),
    ],
    "official": OFFICIAL,
    "kept": [
        Shown("kshot archive laptop", ("reports/laptop/archive/MANIFEST.json",)),
        Shown("kshot verify reports/laptop/archive", says=SAME),
        Shown("kshot archive laptop --models", ("reports/laptop/archive/MANIFEST.json",)),
        Shown("kshot pack laptop", (f"{KEPT}/suite.yaml", f"{KEPT}/nav2d.tar.xz")),
        Shown(f"kshot verify {KEPT}", says=f"1 runs computed again: 1 the same, {SAME}"),
        Shown(f"kshot verify {KEPT} --cells 0", says=f"0 runs computed again: 0 the same, {SAME}"),
        Shown(f"kshot verify {KEPT} --cells 3 --seed 1", says=f"3 runs computed again: 3 the same, {SAME}"),
        Shown(
            f"kshot verify {KEPT} --cell nav2d/fomaml/0 bandit/rl2/2",
            says=f"2 runs computed again: 2 the same, {SAME}",
        ),
        Shown("kshot verify reports/reference/reference-ml1 --cells 3", says=f"3 the same, {SAME}"),
        Shown("kshot unpack reports/reference/other", ("results/other/*/*/*/curve.parquet",), prepares=True),
        Shown(f"kshot unpack {KEPT}", says="results/laptop/"),
        Shown("kshot aggregate laptop", prepares=True),
        Shown(f"kshot compare {KEPT} laptop --fail-if-worse", ("reports/compare/*/index.html",)),
        Shown("kshot compare laptop /elsewhere/results/laptop", ("reports/compare/laptop-laptop/index.html",)),
        Shown("kshot compare laptop theirs.csv --pair maml=their-maml", ("reports/compare/laptop-theirs/index.html",)),
        Shown("kshot redraw", (f"{KEPT}/index.html",)),
        Shown("kshot report laptop --alone", ("reports/laptop/index.html",)),
        Shown("kshot strip-links page.html", ("page.html",)),
    ],
    "small": [
        *(shown._replace(prepares=True) for shown in OFFICIAL[:2]),
        OFFICIAL[3],
        OFFICIAL[4],
        Shown("kshot figures smoke --paper", ("reports/smoke/paper_figures/*.pdf",)),
        Shown("kshot archive smoke", ("reports/smoke/archive/MANIFEST.json",)),
        Shown("kshot compare smoke foreign.csv", ("reports/compare/smoke-foreign/index.html",)),
    ],
    "ml10": [
        Shown("kshot train reference-ml10 --family ml10 --algorithm rl2 --seed 0", ("results/*/*/*/*/model.pt",)),
        Shown("kshot evaluate reference-ml10 --family ml10 --algorithm rl2 --seed 0", ("results/*/*/*/*/curve.parquet",)),
    ],
    "demonstrations": [
        Shown("kshot demonstrations reach-v3 --tasks 2 --out reach.parquet", ("reach.parquet",)),
        Shown(
            "kshot demonstrations ML10 --tasks 1 --number 2 --noise 0.3 --seed 0 --out ml10.parquet", ("ml10.parquet",)
        ),
        missing("minari", Shown("kshot demonstrations reach-v3 --tasks 2 --out minari:metaworld/reach-v0")),
    ],
    "plug-ins": [
        Shown("kshot new algorithm tally", ("algorithms/tally.py", "config/suites/tally.yaml")),
        Shown("export 'KSHOT_PATH=$PWD'"),
        Shown("kshot test tally", says="tally"),
        Shown("kshot run tally", ("reports/tally/index.html",), "The report: reports/tally/index.html"),
        Shown("kshot audit tally", says="all made by this code"),
        Shown("kshot new family lamps", ("envs/lamps.py", "config/suites/lamps.yaml")),
        Shown("kshot new figure worth", ("figures/worth.py",)),
        Shown("kshot figures tally", ("reports/tally/figures/worth.svg",)),
        Shown("kshot report tally", ("reports/tally/index.html",)),
    ],
}
"""Of each, in a folder of its own, the commands in this order."""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with at_once.python(tmp_path_factory.mktemp("bin")) as found:
        yield found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, script: Path) -> Path:
    """A clone in which all runs of ``laptop`` are finished."""
    folder = tmp_path_factory.mktemp("finished")
    at_once.write_suites(folder, *SUITES)
    done = at_once.run(folder, at_once.environment(folder, script), "-m", "finish", "laptop")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def prepare(name: str, clone: Path) -> None:
    """What a story needs besides a clone with finished runs."""
    if name == "kept":
        shutil.copytree(clone / "results", clone / "elsewhere" / "results")


@pytest.mark.parametrize("name", STORIES)
def test_commands_do_what_is_said_of_them(name: str, finished: Path, script: Path, tmp_path: Path) -> None:
    clone = Path(shutil.copytree(finished, tmp_path / "clone"))
    prepare(name, clone)
    at_once.play(STORIES[name], clone, at_once.environment(clone, script))
