"""What a meta-step costs at the reference sizes: seconds of collection, adaptation and outer update; steps per second.

``python -m benchmarks.learners`` trains MAML (2 x 512) and RL² (GRU 256 after two layers of 256) on ML10 with 20 tasks,
10 episodes of 500 steps, and the settings of ``config/algorithms``; each learner in a process of its own, whose peak
memory is printed. One meta-step warms up, the others are timed. ``--set name=value`` changes settings, ``--profile``
adds the ten operations that take most of a meta-step's time.

``--beside REV`` measures the code of another commit in turn with the present one, ``--rounds`` times, and prints the
ratio of their median rates; settings that it does not have yet go to ``--set-present``. ``--busy`` measures everything
again beside a process that computes without pause, and prints how much slower the present code is there.

Collection is the playing of episodes. The outer update is TRPO's (MAML) or PPO's (RL²). What remains is adaptation:
advantages and the inner gradient step for MAML; advantages, values and hidden states for RL², which adapts by playing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

import kshot
from benchmarks import Clock
from kshot import registry
from kshot.envs import metaworld
from kshot.running.train import Collector

HERE = Path(__file__).resolve().parent.parent
CONFIG = Path(kshot.__file__).resolve().parent.parent / "config" / "algorithms"  # of the commit that is measured
OUTER = {"maml": "_trust_region_step", "rl2": "_optimise"}
PARTS = ("collection", "adaptation", "outer")


def measure(
    name: str, changes: dict[str, Any], steps: int, horizon: int, profile: bool, device: str = "cpu"
) -> dict[str, Any]:
    """Median seconds of the parts of a meta-step, steps per second over all of it, and peak memory in GB."""
    module = registry.load("algorithms", name)
    values = (
        yaml.safe_load((CONFIG / f"{name}.yaml").read_text())["families"]["metaworld"] | {"meta_batch": 20} | changes
    )
    settings = module.Settings(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
    family = metaworld.build(metaworld.Settings(benchmark="ML10", horizon=horizon))
    learner = module.build(family.spec, settings, 0, device)
    clock = Clock()
    setattr(learner, OUTER[name], clock.timed("outer", getattr(learner, OUTER[name])))
    rounds: list[dict[str, float]] = []
    for iteration in range(steps + 1):
        clock.spent.clear()
        collector = Collector(family, 0, iteration)
        tasks = family.tasks("train", learner.tasks_per_step, iteration)
        begin = time.perf_counter()
        learner.meta_step(tasks, clock.timed("collection", collector), 0.0)
        total = time.perf_counter() - begin
        spent = {**clock.spent, "adaptation": total - clock.spent["collection"] - clock.spent["outer"]}
        rounds += [{part: spent[part] for part in PARTS} | {"rate": collector.steps / total}] * (iteration > 0)
    result: dict[str, Any] = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    result |= {"learner": name, "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}
    result |= {"steps": collector.steps, "settings": values}
    if profile:
        with torch.profiler.profile() as trace:
            learner.meta_step(tasks, Collector(family, 0, steps), 0.0)
        result["profile"] = trace.key_averages().table(
            sort_by="self_cpu_time_total", row_limit=10, max_name_column_width=40
        )
    return result


@contextlib.contextmanager
def trees(revision: str | None) -> Iterator[dict[str, Path]]:
    """The folders of code to measure by name: this one and, if asked for, another commit's, checked out for a while."""
    if revision is None:
        yield {"present": HERE}
        return
    with tempfile.TemporaryDirectory() as folder:
        git = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", folder, revision], check=True)
        try:
            yield {revision: Path(folder), "present": HERE}
        finally:
            subprocess.run([*git, "remove", "--force", folder], check=True)


@contextlib.contextmanager
def company(busy: bool) -> Iterator[subprocess.Popen[bytes] | None]:
    """With ``busy``, a process beside us that computes without pause."""
    if not busy:
        yield None
        return
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield process
        finally:
            process.kill()


SETTLED = """
import json, os
from kshot import threads
if hasattr(threads, "settle"):
    threads.settle(threads.asked() or threads.cores())
print(json.dumps(dict(os.environ)))
"""


def run(name: str, tree: Path, arguments: list[str]) -> dict[str, Any]:
    """``measure`` in a process of its own, with the code of a folder, and the environment that its jobs get."""
    command = [sys.executable, "-P", __file__, *arguments, "--in-this-process", "--learners", name]
    environment: dict[str, str] = os.environ | {"PYTHONPATH": str(tree)}
    settled = [sys.executable, "-c", SETTLED]
    environment = json.loads(
        subprocess.run(settled, check=True, stdout=subprocess.PIPE, cwd=tree, env=environment).stdout
    )
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=tree, env=environment).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learners", nargs="+", choices=sorted(OUTER), default=sorted(OUTER))
    parser.add_argument("--steps", type=int, default=3, help="meta-steps that are timed")
    parser.add_argument("--horizon", type=int, default=500, help="steps per episode")
    parser.add_argument("--set", nargs="*", default=[], metavar="name=value", help="settings to change")
    parser.add_argument("--set-present", nargs="*", default=[], metavar="name=value", help="only of the present code")
    parser.add_argument("--device", default="cpu", help="where networks are trained")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--beside", metavar="REV", help="a commit to measure in turn with the present code")
    parser.add_argument("--rounds", type=int, default=1, help="how many times each is measured")
    parser.add_argument("--busy", action="store_true", help="measure beside a busy process, too")
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    changes = {name: yaml.safe_load(value) for name, value in (item.split("=", 1) for item in options.set)}
    if options.in_this_process:
        sizes = (options.steps, options.horizon, options.profile, options.device)
        print(json.dumps(measure(options.learners[0], changes, *sizes)))
        return
    passed = ["--steps", str(options.steps), "--horizon", str(options.horizon)]
    passed += ["--device", options.device]
    passed += ["--profile"] * options.profile + ["--set", *options.set]
    threads = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
    machine = f"{os.cpu_count()} cores, {threads} threads, load {os.getloadavg()[0]:.2f}, {options.device}"
    print(f"{machine}; seconds per meta-step, median")
    print(f"{'':24} " + " ".join(f"{part:>10}" for part in PARTS) + f" {'steps':>7} {'steps/s':>8} {'peak GB':>8}")
    results = []
    with trees(options.beside) as folders:
        for name in options.learners:
            quiet = 0.0
            for busy in (False, True)[: 1 + options.busy]:
                rates: dict[str, list[float]] = {code: [] for code in folders}
                for code in [*folders] * options.rounds:
                    with company(busy):
                        only = options.set_present if code == "present" else []
                        found = run(name, folders[code], [*passed, *only]) | {"code": code, "busy": busy}
                    rates[code].append(found["rate"])
                    seconds = " ".join(f"{found[part]:>10.2f}" for part in PARTS)
                    title = f"{name} {code[:10]} {'busy' * busy}"
                    print(f"{title:24} {seconds} {found['steps']:>7} {found['rate']:>8.0f} {found['peak_gb']:>8.2f}")
                    print(found.pop("profile", ""), end="", flush=True)
                    results.append(found)
                now = statistics.median(rates["present"])
                if busy:
                    print(f"{name}: {quiet / now:.2f} times slower beside a busy process")
                quiet = now
                if options.beside:
                    before = statistics.median(rates[options.beside])
                    where = " beside a busy process" * busy
                    print(f"{name}: {now / before:.2f} times the rate of {options.beside}{where}")
    print(json.dumps({"cores": os.cpu_count(), "threads": threads, "results": results}))


if __name__ == "__main__":
    main()
