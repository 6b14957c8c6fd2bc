"""The commands: one line for a user's mistake, resumption after an interruption, one process per run."""

from __future__ import annotations

import copy
import inspect
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kshot import __version__, cli, registry
from kshot.examples import counting
from kshot.listing import describe
from tests.workflow.pipeline import SUITE, environment, kshot, write_suite

COUNTING = ("--family", "coins", "--algorithm", "counting", "--seed", "0")
LACKING = "lacks " + ", ".join(part for part in registry.REQUIRED["algorithms"] if part != "ACTIONS")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("check-config", "smok"), "kshot: no suite 'smok' (did you mean 'smoke'?)"),
        (("check-config", "suite.yml"), "kshot: suite.yml: no such suite file (did you mean 'suite.yaml'?)"),
        (("train", "suite.yaml", *COUNTING[:-1], "7"), "kshot: suite 'tiny': no seed 7 for 'counting'; it has 0"),
        (
            ("train", "suite.yaml", "--family", "coin", *COUNTING[2:]),
            "kshot: suite 'tiny': no family 'coin' (did you mean 'coins'?)",
        ),
        (
            ("train", "suite.yaml", "--family", "coins", "--algorithm", "oracle", "--seed", "0"),
            "kshot: 'oracle' is a reference policy: it is not trained; evaluate it",
        ),
        (
            ("evaluate", "suite.yaml", *COUNTING),
            "kshot: results/tiny/coins/counting/seed-0/model.pt: no such file; train this run first",
        ),
        (("aggregate", "suite.yaml"), "kshot: 5 of 5 runs of suite 'tiny' have no curve.parquet yet:"),
        (("figures", "suite.yaml"), "kshot: results/tiny/summary.csv: no such file; run `kshot aggregate` first"),
        (("train", "suite.yaml", *COUNTING, "--root", "suite.yaml"), "Not a directory: 'suite.yaml/tiny"),
        (("train", "suite.yaml", *COUNTING, "--threads", "0"), "expected a whole number of at least 1, got '0'"),
        (("status", "nothing"), "kshot: no suite 'nothing'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    write_suite(tmp_path)
    done = kshot(tmp_path, *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    commands = re.findall(r"^    ([a-z-]+)(?: |$)", capsys.readouterr().out, flags=re.MULTILINE)
    expected = (
        "list path check-config train evaluate official run render tensorboard aggregate report strip-links figures "
        "tables select compare status audit fidelity pack unpack archive verify demonstrations new test redraw"
    )
    assert commands == expected.split()
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            cli.main([command, "--help"])
        assert ended.value.code == 0
        assert f"usage: kshot {command}" in capsys.readouterr().out


def test_list_shows_what_can_be_named_with_what_it_needs(tmp_path: Path) -> None:
    text = kshot(tmp_path, "list").stdout
    assert re.search(r"^  counting +rollouts; discrete actions +Counts which coin paid", text, flags=re.MULTILINE)
    assert re.search(r"^  maml +rollouts; continuous/discrete actions +MAML", text, flags=re.MULTILINE)
    assert re.search(r"^  coins +rollouts; discrete actions +Two choices", text, flags=re.MULTILINE)
    assert re.search(r"^  smoke +\S*config/suites/smoke\.yaml$", text, flags=re.MULTILINE)


def test_list_imports_no_algorithm_and_no_family(tmp_path: Path) -> None:
    code = (
        "import sys; from kshot.cli import main; main(['list']); "
        "heavy = 'torch metaworld mujoco pandas kshot.algorithms.maml kshot.envs.bandit'.split(); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("kind", registry.KINDS)
def test_list_says_of_every_module_what_its_import_says(kind: registry.Kind) -> None:
    for name in registry.names(kind):
        module = registry.load(kind, name)
        actions = module.ACTIONS if isinstance(module.ACTIONS, str) else "/".join(sorted(module.ACTIONS))
        actions = "continuous/discrete" if hasattr(module, "actions") else actions  # its settings decide
        evidence = module.EVIDENCE if isinstance(module.EVIDENCE, str) else "/".join(sorted(module.EVIDENCE))
        facts, text = describe(kind, name)
        assert facts == f"{evidence}; {actions} actions"
        assert (module.__doc__ or "").startswith(text.removesuffix(" ...").split("\n")[0][:40])


@pytest.mark.parametrize(
    "text, facts",
    [
        ("import a_package_that_is_not_there\n", "ModuleNotFoundError: No module named 'a_package_that_is_not_there'"),
        ("ACTIONS = frozenset()\n", LACKING),
        ("def broken(:\n", "SyntaxError: invalid syntax ({file}:1)"),
        ("RATE = 1\nraise RuntimeError('two\\nlines')\n", "RuntimeError: two lines ({file}:2)"),
        ("import numpy\nnumpy.linalg.inv([[0.0]])\n", "LinAlgError: Singular matrix ({file}:2)"),
    ],
)
def test_list_says_why_a_module_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, facts: str
) -> None:
    (tmp_path / "algorithms").mkdir()
    file = tmp_path / "algorithms" / "odd.py"
    file.write_text(text)
    monkeypatch.setenv("KSHOT_PATH", str(tmp_path))
    assert describe("algorithms", "odd")[0] == "cannot be used"
    assert facts.format(file=file) in describe("algorithms", "odd")[1]


def test_what_a_source_does_not_tell_is_asked_of_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = inspect.getsource(counting)
    assert 'EVIDENCE: Evidence = "rollouts"' in text
    (tmp_path / "algorithms").mkdir()
    computed = re.sub(r"^EVIDENCE.*$", 'EVIDENCE = "".join(["roll", "outs"])', text, flags=re.MULTILINE)
    (tmp_path / "algorithms" / "computed.py").write_text(computed)
    monkeypatch.setenv("KSHOT_PATH", str(tmp_path))
    assert describe("algorithms", "computed")[0] == "rollouts; discrete actions"


def test_the_version_is_that_of_the_package() -> None:
    done = kshot(Path(), "--version")
    assert (done.stdout, done.returncode) == (f"kshot {__version__}\n", 0)


def test_check_config_counts_runs_and_goes_on_after_a_bad_suite(tmp_path: Path) -> None:
    write_suite(tmp_path)
    write_suite(tmp_path, SUITE | {"seeds": []}, "bad.yaml")
    done = kshot(tmp_path, "check-config", "bad.yaml", "suite.yaml")
    assert done.returncode == 2
    assert done.stderr == "kshot: bad.yaml:3: seeds: must not be empty\n"
    assert done.stdout == "suite.yaml: 3 training runs and 2 reference evaluations, all valid\n"


def start(folder: Path) -> subprocess.Popen[str]:
    """A training of some seconds, once it has taken its first steps."""
    command = [sys.executable, "-m", "kshot", "train", "suite.yaml", *COUNTING]
    process = subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True)
    progress = folder / "results/tiny/coins/counting/seed-0/progress.json"
    for _ in range(600):
        if progress.is_file() and json.loads(progress.read_text())["done"] > 0:
            return process
        time.sleep(0.1)
    process.kill()
    raise AssertionError("the training did not report any progress within a minute")


def slow_suite(folder: Path, seconds: float) -> Path:
    """A suite whose training takes so long, in meta-steps of 50 ms; each takes 8 episodes of one step."""
    suite: dict[str, Any] = copy.deepcopy(SUITE)
    suite["algorithms"] = {"counting": {"settings": {"seconds": 0.05}}}
    suite["families"]["coins"]["steps"] = round(8 * seconds / 0.05)
    write_suite(folder, suite)
    return folder


def test_a_terminated_training_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    slow = slow_suite(tmp_path, seconds=3)
    run = slow / "results/tiny/coins/counting/seed-0"
    assert kshot(slow, "train", "suite.yaml", *COUNTING).returncode == 0
    expected = {name: (run / name).read_bytes() for name in ("model.pt", "train.parquet")}
    for name in expected:
        (run / name).unlink()
    (run / "progress.json").unlink()

    process = start(slow)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert said == "kshot: stopped, and everything is saved; the same command goes on from the checkpoint\n"
    assert not (run / "model.pt").exists()
    assert "1 stopped" in kshot(slow, "status", "suite.yaml", "--once").stdout
    interrupted_at = json.loads((run / "progress.json").read_text())["done"]
    assert 0 < interrupted_at < 480

    assert kshot(slow, "train", "suite.yaml", *COUNTING).returncode == 0
    assert {name: (run / name).read_bytes() for name in expected} == expected
    assert json.loads((run / "run.json").read_text())["env_steps"] == 480


def test_two_processes_never_work_on_one_run(tmp_path: Path) -> None:
    slow = slow_suite(tmp_path, seconds=100)
    first = start(slow)
    try:
        second = kshot(slow, "train", "suite.yaml", *COUNTING)
        assert second.returncode == 2
        assert "another process is working on this run; wait for it or stop it first" in second.stderr
        assert "1 training" in kshot(slow, "status", "suite.yaml", "--once").stdout
    finally:
        first.terminate()
        first.communicate(timeout=60)


def test_a_scripted_policy_is_evaluated_without_loading_pytorch(tmp_path: Path) -> None:
    write_suite(tmp_path)
    oracle = ["evaluate", "suite.yaml", "--family", "coins", "--algorithm", "oracle", "--seed", "0"]
    code = f"import sys; from kshot.cli import main; print(main({oracle!r}), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    wrote = [f"results/tiny/coins/oracle/seed-0/{name}" for name in ("curve.parquet", "evaluate.json")]
    assert (done.stdout.split(), done.returncode) == ([*wrote, "0", "False"], 0), done.stderr
    assert all((tmp_path / path).is_file() for path in wrote)
    assert "torch" not in json.loads((tmp_path / wrote[1]).read_text())["kernels"]
