"""Every command ``kshot`` that the documentation shows is run, but for pipelines (test_documented_pipelines.py).

On suites that have the names, the families and the rows of the shipped ones, but few and tiny runs.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kshot import cli, places, records, yaml_text
from kshot.places import ROOT
from kshot.running.evaluate import evaluate
from kshot.running.train import train
from kshot.suites.reading import load_suite
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
ML10 = REACH | {"evaluation": {"tasks": 5, "k": [0, 1], "official": False}}
LEFT_OUT = [
    {"algorithm": "rl2", "family": "nav2d", "reason": "one family is enough"},
    {"algorithm": ["maml", "fomaml"], "family": "bandit", "reason": "one family is enough"},
]
KEEPING = cut(
    "laptop", {"nav2d": POINT, "bandit": BANDIT}, {"maml": MAML, "fomaml": MAML, "rl2": RL2}, (0, 2), LEFT_OUT
)
LAPTOP = cut("laptop", {"nav2d": POINT}, {"maml": MAML})
SMOKE = cut("smoke", {"ml1-reach": REACH}, {"maml": MAML})
LOOKING = cut("smoke", {"nav2d": POINT, "ml1-reach": REACH}, {"maml": MAML})
REFERENCE = cut("reference-ml10", {"ml10": ML10}, {"rl2": RL2 | {"meta_batch": 10, "trial_episodes": 2}})


def finish(name: str) -> Callable[[Path], None]:
    """Train and evaluate all runs of a suite, in this process, as pipelines leave them."""

    def step(folder: Path) -> None:
        suite = load_suite(folder / "config" / "suites" / f"{name}.yaml")
        records.write_text(folder / f"results/{name}/suite.yaml", yaml_text.sealed(yaml_text.dump(suite.resolved())))
        for run in suite.runs():
            if run.kind == "algorithm":
                train(run, folder / "results")
            evaluate(run, folder / "results")

    return step


def copy(source: str, target: str) -> Callable[[Path], None]:
    """Copies a folder or a file within the clone."""

    def step(folder: Path) -> None:
        if (folder / source).is_file():
            shutil.copy(folder / source, folder / target)
        else:
            shutil.copytree(folder / source, folder / target)

    return step


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: shutil.rmtree(folder / name)


def play_elsewhere(suite: str, algorithm: str, file: str) -> Callable[[Path], None]:
    """Writes a table of episodes as somebody has it who trained another MAML on the suite's tasks."""

    def step(folder: Path) -> None:
        curves = [pd.read_parquet(path) for path in folder.glob(f"results/{suite}/*/maml/*/curve.parquet")]
        pd.concat(curves).assign(algorithm=algorithm).to_csv(folder / file, index=False)

    return step


AT_REACH = "--family ml1-reach --algorithm maml --seed 0"
REACHED = "results/smoke/ml1-reach/maml/seed-0/"


def smaller_tally(folder: Path) -> None:
    """The suite that was written, without the learner that it compares with, of one seed and few steps."""
    file = folder / "config" / "suites" / "tally.yaml"
    suite = yaml_text.parse(file.read_text(encoding="utf-8"))
    assert set(suite["algorithms"]) == {"tally", "rl2"}
    suite |= {"seeds": [0], "algorithms": {"tally": {}}}
    for family in suite["families"].values():
        family["steps"] = 200
        family["evaluation"]["tasks"] = 10
    file.write_text(yaml_text.dump(suite), encoding="utf-8")


def missing(package: str, shown: Shown) -> Shown:
    """The command, or, where a package that it needs is not installed, the line that names it."""
    if importlib.util.find_spec(package.replace("-", "_")):
        return shown
    return Shown(shown.command, (), f"pip install {package}", 2)


KEPT = "reports/reference/laptop"
SAME = "0 different as they may be, 0 different as they should not be"
STORIES: dict[str, list[at_once.Step]] = {
    "looking": [
        Shown("kshot --version", says="\nkshot ", prepares=True),
        Shown("kshot list", says="maml"),
        Shown("kshot path", says=f"\n{ROOT}\n"),
        Shown("kshot check-config smoke", says="smoke: 2 training runs and 2 reference evaluations, all valid"),
        Shown("kshot audit smoke", says="kshot: results/smoke: ", status=2),
        finish("smoke"),
        Shown("kshot status smoke", says="4 of 4 runs finished"),
        missing("tensorboard", Shown("kshot tensorboard smoke", ("runs/smoke/nav2d/maml/seed-0/*",))),
    ],
    "smoke": [
        Shown(f"kshot train smoke {AT_REACH}", (f"{REACHED}model.pt", f"{REACHED}train.parquet", f"{REACHED}run.json")),
        Shown(f"kshot evaluate smoke {AT_REACH}", prepares=True),
        Shown("kshot evaluate smoke --family ml1-reach --algorithm oracle --seed 0", prepares=True),
        Shown(f"kshot official smoke {AT_REACH}", (f"{REACHED}official.json",)),
        Shown("kshot aggregate smoke", prepares=True),
        Shown("kshot report smoke", ("reports/smoke/index.html",)),
        Shown("kshot figures smoke --paper", ("reports/smoke/paper_figures/*.pdf",)),
        Shown("kshot archive smoke", ("reports/smoke/archive/MANIFEST.json",)),
        Shown("kshot verify reports/smoke/archive", says=SAME),
        Shown("kshot archive smoke --models", ("reports/smoke/archive/MANIFEST.json",)),
        play_elsewhere("smoke", "theirs", "foreign.csv"),
        Shown("kshot compare smoke foreign.csv", ("reports/compare/smoke-foreign/index.html",)),
    ],
    "sending": [
        finish("laptop"),
        Shown("kshot aggregate laptop", prepares=True),
        Shown("kshot report laptop --alone", ("reports/laptop/index.html",)),
        copy("reports/laptop/index.html", "page.html"),
        Shown("kshot strip-links page.html", ("page.html",)),
    ],
    "ml10": [
        Shown("kshot train reference-ml10 --family ml10 --algorithm rl2 --seed 0", ("results/*/*/*/*/model.pt",)),
        Shown(
            "kshot evaluate reference-ml10 --family ml10 --algorithm rl2 --seed 0", ("results/*/*/*/*/curve.parquet",)
        ),
    ],
    "demonstrations": [
        Shown("kshot demonstrations reach-v3 --tasks 2 --out reach.parquet", ("reach.parquet",)),
        Shown(
            "kshot demonstrations ML10 --tasks 1 --number 2 --noise 0.3 --seed 0 --out ml10.parquet", ("ml10.parquet",)
        ),
        missing("minari", Shown("kshot demonstrations reach-v3 --tasks 2 --out minari:metaworld/reach-v0")),
    ],
}
"""Of each, in a folder of its own, the commands in this order, within this process."""
IN_PROCESSES: dict[str, list[at_once.Step]] = {
    "clips": [
        finish("smoke"),
        Shown(
            "kshot render smoke --family nav2d --algorithm maml --seed 0",
            ("reports/smoke/clips/nav2d/maml-seed-0-task-0.gif",),
        ),
        missing(
            "imageio-ffmpeg", Shown(f"kshot render smoke {AT_REACH} --task 3 --k 0 4 --out reach.mp4", ("reach.mp4",))
        ),
    ],
    "keeping": [
        finish("laptop"),
        Shown("kshot pack laptop", (f"{KEPT}/suite.yaml", f"{KEPT}/nav2d.tar.xz")),
        Shown(f"kshot verify {KEPT}", says=f"1 runs computed again: 1 the same, {SAME}"),
        Shown(f"kshot verify {KEPT} --cells 0", says=f"0 runs computed again: 0 the same, {SAME}"),
        Shown(f"kshot verify {KEPT} --cells 3 --seed 1", says=f"3 runs computed again: 3 the same, {SAME}"),
        Shown(
            f"kshot verify {KEPT} --cell nav2d/fomaml/0 bandit/rl2/2",
            says=f"2 runs computed again: 2 the same, {SAME}",
        ),
        Shown(f"kshot verify {KEPT} --cell nav2d/fomaml/0 --note", says=f"1 runs computed again: 1 the same, {SAME}"),
        copy(KEPT, "reports/reference/reference-ml1"),
        Shown("kshot verify reports/reference/reference-ml1 --cells 3", says=f"3 the same, {SAME}"),
        remove("reports/reference/reference-ml1"),
        copy("results", "elsewhere/results"),
        remove("results"),
        Shown(f"kshot unpack {KEPT}", ("results/laptop/nav2d/maml/seed-0/curve.parquet",)),
        Shown("kshot aggregate laptop", prepares=True),
        Shown(f"kshot compare {KEPT} laptop --fail-if-worse", ("reports/compare/*/index.html",)),
        Shown("kshot compare laptop /elsewhere/results/laptop", ("reports/compare/laptop-laptop/index.html",)),
        play_elsewhere("laptop", "their-maml", "theirs.csv"),
        Shown("kshot compare laptop theirs.csv --pair maml=their-maml", ("reports/compare/laptop-theirs/index.html",)),
        Shown("kshot redraw", (f"{KEPT}/index.html",)),
    ],
    "plug-ins": [
        Shown("mkdir my-kshot"),
        Shown("cd my-kshot"),
        Shown("kshot new algorithm tally", ("algorithms/tally.py", "config/suites/tally.yaml")),
        Shown("export 'KSHOT_PATH=$PWD'"),
        Shown("kshot test tally", says="tally"),
        smaller_tally,
        Shown("kshot run tally", ("reports/tally/index.html",), "The report: reports/tally/index.html"),
        Shown("kshot audit tally", says="all made by this code"),
        Shown("kshot new family lamps", ("envs/lamps.py", "config/suites/lamps.yaml")),
        Shown("kshot new figure worth", ("figures/worth.py",)),
        Shown("kshot new table worths", ("tables/worths.py",)),
        Shown("kshot figures tally", ("reports/tally/figures/worth.svg",)),
        Shown("kshot tables tally", ("reports/tally/tables/worths.csv",)),
        Shown("kshot report tally", ("reports/tally/index.html",)),
    ],
}
"""Likewise, each command in a process of its own: they choose graphics, start processes, or import plug-ins."""
SUITES = {"looking": [LOOKING], "clips": [LOOKING], "sending": [LAPTOP], "keeping": [KEEPING]}
"""Of stories that need others than ``SMOKE`` and ``REFERENCE``."""


def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> at_once.Run:
    """``at_once.run`` of ``kshot`` within this process."""

    def run(folder: Path, variables: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        assert arguments[:2] == ("-m", "kshot")
        monkeypatch.chdir(folder)
        monkeypatch.delenv("KSHOT_PATH", raising=False)
        for library in ("OMP", "OPENBLAS", "MKL"):
            monkeypatch.setenv(f"{library}_NUM_THREADS", "1")
        monkeypatch.setattr(places, "SUITES", folder / "config" / "suites")
        capsys.readouterr()
        try:
            status = cli.main(arguments[2:])
        except SystemExit as end:  # --version
            status = int(end.code or 0)
        printed = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, status, printed.out, printed.err)

    return run


@pytest.mark.parametrize("name", STORIES)
def test_commands_do_what_is_said_of_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_once.write_suites(tmp_path, *SUITES.get(name, [SMOKE, REFERENCE]))
    at_once.play(STORIES[name], tmp_path, {}, run_here(monkeypatch, capsys))


@pytest.mark.parametrize("name", IN_PROCESSES)
def test_commands_in_processes_do_what_is_said_of_them(name: str, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    at_once.write_suites(clone, *SUITES.get(name, [SMOKE]))
    (tmp_path / "bin").mkdir()
    with at_once.python(tmp_path / "bin") as script:
        at_once.play(IN_PROCESSES[name], clone, at_once.environment(clone, script))
