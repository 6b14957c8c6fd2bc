"""PEARL: the posterior, the flow of gradients, the latent's lifetime and which data goes where."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from kshot import seeding
from kshot.algorithms import pearl
from kshot.algorithms.pearl import PEARL, PosteriorPolicy
from kshot.learning import latent, replay_buffer, sac
from kshot.types import Episodes, FamilySpec, Policy, Task
from tests.numerics.random_episodes import random_episodes

D, A, H, LATENT = 3, 2, 5, 4
SPACE = spaces.Box(np.array([-0.1, -1.0]), np.array([0.3, 1.0]), dtype=np.float64)
SPEC = FamilySpec("probe", D, SPACE, horizon=H, episodes_per_trial=1)
TASKS = [Task("probe", "train", i, (("i", i),)) for i in range(6)]


def make_learner(**settings: object) -> PEARL:
    small = {"latent": LATENT, "hidden": (8, 7), "encoder_hidden": (6,), "training_tasks": 6, "collect_tasks": 2}
    small |= {"initial_episodes": 2, "prior_episodes": 2, "extra_posterior_episodes": 3, "replay_capacity": 200}
    small |= {"gradient_steps": 2, "meta_batch": 3, "batch_size": 10, "context_size": 6}
    return pearl.build(SPEC, pearl.Settings(**small | settings), seed=3, device="cpu")


class Recorder:
    """A ``Collect`` that plays random episodes and notes what it was asked for; rewards carry the call's number."""

    def __init__(self) -> None:
        self.calls: list[tuple[PosteriorPolicy, list[int], int]] = []

    def __call__(self, policy: Policy, tasks: Sequence[Task], copies: int, episodes: int = 1) -> Episodes:
        assert isinstance(policy, PosteriorPolicy)
        self.calls.append((policy, [task.index for task in tasks], copies))
        played = random_episodes(SPEC, len(self.calls), len(tasks), copies * episodes)
        return replace(played, reward=np.full(played.reward.shape, float(len(self.calls)), np.float32))

    def demonstrations(self, tasks: Sequence[Task], n: int, arrangement: int = 0) -> Episodes:
        raise AssertionError


# The posterior


def test_posterior_is_the_product_of_gaussian_densities() -> None:
    """Compared with the normalised product of the factors' densities on a grid, for one latent dimension."""
    encoder = {"weight_0": torch.eye(2), "bias_0": torch.zeros(2)}  # the context holds mean and raw variance itself
    context = torch.tensor([[[0.3, 0.2], [-0.5, 1.0], [1.2, -0.7]]])
    posterior = latent.infer(encoder, context)
    grid = torch.linspace(-8, 8, 40_001, dtype=torch.float64)
    log_density = torch.zeros_like(grid)
    for mean, raw in context[0].double():
        log_density -= 0.5 * (grid - mean) ** 2 / torch.log1p(raw.exp())
    weight = torch.softmax(log_density, 0)
    mean = (weight * grid).sum()
    assert float(posterior.mean) == pytest.approx(float(mean), abs=1e-5)
    assert float(posterior.variance) == pytest.approx(float((weight * (grid - mean) ** 2).sum()), rel=1e-5)


def test_posterior_does_not_depend_on_the_order_or_on_padding() -> None:
    learner = make_learner()
    context = torch.randn(2, 7, D + A + 1, generator=torch.Generator().manual_seed(0))
    posterior = latent.infer(learner._encoder, context)
    shuffled = latent.infer(learner._encoder, context[:, torch.tensor([3, 0, 6, 5, 1, 2, 4])])
    torch.testing.assert_close(posterior, shuffled)
    padded = torch.cat([context, torch.full((2, 3, D + A + 1), 9.0)], dim=1)
    mask = (torch.arange(10) < 7).expand(2, 10)
    torch.testing.assert_close(latent.infer(learner._encoder, padded, mask), posterior)


def test_posterior_without_evidence_is_the_prior_and_the_prior_is_no_factor() -> None:
    learner = make_learner()
    context = torch.randn(2, 3, D + A + 1, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[False] * 3, [True] * 3])
    posterior = latent.infer(learner._encoder, context, mask)
    assert not posterior.mean[0].any() and (posterior.variance[0] == 1).all()
    alone = latent.infer(learner._encoder, context[1:])
    torch.testing.assert_close(posterior.mean[1], alone.mean[0])
    torch.testing.assert_close(posterior.variance[1], alone.variance[0])


def test_kl_from_the_prior() -> None:
    posterior = latent.Posterior(torch.tensor([[0.5, -1.0], [0.0, 0.0]]), torch.tensor([[0.3, 2.0], [1.0, 1.0]]))
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(posterior.mean, posterior.variance.sqrt()), normal(0.0, 1.0))
    torch.testing.assert_close(posterior.kl_from_prior(), expected.sum(dim=-1))


@pytest.mark.parametrize("size", [1, 3, 4, 7, 50])
def test_long_contexts_are_thinned_evenly(size: int) -> None:
    lengths = np.array([0, 1, 3, 8, 40, 41])
    index, valid = latent.thinned(lengths, size)
    np.testing.assert_array_equal(valid.sum(axis=1), np.minimum(lengths, size))
    for length, row, real in zip(lengths, index, valid, strict=True):
        chosen = row[real]
        assert (np.diff(chosen) > 0).all() and ((chosen >= 0) & (chosen < length)).all()
        assert length == 0 or chosen[-1] == length - 1, "the newest step is always seen"
        gaps = np.diff(chosen)
        assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


# Soft actor-critic


def test_actions_fill_the_box_and_their_density_is_in_its_units() -> None:
    learner = make_learner()
    policy = learner.policy()
    memory = policy.start(1, 2000, seeding.split(7, np.arange(2000))[None])
    noise = np.random.default_rng(0).normal(size=(1, 2000, A)) * 3
    action, log_prob, _ = policy.act(np.zeros((1, 2000, D)), memory, noise)
    assert (action >= SPACE.low - 1e-12).all() and (action <= SPACE.high + 1e-12).all()  # rounding
    np.testing.assert_allclose(action.min(axis=(0, 1)), SPACE.low, atol=0.01)
    np.testing.assert_allclose(action.max(axis=(0, 1)), SPACE.high, atol=0.01)
    u, z = torch.as_tensor(noise, dtype=torch.float32), torch.as_tensor(memory["z"])
    distribution = sac.gaussian(sac.network(learner._nets.policy, torch.zeros(1, 2000, D), z))
    in_unit_box = sac.squash(distribution, u)[1].detach().numpy()
    np.testing.assert_allclose(log_prob, in_unit_box - np.log(0.2), rtol=1e-5)  # half widths .2 and 1


def test_timeouts_keep_the_bootstrap_in_what_is_replayed() -> None:
    learner = make_learner()
    episodes = random_episodes(SPEC, 0)
    timeout = replace(episodes, terminated=np.zeros_like(episodes.terminated), truncated=episodes.terminated)
    for played, expected in ((episodes, 2.0), (timeout, 0.0)):
        buffer, _ = learner._buffers()
        buffer.add(np.array([0]), played)
        steps = buffer.take(np.array([0]), np.arange(buffer.size[0])[None])
        assert float(learner._batch(steps).terminated.sum()) == expected


def test_the_critics_see_the_scaled_training_reward_and_the_context_the_plain_reward() -> None:
    learner = make_learner(reward_scale=5.0)
    steps = replay_buffer.transitions(
        replace(random_episodes(SPEC, 0), training_reward=np.full((1, 2, H), 3.0, np.float32))
    )
    steps = replay_buffer.Transitions(*(x[0] for x in steps))
    assert set(learner._batch(steps).reward.tolist()) == {15.0}
    np.testing.assert_array_equal(learner._inputs.context(steps)[..., D + A], steps.reward)


def gradients_of(loss: Tensor, learner: PEARL, name: str) -> float:
    params = list(learner._networks()[name].values())
    grads = torch.autograd.grad(loss, params, retain_graph=True, allow_unused=True)
    return sum(0.0 if g is None else float(g.abs().sum()) for g in grads)


def test_only_the_critics_loss_reaches_the_encoder() -> None:
    learner = make_learner()
    rng = torch.Generator().manual_seed(0)
    posterior = latent.infer(learner._encoder, torch.randn(3, 6, D + A + 1, generator=rng))
    z = (posterior.mean + posterior.variance.sqrt()).repeat_interleave(4, dim=0)
    obs, action, ones = torch.randn(12, D, generator=rng), torch.zeros(12, A), torch.ones(12)
    batch = sac.Batch(obs, action, ones, obs + 1, 0 * ones)
    critic = sac.critic_loss(learner._nets, batch, z, 0.9)
    reached = {name: gradients_of(critic, learner, name) for name in ("encoder", "critic_1", "critic_2")}
    assert min(reached.values()) > 0
    assert gradients_of(critic, learner, "policy") == gradients_of(critic, learner, "value") == 0
    actor = sac.actor_losses(learner._nets, batch, z.detach(), torch.zeros(12, A), 1e-3)
    for loss, trained in ((actor.policy, "policy"), (actor.value, "value")):
        assert gradients_of(loss, learner, "encoder") == 0
        assert gradients_of(loss, learner, trained) > 0


def test_an_update_trains_all_networks_and_moves_the_target_by_tau() -> None:
    learner = make_learner(tau=0.25)
    before = {f: {n: v.detach().clone() for n, v in learner._networks()[f].items()} for f in NETWORKS}
    learner.meta_step(TASKS, Recorder(), 0.0)
    for name in NETWORKS:
        after = learner._networks()[name]
        assert all(not torch.equal(after[n], before[name][n]) for n in after), name
    target, source = {"w": torch.zeros(2)}, {"w": torch.ones(2)}
    sac.soft_update(target, source, 0.25)
    sac.soft_update(target, source, 0.25)
    np.testing.assert_allclose(target["w"], [0.4375, 0.4375])


NETWORKS = ("encoder", "policy", "critic_1", "critic_2", "value", "target_value")


# Which data goes where


def contents(learner: PEARL, recent: bool, task: int) -> set[float]:
    """The numbers of the calls of ``collect`` whose steps a buffer holds for a task."""
    buffer = learner._recent if recent else learner._replay
    assert buffer is not None
    return set(np.unique(buffer.take(np.array([task]), np.arange(buffer.size[task])[None]).reward).tolist())


def test_contexts_come_from_the_newest_collection_without_the_extra_episodes() -> None:
    learner, collect = make_learner(posterior_episodes=1, posterior_update=2), Recorder()
    for step in range(4):
        learner.meta_step(TASKS, collect, 0.0)
        calls = collect.calls[1:] if step == 0 else collect.calls
        prior, posterior, extra, last_extra = calls[-4:]
        assert [call[2] for call in calls[-4:]] == [2, 1, 2, 1]  # three extra ones, at most two per update
        assert prior[0].posterior is None
        assert all(call[0].posterior is not None for call in (posterior, extra, last_extra))
        number = len(collect.calls)
        for task in range(6):
            everything = {i + 1.0 for i, call in enumerate(collect.calls) if task in call[1]}
            assert contents(learner, False, task) == everything
            if task in prior[1]:
                assert contents(learner, True, task) == {number - 3.0, number - 2.0}
    assert collect.calls[0][1:] == (list(range(6)), 2)
    assert sum(call[1] == list(range(6)) for call in collect.calls) == 1, "initial data is collected once"
    assert len({tuple(call[1]) for call in collect.calls}) > 2, "the same tasks every time"


def test_a_buffer_that_does_not_fit_is_refused_before_anything_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, collect = make_learner(), Recorder()
    monkeypatch.setattr(replay_buffer, "ram_limit", lambda: 1000)
    with pytest.raises(OSError, match=r"GB.*lower replay_capacity or training_tasks"):
        learner.meta_step(TASKS, collect, 0.0)
    assert not collect.calls
    fresh = make_learner()  # a model file has no buffers: evaluation needs no memory for them
    fresh.load_state_dict(learner.state_dict())


def test_an_interrupted_run_goes_on_exactly() -> None:
    straight, stopped = make_learner(), make_learner()
    collect, other = Recorder(), Recorder()
    straight.meta_step(TASKS, collect, 0.0)
    stopped.meta_step(TASKS, other, 0.0)
    resumed = make_learner()
    resumed.load_state_dict(stopped.state_dict())
    assert straight.meta_step(TASKS, collect, 0.5) == resumed.meta_step(TASKS, other, 0.5)
    for name in NETWORKS:
        for one, two in zip(straight._networks()[name].values(), resumed._networks()[name].values(), strict=True):
            assert torch.equal(one, two)


@pytest.mark.parametrize("quantity", ["loss", "gradient"])
def test_divergence_names_the_quantity(quantity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = make_learner()
    if quantity == "loss":
        with torch.no_grad():
            learner._nets.critic_1["bias_0"][0] = torch.nan
    else:
        monkeypatch.setattr(torch.nn.utils, "get_total_norm", lambda _: torch.tensor(torch.inf))
    with pytest.raises(FloatingPointError, match=f"critic and KL {quantity} is not finite"):
        learner.meta_step(TASKS, Recorder(), 0.0)


# The latent's lifetime


def test_z_changes_at_the_end_of_episodes_and_only_there() -> None:
    policy = make_learner().policy()
    memory = policy.start(2, 3, seeding.split(1, np.arange(6)).reshape(2, 3))
    assert len(np.unique(memory["z"][..., 0])) == 6
    obs, action, reward = np.zeros((2, 3, D)), np.zeros((2, 3, A)), np.zeros((2, 3))
    done = np.zeros((2, 3), dtype=bool)
    _, _, acted = policy.act(obs, memory, None)
    same = policy.observe(acted, action, reward, done)
    np.testing.assert_array_equal(same["z"], memory["z"])
    done[1, 2] = True
    new = policy.observe(same, action, reward, done)
    changed = (new["z"] != memory["z"]).all(axis=-1)
    np.testing.assert_array_equal(changed, done)
    np.testing.assert_array_equal((new["z"] != memory["z"]).any(axis=-1), done)
    assert (policy.observe(new, action, reward, done)["z"][1, 2] != new["z"][1, 2]).all()


def test_z_belongs_to_the_key_and_not_to_the_neighbours() -> None:
    learner = make_learner()
    policy = learner.adapt(learner.policy(), random_episodes(SPEC, 0, n_tasks=3))
    assert policy.posterior is not None
    alone = replace(policy, posterior=latent.Posterior(*(x[1:2] for x in policy.posterior)))
    keys = seeding.split(1, np.arange(6)).reshape(3, 2)
    together = policy.start(3, 2, keys)["z"]
    np.testing.assert_array_equal(alone.start(1, 1, keys[1:2, 1:])["z"][0, 0], together[1, 1])
    with pytest.raises(ValueError, match="adapted to 3 tasks"):
        policy.start(2, 2, keys[:2])


def test_z_follows_the_posterior() -> None:
    posterior = latent.Posterior(torch.tensor([[1.0, -2.0, 0.0, 3.0]]), torch.tensor([[0.25, 1.0, 4.0, 0.01]]))
    policy = replace(make_learner().policy(), posterior=posterior)
    z = policy.start(1, 20_000, seeding.split(1, np.arange(20_000))[None])["z"][0]
    np.testing.assert_allclose(z.mean(axis=0), posterior.mean[0], atol=0.06)
    np.testing.assert_allclose(z.var(axis=0), posterior.variance[0], rtol=0.05)
    np.testing.assert_array_equal(policy.start(1, 2)["z"], np.tile(posterior.mean.numpy(), (1, 2, 1)))
    settled = replace(policy, z="mean")
    np.testing.assert_array_equal(settled.start(1, 1, np.array([[9]], np.uint64))["z"], posterior.mean.numpy()[None])


def test_evidence_accumulates_in_the_policy() -> None:
    """Two blocks, one after the other, give the posterior of both together, whatever their padding."""
    learner = make_learner(context_size=1000)
    blocks = [random_episodes(SPEC, seed, n_tasks=3, n=1) for seed in (0, 1)]
    policy = learner.policy()
    for block in blocks:
        policy = learner.adapt(policy, block)
    posterior = policy.posterior
    assert posterior is not None
    for task in range(3):
        rows = [
            learner._inputs.context(replay_buffer.Transitions(*(x[task, 0, : block.lengths[task, 0]] for x in steps)))
            for block in blocks
            for steps in (replay_buffer.transitions(block),)
        ]
        expected = latent.infer(learner._encoder, torch.cat(rows).unsqueeze(0))
        torch.testing.assert_close(posterior.mean[task], expected.mean[0].detach())
        torch.testing.assert_close(posterior.variance[task], expected.variance[0].detach())


def test_the_first_episodes_of_evidence_may_all_explore_with_the_prior() -> None:
    learner = make_learner(exploration_episodes=2)
    once = learner.adapt(learner.policy(), random_episodes(SPEC, 0, n=1))
    assert once.posterior is None
    twice = learner.adapt(once, random_episodes(SPEC, 1, n=1))
    assert twice.posterior is not None and twice.context is not None and twice.context.steps.shape[1] == 2 * H


def test_the_context_may_hold_the_next_observation() -> None:
    learner = make_learner(next_obs_in_context=True)
    steps = replay_buffer.transitions(random_episodes(SPEC, 0))
    context = learner._inputs.context(steps)
    assert context.shape[-1] == 2 * D + A + 1
    np.testing.assert_allclose(context[..., -D:], steps.next_obs, rtol=1e-6)


def test_unbounded_or_discrete_actions_are_refused() -> None:
    for space in (spaces.Box(-np.inf, np.inf, (A,)), spaces.Discrete(3)):
        with pytest.raises(ValueError, match="actions"):
            pearl.build(replace(SPEC, action_space=space), pearl.Settings(), 0, "cpu")


# Options of our own


def test_growing_contexts_are_made_as_at_test() -> None:
    """The first episodes of the recent data, each step once, thinned like the evidence that ``adapt`` is given."""
    for size in (4, 100):
        learner = make_learner(growing_context=True, context_size=size, initial_episodes=4, prior_episodes=4)
        _, recent = learner._buffers()
        episodes = random_episodes(SPEC, 0, n_tasks=2, n=4)
        full = np.ones(episodes.mask.shape, dtype=bool)
        episodes = replace(episodes, mask=full, terminated=np.zeros_like(full))
        recent.add(np.array([1, 4]), episodes)
        rng = np.random.default_rng(0)
        inferred = learner._infer(recent, np.array([4, 1, 4, 1]), rng, np.array([0.5, 1.0, 0.21, 0.19]))
        assert not inferred.mean[3].any() and (inferred.variance[3] == 1).all(), "no episode yet: the prior"
        for row, (task, n) in enumerate(((1, 2), (0, 4), (1, 1))):
            evidence = episodes.select(np.array([task]), np.arange(n))
            expected = learner.adapt(learner.policy(), evidence).posterior
            assert expected is not None
            torch.testing.assert_close(inferred.mean[row].detach(), expected.mean[0])
            torch.testing.assert_close(inferred.variance[row].detach(), expected.variance[0])


def test_the_learning_rate_falls_over_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = make_learner(gradient_steps=1, lr=0.1, lr_end=0.2)
    optimizers = (learner._critic_optimizer, learner._actor_optimizer)
    rates: list[float] = []

    def note(*_: object) -> dict[str, float]:
        rates.extend(optimizer.param_groups[0]["lr"] for optimizer in optimizers)
        return {"q_loss": 0.0}

    monkeypatch.setattr(learner, "_update", note)
    for progress in (0.0, 0.5, 1.0):
        learner.meta_step(TASKS, Recorder(), progress)
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.06, 0.06, 0.02, 0.02])


def test_the_bonus_adds_the_reward_itself_to_the_target_only() -> None:
    learner = make_learner(reward_scale=5.0, reward_bonus=2.0)
    steps = replay_buffer.transitions(
        replace(random_episodes(SPEC, 0), training_reward=np.full((1, 2, H), 3.0, np.float32))
    )
    steps = replay_buffer.Transitions(*(x[0] for x in steps))
    np.testing.assert_allclose(learner._batch(steps).reward, 5 * (3 + 2 * steps.reward.reshape(-1)), rtol=1e-5)
    np.testing.assert_array_equal(learner._inputs.context(steps)[..., D + A], steps.reward)
