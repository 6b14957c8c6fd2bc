"""RL^2: what the policy saw while playing is what it is trained on, however trials are cut and padded."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from algorithms import rl2
from kshot.learning import distributions
from kshot.types import Array, Episodes, FamilySpec

T, TRIALS, EPISODES, H, D, A = 2, 3, 4, 5, 3, 2


def make_learner(discrete: bool, **settings: object) -> rl2.RL2:
    space = spaces.Discrete(A) if discrete else spaces.Box(-1, 1, (A,))
    spec = FamilySpec("probe", D, space, horizon=H, episodes_per_trial=EPISODES)
    options = {"hidden": 7, "meta_batch": T, "trials": TRIALS, "minibatches": 2, **settings}
    return rl2.build(spec, rl2.Settings(**options), seed=3, device="cpu")


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
@pytest.mark.parametrize("encoder", [0, 6])
def test_sequence_log_probs_equal_those_of_the_steps_played(discrete: bool, encoder: int) -> None:
    """Episodes end early here: the shift of actions, rewards and dones must survive the gaps."""
    learner = make_learner(discrete, encoder=encoder)
    policy = learner.policy()
    episodes, _ = play(learner, policy, EPISODES, seed=0)
    trials = rl2.to_trials(policy, episodes, EPISODES, policy.start(T, TRIALS))
    distribution, _, _ = learner._network(trials.inputs, torch.zeros(T * TRIALS, 7))
    log_prob = distributions.log_prob(distribution, trials.action).detach().numpy()
    sequence_mask = episodes.mask.reshape(T * TRIALS, -1)
    played = episodes.log_prob.reshape(T * TRIALS, -1)
    for row in range(T * TRIALS):
        np.testing.assert_allclose(log_prob[row][trials.mask[row]], played[row][sequence_mask[row]], atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 3, 7, 20, 100])
def test_chunked_log_probs_equal_full_sequence_ones(chunk: int) -> None:
    learner = make_learner(discrete=True)
    learner._network.double()
    policy = learner.policy()
    episodes, _ = play(learner, policy, EPISODES, seed=1)
    trials = rl2.to_trials(policy, episodes, EPISODES, policy.start(T, TRIALS))
    hidden = torch.zeros(T * TRIALS, 7, dtype=torch.float64)
    (full, full_value), *_ = rl2.forward_chunked(learner._network, trials.inputs, hidden, 0)[0]
    parts, starts = rl2.forward_chunked(learner._network, trials.inputs, hidden, chunk)
    torch.testing.assert_close(torch.cat([d[0] for d, _ in parts], dim=1), full[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.cat([v for _, v in parts], dim=1), full_value, rtol=0, atol=1e-12)
    # The stored starts give each chunk on its own the same result again.
    for start, (distribution, _), inputs in zip(starts, parts, torch.split(trials.inputs, chunk, dim=1), strict=True):
        torch.testing.assert_close(learner._network(inputs, start)[0][0], distribution[0], rtol=0, atol=1e-12)


def test_adapting_equals_having_played() -> None:
    """Memory rebuilt from recorded evidence, one episode at a time, equals the memory the policy carried itself."""
    learner = make_learner(discrete=False)
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
