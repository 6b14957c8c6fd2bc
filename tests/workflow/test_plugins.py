"""A plug-in folder from nothing: written, checked, named by suites, with settings, helpers, figures and tables."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kshot import cli, helpers, plugins, registry
from kshot.contract import checking, families, learners, new
from kshot.errors import ConfigError, RegistryError
from kshot.interface.policies import load_policy
from kshot.reporting import figures, tables
from kshot.reporting.aggregate import aggregate
from kshot.running import provenance
from kshot.suites import resolving
from kshot.suites.reading import find_suite, load_suite
from tests import synthetic
from tests.workflow.pipeline import kshot, write_suite

pytestmark = pytest.mark.workflow


TABLE = '''
"""The best of every section."""

from kshot.reporting.values import Cell, Part, Row, Table


def build(results):
    parts, numbers = [], []
    for section in results.sections:
        scores = {name: results.headline_scores(section, name).mean() for name in section.finished}
        best = max(scores, key=scores.get)
        numbers.append({"family": section.family, "best": best, "score": scores[best]})
        parts.append(Part(section.title, section.evidence, [Row(best, {"score": Cell(scores[best])})]))
    return Table("best", "The best", "The best of every section.", numbers, parts, ("scores.csv",))
'''


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what ``kshot new`` writes of each kind."""
    folder = tmp_path_factory.mktemp("mine")
    names: dict[new.Kind, str] = {"algorithm": "tally", "family": "old_lamps", "figure": "worth", "table": "worths"}
    for kind, name in names.items():
        new.write(kind, name, folder)
    return folder


@pytest.fixture
def folder(written: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same, on ``KSHOT_PATH`` after an empty folder of this test's own, which is returned."""
    own = written.parent / f"own-{len(list(written.parent.iterdir()))}"
    own.mkdir()
    monkeypatch.setenv(helpers.VARIABLE, f"{own}{os.pathsep}{written}")
    monkeypatch.setenv("MPLBACKEND", "agg")  # which commands set
    before = set(sys.modules)
    yield own
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(written.parent)):
            del sys.modules[name]


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def suite(**changes: Any) -> dict[str, Any]:
    cell = {"steps": 64, "evaluation": {"tasks": 2, "k": [0, 1]}}
    return {"name": "mine", "seeds": [0], "families": {"old_lamps": cell}, "algorithms": {"tally": {}}} | changes


def problems(**changes: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as error:
        load_suite(suite(**changes))
    return error.value.problems


def test_what_is_written_fulfils_the_contract_and_is_a_suite_by_its_name(
    folder: Path, written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    assert checking.test("tally", ["old_lamps"], said.append)
    assert said[-1] == "tally: all 6 checks passed" and all(line.startswith("ok ") for line in said[:-1])
    for check in families.CHECKS:
        check(families.make("old_lamps"))
    assert checking.test("worth", [], said.append)
    assert said[-2:] == ["ok      worth: is made of any results", "worth: 1 check passed"]
    assert checking.test("worths", [], said.append)
    assert said[-2:] == ["ok      worths: is made of any results", "worths: 1 check passed"]
    assert cli.main(["new", "figure", "other", "--folder", str(folder)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:3] == [f"{folder}/figures/other.py", "Now:", f"  export KSHOT_PATH={folder}"]
    assert cli.main(["new", "table", "other", "--folder", str(folder)]) == 0, "a figure and a table may share a name"
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"{folder}/tables/other.py" and printed[-1].startswith("  kshot tables SUITE && kshot report ")
    for name in ("tally", "old_lamps"):
        assert find_suite(name) == written / "config" / "suites" / f"{name}.yaml"
        assert len(load_suite(find_suite(name)).runs()) > 3
    for kind, name in (("algorithms", "tally"), ("envs", "old_lamps")):
        text = (written / kind / f"{name}.py").read_text()
        assert "counting" not in text.lower() and "coin" not in text.lower() and "class " in text


def test_a_check_that_fails_says_what_does_not_hold_and_where(
    folder: Path, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learners, "checks", lambda algorithm, family: [])
    text = (written / "envs" / "old_lamps.py").read_text()
    put(
        folder,
        "envs/dim_lamps.py",
        text.replace("old_lamps", "dim_lamps").replace('np.array([task["paid"]', '1 - np.array([task["paid"]'),
    )
    said: list[str] = []
    assert not checking.test("dim_lamps", ["tally"], said.append)
    failed = said.index("FAILED  dim_lamps: the oracle is better than random")
    assert said[failed + 1].startswith('        AssertionError: does not hold: returns["oracle"] > returns["random"] (')
    assert said[-1] == "dim_lamps: 14 checks passed, 1 failed"


def test_a_learner_on_large_blocks_or_with_large_steps_is_checked_like_others(folder: Path, written: Path) -> None:
    """Whatever the settings are called by which its block and its tasks could be made small."""
    text = (written / "algorithms" / "tally.py").read_text()
    text = text.replace("adaptation_episodes = 1", "adaptation_episodes = 7").replace(
        "tasks_per_step = 4", "tasks_per_step = 40"
    )
    put(folder, "algorithms/bulky.py", text)
    run = learners.tiny.run("bulky", "old_lamps")
    assert run.evaluation.k == (0, 7, 14)
    longer, root = learners.long_enough(run, folder / "results")
    assert longer.steps > run.steps and (longer.directory(root) / "model.pt").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["algorithm", "maml"], "there is an algorithm called 'maml' already: choose another name"),
        (["family", "bandit"], "there is a family called 'bandit' already: choose another name"),
        (["figure", "headline"], "there is a figure called 'headline' already: choose another name"),
        (["table", "headline"], "there is a table called 'headline' already: choose another name"),
        (["algorithm", "tally"], "there is an algorithm called 'tally' already: choose another name"),
        (["figure", "worth"], "there is a figure called 'worth' already: choose another name"),
        (["table", "worths"], "there is a table called 'worths' already: choose another name"),
        (["family", "maml"], "there is an algorithm called 'maml' already: choose another name"),
        (["algorithm", "nav2d"], "there is a family called 'nav2d' already: choose another name"),
        (["figure", "rl2"], "there is an algorithm called 'rl2' already: choose another name"),
        (["table", "old_lamps"], "there is a family called 'old_lamps' already: choose another name"),
        (["algorithm", "return_after_k"], "there is a figure called 'return_after_k' already: choose another name"),
        (["family", "published"], "there is a table called 'published' already: choose another name"),
        (["algorithm", "task_blind"], "there is a scripted policy called 'task_blind' already: choose another name"),
        (["algorithm", "heft"], "there is a scripted policy called 'heft' already: choose another name"),
        (["family", "laptop"], "there is a suite called 'laptop' already: choose another name"),
        (
            ["algorithm", "my-own"],
            "'my-own' cannot be the name of a Python module and of a row in a suite: use lower-case",
        ),
        (["algorithm", "class"], "'class' cannot be the name of a Python module"),
    ],
)
def test_names_that_a_new_one_cannot_have(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["new", *arguments, "--folder", str(folder)]) == 2
    assert capsys.readouterr().err.startswith(f"kshot: {message}")
    assert not list(folder.iterdir())


def test_nothing_is_written_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(folder, "config/suites/fresh.yaml", "mine\n")
    assert cli.main(["new", "algorithm", "fresh", "--folder", str(folder)]) == 2
    assert (
        capsys.readouterr().err == f"kshot: {folder}/config/suites/fresh.yaml: is there already; nothing is written\n"
    )
    assert not (folder / "algorithms").exists()


def test_a_name_that_nobody_knows_is_told_with_where_it_was_looked_for(
    folder: Path, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (line,) = problems(algorithms={"taly": {}})
    assert (
        line
        == f"suite: algorithms.taly: unknown algorithm 'taly' (did you mean 'tally'?); KSHOT_PATH is {folder}:{written}"
    )
    with pytest.raises(ConfigError, match=r"no suite 'taly' .*; KSHOT_PATH is "):
        find_suite("taly")
    monkeypatch.setenv(helpers.VARIABLE, "/nowhere")
    assert problems()[0].endswith("; KSHOT_PATH is /nowhere, which does not exist")
    assert plugins.faults() == ["KSHOT_PATH: /nowhere: no such folder"]
    monkeypatch.delenv(helpers.VARIABLE)
    assert problems()[0].endswith("; KSHOT_PATH is not set")
    with pytest.raises(
        ConfigError, match=r"there is no algorithm, family, figure or table 'tally'.*KSHOT_PATH is not set"
    ):
        checking.test("tally", [], print)


def test_a_plug_in_that_cannot_be_used_is_named_and_the_others_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Broken, with a name of kshot's own, with the name of another plug-in, with one that is none for a module."""
    torn = put(folder, "algorithms/torn.py", "import a_package_that_is_not_there\n")
    bent = put(folder, "figures/bent.py", "NAME = 'bent'\nraise RuntimeError('bent')\n")
    own = put(folder, "algorithms/maml.py", "raise RuntimeError\n")
    twin = put(folder, "algorithms/tally.py", "raise RuntimeError\n")
    dashed = put(folder, "envs/my-lamps.py", "")
    said = {name: problems(algorithms={name: {}})[0] for name in ("torn", "tally")}
    lacks = "does not import: ModuleNotFoundError: No module named 'a_package_that_is_not_there'"
    assert said["torn"].endswith(f"{lacks} ({torn}:1)")
    builtin = registry.source("algorithms", "maml")
    refused = f"{own}: kshot itself has an algorithm called 'maml' ({builtin}): choose another name"
    resolving._mention.cache_clear()
    cell = {"steps": 64, "evaluation": {"tasks": 2, "k": [0, 10]}}
    kept = load_suite(suite(algorithms={"maml": {}}, families={"bandit": cell}))
    assert kept.find("bandit", "maml", 0).algorithm_module == "maml", "kshot's own goes on working"
    assert [record.getMessage() for record in caplog.records] == [f"kshot: left out: {refused}"]
    assert f"two plug-ins have the name 'tally' ({twin} and " in said["tally"]
    cell = suite()["families"]["old_lamps"]
    (line,) = problems(families={"my-lamps": cell}, algorithms={"rl2": {}})
    assert line.endswith(f"{dashed}: 'my-lamps' is no name of a Python module: use letters, digits and '_'")
    assert cli.main(["test", "torn"]) == cli.main(["test", "maml"]) == 2
    assert "kshot: algorithms/torn does not import: ModuleNotFoundError" in (err := capsys.readouterr().err)
    assert "Traceback" not in err and f"kshot: {refused}" in err
    assert cli.main(["list"]) == 0
    listed = capsys.readouterr().out
    assert listed.count("cannot be used") == 5 and "  rl2 " in listed and "figures/worth.py" in listed
    assert re.search(r"^  maml +rollouts; ", listed, flags=re.MULTILINE) and refused in listed
    assert re.search(rf"^  bent +cannot be used +RuntimeError: bent \({bent}:2\)$", listed, flags=re.MULTILINE)
    algorithms = listed.partition("Task families:")[0].splitlines()[1:]
    starts = [re.search("rollouts|demonstrations|cannot", line[10:]) for line in algorithms]
    assert len({start and start.start() for start in starts}) == 1, "columns fit the longest name"
    twin.unlink()
    assert load_suite(suite()).find("old_lamps", "tally", 0).algorithm == "tally"
    assert len(list(checking._checks("tally", []))) == 6 * 3, "a broken neighbour is in nobody's way"


@pytest.mark.parametrize("kind", ["algorithms", "envs", "figures", "tables"])
def test_a_syntax_error_is_told_with_its_file_and_line(
    folder: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """In the plug-in itself, or in a helper that it imports."""
    wrong = put(folder, f"{kind}/slip.py", '"""A slip."""\n\ndef draw(:\n    pass\n')
    helper = put(folder, "slipped.py", "\n\nx = (\n")
    put(folder, f"{kind}/slips.py", "import slipped\n")
    for name, place in (("slip", f"SyntaxError: invalid syntax ({wrong}:3)"), ("slips", f"({helper}:3)")):
        assert cli.main(["test", name]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"kshot: {kind}/{name} does not import: SyntaxError") and line.endswith(place)


def test_what_a_library_refuses_is_told_with_the_line_of_the_plug_in(folder: Path, written: Path) -> None:
    text = (written / "figures" / "worth.py").read_text().replace("worth", "cross")
    path = put(folder, "figures/cross.py", text.replace("color=style.GREY", 'color="no colour"'))
    said: list[str] = []
    assert not checking.test("cross", [], said.append)
    place = next(i for i, line in enumerate(path.read_text().splitlines(), 1) if "axvline" in line)
    assert said[0].startswith("FAILED  ") and said[1].endswith(f"({path}:{place})"), said


def test_tables_whose_files_would_have_one_name_are_told_apart(folder: Path, tmp_path: Path) -> None:
    put(folder, "tables/mine.py", TABLE.replace('Table("best"', 'Table("headline"'))
    said: list[str] = []
    assert not checking.test("mine", [], said.append)
    assert "its name 'headline', by which its files go, is that of kshot's own table (" in said[1]
    runs = synthetic.runs_of([synthetic.POINT], learners=("maml", "rl2"), seeds=3)
    synthetic.write_suite([synthetic.POINT], runs, tmp_path / "results")
    aggregate(runs, tmp_path / "results")
    faults = figures.Faults()
    made = tables.made(figures.load(runs, tmp_path / "results"), faults)
    assert [table.name for table in made].count("headline") == 1
    assert faults.lines == [
        "table mine: RegistryError: its name 'headline', by which its files go, is that of another table"
    ]


def test_settings_of_plug_ins(folder: Path) -> None:
    put(folder, "config/algorithms/tally.yaml", "defaults: {trust: 1.0}\nfamilies: {old_lamps: {trust: 2.0}}\n")
    put(folder, "config/algorithms/maml.yaml", "families: {old_lamps: {hidden: [8]}}\n")
    evaluation = {"steps": 64, "evaluation": {"tasks": 2, "k": [0, 10]}}
    cells = {"old_lamps": evaluation, "bandit": evaluation}
    found = load_suite(suite(families=cells, algorithms={"tally": {}, "maml": {}}))
    assert [found.find(name, "tally", 0).algorithm_settings["trust"] for name in cells] == [2.0, 1.0]
    assert found.find("old_lamps", "maml", 0).algorithm_settings["hidden"] == [8]
    kept = found.find("bandit", "maml", 0).algorithm_settings
    path = put(folder, "config/algorithms/maml.yaml", "defaults: {hidden: [8]}\nfamilies: {bandit: {hidden: [8]}}\n")
    text = "kshot's own algorithms get settings from plug-ins for families of plug-ins only"
    assert problems(families=cells, algorithms={"maml": {}}) == (
        f"{path}:1: defaults: {text}",
        f"{path}:2: families.bandit: {text}",
    )
    path.unlink()
    assert (
        load_suite(suite(families=cells, algorithms={"maml": {}})).find("bandit", "maml", 0).algorithm_settings == kept
    )


def test_two_suites_of_one_name_are_told_apart_by_their_paths(folder: Path, written: Path) -> None:
    path = put(folder, "config/suites/tally.yaml", "name: tally\n")
    with pytest.raises(
        ConfigError, match=f"several suites are called 'tally': name one by its path, {path} or {written}/"
    ):
        find_suite("tally")
    assert find_suite(str(path)) == path


def test_helpers_are_imported_by_their_names_and_count_in_the_digest(folder: Path, written: Path) -> None:
    text = (written / "algorithms" / "tally.py").read_text()
    put(folder, "algorithms/helped.py", f"{text}\nimport rates_of_mine.now\nfrom half import HALF\n")
    put(folder, "rates_of_mine/__init__.py", "")
    used = put(folder, "rates_of_mine/now.py", "from kshot.learning import returns\nRATE = 0.1\n")
    put(folder, "half.py", "HALF = 0.5\n")
    put(folder, "json.py", "raise RuntimeError('hides the one of Python')\n")
    aside = put(folder, "aside.py", "")
    files = provenance.source_files("helped", "old_lamps")
    assert {name for name in files if name.startswith("helpers/")} == {
        "helpers/rates_of_mine",
        "helpers/rates_of_mine.now",
        "helpers/half",
    }
    assert "kshot.learning.returns" in files

    def digest() -> str:
        provenance._digest.cache_clear()
        return provenance._digest("helped", "old_lamps", provenance.RUNNER)

    before = digest()
    aside.write_text("# nobody imports this\n")
    assert digest() == before
    used.write_text("RATE = 0.2\n")
    assert digest() != before
    assert helpers.find("algorithms.helped") is None and helpers.find("nothing") is None
    learners.setup(learners.tiny.run("helped", "old_lamps"))


def test_figures_and_tables_of_plug_ins_stand_beside_the_others(folder: Path, tmp_path: Path) -> None:
    put(folder, "tables/best.py", TABLE)
    put(folder, "figures/headline.py", "NAME = 'other'\n")
    put(folder, "figures/empty.py", "")
    put(folder, "figures/torn.py", "import a_package_that_is_not_there\n")
    runs = synthetic.runs_of([synthetic.POINT], learners=("maml", "rl2"), seeds=3)
    synthetic.write_suite([synthetic.POINT], runs, tmp_path / "results")
    aggregate(runs, tmp_path / "results")
    faults = figures.Faults()
    found = figures.modules(faults)
    assert [module.NAME for module in found][-1] == "worth" and len(found) > 10
    taken = f"kshot itself has a figure called 'headline' ({figures.__path__[0]}/headline.py): choose another name"
    assert faults.lines == [
        f"figure {folder}/figures/empty.py: RegistryError: lacks NAME, CAPTION, draw; see CONTRIBUTING.md",
        f"figure {folder}/figures/headline.py: RegistryError: {taken}",
        f"figure {folder}/figures/torn.py: ModuleNotFoundError: No module named 'a_package_that_is_not_there'",
    ]
    results = figures.load(runs, tmp_path / "results")
    with figures.style.context("worth"):
        drawn = figures.draw(found[-1], results, figures.concerned(found[-1], results))
    assert drawn.axes[0].get_xlabel() == "gain in return by K = 20"
    assert [table.name for table in tables.build(results)][-2:] == ["best", "worths"]
    before = provenance.reporting_digest()
    put(folder, "figures/empty.py", "# a change\n")
    assert provenance.reporting_digest() != before


def test_an_installed_package_brings_figures_settings_and_suites(
    tmp_path: Path, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, info = tmp_path / "their_lab", tmp_path / "their_lab-1.0.dist-info"
    put(package, "__init__.py", "")
    for kind, name in (("algorithms", "tally"), ("figures", "worth")):
        put(package, f"{name}.py", (written / kind / f"{name}.py").read_text())
    put(package, "config/algorithms/tally.yaml", "defaults: {trust: 1.5}\n")
    put(package, "config/suites/theirs.yaml", "name: theirs\n")
    put(info, "METADATA", "Metadata-Version: 2.1\nName: their-lab\nVersion: 1.0\n")
    points = "[kshot.algorithms]\ntally = their_lab.tally\n[kshot.figures]\nworth = their_lab.worth\n"
    put(info, "entry_points.txt", points)
    monkeypatch.delenv(helpers.VARIABLE, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    cell = {"bandit": suite()["families"]["old_lamps"]}
    assert load_suite(suite(families=cell)).find("bandit", "tally", 0).algorithm_settings == {"trust": 1.5}
    assert find_suite("theirs") == package / "config" / "suites" / "theirs.yaml"
    assert [module.NAME for module in figures.modules(figures.Faults())][-1] == "worth"
    monkeypatch.setenv(helpers.VARIABLE, str(written))
    assert "the installed package of their_lab.tally" in plugins.mistake("algorithms", "tally")
    assert registry.source("algorithms", "tally") == written / "algorithms" / "tally.py"
    for name in [name for name in sys.modules if name.startswith("their_lab")]:
        del sys.modules[name]


def test_a_policy_whose_plug_in_is_not_here_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_suite(tmp_path)
    done = kshot(tmp_path, "train", "suite.yaml", "--family", "coins", "--algorithm", "counting", "--seed", "0")
    assert done.returncode == 0, done.stderr
    monkeypatch.delenv("KSHOT_PATH", raising=False)
    folder = tmp_path / "results" / "tiny" / "coins" / "counting" / "seed-0"
    with pytest.raises(RegistryError, match=r"seed-0: unknown task family 'coins' .*; KSHOT_PATH is not set$"):
        load_policy(folder)
