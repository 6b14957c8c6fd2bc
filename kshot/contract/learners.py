"""What every algorithm promises on every family it can play (``kshot.types.MetaLearner``)."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

from kshot import records, registry, seeding
from kshot.contract import tiny
from kshot.running import build, checkpoint
from kshot.running import train as training
from kshot.running.evaluate import evaluate
from kshot.running.rollout import rollout
from kshot.running.train import train
from kshot.suites.run import LearningCurve, RunConfig
from kshot.types import Array, DemonstrationFamily, Episodes, MetaLearner, Policy, Task, TaskFamily

Check = Callable[[str, str, Path], None]
"""A check of an algorithm on a family, by their names, in a folder of its own."""


def checks(algorithm: str, family_name: str) -> list[Check]:
    """What a learner has to pass on a family that it can play."""
    _, learner = setup(tiny.run(algorithm, family_name))
    shown = registry.load("algorithms", algorithm).EVIDENCE == "demonstrations"
    found: list[Check] = [
        adapt_changes_neither_learner_nor_policy_nor_evidence,
        adapting_to_b_after_a_equals_adapting_to_b_alone,
        a_task_adapts_the_same_alone_and_in_company,
        same_seed_same_bytes_other_seed_other_bytes,
        stopped_and_resumed_equals_never_stopped,
    ]
    found += [demonstrations_count_the_same_in_one_part_or_in_several] if shown else []
    found += [] if shown or not learner.trains else [numbers_that_are_not_finite_end_a_run_and_keep_what_it_has]
    return found


def setup(run: RunConfig) -> tuple[TaskFamily, MetaLearner]:
    family = build.family(run)
    return family, build.learner(run, family.spec)


def four_tasks(family: TaskFamily) -> list[Task]:
    """Test tasks; where there are two, both twice."""
    try:
        return family.tasks("test", 4, 0)
    except ValueError:
        return 2 * family.tasks("test", 2, 0)


def gather(family: TaskFamily, learner: MetaLearner, policy: Policy, task_indices: list[int]) -> Episodes:
    """One block of evidence on some of the test tasks, with noise that belongs to the task."""
    tasks = four_tasks(family)
    keys = seeding.split(seeding.key("evidence"), np.array(task_indices))
    chosen = [tasks[i] for i in task_indices]
    demonstrated = sys.modules[type(learner).__module__].EVIDENCE == "demonstrations"
    if isinstance(family, DemonstrationFamily) and demonstrated:
        return family.demonstrations(chosen, learner.adaptation_episodes, keys)
    return rollout(family, policy, chosen, keys, learner.adaptation_episodes)


def behaviour(family: TaskFamily, policy: Policy, task_indices: list[int]) -> tuple[Array, Array]:
    """Actions and rewards of sampled episodes of a policy: equal numbers mean an equal policy."""
    tasks = four_tasks(family)
    keys = seeding.split(seeding.key("behaviour"), np.array(task_indices))
    episodes = rollout(family, policy, [tasks[i] for i in task_indices], keys, copies=2)
    taken = episodes.mask.reshape(*episodes.mask.shape, *(1,) * (episodes.action.ndim - 3))
    return episodes.action * taken, episodes.reward  # after an episode's end, actions are of no meaning


def frozen(value: Any) -> Any:
    """A deep copy to compare with later."""
    return copy.deepcopy(value)


def assert_same(a: Any, b: Any) -> None:
    """Equality of nested state: tensors and arrays bit by bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for name in a:
            assert_same(a[name], b[name])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif hasattr(a, "detach"):
        np.testing.assert_array_equal(a.detach().cpu().numpy(), b.detach().cpu().numpy())
    else:
        assert a == b


def adapt_changes_neither_learner_nor_policy_nor_evidence(algorithm: str, family_name: str, folder: Path) -> None:
    """``adapt`` gives a new policy and changes nothing that it is given."""
    family, learner = setup(tiny.run(algorithm, family_name))
    policy = learner.policy()
    evidence = gather(family, learner, policy, [0, 1])
    before_state, before_reward = frozen(learner.state_dict()), evidence.reward.copy()
    before = behaviour(family, policy, [0, 1])
    adapted = learner.adapt(policy, evidence)
    once = behaviour(family, adapted, [0, 1])
    twice = learner.adapt(adapted, gather(family, learner, adapted, [0, 1]))
    assert twice is not adapted and adapted is not policy
    assert_same(learner.state_dict(), before_state)
    np.testing.assert_array_equal(evidence.reward, before_reward)
    for old, new in zip(before, behaviour(family, policy, [0, 1]), strict=True):
        np.testing.assert_array_equal(old, new)
    for old, new in zip(once, behaviour(family, adapted, [0, 1]), strict=True):
        np.testing.assert_array_equal(old, new)


def adapting_to_b_after_a_equals_adapting_to_b_alone(algorithm: str, family_name: str, folder: Path) -> None:
    """Nothing of one task is left in the learner when it adapts to the next."""
    family, learner = setup(tiny.run(algorithm, family_name))
    learner.adapt(learner.policy(), gather(family, learner, learner.policy(), [0, 1]))
    after_a = learner.adapt(learner.policy(), gather(family, learner, learner.policy(), [2, 3]))
    fresh_family, fresh = setup(tiny.run(algorithm, family_name))
    alone = fresh.adapt(fresh.policy(), gather(fresh_family, fresh, fresh.policy(), [2, 3]))
    for a, b in zip(behaviour(family, after_a, [2, 3]), behaviour(fresh_family, alone, [2, 3]), strict=True):
        np.testing.assert_array_equal(a, b)


def demonstrations_count_the_same_in_one_part_or_in_several(algorithm: str, family_name: str, folder: Path) -> None:
    """How demonstrations are divided makes no difference."""
    family, learner = setup(tiny.run(algorithm, family_name))
    assert isinstance(family, DemonstrationFamily)
    keys = seeding.split(seeding.key("evidence"), np.arange(2))
    shown = family.demonstrations(four_tasks(family)[:2], 2 * learner.adaptation_episodes, keys)
    one, other = np.split(np.arange(shown.n_episodes), 2)
    at_once = learner.adapt(learner.policy(), shown)
    in_turn = learner.adapt(
        learner.adapt(learner.policy(), shown.select(slice(None), one)), shown.select(slice(None), other)
    )
    for a, b in zip(behaviour(family, at_once, [0, 1]), behaviour(family, in_turn, [0, 1]), strict=True):
        np.testing.assert_array_equal(a, b)


def a_task_adapts_the_same_alone_and_in_company(algorithm: str, family_name: str, folder: Path) -> None:
    """The tasks of a batch do not see each other."""
    family, learner = setup(tiny.run(algorithm, family_name))
    together = learner.adapt(learner.policy(), gather(family, learner, learner.policy(), [0, 1, 2]))
    alone = learner.adapt(learner.policy(), gather(family, learner, learner.policy(), [1]))
    actions, rewards = behaviour(family, together, [0, 1, 2])
    action, reward = behaviour(family, alone, [1])
    np.testing.assert_allclose(actions[1:2], action, atol=1e-4)  # batched products may round differently
    np.testing.assert_allclose(rewards[1:2], reward, atol=1e-3)


_undisturbed: dict[tuple[ModuleType, ModuleType, str], tuple[RunConfig, dict[str, bytes]]] = {}
"""The last run that several checks hold others against."""


def undisturbed(algorithm: str, family_name: str, folder: Path) -> tuple[RunConfig, dict[str, bytes]]:
    """A run, trained and evaluated, with a budget of at least two meta-steps if its learner trains; and its files."""
    run = tiny.run(algorithm, family_name)
    key = (registry.load("algorithms", algorithm), registry.load("envs", family_name), run.config_hash)
    if key not in _undisturbed:
        run = replace(run, learning_curve=LearningCurve(points=3, tasks=1, k=run.evaluation.k))
        root = folder / "straight"
        if setup(run)[1].trains:
            run, root = long_enough(run, folder)
        else:
            train(run, root)
        _undisturbed.clear()
        _undisturbed[key] = run, _evaluated(run, root)
    return _undisturbed[key]


def _evaluated(run: RunConfig, root: Path) -> dict[str, bytes]:
    """The files of a trained run, once it has been evaluated at the end of its training."""
    evaluate(replace(run, learning_curve=None), root)
    return {
        path.name: path.read_bytes() for path in run.directory(root).iterdir() if path.suffix in (".pt", ".parquet")
    }


def same_seed_same_bytes_other_seed_other_bytes(algorithm: str, family_name: str, folder: Path) -> None:
    """The same seed gives the same files, to the last bit; another seed gives others."""
    run, first = undisturbed(algorithm, family_name, folder)
    train(run, folder / "second")
    second = _evaluated(run, folder / "second")
    assert first.keys() == second.keys() >= {"model.pt", "train.parquet", "curve.parquet"}
    assert [name for name in first if first[name] != second[name]] == []
    other = replace(run, seed=1)
    train(other, folder / "third")
    assert first["model.pt"] != (other.directory(folder / "third") / "model.pt").read_bytes()


class Crash(Exception):
    """Stands for whatever kills a process between two iterations."""


def stopped_and_resumed_equals_never_stopped(algorithm: str, family_name: str, folder: Path) -> None:
    """A run that was killed and goes on ends with the files of one that was not."""
    run, straight = undisturbed(algorithm, family_name, folder)
    if not setup(run)[1].trains:
        model = folder / "model.pt"
        model.write_bytes(straight["model.pt"])
        assert checkpoint.load(model)["status"] == "ok"
        return

    original, calls = build.learner, list[int]()

    def fragile(run: RunConfig, spec: Any) -> MetaLearner:
        learner = original(run, spec)
        step = learner.meta_step

        def crashing(*args: Any) -> Any:
            calls.append(1)
            if len(calls) == 2:
                raise Crash
            return step(*args)

        vars(learner)["meta_step"] = crashing
        return learner

    directory = run.directory(folder / "broken")
    with mock.patch.object(training, "CHECKPOINT_SECONDS", -1.0), mock.patch.object(build, "learner", fragile):
        with contextlib.suppress(Crash):
            train(run, folder / "broken")
        assert checkpoint.load(directory / "checkpoint.pt")["iteration"] == 1
        assert not (directory / "model.pt").exists()
        train(run, folder / "broken")
    assert len(calls) > 2, "the run was too short to be interrupted"
    for name in ("model.pt", "train.parquet", "snapshot-1.pt", "snapshot-2.pt"):
        assert (directory / name).read_bytes() == straight[name], name
    assert not (directory / "checkpoint.pt").exists()


def long_enough(run: RunConfig, folder: Path) -> tuple[RunConfig, Path]:
    """The run, with a budget of at least two meta-steps, and the root in which it has been trained."""
    for attempt in range(12):
        root = folder / f"straight-{attempt}"
        train(run, root)
        if records.read_json(run.directory(root) / "run.json")["iterations"] >= 2:
            return run, root
        run = replace(run, steps=4 * run.steps)
    raise AssertionError(f"one meta-step takes more than {run.steps // 8} environment steps, even with small settings")


def numbers_that_are_not_finite_end_a_run_and_keep_what_it_has(algorithm: str, family_name: str, folder: Path) -> None:
    """The second iteration meets a NaN: the run has diverged there, which is a result, with the first one's rows."""
    for field, reason in (("reward", "a reward is not finite"), ("obs", "is not finite")):
        _meets_not_finite(algorithm, family_name, field, reason, folder / field)


def _meets_not_finite(algorithm: str, family_name: str, field: str, reason: str, folder: Path) -> None:
    run, _ = undisturbed(algorithm, family_name, folder)
    run = replace(run, learning_curve=None)
    played = rollout

    def poisoned(*args: Any, **kwargs: Any) -> Episodes:
        episodes = played(*args, **kwargs)
        if started[-1] == 0:
            return episodes
        spoilt = np.full_like(getattr(episodes, field), np.nan)
        return replace(episodes, **{field: spoilt})

    original, started = build.learner, [-1]

    def counting(run: RunConfig, spec: Any) -> MetaLearner:
        learner = original(run, spec)
        step = learner.meta_step

        def counted(*args: Any) -> Any:
            started.append(started[-1] + 1)
            return step(*args)

        vars(learner)["meta_step"] = counted
        return learner

    with mock.patch.object(training, "rollout", poisoned), mock.patch.object(build, "learner", counting):
        train(run, folder)
    directory = run.directory(folder)
    record = records.read_json(directory / "run.json")
    assert record["status"] == "diverged"
    assert record["reason"].startswith("iteration 1: ") and reason in record["reason"]
    rows = records.read_table(directory / "train.parquet", records.TRAIN_SCHEMA)
    assert set(rows["iteration"]) == {0} and np.isfinite(rows["value"]).all()
    evaluate(run, folder)
    curve = records.read_table(directory / "curve.parquet", records.CURVE_SCHEMA)
    assert list(curve["status"]) == ["diverged"]
