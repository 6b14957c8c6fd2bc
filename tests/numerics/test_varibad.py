"""VariBAD: the bound by loops, beliefs step by step and at once, the Bayes-adaptive process's steps, and resuming."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch.distributions import Distribution, Independent, Normal, kl_divergence

from kshot import seeding
from kshot.algorithms import varibad
from kshot.algorithms.varibad import Settings, VariBAD
from kshot.learning import sac
from kshot.learning.belief import Predicted, elbo_losses
from kshot.learning.replay_buffer import BufferTooLarge
from kshot.learning.trial_replay import TrialReplay
from kshot.learning.trials import Trials, to_trials
from kshot.types import Episodes, FamilySpec, Task
from tests.numerics.random_episodes import RandomCollect, random_episodes

D, A, H, EPISODES, LATENT = 3, 2, 4, 2, 2
SPEC = FamilySpec(
    "probe",
    D,
    spaces.Box(np.array([-2, -1], np.float32), np.array([4, 1], np.float32)),
    horizon=H,
    episodes_per_trial=2,
)
TASKS = [Task("probe", "train", i, (("i", i),)) for i in range(3)]
SMALL = Settings(
    latent=LATENT, encoder_hidden=(5,), memory_width=6, decoder_hidden=(7,), hidden=(8,), meta_batch=3, trials=2,
    initial_trials=2, replay_trials=10, vae_updates=2, vae_batch=4, vae_beliefs=3, vae_steps=5, gradient_steps=2,
    batch_size=6, state_weight=0.5, reward_input_scale=0.5,
)  # fmt: skip


def make_learner(settings: Settings = SMALL) -> VariBAD:
    return varibad.build(SPEC, settings, seed=3, device="cpu")


def trials_of(learner: VariBAD, episodes: Episodes) -> Trials:
    policy = learner.policy()
    return to_trials(policy, episodes, EPISODES, policy.start(episodes.n_tasks, episodes.n_episodes // EPISODES))


def test_the_bound_is_what_loops_over_beliefs_and_steps_give() -> None:
    learner, rng = make_learner(), torch.Generator().manual_seed(0)
    n, length = 3, 5
    mean, log_std = torch.randn(2, n, length + 1, LATENT, generator=rng)
    steps = Predicted(
        torch.randn(n, length, D, generator=rng),
        torch.randn(n, length, A, generator=rng),
        torch.randn(n, length, generator=rng),
        torch.randn(n, length, D, generator=rng),
    )
    at, of = torch.tensor([[0, 5], [3, 3], [1, 2]]), torch.tensor([[4, 0, 2], [1, 1, 3], [0, 4, 4]])
    noise = torch.randn(n, 2, LATENT, generator=rng)
    losses = elbo_losses((mean, log_std), steps, learner._decoders, at, of, noise)

    def gaussian(b: int, t: int) -> Distribution:
        if t < 0:
            return Independent(Normal(torch.zeros(LATENT), torch.ones(LATENT)), 1)
        return Independent(Normal(mean[b, t], log_std[b, t].exp()), 1)

    kls, rewards, states = [], [], []
    for b in range(n):
        for e, t in enumerate(at[b].tolist()):
            kls.append(kl_divergence(gaussian(b, t), gaussian(b, t - 1)))
            z = mean[b, t] + log_std[b, t].exp() * noise[b, e]
            for i in of[b].tolist():
                seen = (z, steps.obs[b, i], steps.action[b, i])
                reward = sac.network(learner._decoders["reward"], *seen, steps.next_obs[b, i])
                rewards.append((reward - steps.reward[b, i]) ** 2)
                states.append(((sac.network(learner._decoders["state"], *seen) - steps.next_obs[b, i]) ** 2).mean())
    kl, reward, state = (torch.stack(list(x)).mean() for x in (kls, rewards, states))
    torch.testing.assert_close((losses.kl, losses.reward, losses.state), (kl, reward, state))
    assert elbo_losses((mean, log_std), steps, {"reward": learner._decoders["reward"]}, at, of, noise).state == 0


def test_the_policy_acts_on_the_beliefs_that_the_encoder_has_of_the_whole_trial() -> None:
    learner = make_learner()
    policy, episodes = learner.policy(), random_episodes(SPEC, 1, 2, EPISODES)
    trials = trials_of(learner, episodes)
    belief, _ = learner._network.beliefs(trials.inputs, torch.zeros(2, learner._network.state_size))
    noise = seeding.noise(seeding.split(5, np.arange(2))[:, None], 0, A, "continuous")
    for b in range(2):
        step, memory = 0, policy.start(1, 1)
        for e in range(EPISODES):
            for t in range(int(episodes.lengths[b, e])):
                obs = episodes.obs[b, e, t][None, None]
                action, log_prob, memory = policy.act(obs, memory, noise[b : b + 1])
                state = torch.cat([torch.tensor(obs[0]), *(x[b, step : step + 1] for x in belief)], dim=-1)
                distribution = sac.gaussian(sac.network(learner._nets.policy, state))
                u, density = sac.squash(distribution, torch.tensor(noise[b], dtype=torch.float32))
                np.testing.assert_allclose(action[0], [1.0, 0.0] + np.array([3.0, 1.0]) * u.detach().numpy(), atol=1e-5)
                np.testing.assert_allclose(log_prob[0], density.detach().numpy() - np.log(3.0), atol=1e-4)
                played = (x[b, e, t][None, None] for x in (episodes.action, episodes.reward, episodes.terminated))
                memory, step = policy.observe(memory, *played), step + 1
    assert policy.act(episodes.obs[:, :1, 0], policy.start(2, 1), None)[0].shape == (2, 1, A)


def test_adapting_is_reading_the_evidence() -> None:
    learner, episodes = make_learner(), random_episodes(SPEC, 2, 2, 1)
    adapted = learner.adapt(learner.policy(), episodes)
    assert adapted.memory is not None
    trials = trials_of(learner, Episodes.joined([episodes, episodes]))
    for b, length in enumerate(episodes.lengths[:, 0]):
        start = torch.zeros(1, learner._network.state_size)
        _, state = learner._network.beliefs(trials.inputs[b : b + 1, :length], start)
        np.testing.assert_allclose(adapted.memory["hidden"][b], state[0].detach().numpy(), atol=1e-6)
    with pytest.raises(TypeError, match="VariBAD cannot adapt a object"):
        learner.adapt(object(), episodes)  # type: ignore[arg-type]  # what a user might hand over


def test_steps_of_the_process_go_on_over_episodes_and_behind_a_trials_end() -> None:
    learner, episodes = make_learner(), random_episodes(SPEC, 4, 1, EPISODES)
    replay = learner._new_replay()
    replay.add(trials_of(learner, episodes))
    beliefs = learner._beliefs(replay)
    first, second = (int(x) for x in episodes.lengths[0])
    steps = np.array([first - 1, first + second - 1])
    batch = learner._batch(replay, beliefs, np.zeros(2, np.int64), steps)
    ends = (np.array([0, 1]), np.array([first, second]) - 1)  # the last step of either episode
    np.testing.assert_allclose(batch.obs[:, :D], episodes.obs[0][ends], atol=1e-6)
    # After an episode's last step comes the next one's first observation; after the trial's, another such episode.
    np.testing.assert_allclose(batch.next_obs[:, :D], np.repeat(episodes.obs[0, 1:, 0], 2, axis=0), atol=1e-6)
    np.testing.assert_array_equal(batch.obs[:, D:], beliefs[0, steps])
    np.testing.assert_array_equal(batch.next_obs[:, D:], beliefs[0, steps + 1])
    np.testing.assert_allclose(batch.reward, SMALL.reward_scale * episodes.reward[0][ends], rtol=1e-5)
    np.testing.assert_allclose(batch.action, (episodes.action[0][ends] - [1, 0]) / [3, 1], atol=1e-6)
    assert not batch.terminated.any()
    seen = Predicted.of(replay.inputs[:1], D, A)
    np.testing.assert_allclose(seen.reward[0, :first], 0.5 * episodes.reward[0, 0, :first], rtol=1e-5)
    np.testing.assert_array_equal(seen.action[0, :first], episodes.action[0, 0, :first])
    np.testing.assert_array_equal(seen.next_obs[0, : first - 1], episodes.obs[0, 0, 1:first])


def test_a_replay_keeps_the_last_trials_and_draws_all_their_steps_alike() -> None:
    learner = make_learner()
    replay = TrialReplay(3, EPISODES * H, D + A + 2)
    added = [trials_of(learner, random_episodes(SPEC, seed, 2, EPISODES)) for seed in range(3)]
    for trials in added:
        replay.add(trials)
    assert replay.size == 3
    newest = [(added[2], 0), (added[2], 1), (added[1], 1)]
    held = {tuple(replay.inputs[row, 0, :D].tolist()): row for row in range(3)}
    for trials, b in newest:
        row, length = held[tuple(trials.inputs[b, 0, :D].tolist())], int(trials.lengths[b])
        assert replay.lengths[row] == length
        torch.testing.assert_close(replay.inputs[row, : length + 1], trials.inputs[b, : length + 1])
        np.testing.assert_allclose(replay.reward[row, :length], trials.reward[b, :length])
    rows, steps = replay.draw(np.random.default_rng(0), 40_000)
    assert (steps < replay.lengths[rows]).all()
    counts = np.unique(np.stack([rows, steps]), axis=1, return_counts=True)[1]
    total = int(replay.lengths.sum())
    assert len(counts) == total
    np.testing.assert_allclose(counts, 40_000 / total, atol=5 * np.sqrt(40_000 / total))
    many = TrialReplay(1, EPISODES * H, D + A + 2)
    many.add(added[0])  # more than it holds: the last one stays
    torch.testing.assert_close(many.inputs[0, : added[0].lengths[1]], added[0].inputs[1, : added[0].lengths[1]])
    with pytest.raises(ValueError, match=r"a replay of trials of shape \(1, 9, 7\) cannot hold the saved one"):
        many.load_state_dict(replay.state_dict())
    with pytest.raises(BufferTooLarge, match="lower replay_trials"):
        TrialReplay(10**9, 600, 117)


def test_updates_train_what_they_are_for_and_an_interrupted_run_goes_on_exactly() -> None:
    straight, stopped, resumed = make_learner(), make_learner(), make_learner()
    belief = [*straight._network.parameters(), *(v for p in straight._decoders.values() for v in p.values())]
    control = [v for p in straight._nets.by_name().values() for v in p.values()]
    old_belief, old_control = ([v.detach().clone() for v in values] for values in (belief, control))
    replay, rng, noise = straight._new_replay(), np.random.default_rng(0), torch.Generator().manual_seed(0)
    straight._replay = replay
    straight._play(replay, TASKS, RandomCollect(SPEC), 2)
    straight._update_control(replay, straight._beliefs(replay), rng, noise)
    assert all(torch.equal(a, b) for a, b in zip(belief, old_belief, strict=True)), "control trains the belief"
    assert all(not torch.equal(a, b) for a, b in zip(control, old_control, strict=True))
    old_control = [v.detach().clone() for v in control]
    straight._update_belief(replay, rng, noise)
    assert all(torch.equal(a, b) for a, b in zip(control, old_control, strict=True)), "the belief trains control"
    assert all(not torch.equal(a, b) for a, b in zip(belief, old_belief, strict=True))

    straight, one, other = make_learner(), RandomCollect(SPEC), RandomCollect(SPEC)
    straight.meta_step(TASKS, one, 0.0)
    stopped.meta_step(TASKS, other, 0.0)
    resumed.load_state_dict(stopped.state_dict())
    assert straight.meta_step(TASKS, one, 0.5) == resumed.meta_step(TASKS, other, 0.5)
    for a, b in zip(straight._network.parameters(), resumed._network.parameters(), strict=True):
        assert torch.equal(a, b)
    for name, params in straight._parameters().items():
        assert all(torch.equal(v, resumed._parameters()[name][k]) for k, v in params.items())


def test_what_cannot_work_is_refused() -> None:
    discrete = replace(SPEC, action_space=spaces.Discrete(3))
    with pytest.raises(ValueError, match=r"VariBAD acts on continuous actions only, 'probe' has Discrete\(3\)"):
        varibad.build(discrete, Settings(), 0, "cpu")
    with pytest.raises(ValueError, match=r"without a decoder nothing trains the belief; got 0.0 and 0.0"):
        Settings(reward_weight=0.0)
    with pytest.raises(ValueError, match="must not be negative"):
        Settings(state_weight=-1.0)
