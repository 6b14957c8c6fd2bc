"""What every task family promises (``kshot.types.TaskFamily``)."""

from __future__ import annotations

import contextlib
import pickle
import random
import sys
from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from kshot import registry, seeding
from kshot.types import SPLITS, Array, Episodes, Headline, Policy, ReferencePolicy, Split, Task, TaskFamily

# Only what makes a family quick to test; everything else is tested as it comes.
SMALL: dict[str, dict[str, Any]] = {
    "ant_goal": {"horizon": 40},
    "cheetah_dir": {"horizon": 60},
    "cheetah_vel": {"horizon": 60},
    "hopper_rand_params": {"horizon": 60},
    "metaworld": {"horizon": 6},
    "metaworld_physics": {"horizon": 6},
    "nav2d": {"horizon": 20},
    "walker_rand_params": {"horizon": 60},
}
Check = Callable[[TaskFamily], None]


def make(name: str) -> TaskFamily:
    """A family by its name, as it comes but for what makes it quick to check."""
    module = registry.load("envs", name)
    built: TaskFamily = module.build(module.Settings(**SMALL.get(name, {})))
    return built


def draw(family: TaskFamily, split: Split, at_most: int, seed: int = 0) -> list[Task]:
    """Up to ``at_most`` tasks: a family may be finite and small."""
    while at_most > 1:
        try:
            return family.tasks(split, at_most, seed)
        except ValueError:
            at_most = (at_most + 1) // 2
    return family.tasks(split, 1, seed)


def play(
    family: TaskFamily, policy: Policy, tasks: Sequence[Task], seeds: Sequence[int], copies: int = 1, episodes: int = 1
) -> Episodes:
    """A plain rollout, episode by episode; ``seeds`` has one entry per task and keys actions and environment."""
    spec = family.spec
    lead, horizon = (len(tasks), copies), spec.horizon
    keys = seeding.split(np.array(seeds, dtype=np.uint64)[:, None], np.arange(copies))
    env = family.vector_env(tasks, copies)
    memory = policy.start(*lead)
    blocks = []
    for episode in range(episodes):
        seeds_now: Any = keys.reshape(-1).tolist() if episode == 0 else None
        obs, _ = env.reset(seed=seeds_now)
        active = np.ones(lead, dtype=bool)
        rows: list[dict[str, Array]] = []
        for t in range(horizon):
            noise = seeding.noise(keys, episode * horizon + t, spec.action_dim, spec.action_kind)
            shaped = obs.reshape(*lead, -1)
            action, log_prob, memory = policy.act(shaped, memory, noise)
            obs, reward, terminated, truncated, info = env.step(action.reshape(-1, *action.shape[2:]))
            done = (terminated | truncated).reshape(lead)
            memory = policy.observe(memory, action, reward.reshape(lead), done)
            rows.append(
                {
                    "obs": shaped,
                    "action": action,
                    "reward": reward.reshape(lead),
                    "terminated": terminated.reshape(lead) & active,
                    "truncated": truncated.reshape(lead) & active,
                    "mask": active,
                    "log_prob": log_prob,
                    "success": info["success"].reshape(lead) & active,
                }
            )
            active = active & ~done
        assert not active.any(), "an episode did not end at the horizon"
        block = {name: np.stack([row[name] for row in rows], axis=2) for name in rows[0]}
        block["final_obs"] = obs.reshape(*lead, -1)
        blocks.append(block)
    env.close()
    return Episodes(**{name: np.concatenate([block[name] for block in blocks], axis=1) for name in blocks[0]})


def as_bytes(episodes: Episodes) -> bytes:
    # Rewards after the end of an episode are meaningless by contract.
    rewards = np.where(episodes.mask, episodes.reward, 0.0)
    return b"".join(np.ascontiguousarray(x).tobytes() for x in (episodes.action, rewards, episodes.success))


def module_declares_what_the_family_has(family: TaskFamily) -> None:
    """``ACTIONS``, ``EVIDENCE``, the name and the headline of the module are those of the family that it builds."""
    module = registry.load("envs", family.spec.name)
    assert family.spec.action_kind == module.ACTIONS
    assert family.spec.evidence == module.EVIDENCE
    if hasattr(module, "headline"):
        assert module.headline(module.Settings()) in get_args(Headline)


def tasks_are_reproducible_distinct_plain_data(family: TaskFamily) -> None:
    """The same arguments give the same tasks, another seed gives others, and no task comes twice."""
    for split in SPLITS:
        tasks = draw(family, split, 12, seed=3)
        n = len(tasks)
        assert tasks == family.tasks(split, n, 3)
        assert len({task.params for task in tasks}) == len({task.id for task in tasks}) == n
        assert all(task.split == split and task.family == family.spec.name and task.group for task in tasks)
        assert pickle.loads(pickle.dumps(tasks)) == tasks
        assert tasks != family.tasks(split, n, 4)


class Unchecked(Exception):
    """What a check is about is not there; the message says what."""


def _needed(family: TaskFamily, name: str) -> ReferencePolicy:
    """A scripted policy of a family. Raises Unchecked where it has none of that name, as families may."""
    if name not in family.references:
        raise Unchecked(f"the family has no {name}")
    return family.references[name]


def _best(family: TaskFamily) -> ReferencePolicy:
    """A scripted policy that gets far: the oracle, if there is one."""
    return family.references.get("oracle", family.references["random"])


def splits_are_disjoint(family: TaskFamily) -> None:
    """No task is in two splits, unless the family says that all hold the same."""
    drawn = {
        split: {(t.group, t.params) for seed in range(3) for t in draw(family, split, 40, seed)} for split in SPLITS
    }
    if family.spec.shared_tasks:
        assert drawn["train"] == drawn["validation"] == drawn["test"]
        return
    assert not drawn["train"] & drawn["test"]
    assert not drawn["train"] & drawn["validation"]
    assert not drawn["validation"] & drawn["test"]


def vector_env_has_the_promised_shapes(family: TaskFamily) -> None:
    """Spaces, arrays and flags are those of ``TaskFamily.vector_env``."""
    spec = family.spec
    tasks = draw(family, "train", 3)
    env, n = family.vector_env(tasks, 2), 2 * len(tasks)
    seeds: Any = list(range(n))
    obs, _ = env.reset(seed=seeds)
    assert env.num_envs == n
    assert env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    assert env.single_action_space == spec.action_space
    assert obs.shape == (n, spec.observation_dim) and env.observation_space.contains(obs)
    middle = np.zeros((n, *(spec.action_space.shape or ())), dtype=spec.action_space.dtype)
    assert env.action_space.contains(middle)
    obs, reward, terminated, truncated, info = env.step(middle)
    assert obs.shape == (n, spec.observation_dim)
    assert reward.shape == terminated.shape == truncated.shape == info["success"].shape == (n,)
    assert terminated.dtype == truncated.dtype == info["success"].dtype == np.bool_
    assert spec.observation_center.shape == spec.observation_scale.shape == (spec.observation_dim,)
    assert (spec.observation_scale > 0).all()
    env.close()


def sub_envs_are_task_major(family: TaskFamily) -> None:
    """The copies of a task stand beside each other."""
    tasks = draw(family, "train", 3)
    best, seeds, last = _best(family), [1, 2, 3][: len(tasks)], len(tasks) - 1
    both = play(family, best(tasks), tasks, seeds, copies=2)
    lone = play(family, best(tasks[last:]), tasks[last:], seeds[last:], copies=2)
    assert as_bytes(both.select(slice(last, None))) == as_bytes(lone)


def same_seeds_same_bytes_and_neighbours_do_not_matter(family: TaskFamily) -> None:
    """Episodes depend on their seeds alone, not on what is played beside them."""
    tasks = draw(family, "test", 3)
    policy, seeds = family.references["random"](tasks), [7, 8, 9][: len(tasks)]
    together = play(family, policy, tasks, seeds, copies=2, episodes=3)
    assert as_bytes(together) == as_bytes(play(family, policy, tasks, seeds, copies=2, episodes=3))
    assert as_bytes(together) != as_bytes(play(family, policy, tasks, [s + 10 for s in seeds], copies=2, episodes=3))
    alone = [
        play(family, family.references["random"]([t]), [t], [s], copies=2, episodes=3)
        for t, s in zip(tasks, seeds, strict=True)
    ]
    assert [as_bytes(together.select(slice(i, i + 1))) for i in range(len(tasks))] == [as_bytes(one) for one in alone]


def episodes_end_by_termination_or_at_the_horizon(family: TaskFamily) -> None:
    """Every episode ends, and is truncated nowhere but at the horizon."""
    tasks = draw(family, "test", 4)
    episodes = play(family, _best(family)(tasks), tasks, list(range(len(tasks))), episodes=3)
    last = np.maximum(episodes.lengths - 1, 0)[:, :, None]
    ended = np.take_along_axis(episodes.terminated | episodes.truncated, last, axis=2)
    assert ended.all()
    assert (episodes.truncated.any(axis=2) <= (episodes.lengths == family.spec.horizon)).all()


def stepping_after_the_end_changes_nothing_later(family: TaskFamily) -> None:
    """A family whose episodes all end together may also refuse it with a ValueError."""
    tasks = draw(family, "train", 2)
    seeds: Any = [5, 6]
    action = np.zeros((2, *(family.spec.action_space.shape or ())), dtype=family.spec.action_space.dtype)
    followed = []
    for extra in (0, 3):
        env = family.vector_env(tasks, 1)
        env.reset(seed=seeds)
        for _ in range(family.spec.horizon):
            truncated = env.step(action)[3]
        for _ in range(extra):
            with contextlib.suppress(*([ValueError] if truncated.all() else [])):
                env.step(action)
        obs, _ = env.reset()
        followed.append((obs.copy(), *(np.array(x) for x in env.step(action)[:4])))
        env.close()
    assert all(np.array_equal(a, b) for a, b in zip(*followed, strict=True))


def out_of_range_actions_are_clipped(family: TaskFamily) -> None:
    """An action beyond the bounds does what the one at the bound does."""
    space = family.spec.action_space
    tasks = draw(family, "train", 2)
    seeds: Any = [5, 6]
    if isinstance(space, spaces.Discrete):
        edge, beyond = np.full(2, space.n - 1), np.full(2, space.n + 3)
    else:
        edge, beyond = np.tile(space.high, (2, 1)), np.tile(3 * space.high, (2, 1))
    results = []
    for action in (edge, beyond):
        env = family.vector_env(tasks, 1)
        env.reset(seed=seeds)
        obs, reward, *_ = env.step(action)
        results.append((obs.tobytes(), reward.tobytes()))
        env.close()
    assert results[0] == results[1]


def the_oracle_is_better_than_random(family: TaskFamily) -> None:
    """A policy that knows the task earns more than chance."""
    _needed(family, "oracle")
    tasks = draw(family, "test", 12)
    seeds, copies = list(range(len(tasks))), 20 if family.spec.max_sub_envs >= 1000 else 1
    returns = {
        name: play(family, family.references[name](tasks), tasks, seeds, copies).returns.mean()
        for name in ("random", "oracle")
    }
    assert returns["oracle"] > returns["random"]


def the_task_blind_reference_does_not_look_at_the_task(family: TaskFamily) -> None:
    """There is a floor, and it acts alike on two tasks."""
    tasks = draw(family, "test", 20)
    first = tasks[0]
    second = next(task for task in tasks[1:] if task.group == first.group)
    seeds: Any = [1]
    env = family.vector_env([first], 1)
    obs = env.reset(seed=seeds)[0].reshape(1, 1, -1)
    env.close()
    make = _needed(family, "task_blind")
    actions = [make([task]).act(obs, make([task]).start(1, 1), None)[0] for task in (first, second)]
    assert np.array_equal(actions[0], actions[1])


def reference_policies_have_the_promised_shapes(family: TaskFamily) -> None:
    """Scripted policies keep to ``kshot.types.Policy`` and leave their memory as it was."""
    tasks = draw(family, "test", 2)
    obs = np.tile(family.spec.observation_center, (2, 3, 1))
    keys = seeding.split(0, np.arange(6)).reshape(2, 3)
    tail = () if family.spec.action_kind == "discrete" else (family.spec.action_dim,)
    for noise in (None, seeding.noise(keys, 0, family.spec.action_dim, family.spec.action_kind)):
        for make in family.references.values():
            policy = make(tasks)
            memory = policy.start(2, 3)
            before = pickle.dumps(memory)
            action, log_prob, acted = policy.act(obs, memory, noise)
            later = policy.observe(acted, action, np.zeros((2, 3)), np.zeros((2, 3), dtype=bool))
            assert action.shape == (2, 3, *tail) and log_prob.shape == (2, 3)
            assert all(value.shape[:2] == (2, 3) for value in (*acted.values(), *later.values()))
            assert pickle.dumps(memory) == before


def nothing_that_an_oracle_sees_is_cut_off(family: TaskFamily) -> None:
    """At most 1 % of any entry; demonstrations are not normalised but read as features of a known world."""
    spec = family.spec
    if "rollouts" not in spec.evidence:
        return  # no learner on this family normalises
    tasks = draw(family, "test", 5)
    seen = play(family, _needed(family, "oracle")(tasks), tasks, range(len(tasks)))
    cut = np.abs(spec.normalise(seen.obs[seen.mask])) >= spec.observation_clip
    assert cut.mean(axis=0).max() <= 0.01


def reference_values_are_finite_and_known_by_name(family: TaskFamily) -> None:
    """Known values have names that reports know."""
    for task in draw(family, "test", 5):
        values = family.reference(task)
        assert set(values) <= {"random", "task_blind", "oracle", "bayes_optimal_trial"}
        assert np.isfinite(list(values.values())).all()


def global_random_state_is_left_alone(family: TaskFamily) -> None:
    """Nothing draws from generators that others share."""

    def state() -> bytes:
        return pickle.dumps((np.random.get_state(), random.getstate(), _torch_state()))

    before = state()
    fresh = make(family.spec.name)
    tasks = fresh.tasks("validation", 2, 1)
    play(fresh, fresh.references["random"](tasks), tasks, [1, 2], episodes=2)
    assert state() == before


def _torch_state() -> bytes:
    """Of PyTorch's generator, if something has loaded it: families do without."""
    torch = sys.modules.get("torch")
    return b"" if torch is None else bytes(torch.get_rng_state().numpy().tobytes())


CHECKS: tuple[Check, ...] = (
    module_declares_what_the_family_has,
    tasks_are_reproducible_distinct_plain_data,
    splits_are_disjoint,
    vector_env_has_the_promised_shapes,
    sub_envs_are_task_major,
    same_seeds_same_bytes_and_neighbours_do_not_matter,
    episodes_end_by_termination_or_at_the_horizon,
    stepping_after_the_end_changes_nothing_later,
    out_of_range_actions_are_clipped,
    the_oracle_is_better_than_random,
    the_task_blind_reference_does_not_look_at_the_task,
    reference_policies_have_the_promised_shapes,
    nothing_that_an_oracle_sees_is_cut_off,
    reference_values_are_finite_and_known_by_name,
    global_random_state_is_left_alone,
)
