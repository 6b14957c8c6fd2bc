"""One package: what is built from the checkout runs elsewhere with the same settings, and is in nobody's way."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import editables
import pytest

from kshot import registry
from kshot.errors import ConfigError
from kshot.places import ROOT, SUITES
from kshot.suites import resolving
from kshot.suites.reading import load_suite

pytestmark = pytest.mark.workflow

RESOLVED = """
import json
from kshot.places import INSTALLED, SUITES
from kshot.suites.reading import load_suite
runs = {path.stem: [run.to_dict() for run in load_suite(path).runs()] for path in sorted(SUITES.glob("*.yaml"))}
print(json.dumps([INSTALLED, str(SUITES), runs]))
"""
MODULES = """
from kshot import registry
for kind in registry.KINDS:
    for name in registry.names(kind):
        module = registry.load(kind, name)
        print(kind, name, module.__name__)
"""
FINDABLE = """
import importlib.util, site, sys
site.addsitedir(sys.argv[1])
names = "kshot kshot.algorithms.maml kshot.envs.nav2d algorithms envs tests benchmarks config docs".split()
print(*(name for name in names if importlib.util.find_spec(name)))
"""
GYMNASIUM = """
import gymnasium, envs, kshot.environments
assert envs.THEIRS
made = gymnasium.make_vec("kshot/ML1-train", env_name="reach-v3", num_envs=1)
print(made.reset(seed=0)[0].shape)
"""
PAGE = """
import json, sys, time
from pathlib import Path

start = time.perf_counter()
import kshot
assert time.perf_counter() - start < 1 and not {"torch", "numpy", "pandas"} & set(sys.modules)

import matplotlib
matplotlib.use("agg")
from kshot.running.evaluate import evaluate
from kshot.running.train import train
from kshot.suites.reading import load_suite

settings = {"hidden": [8], "meta_batch": 2, "episodes": 3, "test_episodes": 3}
suite = load_suite({
    "name": "smoke", "seeds": [0, 1, 2], "algorithms": {"maml": {"settings": settings}},
    "families": {"nav2d": {"settings": {"horizon": 8}, "steps": 96, "evaluation": {"tasks": 4, "k": [0, 3, 6]}}},
})
for run in suite.runs():
    if run.kind == "algorithm":
        train(run, Path("results"))
    evaluate(run, Path("results"))
Path("results/smoke/suite.yaml").write_text(json.dumps(suite.resolved()))

names = {}
for block in json.loads(sys.argv[1]):
    exec(block, names)
row = names["frame"].query("algorithm == 'maml' and seed == 0").reset_index(drop=True)
assert names["scores"].query("k in [0, 3, 6]").reset_index(drop=True).equals(row), "the pipeline's own numbers"
assert names["policy"].k == 6
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which a wheel of the checkout has been installed, without what it depends on."""
    wheels, site = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(ROOT)]
    subprocess.run([*pip, *build], check=True, capture_output=True)
    (wheel,) = wheels.glob("kshot-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True, capture_output=True)
    return site


def outside(site: Path, folder: Path, *command: str) -> str:
    """Output of a command in a folder of its own, with the installed package in place of the checkout."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("KSHOT", "PYTHON"))}
    bin_ = f"{Path(sys.executable).parent}{os.pathsep}{surroundings['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env=surroundings | {"PYTHONPATH": str(site), "PATH": bin_},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_setting_of_every_suite_is_that_of_the_checkout(installed: Path, tmp_path: Path) -> None:
    found = json.loads(outside(installed, tmp_path, sys.executable, "-c", RESOLVED))
    assert found[0] is True and Path(found[1]).is_relative_to(installed)
    here = {path.stem: [run.to_dict() for run in load_suite(path).runs()] for path in SUITES.glob("*.yaml")}
    assert found[2] == here
    assert sum(map(len, here.values())) > 500


def test_it_holds_every_algorithm_and_family_and_nothing_of_others(installed: Path, tmp_path: Path) -> None:
    lines = outside(installed, tmp_path, sys.executable, "-c", MODULES).split("\n")
    here = {f"{kind} {name} kshot.{kind}.{name}" for kind in registry.KINDS for name in registry.names(kind)}
    assert set(lines) - {""} == here
    assert {path.name.split("-")[0] for path in installed.iterdir() if path.name != "bin"} == {"kshot"}
    assert (installed / "kshot" / "py.typed").is_file()
    for name in (
        "requirements.lock",
        "environment.yml",
        "LICENSE",
        "CITATION.cff",
        "config/references.bib",
    ):  # archives
        assert (installed / "kshot" / "shipped" / name).read_bytes() == (ROOT / name).read_bytes()


def test_the_pipeline_starts_from_it(installed: Path, tmp_path: Path) -> None:
    folder = outside(installed, tmp_path, sys.executable, "-m", "kshot", "path").strip()
    assert "all valid" in outside(installed, tmp_path, sys.executable, "-m", "kshot", "check-config", "smoke")
    snakemake = ("snakemake", "--dry-run", "--cores", "1", "--snakefile", f"{folder}/Snakefile")
    planned = outside(installed, tmp_path, *snakemake, "--configfile", f"{folder}/config/suites/smoke.yaml")
    assert "train" in planned and "aggregate" in planned
    assert not (tmp_path / "results").exists()


def test_what_the_page_on_python_shows_runs_from_it(installed: Path, tmp_path: Path) -> None:
    """Block by block, on a suite that bears the name of the page's but takes no time."""
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 6
    printed = outside(installed, tmp_path, sys.executable, "-c", PAGE, json.dumps(blocks))
    assert "<kshot policy: maml on nav2d, seed 0; K = 6 (episodes come in blocks of 3)" in printed
    assert (tmp_path / "nav2d.png").stat().st_size > 5000


def test_a_users_own_envs_package_is_not_disturbed_and_does_not_disturb(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").write_text("THEIRS = True\n")
    assert "(1, 39)" in outside(installed, tmp_path, sys.executable, "-c", GYMNASIUM)


def test_an_editable_install_puts_nothing_but_kshot_on_the_path(tmp_path: Path) -> None:
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    options = ["install", "--no-deps", "--no-build-isolation", "--target", str(site)]
    subprocess.run([*pip, *options, "--editable", str(ROOT)], check=True, capture_output=True)
    shutil.copytree(Path(editables.__file__).parent, site / "editables")  # which finds the package, and comes with it
    # Neither what is installed beside this Python (-S) nor the present folder (-I) is on the path.
    alone = [sys.executable, "-I", "-S", "-c", FINDABLE, str(site)]
    found = subprocess.run(alone, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert found.split() == ["kshot", "kshot.algorithms.maml", "kshot.envs.nav2d"]


def test_without_its_settings_an_algorithm_of_our_own_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "config" / "algorithms", tmp_path / "algorithms")
    (tmp_path / "algorithms" / "rl2.yaml").unlink()
    monkeypatch.setattr(resolving, "ALGORITHMS", tmp_path / "algorithms")
    with pytest.raises(ConfigError) as error:
        load_suite(SUITES / "fidelity-gridnavi.yaml")
    expected = f"{tmp_path}/algorithms/rl2.yaml: no such file; kshot's own settings of 'rl2' belong there"
    assert error.value.problems == (expected,)


def test_a_copy_that_lost_its_links_says_so(tmp_path: Path) -> None:
    """As an archive or a system without symbolic links leaves it: a file with the name of the other place."""
    (tmp_path / "kshot").mkdir()
    shutil.copy(ROOT / "kshot" / "__init__.py", tmp_path / "kshot")
    (tmp_path / "kshot" / "algorithms").write_text("../algorithms")
    done = subprocess.run([sys.executable, "-c", "import kshot"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith("ImportError: kshot/algorithms should be a link to the folder")
