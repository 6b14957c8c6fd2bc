"""RL^2: what the policy saw while playing is what it is trained on, however trials are cut and padded."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from kshot.algorithms import rl2, rl2_transformer
from kshot.learning import distributions, sequences
from kshot.learning.actor_critic import ActorCritic, RecurrentNetwork
from kshot.learning.recurrent_policy import RecurrentPolicy
from kshot.learning.trials import Trials, read, to_trials
from kshot.types import Array, Episodes, FamilySpec

T, TRIALS, EPISODES, H, D, A = 2, 3, 4, 5, 3, 2


MEMORIES = [
    pytest.param({}, id="gru"),
    pytest.param({"trial_end": "bootstrapped"}, id="bootstrapped"),
    pytest.param({"encoder": (6,)}, id="encoder"),
    pytest.param({"memory": "lstm"}, id="lstm"),
    pytest.param({"memory": "transformer", "hidden": 8, "heads": 2, "context": 5}, id="transformer"),
]


def make_learner(discrete: bool, **settings: Any) -> rl2.RL2:
    space = spaces.Discrete(A) if discrete else spaces.Box(-1, 1, (A,))
    spec = FamilySpec("probe", D, space, horizon=H, episodes_per_trial=EPISODES)
    options = {"hidden": 7, "meta_batch": T, "trials": TRIALS, "minibatches": 2, **settings}
    module = rl2_transformer if options.get("memory") == "transformer" else rl2
    return module.build(spec, module.Settings(**options), seed=3, device="cpu")


def play(
    learner: rl2.RL2, policy: RecurrentPolicy, episodes: int, seed: int
) -> tuple[Episodes, list[dict[str, Array]]]:
    """Play against random observations and rewards, episodes ending at random; also the memory after each episode."""
    rng = np.random.default_rng(seed)
    discrete = learner._spec.action_kind == "discrete"
    shape = (T, TRIALS, episodes, H)
    obs = rng.normal(size=(*shape, D)).astype(np.float32)
    reward = rng.normal(size=shape).astype(np.float32)
    lengths = rng.integers(1, H + 1, size=shape[:3])
    action = np.zeros(shape if discrete else (*shape, A), dtype=np.int64 if discrete else np.float32)
    log_prob, mask = np.zeros(shape, np.float32), np.arange(H) < lengths[..., None]
    terminated = np.arange(H) == lengths[..., None] - 1
    memory, memories = policy.start(T, TRIALS), []
    for e in range(episodes):
        for t in range(H):
            noise = rng.normal(size=(T, TRIALS, A))
            chosen, logp, after = policy.act(obs[:, :, e, t], memory, noise)
            after = policy.observe(after, chosen, reward[:, :, e, t], terminated[:, :, e, t])
            active = mask[:, :, e, t]
            memory = {
                k: np.where(active.reshape(T, TRIALS, *[1] * (v.ndim - 2)), v, memory[k]) for k, v in after.items()
            }
            action[:, :, e, t], log_prob[:, :, e, t] = chosen, logp
        memories.append(memory)

    def merged(x: Array) -> Array:
        return x.reshape(T, TRIALS * episodes, *x.shape[3:])

    arrays = {"obs": obs, "action": action, "reward": reward * mask, "mask": mask, "log_prob": log_prob}
    batch = Episodes(
        **{name: merged(value) for name, value in arrays.items()},
        terminated=merged(terminated),
        truncated=np.zeros((T, TRIALS * episodes, H), dtype=bool),
        success=np.zeros((T, TRIALS * episodes, H), dtype=bool),
        final_obs=np.zeros((T, TRIALS * episodes, D), dtype=np.float32),
    )
    return batch, memories


def pieces(
    trials: Trials, states: torch.Tensor, log_prob: torch.Tensor, value: torch.Tensor, chunk: int, burn_in: int
) -> sequences.Sequences:
    """The trials cut into chunks, with ``value`` for both advantage and target."""
    steps = (trials.action, log_prob, value, value, trials.left, torch.as_tensor(trials.mask))
    return sequences.cut(trials.inputs[:, :-1], states, steps, chunk, burn_in)


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("options", MEMORIES)
@pytest.mark.parametrize("border", ["kept", "zeroed"])
def test_sequence_log_probs_equal_those_of_the_steps_played(
    discrete: bool, options: dict[str, Any], border: str
) -> None:
    """Episodes end early here: the shift of actions, rewards and dones must survive the gaps."""
    learner = make_learner(discrete, **options, border=border)
    policy = learner.policy()
    episodes, _ = play(learner, policy, EPISODES, seed=0)
    trials = to_trials(policy, episodes, EPISODES, policy.start(T, TRIALS))
    log_prob = read(learner._network, trials, trials.mask.shape[1], 0).log_prob.numpy()
    sequence_mask = episodes.mask.reshape(T * TRIALS, -1)
    played = episodes.log_prob.reshape(T * TRIALS, -1)
    for row in range(T * TRIALS):
        np.testing.assert_allclose(log_prob[row][trials.mask[row]], played[row][sequence_mask[row]], atol=1e-5)


@pytest.mark.parametrize("options", MEMORIES)
@pytest.mark.parametrize(("chunk", "burn_in"), [(1, 0), (3, 0), (3, 2), (7, 3), (20, 0), (20, 19), (100, 5)])
def test_chunks_with_burn_in_give_what_whole_trials_give(options: dict[str, Any], chunk: int, burn_in: int) -> None:
    """At the parameters that played, a chunk started from its stored state and burnt in is the trial's own piece."""
    learner = make_learner(discrete=True, **options, chunk=chunk, burn_in=burn_in)
    learner._network.double()
    policy = learner.policy()
    episodes, _ = play(learner, policy, EPISODES, seed=1)
    trials = to_trials(policy, episodes, EPISODES, policy.start(T, TRIALS))
    whole, whole_value, whole_after, _ = read(learner._network, trials, trials.mask.shape[1], 0)
    log_prob, value, after, states = read(learner._network, trials, chunk, burn_in)
    torch.testing.assert_close(log_prob, whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(value, whole_value, rtol=0, atol=1e-12)
    torch.testing.assert_close(after, whole_after, rtol=0, atol=1e-12)
    mask = torch.as_tensor(trials.mask)
    batch = sequences.cut(
        trials.inputs[:, :-1], states, (trials.action, whole, value, value, trials.left, mask), chunk, burn_in
    )
    assert int(batch.mask.sum()) == mask.sum(), "a step was lost or counted twice"
    distribution, _, again = sequences.read_chunks(learner._network, batch, burn_in)
    torch.testing.assert_close(
        distributions.log_prob(distribution, batch.action)[batch.mask], batch.old_log_prob[batch.mask]
    )
    torch.testing.assert_close(again[batch.mask], batch.target[batch.mask], rtol=0, atol=1e-12)


def test_more_minibatches_than_chunks_are_no_empty_updates() -> None:
    learner = make_learner(discrete=True, chunk=7, minibatches=50, epochs=3)
    episodes, _ = play(learner, learner.policy(), EPISODES, seed=12)
    chunks = int(np.ceil(episodes.lengths.reshape(T * TRIALS, -1).sum(axis=1) / 7).sum())
    metrics = learner.meta_step([None] * T, lambda *_: episodes, 0.0)  # type: ignore[list-item, arg-type]
    assert metrics["updates"] == 3 * chunks
    assert np.isfinite(list(metrics.values())).all()


def test_burn_in_brings_stale_states_up_to_date() -> None:
    """After the parameters changed, stored states are wrong; more burn-in brings outputs nearer to a fresh reading."""
    errors = []
    for burn_in in (0, 2, 6):
        learner = make_learner(discrete=True, chunk=8, burn_in=burn_in)
        learner._network.double()
        policy = learner.policy()
        episodes, _ = play(learner, policy, EPISODES, seed=6)
        trials = to_trials(policy, episodes, EPISODES, policy.start(T, TRIALS))
        _, value, _, states = read(learner._network, trials, 8, burn_in)
        with torch.no_grad():
            for parameter in learner._network.memory.parameters():
                parameter.mul_(1.3)
        fresh = read(learner._network, trials, 8, 0).value
        mask = torch.as_tensor(trials.mask)
        batch = sequences.cut(
            trials.inputs[:, :-1], states, (trials.action, value, fresh, fresh, trials.left, mask), 8, burn_in
        )
        with torch.no_grad():
            again = sequences.read_chunks(learner._network, batch, burn_in).value
        errors.append(float((again - batch.target)[batch.mask].abs().mean()))
    assert errors[2] < 0.5 * errors[1] < 0.5 * errors[0]


def test_gradients_reach_back_through_the_chunk_and_not_into_the_burn_in() -> None:
    learner = make_learner(discrete=True, chunk=6, burn_in=3)
    policy = learner.policy()
    episodes, _ = play(learner, policy, EPISODES, seed=7)
    trials = to_trials(policy, episodes, EPISODES, policy.start(T, TRIALS))
    log_prob, value, _, states = read(learner._network, trials, 6, 3)
    mask = torch.as_tensor(trials.mask)
    batch = sequences.cut(
        trials.inputs[:, :-1], states, (trials.action, log_prob, value, value, trials.left, mask), 6, 3
    )
    inputs = batch.inputs.clone().requires_grad_()
    values = sequences.read_chunks(learner._network, batch._replace(inputs=inputs), 3).value
    (gradient,) = torch.autograd.grad(values[:, 4].sum(), inputs)
    reached = gradient.abs().sum(dim=(0, 2)) > 0
    assert reached.tolist() == [False] * 3 + [True] * 5 + [False]  # causal, and from the chunk's first step on


def test_transformer_attends_to_the_past_only_and_no_further_than_its_context() -> None:
    network = make_learner(discrete=True, **MEMORIES[4].values[0], layers=1)._network
    inputs = torch.randn(2, 12, D + A + 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    _, features, _ = network(inputs, torch.zeros(2, network.memory.state_size))
    (gradient,) = torch.autograd.grad(network.value(features, inputs[..., 0])[0, 8], inputs)
    reached = gradient.abs().sum(dim=2) > 0
    assert reached[0].tolist() == [False] * 3 + [True] * 6 + [False] * 3  # itself and the context of 5 before it
    assert not reached[1].any()


def test_a_context_longer_than_the_trial_is_cut_to_it() -> None:
    options = {**MEMORIES[4].values[0], "context": 500}
    network = make_learner(discrete=True, **options)._network
    steps = EPISODES * H
    assert network.memory.context == steps - 1
    whole = rl2_transformer.Settings(hidden=8, heads=2, context=500).make_memory_layer(D + A + 2)
    whole.load_state_dict(network.memory.state_dict())
    inputs = torch.randn(3, steps, D + A + 2, generator=torch.Generator().manual_seed(0))
    cut, full = (memory(inputs, torch.zeros(3, memory.state_size))[0] for memory in (network.memory, whole))
    torch.testing.assert_close(cut, full, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("options", MEMORIES)
def test_adapting_equals_having_played(options: dict[str, Any]) -> None:
    """Memory rebuilt from recorded evidence, one episode at a time, equals the memory the policy carried itself."""
    learner = make_learner(discrete=False, **options)
    policy = learner.policy()
    episodes, memories = play(learner, policy, EPISODES, seed=2)
    first_trial = np.arange(EPISODES)  # trial 0 of every task
    adapted = policy
    for e in range(EPISODES):
        adapted = learner.adapt(adapted, episodes.select(slice(None), first_trial[e : e + 1]))
        for name, value in adapted.start(T, 1).items():
            np.testing.assert_allclose(value[:, 0], memories[e][name][:, 0], atol=1e-6, err_msg=f"{name} {e}")


def test_last_reward_and_end_of_episode_reach_the_next_episode() -> None:
    learner = make_learner(discrete=True)
    policy = learner.policy()
    episodes, _ = play(learner, policy, EPISODES, seed=3)
    trials = to_trials(policy, episodes, EPISODES, policy.start(T, TRIALS))
    length = int(episodes.lengths[0, 0])  # the step after it is the first of the second episode
    first_of_second = trials.inputs[0, length].numpy()
    np.testing.assert_allclose(first_of_second[:D], episodes.obs[0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(first_of_second[-2:], [episodes.reward[0, 0, length - 1], 1.0], atol=1e-6)
    assert trials.inputs[0, 0, -1] == 0 and trials.inputs[0, 0, -2] == 0
    zeroed = make_learner(discrete=True, border="zeroed").policy()
    trials = to_trials(zeroed, episodes, EPISODES, policy.start(T, TRIALS))
    assert not trials.inputs[0, length, D:].any()
    assert trials.inputs[0, 1, D:].any()


def test_padding_moves_no_parameter() -> None:
    """Rubbish in steps that were never taken must not reach the update."""

    def updated(rubbish: float) -> torch.Tensor:
        learner = make_learner(discrete=True, chunk=4)
        episodes, _ = play(learner, learner.policy(), EPISODES, seed=4)
        spoilt = np.where(episodes.mask[..., None], episodes.obs, np.float32(rubbish))
        learner.meta_step([None] * T, lambda *_: replace(episodes, obs=spoilt), 0.0)  # type: ignore[list-item, arg-type]
        return torch.cat([p.detach().reshape(-1) for p in learner._network.parameters()])

    assert torch.equal(updated(0.0), updated(7.0))


def test_adapted_policy_refuses_another_number_of_tasks() -> None:
    learner = make_learner(discrete=True)
    episodes, _ = play(learner, learner.policy(), 1, seed=5)
    adapted = learner.adapt(learner.policy(), episodes.select(slice(None), slice(0, 1)))
    with pytest.raises(ValueError, match="adapted to 2 tasks cannot act on 5"):
        adapted.start(5, 1)


@pytest.mark.parametrize("options", [m for m in MEMORIES if m.id != "bootstrapped"])
def test_what_follows_a_trial_is_the_first_step_of_another_episode_on_the_task(options: dict[str, Any]) -> None:
    """The value after three episodes is that of the fourth's first step, read by a network that played on."""
    learner = make_learner(discrete=False, **options, trial_end="bootstrapped")
    policy = learner.policy()
    episodes, _ = play(learner, policy, EPISODES, seed=8)
    start = episodes.obs.copy()
    start[:, :, 0] = start[:, :1, 0]  # every episode of a task begins alike
    episodes = replace(episodes, obs=start)
    first = np.arange(EPISODES)  # one trial of every task
    memory = policy.start(T, 1)
    four = to_trials(policy, episodes.select(slice(None), first), EPISODES, memory)
    three = to_trials(policy, episodes.select(slice(None), first[:-1]), EPISODES - 1, memory)
    at = episodes.lengths[:, : EPISODES - 1].sum(axis=1)
    played_on = read(learner._network, four, four.mask.shape[1], 0).value[np.arange(T), at]
    after = read(learner._network, three, 4, 2).value_after
    torch.testing.assert_close(after, played_on, rtol=0, atol=1e-6)


class _Worth(torch.nn.Module):
    """A critic that says the same of every step."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((1, 1), value))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.weight.expand(*features.shape[:-1], 1)


def advantages(trial_end: str, lambda_: float) -> Array:
    """[L] of a trial in which every step earns 1 and the critic says 1 / (1 - discount), before normalisation."""
    learner = make_learner(discrete=True, trial_end=trial_end, discount=0.9, gae_lambda=lambda_)
    learner._network.value_head = _Worth(1 / (1 - 0.9))
    episodes, _ = play(learner, learner.policy(), EPISODES, seed=9)
    episodes = replace(episodes, reward=episodes.mask.astype(np.float32), training_reward=np.zeros(0))
    trials = to_trials(learner.policy(), episodes, EPISODES, learner.policy().start(T, TRIALS))
    reading = read(learner._network, trials, trials.mask.shape[1], 0)
    return learner.advantage(trials, reading)[0][trials.mask[0]]


def test_a_critic_that_cannot_see_the_end_is_not_blamed_for_it() -> None:
    """A reward of 1 for ever is worth 1 / (1 - discount): no step is better than another when the trial is cut off.

    Taken as the end of everything, the last step is 9 below what the critic says, and the steps before it by
    9 (discount lambda)^n: the critic's blindness, not the policy's doing.
    """
    np.testing.assert_allclose(advantages("bootstrapped", 0.8), 0.0, atol=1e-5)
    ended = advantages("terminated", 0.8)[::-1]
    np.testing.assert_allclose(ended, -9.0 * (0.9 * 0.8) ** np.arange(len(ended)), atol=1e-5)


def test_only_a_timed_critic_sees_what_is_left_and_never_the_policy() -> None:
    for trial_end in ("timed", "bootstrapped"):
        learner = make_learner(discrete=False, trial_end=trial_end)
        episodes, _ = play(learner, learner.policy(), EPISODES, seed=10)
        trials = to_trials(learner.policy(), episodes, EPISODES, learner.policy().start(T, TRIALS))
        reading = read(learner._network, trials, 7, 2)
        other = read(learner._network, replace(trials, left=torch.zeros_like(trials.left)), 7, 2)
        assert torch.equal(reading.log_prob, other.log_prob)
        assert torch.equal(reading.value, other.value) == (trial_end == "bootstrapped")


def test_the_share_that_is_left_counts_every_episode_alike_however_long_it_lasted() -> None:
    learner = make_learner(discrete=True)
    episodes, _ = play(learner, learner.policy(), EPISODES, seed=11)
    trials = to_trials(learner.policy(), episodes, EPISODES, learner.policy().start(T, TRIALS))
    at = 0
    for episode, length in enumerate(episodes.lengths[0, :EPISODES]):
        expected = 1 - (episode + np.arange(length) / H) / EPISODES
        np.testing.assert_allclose(trials.left[0, at : at + length], expected, atol=1e-6)
        at += int(length)


def test_a_head_for_the_standard_deviation_begins_at_init_std_and_depends_on_what_was_seen() -> None:
    learner = make_learner(discrete=False, std="head", init_std=0.5)
    assert "log_std" not in dict(learner._network.named_parameters())
    inputs = torch.randn(3, 6, D + A + 2, generator=torch.Generator().manual_seed(0))
    (mean, log_std), _, _ = learner._network(inputs, torch.zeros(3, learner._network.memory.state_size))
    assert mean.shape == log_std.shape == (3, 6, A)
    torch.testing.assert_close(log_std.exp(), torch.full_like(log_std, 0.5), rtol=0.2, atol=0)
    assert log_std.std() > 0
    with pytest.raises(ValueError, match="std 'head' is of continuous actions, 'probe' has discrete ones"):
        make_learner(discrete=True, std="head")


def batches_of(learner: rl2.RL2, factor: float, n: int) -> list[dict[str, float]]:
    """What ``n`` meta-steps on random episodes log, their rewards multiplied by ``factor`` for the critic alone."""

    def collect(policy: RecurrentPolicy, tasks: Any, copies: int, episodes: int = 1) -> Episodes:
        played, _ = play(learner, policy, EPISODES, seed=learner._iteration)
        return replace(played, training_reward=played.reward * factor)

    return [learner.meta_step(range(T), collect, 0.0) for _ in range(n)]  # type: ignore[arg-type]


@pytest.mark.parametrize("trial_end", ["timed", "bootstrapped", "terminated"])
def test_with_a_running_value_scale_the_unit_of_rewards_does_not_matter(trial_end: str) -> None:
    learners = [make_learner(False, value_scale="running", trial_end=trial_end, gae_lambda=0.9) for _ in range(2)]
    for learner, factor in zip(learners, (1.0, 2.0**8), strict=True):
        batches_of(learner, factor, 4)
    one, other = ({k: v.numpy() for k, v in learner._network.state_dict().items()} for learner in learners)
    for name, value in one.items():
        np.testing.assert_allclose(other[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
    assert learners[1]._scale is not None and learners[0]._scale is not None
    np.testing.assert_allclose(learners[1]._scale.deviation, 2.0**8 * learners[0]._scale.deviation, rtol=1e-4)


def test_a_running_value_scale_keeps_values_while_its_statistics_move() -> None:
    learner = make_learner(True, value_scale="running", encoder=(6,))
    scale = learner._scale
    assert scale is not None
    rng = np.random.default_rng(0)
    features, left = torch.tensor(rng.normal(size=(5, 3, 7))).float(), torch.tensor(rng.random((5, 3))).float()
    assert (scale.values(learner._network.value(features, left)) == 0).all()  # a critic that knows nothing says nothing
    mask = rng.random((5, 40)) < 0.8
    first = scale.standardised(rng.normal(3.0, 100.0, (5, 40)), mask)
    np.testing.assert_allclose([first[mask].mean(), first[mask].std()], [0, 1], atol=1e-9)
    batches_of(learner, 1.0, 1)  # the critic says something now
    for spread in (0.01, 7.0, 1e4, 0.0):
        before = scale.values(learner._network.value(features, left)).detach()
        scale.standardised(rng.normal(-2.0, spread, (5, 40)), mask)
        after = scale.values(learner._network.value(features, left)).detach()
        torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3 * float(before.abs().max()))


def test_a_running_value_scale_goes_on_from_a_checkpoint() -> None:
    straight, resumed = (make_learner(False, value_scale="running") for _ in range(2))
    batches_of(straight, 1.0, 2)
    resumed.load_state_dict(deepcopy(straight.state_dict()))
    assert batches_of(straight, 1.0, 2) == batches_of(resumed, 1.0, 2)


def test_a_critic_without_a_last_layer_of_its_own_refuses_a_running_value_scale() -> None:
    class Other(ActorCritic):
        rescale_value = RecurrentNetwork.rescale_value

    learner = make_learner(True)
    other = Other(
        (learner._spec.observation_dim,),
        learner.settings.make_memory_layer,
        A,
        std=None,
        init_std=1.0,
        timed=True,
        seed=0,
    )
    with pytest.raises(ValueError, match="critic of a Other cannot be rescaled; use value_scale 'fixed'"):
        rl2.RL2(learner._spec, rl2.Settings(value_scale="running"), other, 0)
