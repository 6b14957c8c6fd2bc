"""``kshot run``: Snakemake with a line of progress, what failed, how to go on, and Ctrl-C."""

from __future__ import annotations

import copy
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from kshot.errors import ConfigError
from kshot.running import workflow
from kshot.running.status import RunStatus
from kshot.suites.reading import load_suite, read_suite
from tests.workflow.conftest import Called
from tests.workflow.pipeline import PLUGINS, SUITE, environment, kshot, planned, write_suite

pytestmark = pytest.mark.workflow

CURVE = "results/tiny/coins/counting/seed-0/curve.parquet"
BROKEN = """
from tests.workflow.plugins.algorithms.counting import *
from tests.workflow.plugins.algorithms.counting import Counting


def build(spec, settings, seed, device):
    class Broken(Counting):
        def meta_step(self, tasks, collect, progress):
            raise RuntimeError("a fault of this algorithm")

    return Broken(spec, settings)
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "kshot", "run", *arguments]


def test_from_python_it_returns_what_there_is(tmp_path: Path) -> None:
    """Progress is shown as by the command."""
    write_suite(tmp_path)
    done = [
        "import kshot",
        f"frame = kshot.run('suite.yaml', cores=1, options=[{CURVE!r}])",
        "print(frame.groupby('state')['seed'].count().to_dict(), frame['algorithm'].iloc[0], len(frame))",
    ]
    surroundings = environment() | {"MPLBACKEND": "agg"}
    ran = subprocess.run(
        [sys.executable, "-c", "\n".join(done)], cwd=tmp_path, env=surroundings, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0] == "Snakemake writes to logs/tiny/snakemake.log" and "2 of 2 jobs done." in lines
    # Three points of the one that ran, and a line for each that did not.
    assert lines[-1] == "{'missing': 4, 'ok': 3} counting 7"


def test_it_does_what_snakemake_does(tmp_path: Path, forks: Called) -> None:
    write_suite(tmp_path)
    done = forks(tmp_path, "kshot", "run", "suite.yaml", "--cores", "1", "--", CURVE)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Snakemake writes to logs/tiny/snakemake.log"
    assert lines[-1] == "2 of 2 jobs done."
    assert "2 of 2 steps (100%) done" in (tmp_path / "logs/tiny/snakemake.log").read_text()
    assert planned(tmp_path, CURVE) == {}, "plain Snakemake finds nothing left to do"
    again = forks(tmp_path, "kshot", "run", "suite.yaml", "--cores", "1", "--", CURVE)
    assert again.returncode == 0 and again.stdout.splitlines()[-1] == "There was nothing to be done."
    plan = forks(tmp_path, "kshot", "run", "suite.yaml", "--", "--dry-run")
    assert plan.returncode == 0 and "Job stats:" in plan.stdout + plan.stderr
    partial = forks(tmp_path, "kshot", "run", "suite.yaml", "--cores", "1", "--", "partial_report")
    assert partial.stdout.splitlines()[-1] == "The report: reports/tiny/partial/index.html"
    changed = forks(tmp_path, "kshot", "run", "suite.yaml", "--", "--dry-run", "--config", "seeds=[0,1]")
    assert "seed-1" in changed.stdout + changed.stderr


def test_a_job_that_fails_is_shown_with_its_log(tmp_path: Path, forks: Called) -> None:
    (tmp_path / "plugins" / "algorithms").mkdir(parents=True)
    (tmp_path / "plugins" / "algorithms" / "broken.py").write_text(BROKEN)
    suite = copy.deepcopy(SUITE) | {"algorithms": {"broken": {}}}
    write_suite(tmp_path, suite)
    target = CURVE.replace("counting", "broken")
    arguments = ["suite.yaml", "--cores", "1", "--", target]
    done = forks(tmp_path, "kshot", "run", *arguments, plugins=(PLUGINS, tmp_path / "plugins"))
    assert done.returncode == 1, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    place = lines.index("Failed: logs/tiny/coins/broken/seed-0/train.log")
    assert lines[-2] == "    RuntimeError: a fault of this algorithm"
    assert place + 2 <= len(lines) - 2 <= place + workflow.LOG_LINES
    assert lines[-1] == f"To go on, once that is mended: kshot run {' '.join(arguments)}"


def test_finished_runs_of_other_code_are_counted_beforehand(tmp_path: Path, forks: Called) -> None:
    """They stay as they are, unless the suite says that they follow the code; and it is said how to make them again."""
    plugins = tmp_path / "plugins"
    shutil.copytree(PLUGINS, plugins)
    write_suite(tmp_path)

    def lines(*options: str) -> list[str]:
        done = forks(tmp_path, "kshot", "run", "suite.yaml", "--cores", "1", "--", CURVE, *options, plugins=(plugins,))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()

    assert lines()[0].startswith("Snakemake writes to ")
    path = plugins / "algorithms" / "counting.py"
    path.write_text(path.read_text() + "\n# A change.\n")
    said = lines()
    assert said[0] == (
        "1 of 1 finished runs was made by other code than is here: kshot audit suite.yaml lists them. To make one "
        "again, delete its folder in results/tiny and start again"
    )
    assert said[-1] == "There was nothing to be done."
    shutil.rmtree((tmp_path / CURVE).parent)
    said = lines()
    assert (said[0].split()[0], said[-1]) == ("Snakemake", "2 of 2 jobs done.")


def test_a_figure_or_table_that_fails_is_told_at_the_end(tmp_path: Path, forks: Called) -> None:
    """With its error, the line that it comes from, and where the rest is; the report is there without it."""
    write_suite(tmp_path)
    torn = tmp_path / "plugins" / "figures" / "torn.py"
    torn.parent.mkdir(parents=True)
    torn.write_text("NAME = 'torn'\nCAPTION = ''\n\n\ndef draw(results, sections):\n    return 1 / 0\n")
    plugins = (PLUGINS, tmp_path / "plugins")
    for target in (CURVE, "partial_report"):
        done = forks(tmp_path, "kshot", "run", "suite.yaml", "--cores", "1", "--", target, plugins=plugins)
        assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-3:] == [
        f"Not shown, because of an error in its code: figure torn: ZeroDivisionError: division by zero ({torn}:6)",
        "All of it: logs/tiny/partial_report.log",
        "The report: reports/tiny/partial/index.html",
    ]
    assert "Traceback" in (tmp_path / "logs/tiny/partial_report.log").read_text()


def test_a_wrong_suite_is_told_as_check_config_does_before_anything_is_started(tmp_path: Path) -> None:
    suite = copy.deepcopy(SUITE)
    suite["algorithms"]["counting"] = {"settings": {"trusts": 1.0}}
    write_suite(tmp_path, suite)
    done = kshot(tmp_path, "run", "suite.yaml", "--cores", "1")
    (line,) = done.stderr.splitlines()
    assert line.startswith("kshot: suite.yaml:") and "trusts" in line
    assert (done.returncode, done.stdout, [path.name for path in tmp_path.iterdir()]) == (2, "", ["suite.yaml"])


def test_what_snakemake_refuses_by_itself_is_shown_with_the_reason(tmp_path: Path) -> None:
    write_suite(tmp_path)
    (tmp_path / "results").write_text("")
    done = kshot(tmp_path, "run", "suite.yaml", "--cores", "1")
    assert done.returncode not in (0, 130)
    assert "Failed: logs/tiny/snakemake.log" in done.stdout and "results is a file" in done.stdout


def slow(folder: Path) -> Path:
    """A suite that would be trained for minutes; returns the folder of its run."""
    suite = copy.deepcopy(SUITE)
    suite["families"]["coins"] |= {"steps": 8000, "references": ["oracle"]}
    suite["algorithms"] = {"counting": {"settings": {"seconds": 0.2}}}
    write_suite(folder, suite)
    return folder / "results/tiny/coins/counting/seed-0"


def wait_for(condition: Any, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 200
    while not condition():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.2)


def trains(run: Path) -> bool:
    try:
        return '"done": 0' not in (run / "progress.json").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    "given, number, returncode", [("suite.yaml", signal.SIGINT, 130), ("tiny", signal.SIGTERM, 143)]
)
def test_ctrl_c_lets_the_jobs_save_and_says_how_to_go_on(
    tmp_path: Path, given: str, number: int, returncode: int
) -> None:
    """By the suite's file or name, as it was begun."""
    run = slow(tmp_path)
    named = tmp_path / "more" / "config" / "suites" / "tiny.yaml"
    named.parent.mkdir(parents=True)
    shutil.copy(tmp_path / "suite.yaml", named)
    own = environment() | {"KSHOT_PATH": os.pathsep.join([str(PLUGINS), str(tmp_path / "more")])}
    process = subprocess.Popen(
        command(given, "--cores", "1"), cwd=tmp_path, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    wait_for(lambda: trains(run), process)
    process.send_signal(number)
    output = process.communicate(timeout=120)[0].decode()
    assert process.returncode == returncode, output
    assert output.splitlines()[-1] == f"Stopped. To go on from here: kshot run {given} --cores 1"
    assert (run / "checkpoint.pt").is_file(), "the training saved before it ended"
    assert '"state": "interrupted"' in (run / "progress.json").read_text()
    assert not list((tmp_path / ".snakemake").glob("locks/*")), "the same command can go on"


def test_on_a_terminal_one_line_changes(tmp_path: Path) -> None:
    run = slow(tmp_path)
    ours, theirs = pty.openpty()
    own = environment() | {"TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen(
        command("suite.yaml", "--cores", "1"), cwd=tmp_path, env=own, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    shown = b""

    def sees(text: bytes) -> bool:
        nonlocal shown
        with suppress(OSError):  # nothing there yet, or the other side is closed
            shown += os.read(ours, 65536)
        return text in shown

    wait_for(lambda: trains(run), process)
    wait_for(lambda: sees(b"/2 runs done \xc2\xb7 1 at work \xc2\xb7 "), process)
    process.send_signal(signal.SIGINT)
    wait_for(lambda: sees(b"To go on from here") or process.poll() is not None, process)
    process.wait(60)
    sees(b"")
    assert process.returncode == 130
    text = shown.decode()
    assert "\x1b[2K" in text, "the line is written over"
    assert len([line for line in text.split("\n") if "runs done" in line]) <= 2, "and takes one line"


FAMILY = {"family": "bandit", "steps": 1000, "evaluation": {"tasks": 2, "k": [0, 1]}, "references": []}
RUNS = load_suite(
    {
        "name": "made-up",
        "seeds": [0, 1],
        "families": {"a": FAMILY, "b": FAMILY},
        "algorithms": {"maml": {}},
    },
    modules=False,
).runs()


def statuses(*states: str, **more: Any) -> list[RunStatus]:
    return [RunStatus(run, state, 500, 1000, **more) for run, state in zip(RUNS, states, strict=True)]


def test_the_line_counts_runs_jobs_time_and_families() -> None:
    earlier = statuses("waiting", "waiting", "failed", "waiting")
    now = statuses("done", "training", "failed", "diverged", training_rate=10.0)
    line = workflow.progress(now, earlier, (5, 9), 160)
    # 500 steps at 10 a second by one process; what failed before has 500 left of which nobody makes any now.
    assert line.startswith("2/4 runs done · 1 at work · ")
    assert line.endswith(" of training left · jobs 5/9 · a 1/2 · b 1/2")
    again = workflow.progress(statuses("done", "done", "done", "failed"), earlier, None, 160)
    assert again == "3/4 runs done · 1 failed · b 1/2 · a 2/2", "unfinished families come first"


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_the_line_fits_and_leaves_out_the_families_first(width: int) -> None:
    long = [replace(item.run, family=f"{item.run.family}-with-a-long-name" * 2) for item in statuses(*["done"] * 4)]
    now = [RunStatus(run, "training", 1, 1000, training_rate=0.5) for run in long]
    line = workflow.progress(now, now, (5, 9), width)
    assert cell_len(line) <= width and line.startswith("0/4 runs done")
    if width == 80:
        assert line.endswith("of training left · jobs 5/9")


def test_failed_jobs_and_counts_are_read_from_what_snakemake_writes() -> None:
    text = (
        "1 of 9 steps (11%) done\nError in rule train:\n    jobid: 1\n"
        "    log: logs/a b/train.log (check log file(s) for error details)\n"
        "2 of 9 steps (22%) done\nError in rule train:\n"
        "    log: logs/a b/train.log (check log file(s) for error details)\n"
    )
    assert workflow._failed_logs(text) == [Path("logs/a b/train.log")]
    assert workflow._jobs(text) == (2, 9) and workflow._jobs("") is None


def test_options_of_snakemake_that_change_the_suite_count(tmp_path: Path) -> None:
    found = workflow.overrides(
        ["-k", "--config", "seeds=[0,1]", "name=other", "--rerun-incomplete", "a=b", "-C", "x=1"]
    )
    assert found == {"seeds": "[0,1]", "name": "other", "x": "1"}
    assert workflow.overrides(["--config=name=other"]) == {"name": "other"}
    path = write_suite(tmp_path)
    suite = read_suite([path], workflow.overrides(["--config", "seeds=[0,1]", "name=other"]), modules=False)
    assert suite.name == "other" and {run.seed for run in suite.runs() if run.kind == "algorithm"} == {0, 1}
    with pytest.raises(ConfigError, match="--config seeds: expected key=value"):
        workflow.overrides(["--config", "seeds"])


def test_what_other_machines_compute_is_not_checked_here() -> None:
    assert workflow.computes_here(["--config", "seeds=[0,1]", "figures"])
    assert not workflow.computes_here(["--workflow-profile=profiles/slurm"])
    assert not workflow.computes_here(["partial_report"])


@pytest.mark.parametrize("option", ["--configfile", "--snakefile=other", "-d"])
def test_options_that_say_another_suite_are_refused(tmp_path: Path, option: str) -> None:
    write_suite(tmp_path)
    done = kshot(tmp_path, "run", "suite.yaml", "--", option, "x")
    assert done.returncode == 2 and done.stderr.startswith(f"kshot: {option}: `kshot run SUITE` says which suite")
