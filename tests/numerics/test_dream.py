"""DREAM: what a step of exploration is paid, what the policies are told, and where gradients go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from kshot.algorithms import dream
from kshot.algorithms.dream import DREAM, ToldPolicy
from kshot.learning.recurrent_policy import RecurrentPolicy
from kshot.types import Array, Episodes, FamilySpec, Policy, Task
from tests.numerics.random_episodes import random_episodes

D, H, IDS, LATENT, TRIALS = 3, 5, 6, 4, 2
SPEC = FamilySpec("probe", D, spaces.Discrete(3), horizon=H, episodes_per_trial=2)
TASKS = [Task("probe", "train", i, (("i", i),)) for i in range(IDS)]


def make_learner(**settings: object) -> DREAM:
    small = {"hidden": 8, "latent": LATENT, "training_tasks": IDS, "trials": TRIALS, "minibatches": 2, "epochs": 2}
    return dream.build(SPEC, dream.Settings(**small | settings), seed=3, device="cpu")


class Recorder:
    """A ``Collect`` that plays random episodes, with the policy's own probabilities, and notes who played them."""

    def __init__(self) -> None:
        self.calls: list[tuple[Policy, int, int]] = []

    def __call__(self, policy: Policy, tasks: Sequence[Task], copies: int, episodes: int = 1) -> Episodes:
        self.calls.append((policy, copies, episodes))
        return random_episodes(SPEC, len(self.calls), len(tasks), copies * episodes)

    def demonstrations(self, tasks: Sequence[Task], n: int, arrangement: int = 0) -> Episodes:
        raise AssertionError


def read_by_hand(learner: DREAM, policy: RecurrentPolicy, played: Episodes, task: int) -> list[Array]:
    """G before every step of the only trial of ``task``, and after it: input by input, as the policy is fed."""
    decoder = learner._decoder
    state = torch.zeros(1, decoder.memory.state_size)
    last = policy.start(1, 1)
    guesses = []

    def read(obs: Array) -> None:
        nonlocal state
        inputs = policy.inputs(obs[None, None], last["action"], last["reward"], last["done"]).reshape(1, 1, -1)
        features, state = decoder.memory(inputs, state)
        guesses.append(decoder.head(features)[0, 0].numpy())

    with torch.no_grad():
        for e in range(played.n_episodes):
            for t in range(int(played.lengths[task, e])):
                read(played.obs[task, e, t])
                done = np.array([[played.terminated[task, e, t]]])
                reward = played.reward[task, e, t][None, None]
                last = policy.observe(last, played.action[task, e, t][None, None], reward, done)
        read(played.obs[task, -1, 0])  # what comes next begins as the last episode began
    return guesses


@pytest.mark.parametrize("explorations", [1, 2])
def test_a_step_is_paid_by_how_much_closer_the_guess_comes(explorations: int) -> None:
    """Against the decoder fed step by step; the payments of a trial add up to what it told in all."""
    learner = make_learner(exploration_episodes=explorations, step_cost=0.03, free_norm=2.0, trials=1)
    played = random_episodes(SPEC, 1, IDS, explorations)
    paid = learner._paid_for_telling(played, learner._trials(learner.policy(), played))
    codes = learner._told.codes.detach().numpy()
    for task in range(IDS):
        guesses = read_by_hand(learner, learner.policy(), played, task)
        distance = [float(((guess - codes[task]) ** 2).sum()) / 2.0 for guess in guesses]
        payment = paid.training_reward[task][played.mask[task]]
        np.testing.assert_allclose(payment, -np.diff(distance) - 0.03, atol=1e-5)
        assert payment.sum() == pytest.approx(distance[0] - distance[-1] - 0.03 * len(payment), abs=1e-5)
    assert not paid.training_reward[~played.mask].any()
    np.testing.assert_array_equal(paid.reward, played.reward)


def test_the_guess_that_a_task_is_played_by_is_the_one_that_was_paid_for() -> None:
    learner = make_learner()
    evidence = random_episodes(SPEC, 2, 3, 1)
    policy = learner.adapt(learner.policy(), evidence)
    for task in range(3):
        expected = read_by_hand(learner, learner.policy(), evidence, task)[-1]
        np.testing.assert_allclose(policy.told[task, 0], [*np.zeros(IDS), *expected], atol=1e-6)


def test_knowing_the_code_of_an_id_is_being_told_the_id() -> None:
    """At test z takes the place of an id without noise: same actions, same probabilities."""
    learner = make_learner()
    ids = np.concatenate([np.eye(IDS), np.zeros((IDS, LATENT))], axis=-1)[:, None]
    told = learner._exploitation.told(ids)
    knowing = learner._exploitation.knowing(learner._told.codes.detach().numpy())
    obs = np.random.default_rng(0).normal(size=(IDS, 2, D))
    noise = np.random.default_rng(1).gumbel(size=(IDS, 2, 3))
    (action, log_prob, _), (other, other_log_prob, _) = (p.act(obs, p.start(IDS, 2), noise) for p in (told, knowing))
    np.testing.assert_array_equal(action, other)
    np.testing.assert_allclose(log_prob, other_log_prob, atol=1e-6)
    assert np.ptp(log_prob[:, 0]) > 0  # tasks are told apart


def test_each_policy_plays_its_own_episodes_and_learns_from_its_own_rewards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exploitation policy, told ids and guesses, from the family's rewards; the exploration policy from pay."""
    learner = make_learner(exploration_episodes=2)
    seen = {}
    for name in ("Exploitation", "Exploration"):
        original = getattr(dream, name).advantage

        def advantage(self, trials, reading, name=name, original=original):  # type: ignore[no-untyped-def]
            seen[name] = trials
            return original(self, trials, reading)

        monkeypatch.setattr(getattr(dream, name), "advantage", advantage)
    explored = random_episodes(SPEC, 1, IDS, 2 * TRIALS)
    trials = learner._trials(learner.policy(), explored)
    expected = learner._paid_for_telling(explored, trials)
    recorder = Recorder()
    metrics = learner.meta_step(TASKS, recorder, 0.0)
    (exploring, *how_exploring), (exploiting, *how) = recorder.calls
    assert isinstance(exploiting, ToldPolicy)
    assert how == [TRIALS, 1]
    assert not isinstance(exploring, ToldPolicy)
    assert how_exploring == [TRIALS, 2]
    # The first of a task's two trials is played by what is guessed after its first exploration, by a g that has learnt.
    guesses = learner._guesses(trials).reshape(IDS, TRIALS, LATENT)
    np.testing.assert_allclose(exploiting.told[:, 0], np.concatenate([np.zeros((IDS, IDS)), guesses[:, 0]], axis=1))
    np.testing.assert_array_equal(exploiting.told[:, 1, :IDS], np.eye(IDS))
    assert 0.5 < exploiting.told[:, 1, IDS:].std() / 0.1 < 1.5
    first, second = seen["Exploitation"], seen["Exploration"]
    rewards = random_episodes(SPEC, 2, IDS, TRIALS)
    np.testing.assert_array_equal(first.reward[first.mask], rewards.reward[rewards.mask])
    np.testing.assert_allclose(second.reward[second.mask], expected.training_reward[expected.mask], atol=1e-6)
    # Its episodes hold what it was told: the network reads z beside every observation.
    inputs = first.inputs[:, 0].reshape(IDS, TRIALS, -1)[..., -IDS - LATENT :]
    np.testing.assert_allclose(inputs, exploiting.told, atol=1e-6)
    assert metrics["updates"] == 3 * 4  # two passes of two minibatches for each of both policies and the decoder
    assert metrics["return_guessed"] == pytest.approx(rewards.returns[:, 0].mean())
    assert metrics["return_informed"] == pytest.approx(rewards.returns[:, 1].mean())


@pytest.mark.parametrize(("guessed", "by_guesses"), [(0.0, 0), (0.25, 1), (0.5, 2)])
def test_a_share_of_the_exploitation_is_played_by_guesses(guessed: float, by_guesses: int) -> None:
    learner = make_learner(trials=4, guessed=guessed)
    recorder = Recorder()
    metrics = learner.meta_step(TASKS, recorder, 0.0)
    exploiting = recorder.calls[1][0]
    assert isinstance(exploiting, ToldPolicy)
    np.testing.assert_array_equal(exploiting.told[:, :, :IDS].any(axis=(0, 2)), np.arange(4) >= by_guesses)
    assert ("return_guessed" in metrics) == bool(by_guesses)
    with pytest.raises(ValueError, match=r"guessed must be at least 0 and below 1, got 1\.0"):
        make_learner(guessed=1.0)


def test_codes_learn_from_the_exploitation_policy_alone_and_norms_cost_from_the_bound_on() -> None:
    learner = make_learner(free_norm=0.5)
    before = learner._told.codes.detach().clone()
    played = random_episodes(SPEC, 1, IDS, TRIALS)
    trials = learner._trials(learner.policy(), played)
    losses = [np.mean(learner._fit(trials, 0.0)) for _ in range(20)]
    assert losses[-1] < 0.9 * losses[0]
    torch.testing.assert_close(learner._told.codes.detach(), before, rtol=0, atol=0)
    learner.meta_step(TASKS, Recorder(), 0.0)
    assert not torch.equal(learner._told.codes.detach(), before)

    exploitation = learner._exploitation
    codes = torch.zeros(IDS, LATENT)
    codes[:, 0] = torch.arange(IDS) / 2  # squared norms 0, .25, 1, 2.25, 4, 6.25
    with torch.no_grad():
        exploitation._network.codes.copy_(codes)
    outputs, batch = ("outputs", "batch")

    def costs(bound: float) -> float:
        exploitation.settings = replace(exploitation.settings, free_norm=bound)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dream.rl2.RL2, "loss", lambda *arguments: (torch.zeros(()), {}))
            return float(exploitation.loss(outputs, batch, 0.0)[0].detach())  # type: ignore[arg-type]

    assert costs(10.0) == 0.0
    assert costs(2.0) == pytest.approx((0.25 + 2.0 + 4.25) / IDS)


def test_what_was_found_out_by_exploring_is_kept_and_other_numbers_of_tasks_are_refused() -> None:
    learner = make_learner()
    adapted = learner.adapt(learner.policy(), random_episodes(SPEC, 0, 2, 1))
    np.testing.assert_array_equal(learner.adapt(adapted, random_episodes(SPEC, 1, 2, 1)).told, adapted.told)
    with pytest.raises(ValueError, match="adapted to 2 tasks cannot act on 3"):
        adapted.start(3, 1)
    with pytest.raises(TypeError, match="cannot adapt a Recorder"):
        learner.adapt(Recorder(), random_episodes(SPEC, 0, 2, 1))  # type: ignore[arg-type]


TYPES, ASK = 4, 4
ASKING = FamilySpec("asking", 1, spaces.Discrete(6), horizon=1, episodes_per_trial=2)


class Asking:
    """A ``Collect`` of episodes of one step: guess the task's type, and be paid for it; ask, and pay; or do nothing.

    A guess is right for one type of four and so tells little; what asking costs depends on the type and tells it.
    """

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def __call__(self, policy: Policy, tasks: Sequence[Task], copies: int, episodes: int = 1) -> Episodes:
        lead, shape = (len(tasks), copies), (len(tasks), copies, 1)
        obs, ended = np.zeros((*lead, 1), np.float32), np.ones(shape, dtype=bool)
        action, log_prob, _ = policy.act(obs, policy.start(*lead), self.rng.gumbel(size=(*lead, 6)))
        kind = np.array([[task["i"] % TYPES] for task in tasks])
        reward = np.where(action == kind, 1.0, 0.0) - (action == ASK) * (1 + kind) / 4
        return Episodes(
            obs=obs[:, :, None],
            action=action[:, :, None],
            reward=reward[:, :, None].astype(np.float32),
            terminated=ended,
            truncated=~ended,
            mask=ended,
            log_prob=log_prob[:, :, None],
            success=reward[:, :, None] == 1.0,
            final_obs=obs,
        )

    def demonstrations(self, tasks: Sequence[Task], n: int, arrangement: int = 0) -> Episodes:
        raise AssertionError


def test_it_learns_to_ask_though_asking_only_costs() -> None:
    """Exploring by guesses, then guessing what is left, is right half of the time: 1/4 + 3/4 * 1/3."""
    tasks = [Task("asking", "train", i, (("i", i),)) for i in range(2 * TYPES)]
    # Without a strong bonus it may settle on a guess before the codes mean anything.
    settings = dream.Settings(
        hidden=16, latent=4, training_tasks=len(tasks), free_norm=1.0, exploration_entropy=0.3, lr=3e-3, lr_end=1.0
    )
    learner = dream.build(ASKING, settings, seed=0, device="cpu")
    collect = Asking()
    for _ in range(110):
        learner.meta_step(tasks, collect, 0.0)
    explored = collect(learner.policy(), tasks, 100)
    assert (explored.action == ASK).mean() > 0.9
    evidence = explored.select(slice(None), slice(0, 1))
    played = collect(learner.adapt(learner.policy(), evidence), tasks, 100)
    assert played.returns.mean() > 0.85
