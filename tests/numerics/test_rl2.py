"""RL^2: what the policy saw while playing is what it is trained on, however trials are cut and padded."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from algorithms import rl2, rl2_transformer
from kshot.learning import distributions, sequences
from kshot.types import Array, Episodes, FamilySpec

T, TRIALS, EPISODES, H, D, A = 2, 3, 4, 5, 3, 2


MEMORIES = [
    pytest.param({}, id="gru"),
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
    learner: rl2.RL2, policy: rl2.RecurrentPolicy, episodes: int, seed: int
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
    trials = rl2.to_trials(policy, episodes, EPISODES, policy.start(T, TRIALS))
    log_prob = rl2.read(learner._network, trials, trials.inputs.shape[1], 0)[0].numpy()
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
    trials = rl2.to_trials(policy, episodes, EPISODES, policy.start(T, TRIALS))
    whole, whole_value, _ = rl2.read(learner._network, trials, trials.inputs.shape[1], 0)
    log_prob, value, states = rl2.read(learner._network, trials, chunk, burn_in)
    torch.testing.assert_close(log_prob, whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(value, whole_value, rtol=0, atol=1e-12)
    mask = torch.as_tensor(trials.mask)
    batch = sequences.cut(trials.inputs, states, (trials.action, whole, value, value, mask), chunk, burn_in)
    assert int(batch.mask.sum()) == mask.sum(), "a step was lost or counted twice"
    distribution, again = learner._chunk_outputs(batch)
    torch.testing.assert_close(
        distributions.log_prob(distribution, batch.action)[batch.mask], batch.old_log_prob[batch.mask]
    )
    torch.testing.assert_close(again[batch.mask], batch.target[batch.mask], rtol=0, atol=1e-12)


def test_burn_in_brings_stale_states_up_to_date() -> None:
    """After the parameters changed, stored states are wrong; more burn-in brings outputs nearer to a fresh reading."""
    errors = []
    for burn_in in (0, 2, 6):
        learner = make_learner(discrete=True, chunk=8, burn_in=burn_in)
        learner._network.double()
        policy = learner.policy()
        episodes, _ = play(learner, policy, EPISODES, seed=6)
        trials = rl2.to_trials(policy, episodes, EPISODES, policy.start(T, TRIALS))
        _, value, states = rl2.read(learner._network, trials, 8, burn_in)
        with torch.no_grad():
            for parameter in learner._network.memory.parameters():
                parameter.mul_(1.3)
        fresh = rl2.read(learner._network, trials, 8, 0)[1]
        mask = torch.as_tensor(trials.mask)
        batch = sequences.cut(trials.inputs, states, (trials.action, value, fresh, fresh, mask), 8, burn_in)
        with torch.no_grad():
            errors.append(float((learner._chunk_outputs(batch)[1] - batch.target)[batch.mask].abs().mean()))
    assert errors[2] < 0.5 * errors[1] < 0.5 * errors[0]


def test_gradients_reach_back_through_the_chunk_and_not_into_the_burn_in() -> None:
    learner = make_learner(discrete=True, chunk=6, burn_in=3)
    policy = learner.policy()
    episodes, _ = play(learner, policy, EPISODES, seed=7)
    trials = rl2.to_trials(policy, episodes, EPISODES, policy.start(T, TRIALS))
    log_prob, value, states = rl2.read(learner._network, trials, 6, 3)
    mask = torch.as_tensor(trials.mask)
    batch = sequences.cut(trials.inputs, states, (trials.action, log_prob, value, value, mask), 6, 3)
    inputs = batch.inputs.clone().requires_grad_()
    _, values = learner._chunk_outputs(batch._replace(inputs=inputs))
    (gradient,) = torch.autograd.grad(values[:, 4].sum(), inputs)
    reached = gradient.abs().sum(dim=(0, 2)) > 0
    assert reached.tolist() == [False] * 3 + [True] * 5 + [False]  # causal, and from the chunk's first step on


def test_transformer_attends_to_the_past_only_and_no_further_than_its_context() -> None:
    network = make_learner(discrete=True, **MEMORIES[3].values[0], layers=1)._network
    inputs = torch.randn(2, 12, D + A + 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    _, value, _ = network(inputs, torch.zeros(2, network.memory.state_size))
    (gradient,) = torch.autograd.grad(value[0, 8], inputs)
    reached = gradient.abs().sum(dim=2) > 0
    assert reached[0].tolist() == [False] * 3 + [True] * 6 + [False] * 3  # itself and the context of 5 before it
    assert not reached[1].any()


def test_a_context_longer_than_the_trial_is_cut_to_it() -> None:
    options = {**MEMORIES[3].values[0], "context": 500}
    network = make_learner(discrete=True, **options)._network
    steps = EPISODES * H
    assert network.memory.context == steps - 1
    whole = rl2_transformer.Settings(hidden=8, heads=2, context=500).make_memory(D + A + 2)
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
    trials = rl2.to_trials(policy, episodes, EPISODES, policy.start(T, TRIALS))
    length = int(episodes.lengths[0, 0])  # the step after it is the first of the second episode
    first_of_second = trials.inputs[0, length].numpy()
    np.testing.assert_allclose(first_of_second[:D], episodes.obs[0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(first_of_second[-2:], [episodes.reward[0, 0, length - 1], 1.0], atol=1e-6)
    assert trials.inputs[0, 0, -1] == 0 and trials.inputs[0, 0, -2] == 0
    zeroed = make_learner(discrete=True, border="zeroed").policy()
    trials = rl2.to_trials(zeroed, episodes, EPISODES, policy.start(T, TRIALS))
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
