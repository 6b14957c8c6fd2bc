"""What a run takes at the least, from its settings alone, so that what cannot fit is refused before anything starts.

Settings of algorithms and families have their names in common, and what is estimated here goes by these names; one that
a run does not have counts as 1, or as nothing. All numbers are lower bounds, far below what a run really takes, except
for the replay buffer, which is taken to be of observations as large as Meta-World's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from kshot.ram import RAM_SHARE, ram_limit
from kshot.suites.run import RunConfig

CORE_HOURS = 8760.0
"""A year of one core: a run is one process, and none is waited for longer."""
STEPS_PER_SECOND, UPDATES_PER_SECOND = 1e7, 1e5
"""Of one core: above what the simplest family and the smallest network reach."""
_STEP, _ROW, _TASK = 32, 150, 200
"""Bytes of a step in memory, of a line of curve.parquet while it is collected, and of a task."""
_WEIGHT = 16
"""Bytes of a weight, its gradient and the two moments of Adam."""
_TRANSITION = 4 * (2 * 39 + 4 + 3)
"""Bytes of a step of Meta-World in a replay buffer."""


@dataclass(frozen=True)
class _Sizes:
    """The settings of a run, by name."""

    run: RunConfig

    def get(self, *names: str) -> int:
        """The largest of the numbers that settings or their lists have under these names; at least 1."""
        found = [1]
        for settings in (self.run.algorithm_settings, self.run.family_settings):
            for name in names:
                value = settings.get(name, 1)
                found += [item for item in _flat(value) if isinstance(item, int) and not isinstance(item, bool)]
        return max(found)

    @property
    def length(self) -> int:
        """Steps in an episode."""
        return self.get("horizon")

    @property
    def trial(self) -> int:
        """Episodes in a trial."""
        return self.get("episodes_per_trial", "pulls")

    @property
    def per_meta_step(self) -> int:
        """Episodes that a meta-step collects."""
        episodes = self.get("episodes", "posterior_episodes", "prior_episodes", "outer_demonstrations", "shots")
        return self.get("meta_batch", "collect_tasks") * max(episodes, self.get("trials"))

    @property
    def tested(self) -> int:
        """Episodes that the evaluation plays."""
        test = self.run.evaluation
        if self.run.kind == "reference":
            return test.tasks * test.sampled_episodes
        return test.tasks * (max(test.k) + test.sampled_episodes + len(test.k) * test.mean_episodes)


def why_too_large(run: RunConfig, memory: bool = True) -> str:
    """Why a run cannot be done here, in one line with GB or core-hours; empty if it may fit.

    Args:
        run: fully resolved.
        memory: whether it is to be done on this machine, so that its memory counts.
    """
    sizes, where = _Sizes(run), f"{run.family}/{run.algorithm}"
    limit = int(ram_limit() * RAM_SHARE)
    for what, needed, advice in _memory(sizes) if memory else ():
        if needed > limit:
            return (
                f"{where}: {what} would take at least {_round(needed / 1e9)} GB, but {limit / 1e9:.1f} GB "
                f"({RAM_SHARE:.0%} of this machine's memory) can be used; lower {advice}"
            )
    for what, seconds, advice in _work(sizes):
        if seconds > 3600 * CORE_HOURS:
            return (
                f"{where}: {what} would take at least {_round(seconds / 3600)} core-hours, more than the "
                f"{CORE_HOURS:,.0f} of a year, and a run has one process; lower {advice}"
            )
    return ""


def too_large(runs: Iterable[RunConfig], memory: bool = True) -> list[str]:
    """``why_too_large`` of the runs of a suite, a line for each row on a family; seeds are alike."""
    rows = {(run.family, run.algorithm): run for run in runs}
    return [reason for run in rows.values() if (reason := why_too_large(run, memory))]


def _memory(sizes: _Sizes) -> Iterator[tuple[str, float, str]]:
    """(what, bytes, settings to lower) of what a run keeps in memory."""
    run, get = sizes.run, sizes.get
    test_tasks = run.evaluation.tasks
    yield "the test tasks", test_tasks * _TASK, "evaluation.tasks"
    yield "the evaluation's episodes", sizes.tested * _ROW, "evaluation.tasks, k, mean_episodes or sampled_episodes"
    yield "an episode", sizes.length * _STEP, "horizon"
    yield "the training tasks", get("train_tasks", "training_tasks") * _TASK, "train_tasks or training_tasks"
    yield "the demonstrations", get("demonstrations") * get("train_tasks") * _STEP, "demonstrations or train_tasks"
    yield "the tables of a task", 8 * get("states") ** 2 * get("actions", "arms"), "states, actions or arms"
    yield "the grid of a task", 8 * get("side") ** 2 * get("copies"), "side or copies"
    if run.kind == "reference":
        return
    steps = sizes.per_meta_step * sizes.length
    yield "the episodes of a meta-step", steps * _STEP, "meta_batch, collect_tasks, episodes, trials or horizon"
    for name in ("hidden", "encoder", "encoder_hidden"):
        widths = [1, *_flat(run.algorithm_settings.get(name, 1)), 1]
        square = max(widths) ** 2 if isinstance(run.algorithm_settings.get(name), int) else 0  # of a memory cell
        weights = max(square, sum(a * b for a, b in pairwise(widths)))
        lower = f"{name} or layers" if "layers" in run.algorithm_settings else name
        yield "the weights of a network", weights * get("layers") * _WEIGHT, lower
    context = min(get("context"), sizes.trial * sizes.length)
    kept = 8 * get("layers") * context * get("hidden") * get("meta_batch") * get("trials")  # keys and values
    yield "what trials are remembered by", kept, "context, layers, hidden, meta_batch or trials"
    replayed = get("training_tasks") * get("replay_capacity") if "replay_capacity" in run.algorithm_settings else 0
    yield "the replay buffer", replayed * _TRANSITION, "replay_capacity or training_tasks"
    batch = get("meta_batch") * get("batch_size", "context_size")
    yield "a batch", batch * _STEP, "meta_batch, batch_size or context_size"


def _work(sizes: _Sizes) -> Iterator[tuple[str, float, str]]:
    """(what, seconds, settings to lower) of what a run computes."""
    run, get = sizes.run, sizes.get
    if run.kind == "reference":
        yield "the evaluation", sizes.tested * sizes.length / STEPS_PER_SECOND, "evaluation.tasks or sampled_episodes"
        return
    yield "the evaluation", sizes.tested * sizes.length / STEPS_PER_SECOND, "evaluation.tasks, k or the episodes"
    yield "the training", run.steps / STEPS_PER_SECOND, "steps"
    updates = max(get("gradient_steps"), get("epochs") * get("minibatches"), get("inner_steps"), get("outer_epochs"))
    # A trial of a learner with memory is many episodes, but no more than its length of pulls or episodes.
    meta_steps = math.ceil(run.steps / (sizes.per_meta_step * sizes.length * sizes.trial * 100))
    yield "the updates", updates * meta_steps / UPDATES_PER_SECOND, "steps, or the updates of a meta-step"
    inner = get("test_steps", "inner_steps") * len(run.evaluation.k)
    yield "the adaptation", inner / UPDATES_PER_SECOND, "test_steps or inner_steps"


def _flat(value: Any) -> list[Any]:
    return [item for part in value for item in _flat(part)] if isinstance(value, (list, tuple)) else [value]


def _round(value: float) -> str:
    return f"{value:,.1f}" if value < 1e6 else f"{value:.1e}"
