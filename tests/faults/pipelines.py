"""Signals to whole pipelines at random moments; the same command, typed again, goes on to the same results."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.kills import RESULTS, Kills
from tests.workflow.pipeline import SUITE, begin, snakemake, write_suite

SLOW: dict[str, Any] = copy.deepcopy(SUITE)
SLOW["families"]["coins"] |= {"steps": 160, "references": ["oracle"]}
SLOW["algorithms"] = {"counting": {"settings": {"seconds": 0.2}}, "counting-less": SUITE["algorithms"]["counting-less"]}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def kill(kills: Kills, total: int, folder: Path, told: Callable[[str], None]) -> None:
    """Send ``total`` signals to pipelines, half of them to Snakemake alone and half to all that it has started."""
    if total < 1:
        return
    calm, rough = folder / "calm", folder / "rough"
    calm.mkdir(parents=True)
    write_suite(calm, SLOW)
    begun = time.monotonic()
    assert snakemake(calm, "--cores", "2").returncode == 0
    seconds = time.monotonic() - begun
    done = 0
    while done < total:
        shutil.rmtree(rough, ignore_errors=True)
        rough.mkdir()
        write_suite(rough, SLOW)
        for _ in range(min(4, total - done)):
            process = begin(rough, "--cores", "2")
            try:
                process.wait(kills.generator.uniform(0.2, 1.0) * seconds)
                break
            except subprocess.TimeoutExpired:
                number = kills.generator.choice(SIGNALS)
            if kills.generator.random() < 0.5:
                process.send_signal(number)
            else:
                os.killpg(process.pid, number)
            kills.counts["pipeline", signal.Signals(number).name] += 1
            done += 1
            process.wait(120)
        again = snakemake(rough, "--cores", "2")
        if again.returncode != 0:
            kills.faults.append(f"pipeline: ended with {again.returncode}: {again.stderr[-500:]}")
        for run in sorted(path.parent.relative_to(calm) for path in calm.glob("results/*/*/*/*/model.pt")):
            for name in RESULTS:
                if (calm / run / name).read_bytes() != (rough / run / name).read_bytes():
                    kills.faults.append(f"pipeline: {run / name} differs")
        if not (rough / "reports" / "tiny" / "index.html").is_file():
            kills.faults.append("pipeline: no report")
        told(f"{done} of {total} signals to pipelines, {len(kills.faults)} faults")
