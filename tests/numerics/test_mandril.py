"""MandRIL's inner and outer gradients against finite differences and closed forms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from kshot import seeding
from kshot.algorithms import mandril
from kshot.algorithms.mandril import adapted
from kshot.envs import bandit, gridnavi, tabular_mdp
from kshot.learning import networks, planner
from kshot.learning.irl import Demonstrations, reward_map
from kshot.learning.networks import Params
from kshot.running.train import Collector
from kshot.types import TaskFamily
from tests.planning import visitations

T = 2
FAMILIES: dict[str, Callable[[], TaskFamily]] = {
    "states": lambda: gridnavi.build(gridnavi.Settings(horizon=5)),
    "pairs": lambda: bandit.build(bandit.Settings(arms=4)),
    "stochastic": lambda: tabular_mdp.build(
        tabular_mdp.Settings(states=4, actions=3, horizon=4, observe_dynamics=True)
    ),
}


def shown(family: TaskFamily, n: int, name: str) -> Demonstrations:
    tasks = family.tasks("train", T, 0)
    episodes = family.demonstrations(tasks, n, seeding.split(seeding.key(name), np.arange(T)))  # type: ignore[attr-defined]  # these families have them
    assert family.spec.world is not None
    return Demonstrations.of(family.spec.world, episodes, "cpu")


def network(features: Tensor, hidden: tuple[int, ...]) -> Params:
    sizes = (features.shape[-1], *hidden, 1)
    params = networks.init_mlp(sizes, networks.torch_generator(3))
    return {name: x.double().requires_grad_() for name, x in params.items()}


def outer_loss(theta: Params, rates: Params, training: Demonstrations, testing: Demonstrations, order: str) -> Tensor:
    phi, _ = adapted(networks.stack(theta, T), rates, training, 2, order)  # type: ignore[arg-type]  # one of the three
    return testing.loss(reward_map(phi, testing.features)).mean()


def flat(params: Params) -> Tensor:
    return networks.flatten(list(params.values()))


@pytest.mark.parametrize("kind", FAMILIES)
def test_meta_gradient_against_central_differences(kind: str) -> None:
    family = FAMILIES[kind]()
    training, testing = shown(family, 3, "training"), shown(family, 4, "testing")
    theta = network(training.features, (6,))
    rates = {name: torch.tensor(0.4, dtype=torch.float64).requires_grad_() for name in theta}

    both = [*theta.values(), *rates.values()]
    gradient = networks.flatten(torch.autograd.grad(outer_loss(theta, rates, training, testing, "full"), both))
    vector = torch.cat([flat(theta), flat(rates)]).detach()
    step, found = 1e-5, []
    for i in range(len(vector)):
        values = []
        for sign in (1, -1):
            moved = vector.clone()
            moved[i] += sign * step
            parts = networks.unflatten(moved, {**theta, **{f"rate {name}": x for name, x in rates.items()}})
            with torch.enable_grad():
                moved_theta = {name: parts[name].requires_grad_() for name in theta}
                moved_rates = {name: parts[f"rate {name}"] for name in theta}
                values.append(outer_loss(moved_theta, moved_rates, training, testing, "full").item())
        found.append((values[0] - values[1]) / (2 * step))
    error = (gradient - torch.tensor(found, dtype=torch.float64)).norm() / gradient.norm()
    assert error.item() < 1e-6


def test_ignoring_the_planner_gives_another_gradient_and_for_linear_rewards_the_first_order_one() -> None:
    family = FAMILIES["states"]()
    training, testing = shown(family, 3, "training"), shown(family, 4, "testing")
    for hidden, same in (((), True), ((6,), False)):
        theta = network(training.features, hidden)
        rates = dict.fromkeys(theta, torch.tensor(2.0, dtype=torch.float64))
        full, detached, first = (
            networks.flatten(
                torch.autograd.grad(outer_loss(theta, rates, training, testing, order), list(theta.values()))
            )
            for order in ("full", "detached_planner", "first")
        )
        assert torch.allclose(detached, first, atol=1e-14) == same
        assert (full - detached).norm() > 1e-3 * full.norm()


def test_without_inner_rate_it_is_the_gradient_of_maximum_entropy_irl() -> None:
    """(dr / dtheta) (E[visits] - visits), eq. 5, with expected visits pushed forward in time, not differentiated."""
    family = FAMILIES["states"]()
    training, testing = shown(family, 3, "training"), shown(family, 4, "testing")
    theta = network(training.features, (6,))
    rates = dict.fromkeys(theta, torch.tensor(0.0, dtype=torch.float64))
    found = torch.autograd.grad(outer_loss(theta, rates, training, testing, "full"), list(theta.values()))

    reward = reward_map(networks.stack(theta, T), testing.features)
    horizon = testing.actions.shape[2]
    values = planner.soft_values(reward, testing.model, horizon)
    policy = (planner.action_values(reward, testing.model, values) - values[:-1].unsqueeze(-1)).exp().detach()
    start = torch.zeros_like(reward).detach()
    start[:, 0] = 1.0
    expected, _ = visitations(policy, testing.model, start)
    counted = torch.stack([torch.bincount(states.reshape(-1), minlength=25).double() / 4 for states in testing.states])
    excess = (expected - counted) / (horizon + 1) / T
    by_hand = torch.autograd.grad(reward, list(theta.values()), grad_outputs=excess)
    torch.testing.assert_close(found, by_hand, atol=1e-12, rtol=0)


def test_one_step_on_a_bandit_is_maml_on_cross_entropy() -> None:
    """Reward theta of K arms: phi = theta - a (p - f), and (I - a (diag p - p p')) (softmax(phi) - f') for theta."""
    family = FAMILIES["pairs"]()
    training, testing = shown(family, 5, "training"), shown(family, 7, "testing")
    theta = {"weight_0": torch.tensor([[0.3], [-0.2], [0.5], [0.1]], dtype=torch.float64).requires_grad_()}
    theta["bias_0"] = torch.zeros(1, dtype=torch.float64).requires_grad_()
    rate = 0.7
    rates = {"weight_0": torch.tensor(rate, dtype=torch.float64), "bias_0": torch.tensor(0.0, dtype=torch.float64)}
    phi, _ = adapted(networks.stack(theta, T), rates, training, 1, "full")
    loss = testing.loss(reward_map(phi, testing.features)).mean()
    (found,) = torch.autograd.grad(loss, theta["weight_0"])

    # One decision: the loss per step has T + 1 = 2 in its denominator, for the inner rate and for the outer loss.
    p, expected = theta["weight_0"][:, 0].detach().softmax(dim=0), torch.zeros(4, dtype=torch.float64)
    for task in range(T):
        f, g = (
            torch.bincount(x.actions[task].reshape(-1), minlength=4).double() / x.actions.shape[1]
            for x in (training, testing)
        )
        step = theta["weight_0"][:, 0].detach() - rate / 2 * (p - f)
        torch.testing.assert_close(phi["weight_0"][task, :, 0], step)
        jacobian = torch.eye(4, dtype=torch.float64) - rate / 2 * (torch.diag(p) - torch.outer(p, p))
        expected += jacobian @ (step.softmax(dim=0) - g) / 2 / T
    torch.testing.assert_close(found[:, 0], expected, atol=1e-12, rtol=0)


def test_the_adapted_reward_explains_the_task_and_the_prior_does_not() -> None:
    family = gridnavi.build(gridnavi.Settings())
    learner = mandril.build(family.spec, mandril.Settings(hidden=(16,), lr=1e-2), 0, "cpu")
    for i in range(60):
        tasks = family.tasks("train", learner.tasks_per_step, seeding.key(i))
        metrics = learner.meta_step(tasks, Collector(family, 0, i), i / 60)
    assert metrics["loss"] < 0.6 < 1.3 < metrics["loss_prior"]  # uniform over five moves would be log 5 = 1.61
    chosen = learner.calibrate(family.tasks("validation", 8, 0), Collector(family, 0, 60))
    assert chosen["test_steps_1"] in learner.settings.test_steps


def test_weight_decay_shrinks_the_initial_parameters_alone() -> None:
    family = bandit.build(bandit.Settings(arms=3))
    states = []
    for decay in (0.0, 0.5):
        settings = mandril.Settings(hidden=(4,), meta_batch=T, shots=(2,), lr=0.01, weight_decay=decay)
        learner = mandril.build(family.spec, settings, 0, "cpu")
        before = {name: x.clone() for name, x in learner.state_dict()["params"].items()}
        learner.meta_step(family.tasks("train", T, 0), Collector(family, 0, 0), 0.0)
        states.append(learner.state_dict())
    for name, x in before.items():
        shrunk = states[0]["params"][name] - 0.01 * 0.5 * x
        torch.testing.assert_close(states[1]["params"][name], shrunk, atol=1e-12, rtol=0)
        torch.testing.assert_close(states[1]["log_rates"][name], states[0]["log_rates"][name], atol=0, rtol=0)


def test_an_inner_loss_that_rises_ends_the_run() -> None:
    family = FAMILIES["states"]()
    learner = mandril.build(family.spec, mandril.Settings(inner_lr=1e4, hidden=(8,)), 0, "cpu")
    with pytest.raises(FloatingPointError, match=r"the inner loss rose from|is not finite"):
        for i in range(5):
            learner.meta_step(family.tasks("train", 8, i), Collector(family, 0, i), 0.0)


def test_a_family_without_known_dynamics_is_refused() -> None:
    family = tabular_mdp.build(tabular_mdp.Settings())
    with pytest.raises(ValueError, match="family 'tabular_mdp' with these settings has no known dynamics"):
        mandril.build(family.spec, mandril.Settings(), 0, "cpu")


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_likelihood_of_demonstrations_is_that_of_the_policy_that_is_played(kind: str) -> None:
    """Decision by decision: the log-probabilities that acting gives to what the expert did."""
    family = FAMILIES[kind]()
    learner = mandril.build(family.spec, mandril.Settings(hidden=(6,)), 0, "cpu")
    tasks = family.tasks("test", T, 0)
    keys = seeding.split(seeding.key("likelihood"), np.arange(2 * T)).reshape(2, T)
    shown, held_out = (family.demonstrations(tasks, 3, key) for key in keys)  # type: ignore[attr-defined]  # these families have them
    for policy in (learner.policy(), learner.adapt(learner.policy(), shown)):
        memory, chances = policy.start(T, 3), []
        for t in range(family.spec.horizon):
            taken = held_out.action[:, :, t]
            # Noise that leaves the expert's action as the only one.
            noise = np.where(np.arange(family.spec.action_dim) == taken[..., None], 0.0, -1e9)
            action, log_prob, memory = policy.act(held_out.obs[:, :, t], memory, noise)
            np.testing.assert_array_equal(action, taken)
            chances.append(log_prob)
            memory = policy.observe(memory, action, np.zeros((T, 3)), np.zeros((T, 3), dtype=bool))
        expected = np.mean(chances, axis=(0, 2))
        np.testing.assert_allclose(learner.explain(policy, held_out), expected, rtol=1e-9)
