"""PEARL among n actions: the soft optimum in closed form, sums beside sampled expectations, and actions as vectors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn.functional import log_softmax

from kshot import seeding
from kshot.algorithms import pearl_discrete
from kshot.algorithms.pearl_discrete import CategoricalNetworks, DiscretePEARL
from kshot.learning import sac
from kshot.types import FamilySpec, Task
from tests.numerics.random_episodes import RandomCollect, random_episodes

D, N, H, LATENT = 3, 4, 5, 2
SPEC = FamilySpec("probe", D, spaces.Discrete(N), horizon=H, episodes_per_trial=1)
TASKS = [Task("probe", "train", i, (("i", i),)) for i in range(6)]
SMALL = {"latent": LATENT, "hidden": (8, 7), "encoder_hidden": (6,), "training_tasks": 6, "collect_tasks": 2}
SMALL |= {"initial_episodes": 2, "prior_episodes": 2, "extra_posterior_episodes": 3, "replay_capacity": 200}
SMALL |= {"gradient_steps": 2, "meta_batch": 3, "batch_size": 10, "context_size": 6}


def make_learner() -> DiscretePEARL:
    return pearl_discrete.build(SPEC, pearl_discrete.Settings(**SMALL), seed=3, device="cpu")


def networks_that_see(policy: Tensor, q: tuple[Tensor, Tensor], value: Tensor) -> CategoricalNetworks:
    """Tables for states that are seen one-hot: logits [S, n], two critics [S, n] and values [S]; z is ignored."""

    def table(rows: Tensor) -> dict[str, Tensor]:
        weight = torch.cat([rows.reshape(len(rows), -1), torch.zeros(LATENT, rows.reshape(len(rows), -1).shape[1])])
        return {"weight_0": weight.requires_grad_(), "bias_0": torch.zeros(weight.shape[1])}

    return CategoricalNetworks(table(policy), table(q[0]), table(q[1]), table(value), table(value))


def test_losses_are_least_where_the_policy_is_the_softmax_of_the_smaller_critic() -> None:
    """Haarnoja et al. 2018: of pi the best is softmax(Q), and its soft value log sum exp Q."""
    rng = torch.Generator().manual_seed(0)
    q = (torch.randn(D, N, generator=rng), torch.randn(D, N, generator=rng))
    smaller = torch.minimum(*q)
    nets = networks_that_see(log_softmax(smaller, dim=-1), q, smaller.logsumexp(dim=-1))
    losses = pearl_discrete.actor_losses(nets, torch.eye(D), torch.zeros(D, LATENT), 0.0)
    assert losses.policy.item() == pytest.approx(-float(smaller.logsumexp(dim=-1).mean()), rel=1e-6)
    assert losses.value.item() == pytest.approx(0.0, abs=1e-12)
    (gradient,) = torch.autograd.grad(losses.policy, nets.policy["weight_0"])
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-7, rtol=0)
    worse = networks_that_see(torch.randn(D, N, generator=rng), q, torch.zeros(D))
    other = pearl_discrete.actor_losses(worse, torch.eye(D), torch.zeros(D, LATENT), 0.0)
    assert other.policy.item() > losses.policy.item()


def test_sums_over_actions_are_what_samples_have_on_average() -> None:
    rng = torch.Generator().manual_seed(1)
    logits, q = torch.randn(D, N, generator=rng), torch.randn(D, N, generator=rng)
    nets = networks_that_see(logits, (q, q + 1), torch.zeros(D))
    losses = pearl_discrete.actor_losses(nets, torch.eye(D), torch.zeros(D, LATENT), 0.0)
    drawn = torch.distributions.Categorical(logits=logits).sample((200_000,))  # [S, D]
    log_prob = log_softmax(logits, dim=-1)[torch.arange(D), drawn]
    sampled = log_prob - q[torch.arange(D), drawn]
    error = float(sampled.mean(dim=1).std() / np.sqrt(len(sampled)))
    assert losses.policy.item() == pytest.approx(float(sampled.mean()), abs=4 * error)
    assert losses.entropy.item() == pytest.approx(-float(log_prob.mean()), abs=0.01)
    assert losses.value.item() == pytest.approx(float((sampled.mean(dim=0) ** 2).mean()), abs=0.02)
    regularised = pearl_discrete.actor_losses(nets, torch.eye(D), torch.zeros(D, LATENT), 0.5).policy
    assert (regularised - losses.policy).item() == pytest.approx(0.5 * float((logits**2).mean()), rel=1e-4)


def test_critics_learn_the_value_of_the_action_taken_and_only_they_reach_the_encoder() -> None:
    rng = torch.Generator().manual_seed(2)
    q = (torch.randn(D, N, generator=rng), torch.randn(D, N, generator=rng))
    nets = networks_that_see(torch.zeros(D, N), q, torch.full((D,), 10.0))
    taken, z = torch.tensor([2, 0, 3]), torch.zeros(D, LATENT, requires_grad=True)
    batch = sac.Batch(torch.eye(D), torch.eye(N)[taken], torch.full((D,), 2.0), torch.eye(D), torch.tensor([0, 1, 0.0]))
    loss = sac.critic_loss(nets, batch, z, 0.5)
    target = torch.tensor([7.0, 2.0, 7.0])
    expected = sum(((critic[torch.arange(D), taken] - target) ** 2).mean() for critic in q)
    assert loss.item() == pytest.approx(float(expected), rel=1e-6)
    gradient = torch.autograd.grad(loss, nets.critic_1["weight_0"], retain_graph=True)[0][:D]
    assert (gradient != 0).sum(dim=1).tolist() == [1, 1, 1], "the values of other actions move"
    learner = make_learner()
    encoder = list(learner._encoder.values())
    context = torch.randn(1, 6, D + N + 1, generator=rng)
    posterior = pearl_discrete.pearl.infer(learner._encoder, context)
    z = posterior.mean.expand(D, -1)
    reached = torch.autograd.grad(sac.critic_loss(learner._nets, batch, z, 0.5), encoder, retain_graph=True)
    assert sum(float(g.abs().sum()) for g in reached) > 0


def test_contexts_hold_the_actions_one_hot() -> None:
    learner = make_learner()
    episodes = random_episodes(SPEC, 0, n_tasks=2)
    policy = learner.adapt(learner.policy(), episodes)
    assert policy.context is not None
    first = policy.context.steps[0, 0]
    assert first.shape == (D + N + 1,)
    np.testing.assert_array_equal(first[D : D + N], np.eye(N)[episodes.action[0, 0, 0]])
    assert first[-1] == episodes.reward[0, 0, 0]
    collected = pearl_discrete.OneHotCollect(RandomCollect(SPEC), np.eye(N))
    shown = collected.demonstrations(TASKS[:2], 3)
    np.testing.assert_array_equal(shown.action, np.eye(N)[RandomCollect(SPEC).demonstrations(TASKS[:2], 3).action])


def test_actions_are_drawn_from_the_policy_or_are_its_mode() -> None:
    learner = make_learner()
    policy = learner.policy()
    keys = np.zeros((1, 20_000), np.uint64)  # one z for all
    memory = policy.start(1, 20_000, keys)
    obs = np.ones((1, 20_000, D))
    noise = seeding.noise(seeding.split(5, np.arange(20_000))[None], 0, N, "discrete")
    action, log_prob, _ = policy.act(obs, memory, noise)
    logits = sac.network(learner._nets.policy, torch.ones(1, D), torch.as_tensor(memory["z"][0, :1])).detach()[0]
    expected = log_softmax(logits, dim=-1)
    share = np.bincount(action[0], minlength=N) / action.size
    np.testing.assert_allclose(share, expected.exp(), atol=4 * 0.5 / np.sqrt(action.size))
    np.testing.assert_allclose(log_prob[0], expected[action[0]], atol=1e-5)
    assert set(policy.act(obs, memory, None)[0].ravel()) == {int(logits.argmax())}


def test_an_update_trains_all_networks_and_an_interrupted_run_goes_on_exactly() -> None:
    straight, stopped, resumed = make_learner(), make_learner(), make_learner()
    before = {name: [v.detach().clone() for v in net.values()] for name, net in straight._networks().items()}
    one, other = RandomCollect(SPEC), RandomCollect(SPEC)
    straight.meta_step(TASKS, one, 0.0)
    for name, net in straight._networks().items():
        assert all(not torch.equal(v, old) for v, old in zip(net.values(), before[name], strict=True)), name
    stopped.meta_step(TASKS, other, 0.0)
    resumed.load_state_dict(stopped.state_dict())
    assert straight.meta_step(TASKS, one, 0.5) == resumed.meta_step(TASKS, other, 0.5)
    for name, net in straight._networks().items():
        assert all(torch.equal(a, b) for a, b in zip(net.values(), resumed._networks()[name].values(), strict=True))


def test_continuous_actions_are_refused() -> None:
    box = replace(SPEC, action_space=spaces.Box(-1.0, 1.0, (2,)))
    with pytest.raises(ValueError, match=r"pearl_discrete chooses among actions, 'probe' has Box"):
        pearl_discrete.build(box, pearl_discrete.Settings(), 0, "cpu")
