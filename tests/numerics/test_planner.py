"""The differentiable planner against closed forms, enumeration of all paths and finite differences."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from kshot.envs import _experts
from kshot.envs._mdps import MDP
from kshot.learning import planner
from kshot.learning.planner import Deterministic, Grid, Model, Stochastic
from tests.planning import expected_return, pushed, visitations

STAY_RIGHT_LEFT = torch.tensor([[0, 1, -1], [1, 2, 0], [2, -1, 1]])
"""A corridor of three cells."""


def crossing(side: int) -> Deterministic:
    """A square grid with the moves stay, up, right, down, left; walls cannot be walked into."""
    table = torch.full((side * side, 5), -1)
    for x, y in itertools.product(range(side), repeat=2):
        for action, (dx, dy) in enumerate([(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)]):
            if 0 <= x + dx < side and 0 <= y + dy < side:
                table[x * side + y, action] = (x + dx) * side + y + dy
    return Deterministic(table)


def random_dynamics(states: int, actions: int, seed: int) -> Stochastic:
    generator = torch.Generator().manual_seed(seed)
    weight = -torch.rand(states, actions, states, generator=generator, dtype=torch.float64).log()
    return Stochastic(weight / weight.sum(dim=-1, keepdim=True))


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def policy_of(reward: Tensor, dynamics: Model, horizon: int) -> Tensor:
    values = planner.soft_values(reward, dynamics, horizon)
    return (planner.action_values(reward, dynamics, values) - values[:-1].unsqueeze(-1)).exp()


def paths(successor: Tensor, start: int, horizon: int) -> list[list[int]]:
    found = [[start]]
    for _ in range(horizon):
        found = [[*path, int(n)] for path in found for n in successor[path[-1]] if n >= 0]
    return found


def counts(path: list[int], n: int) -> Tensor:
    return torch.bincount(torch.tensor(path), minlength=n).double()


def test_the_corridor_has_its_closed_form() -> None:
    dynamics, reward = Deterministic(STAY_RIGHT_LEFT), torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    values = planner.soft_values(reward, dynamics, 2)
    assert values[0, 0, 0].item() == pytest.approx(math.log(4 + math.e), abs=1e-12)
    policy = policy_of(reward, dynamics, 2)
    torch.testing.assert_close(
        policy[0, 0, 0, :2], torch.tensor([2 / (4 + math.e), (2 + math.e) / (4 + math.e)]).double()
    )
    start = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    visits, pairs = visitations(policy, dynamics, start)
    expected = torch.tensor([[(8 + math.e) / (4 + math.e), 1.0, math.e / (4 + math.e)]], dtype=torch.float64)
    torch.testing.assert_close(visits, expected, atol=1e-12, rtol=0)
    assert pairs.sum().item() == pytest.approx(2, abs=1e-12)


def test_value_visits_and_their_jacobian_equal_those_of_all_paths() -> None:
    dynamics, horizon, start = crossing(3), 5, 0
    reward = rand(1, 9)
    every = torch.stack([counts(path, 9) for path in paths(dynamics.successor, start, horizon)])
    assert len(every) == 599  # by hand: legal paths of five moves from a corner of the 3 x 3 grid
    log_weight = every @ reward[0]  # of each path
    chance = log_weight.softmax(dim=0)
    mean = chance @ every
    covariance = (every - mean).T @ ((every - mean) * chance.unsqueeze(1))

    value = planner.soft_values(reward.requires_grad_(), dynamics, horizon)[0, 0, start]
    torch.testing.assert_close(value, log_weight.logsumexp(dim=0), atol=1e-12, rtol=0)
    (visits,) = torch.autograd.grad(value, reward, create_graph=True)
    torch.testing.assert_close(visits[0], mean, atol=1e-12, rtol=0)
    jacobian = torch.cat([torch.autograd.grad(visit, reward, retain_graph=True)[0] for visit in visits[0]])
    torch.testing.assert_close(jacobian, covariance, atol=1e-10, rtol=0)
    expected, _ = visitations(
        policy_of(reward, dynamics, horizon), dynamics, torch.eye(9, dtype=torch.float64)[start : start + 1]
    )
    torch.testing.assert_close(expected[0], mean, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", ["states", "pairs", "stochastic"])
def test_gradient_against_central_differences(kind: str) -> None:
    horizon, step = 5, 1e-6
    if kind == "stochastic":
        dynamics: Model = random_dynamics(6, 3, seed=1)
        states, actions = torch.randint(6, (2, 4, horizon)), torch.randint(3, (2, 4, horizon))
        reward = rand(2, 6, 3)

        def loss(r: Tensor) -> Tensor:
            return planner.causal_loss(r, dynamics, states, actions).sum()
    else:
        grid = crossing(3)
        reward = rand(2, 9) if kind == "states" else rand(2, 9, 5)
        visits = rand(*reward.shape, seed=3).abs()

        def loss(r: Tensor) -> Tensor:
            return planner.path_loss(r, grid, torch.tensor([[0, 4], [8, 2]]), visits, horizon).sum()

    (gradient,) = torch.autograd.grad(loss(reward.requires_grad_()), reward)
    flat = reward.detach().reshape(-1)
    for i in range(len(flat)):
        shift = torch.zeros_like(flat)
        shift[i] = step
        up, down = (loss((flat + sign * shift).reshape(reward.shape)) for sign in (1, -1))
        assert gradient.reshape(-1)[i].item() == pytest.approx(((up - down) / (2 * step)).item(), abs=1e-8)


def test_second_derivatives_pass_gradgradcheck() -> None:
    starts, visits = torch.tensor([[0, 4]]), rand(1, 9, seed=3).abs()
    reward = rand(1, 9).requires_grad_()
    for dynamics in (crossing(3), Grid((3, 3))):
        assert torch.autograd.gradgradcheck(lambda r, d=dynamics: planner.path_loss(r, d, starts, visits, 4), reward)


def test_visits_sum_to_the_steps_of_a_path() -> None:
    start = torch.full((2, 6), 1 / 6, dtype=torch.float64)
    for reward in (rand(2, 6), rand(2, 6, 3)):
        policy = policy_of(reward, random_dynamics(6, 3, seed=2), 7)
        states, pairs = visitations(policy, random_dynamics(6, 3, seed=2), start)
        torch.testing.assert_close(states.sum(dim=1), torch.full((2,), 8.0).double())
        torch.testing.assert_close(pairs.sum(dim=(1, 2)), torch.full((2,), 7.0).double())


def test_a_constant_added_to_the_reward_changes_nothing() -> None:
    dynamics, starts = crossing(3), torch.tensor([[0, 4]])
    reward = rand(1, 9).requires_grad_()
    visits = torch.stack([counts(paths(dynamics.successor, s, 5)[7], 9) for s in (0, 4)]).mean(dim=0, keepdim=True)
    loss = planner.path_loss(reward, dynamics, starts, visits, 5)
    torch.testing.assert_close(planner.path_loss(reward + 3.7, dynamics, starts, visits, 5), loss)
    (gradient,) = torch.autograd.grad(loss.sum(), reward)
    assert abs(gradient.sum().item()) < 1e-12
    assert loss.item() > 0  # the likelihood of paths that exist is below 1


def test_path_loss_and_causal_loss_agree_where_dynamics_are_deterministic() -> None:
    dynamics, horizon = crossing(3), 5
    reward = rand(1, 9)
    shown = [paths(dynamics.successor, s, horizon)[i] for s, i in ((0, 17), (4, 300))]
    states = torch.tensor(shown)
    actions = torch.tensor(
        [[int((dynamics.successor[a] == b).nonzero()[0]) for a, b in itertools.pairwise(path)] for path in shown]
    )
    visits = torch.stack([counts(path, 9) for path in shown]).mean(dim=0, keepdim=True)
    by_path = planner.path_loss(reward, dynamics, states[None, :, 0], visits, horizon) * (horizon + 1)
    by_decision = planner.causal_loss(reward, dynamics, states[None, :, :-1], actions[None]) * horizon
    torch.testing.assert_close(by_path, by_decision, atol=1e-12, rtol=0)


@pytest.mark.parametrize("shape", [(5,), (4, 3), (3, 4, 2), (16, 14), (7, 6, 5)])
def test_the_grid_without_gathering_equals_the_grid_with_it(shape: tuple[int, ...]) -> None:
    assert math.prod((4, 3)) < planner.FEW_STATES < math.prod((7, 6, 5)), "boxes of both kinds"
    grid = Grid(shape)
    reward = (10 * rand(3, grid.n_states)).requires_grad_()
    fast, slow = (planner.soft_values(reward, dynamics, 12) for dynamics in (grid, grid.gathered))
    torch.testing.assert_close(fast, slow, atol=1e-10, rtol=0)
    gradients = [torch.autograd.grad(values[0].sum(), reward)[0] for values in (fast, slow)]
    torch.testing.assert_close(*gradients, atol=1e-10, rtol=1e-12)


def test_grid_moves_go_where_they_say() -> None:
    grid = Grid((4, 3))
    move = int((grid.moves == torch.tensor([1, -1])).all(dim=1).nonzero())
    assert grid.gathered.successor[1 * 3 + 2, move] == 2 * 3 + 1
    assert grid.gathered.successor[3 * 3 + 2, move] == -1  # off the grid


def test_hard_values_are_those_of_the_best_path_and_policies_get_no_more() -> None:
    dynamics, horizon = crossing(3), 5
    reward = rand(1, 9)
    best = max(float(counts(path, 9) @ reward[0]) for path in paths(dynamics.successor, 4, horizon))
    values = planner.hard_values(reward, dynamics, horizon)
    assert values[0, 0, 4].item() == pytest.approx(best, abs=1e-12)
    greedy = torch.nn.functional.one_hot(planner.action_values(reward, dynamics, values).argmax(dim=-1), 5).double()
    torch.testing.assert_close(expected_return(reward, greedy, dynamics), values[0], atol=1e-12, rtol=0)
    soft = expected_return(reward, policy_of(reward, dynamics, horizon), dynamics)
    assert (soft < values[0]).all()


def test_a_stochastic_expert_has_the_visits_that_the_causal_gradient_asks_for() -> None:
    """The expected gradient of the causal loss is expected minus demonstrated visits: zero for its own expert."""
    dynamics, horizon = random_dynamics(5, 3, seed=4), 6
    reward = rand(1, 5, 3).requires_grad_()
    values = planner.soft_values(reward, dynamics, horizon)
    log_policy = planner.action_values(reward, dynamics, values) - values[:-1].unsqueeze(-1)
    expert = log_policy.detach().exp()
    start = torch.eye(5, dtype=torch.float64)[:1]
    at, loss = start, torch.zeros((), dtype=torch.float64)
    for decision, log_decision in zip(expert, log_policy, strict=True):
        mass = at.unsqueeze(-1) * decision
        loss, at = loss - (mass * log_decision).sum(), pushed(dynamics, mass)
    (gradient,) = torch.autograd.grad(loss, reward)
    assert gradient.abs().max().item() < 1e-12


def test_experts_of_families_are_soft_optimal() -> None:
    """Their policy, computed in numpy, is the planner's for beta times the reward; sampled paths follow it."""
    rng = np.random.default_rng(0)
    model = MDP(rng.dirichlet(np.ones(4), (1, 4, 3)), rng.normal(size=(1, 4, 3)))
    policy = _experts.soft_optimal_policy(model, 5, 2.0)
    found = policy_of(torch.tensor(2.0 * model.reward), Stochastic(torch.tensor(model.probability)), 5)
    np.testing.assert_allclose(found.numpy(), policy, atol=1e-12)
    states, actions = _experts.sampled_paths(model, policy, 20_000, np.array([3], dtype=np.uint64))
    visits, pairs = visitations(
        found, Stochastic(torch.tensor(model.probability)), torch.eye(4, dtype=torch.float64)[:1]
    )
    counted = np.bincount(states.reshape(-1), minlength=4) / 20_000
    np.testing.assert_allclose(counted, visits[0].numpy(), atol=0.05)
    chosen = np.bincount((states[..., :-1] * 3 + actions).reshape(-1), minlength=12) / 20_000
    np.testing.assert_allclose(chosen, pairs.reshape(-1).numpy(), atol=0.05)
