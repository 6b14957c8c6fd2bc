"""Commands that train, evaluate and watch the runs of a suite."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kshot import commands

if TYPE_CHECKING:
    from kshot.running import jobs
    from kshot.suites.run import RunConfig


def train(options: argparse.Namespace) -> int:
    run = _prepare(options)
    if run.kind == "reference":
        from kshot.errors import ConfigError

        raise ConfigError([f"{run.algorithm!r} is a reference policy: it is not trained; evaluate it"])
    from kshot.running.train import train

    return _do("train", train, run, options)


def evaluate(options: argparse.Namespace) -> int:
    run = _prepare(options)
    from kshot.running.evaluate import evaluate
    from kshot.running.jobs import require_model

    require_model(run, options.root)
    return _do("evaluate", evaluate, run, options)


def official(options: argparse.Namespace) -> int:
    run = _prepare(options)
    from kshot.running.jobs import require_model
    from kshot.running.official import official

    run = asking_official(run)
    require_model(run, options.root)
    return _do("official", official, run, options)


def asking_official(run: RunConfig) -> RunConfig:
    """The run as in a suite that asks for the official evaluation, since now somebody does, whatever the suite says.

    Raises:
        ConfigError: it can have none, with the reason.
    """
    from kshot.errors import ConfigError
    from kshot.suites.resolving import official_obstacle

    reason = official_obstacle(run.family_module, run.evaluation.split, run.family_settings)
    if run.kind == "reference":
        reason = f"it takes learners, and {run.algorithm!r} is a reference policy"
    if reason:
        raise ConfigError([f"{run.algorithm!r} on {run.family!r} has no official evaluation: {reason}"])
    return replace(run, evaluation=run.evaluation.model_copy(update={"official": True}))


def _do(name: jobs.Name, step: Callable[[RunConfig, Path], None], run: RunConfig, options: argparse.Namespace) -> int:
    """Do a step of a run, unless it has been done."""
    from kshot.running import jobs

    done = "" if options.again else jobs.already_finished(name, run, options.root)
    if done:
        print(done)
        return 0
    return jobs.run_step(name, step, run, options.root, commands.mistakes())


def _prepare(options: argparse.Namespace) -> RunConfig:
    """The run that was asked for, in a process that is set up to compute it."""
    from kshot.threads import asked, settle

    threads = options.threads or asked() or 1
    settle(threads)
    run = commands.load(options, only=(options.family, options.algorithm)).find(
        options.family, options.algorithm, options.seed
    )

    from kshot.errors import ConfigError
    from kshot.running import provenance
    from kshot.suites.estimates import why_too_large

    if reason := why_too_large(run):
        raise ConfigError([f"suite {run.suite!r}: {reason}"])
    if run.kind != "reference":  # scripted policies do without PyTorch, and loading it would be most of their run
        import torch

        from kshot.running.machine import why_no_device

        torch.set_num_threads(threads)
        if reason := why_no_device(run.device):
            raise ConfigError([f"suite {run.suite!r}: {reason}"])
    # Pins the digests of the code as it is now, before the long part.
    for runner in (provenance.RUNNER, provenance.OFFICIAL_RUNNER):
        provenance.source_digest(run, runner)
    return run


def run_suite(options: argparse.Namespace) -> int:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from kshot.errors import ConfigError
    from kshot.running import workflow
    from kshot.suites.reading import find_suite, read_suite

    # By a process that ends: all that it has to import would fill the memory for as long as the suite runs.
    with ProcessPoolExecutor(1, get_context("fork")) as child:
        problems, note = child.submit(_beforehand, options.suite, options.passed_on).result()
    if problems:
        raise ConfigError(problems)
    file = find_suite(options.suite)
    suite = read_suite([file], workflow.overrides(options.passed_on), modules=False)
    return workflow.run(suite.name, suite.runs(), file, options.cores, options.passed_on, note, options.suite)


def _beforehand(suite: str, options: list[str]) -> tuple[tuple[str, ...], str]:
    """Why Snakemake, with these options, cannot be started for a suite, a line each; else what to say beforehand."""
    from kshot.errors import ConfigError
    from kshot.interface.before import outdated, startable

    try:
        return (), outdated(*startable(suite, options))
    except ConfigError as error:
        return error.problems, ""


def status(options: argparse.Namespace) -> None:
    from kshot.running.status import show
    from kshot.suites.reading import find_suite, load_suite

    # Which runs there are can be told without importing any algorithm, so the picture appears at once.
    suite = load_suite(find_suite(options.suite, options.root, prefer_results=True), modules=False)
    show(suite.runs(), options.root, options.once)


def audit(options: argparse.Namespace) -> int:
    suite = commands.load(options)
    from kshot.running.audit import audit

    found = audit(suite.runs(), options.root)
    if not found.checked:
        print(f"kshot: {options.root / suite.name}: {found.verdict}", file=sys.stderr)
        return commands.USER_ERROR
    for finding in found.findings:
        print(finding)
    print(found.verdict)
    return commands.FINDINGS if found.findings else 0


def render(options: argparse.Namespace) -> None:
    from kshot.rendering import graphics

    # MuJoCo takes what it is to draw with from the environment, when the family is imported.
    found = commands.load(options, modules=False).find(options.family, options.algorithm, options.seed)
    graphics.choose_for(found.family_module)
    run = _prepare(options)
    from kshot.rendering.clips import default_path, render

    out = options.out or default_path(run, options.task)
    print(render(run, options.root, options.task, options.k, out, options.frames, options.camera), out, sep="\n")


def tensorboard(options: argparse.Namespace) -> None:
    suite = commands.load_recorded(options)
    from kshot.running.event_files import write_all

    commands.print_paths(write_all(suite.runs(), options.root, options.out or Path("runs") / suite.name))
