"""Planning with known dynamics, differentiable: soft value iteration over a finite horizon, batched over tasks.

A maximum-entropy expert with reward r takes a path with probability proportional to exp(sum of its rewards) where
dynamics are deterministic (Ziebart et al. 2008, "Maximum Entropy Inverse Reinforcement Learning"), and in general
follows the soft policy exp(Q_t - V_t) (Ziebart et al. 2010, "Modeling Interaction via the Principle of Maximum Causal
Entropy"):

    Q_t(s, a) = r(s, a) + E V_{t+1}(s'),    V_t(s) = log sum_a exp Q_t(s, a),    t = T - 1, ..., 0.

Rewards are of states, [B, S], earned in all T + 1 states of a path (so V_T = r), or of state-action pairs, [B, S, A],
earned in all T decisions (V_T = 0). B is any batch: tasks, or arrangements of tasks. Everything is plain torch, so that
``torch.autograd.grad(..., create_graph=True)`` differentiates through the planning itself; use float64, since values of
states that are hard to reach lie hundreds of nats below the best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property, reduce
from typing import Protocol

import torch
from torch import Tensor

from kshot.types import Dynamics

ILLEGAL = -1e9
"""Value of an action that cannot be taken: exp of it is 0, and unlike minus infinity it makes no NaN in gradients."""

FEW_STATES = 200
"""Up to so many cells, a box's neighbourhoods are summed by one matrix.

A third to a half of the time at 144 cells; at 256, half to two thirds in batches of 8 rewards, and a tenth more in
batches of 64 (``benchmarks/planner.py``).
"""


class Model(Protocol):
    """What follows from an action; known, and the same for every reward."""

    def expected_next(self, values: Tensor) -> Tensor:
        """[B, S] -> [B, S, A]: the expected value of the next state, ``ILLEGAL`` for actions that cannot be taken."""
        ...

    def soft_next(self, values: Tensor) -> Tensor:
        """[B, S] -> [B, S]: log-sum-exp over the actions of ``expected_next``."""
        ...


@dataclass(frozen=True)
class Deterministic:
    """``successor`` [S, A], or [B, S, A] of a model per task, is the next state; -1 where an action cannot be taken."""

    successor: Tensor

    @cached_property
    def _legal(self) -> Tensor:
        return self.successor >= 0

    def _target(self, batch: int) -> Tensor:
        """[B, S * A] next states, any for illegal actions."""
        flat = self.successor.clamp(min=0).flatten(-2)
        return flat.expand(batch, -1)

    def expected_next(self, values: Tensor) -> Tensor:
        following = values.gather(1, self._target(len(values))).reshape(len(values), *self.successor.shape[-2:])
        return torch.where(self._legal, following, ILLEGAL)

    def soft_next(self, values: Tensor) -> Tensor:
        return self.expected_next(values).logsumexp(dim=-1)


@dataclass(frozen=True)
class Stochastic:
    """``probability`` [S, A, S] or, of a model per task, [B, S, A, S]: of the next state."""

    probability: Tensor

    def expected_next(self, values: Tensor) -> Tensor:
        return torch.einsum("...san,...n->...sa", self.probability, values)

    def soft_next(self, values: Tensor) -> Tensor:
        return self.expected_next(values).logsumexp(dim=-1)


@dataclass(frozen=True)
class Grid:
    """Cells of a box, numbered with the last axis fastest; moves of -1, 0 or 1 along every axis, within the box.

    Summing over the neighbourhood is separable: one small band matrix per axis replaces gathering 3^d neighbours, which
    is an order of magnitude faster on a CPU and exact at the walls. In small boxes one matrix for all axes is faster.
    """

    shape: tuple[int, ...]

    @property
    def n_states(self) -> int:
        return math.prod(self.shape)

    @cached_property
    def moves(self) -> Tensor:
        """[3^d, d] what each action adds to a cell's coordinates."""
        return torch.cartesian_prod(*[torch.tensor([-1, 0, 1])] * len(self.shape)).reshape(-1, len(self.shape))

    @cached_property
    def gathered(self) -> Deterministic:
        """The same dynamics as a table of successors [S, 3^d]."""
        cells = torch.cartesian_prod(*[torch.arange(n) for n in self.shape]).reshape(-1, len(self.shape))
        reached = cells[:, None] + self.moves
        legal = ((reached >= 0) & (reached < torch.tensor(self.shape))).all(dim=-1)
        stride = torch.tensor([math.prod(self.shape[axis + 1 :]) for axis in range(len(self.shape))])
        return Deterministic(torch.where(legal, (reached * stride).sum(dim=-1), -1))

    @cached_property
    def _bands(self) -> list[Tensor]:
        return [torch.ones(n, n, dtype=torch.float64).triu(-1).tril(1) for n in self.shape]

    @cached_property
    def _neighbours(self) -> Tensor:
        """[S, S] 1 where a move leads from one cell to the other."""
        return reduce(torch.kron, self._bands)

    def neighbourhood_sum(self, cells: Tensor) -> Tensor:
        """[B, S] -> [B, S]: sums over every cell's neighbours and itself."""
        if self.n_states <= FEW_STATES:
            return cells @ self._neighbours.to(cells)
        total = cells.reshape(-1, *self.shape)
        for axis, band in enumerate(self._bands, start=1):
            total = (total.movedim(axis, -1) @ band.to(total)).movedim(-1, axis)
        return total.reshape(cells.shape)

    def expected_next(self, values: Tensor) -> Tensor:
        return self.gathered.expected_next(values)

    def soft_next(self, values: Tensor) -> Tensor:
        largest = values.detach().amax(dim=1, keepdim=True)
        return largest + self.neighbourhood_sum((values - largest).exp()).log()


@dataclass(frozen=True)
class TwoGrids:
    """Two copies of a ``Grid`` and a one-way crossing: states are the cells of the first, then those of the second.

    The last action leads from the ``open`` [B, N] cells of the first grid to the cell ``landing`` [B] of the second.
    """

    grid: Grid
    open: Tensor
    landing: Tensor

    def expected_next(self, values: Tensor) -> Tensor:
        here, beyond = values.chunk(2, dim=1)
        first = torch.where(self.open, beyond.gather(1, self.landing[:, None]), ILLEGAL)
        crossing = torch.cat([first, torch.full_like(beyond, ILLEGAL)], dim=1)
        moves = [self.grid.expected_next(half) for half in (here, beyond)]
        return torch.cat([torch.cat(moves, dim=1), crossing.unsqueeze(-1)], dim=2)

    def soft_next(self, values: Tensor) -> Tensor:
        # Not by logaddexp: where the crossing is closed, its second derivative is inf / inf.
        largest = values.detach().amax(dim=1, keepdim=True)
        here, beyond = (values - largest).exp().chunk(2, dim=1)
        crossing = self.open * beyond.gather(1, self.landing[:, None])
        sums = [self.grid.neighbourhood_sum(here) + crossing, self.grid.neighbourhood_sum(beyond)]
        return largest + torch.cat(sums, dim=1).log()


def model_of(dynamics: Dynamics, device: torch.device | str = "cpu") -> Model:
    """The planner's model of a family's dynamics."""
    if dynamics.crossing is not None:
        passable, landing = (torch.tensor(x, device=device) for x in dynamics.crossing)
        return TwoGrids(_grid(dynamics.box), passable, landing)
    if dynamics.box:
        return _grid(dynamics.box)
    if dynamics.successor is not None:
        return Deterministic(torch.tensor(dynamics.successor, device=device))
    return Stochastic(torch.tensor(dynamics.probability, dtype=torch.float64, device=device))


@cache
def _grid(shape: tuple[int, ...], /) -> Grid:
    """One per shape, since its tables are worked out once."""
    return Grid(shape)


def soft_values(reward: Tensor, model: Model, horizon: int) -> Tensor:
    """[T + 1, B, S] the values V_0, ..., V_T of the soft-optimal policy for ``horizon`` T decisions.

    ``reward`` is [B, S] or [B, S, A]. The gradient of V_0(s) in a reward of states is the expected number of visits on
    paths from s (of state-action pairs: of choices): expected visitations need no pass of their own.
    """
    of_states = reward.ndim == 2
    values = [reward if of_states else reward.new_zeros(reward.shape[:2])]
    for _ in range(horizon):
        following = values[-1]
        if of_states:
            values.append(reward + model.soft_next(following))
        else:
            values.append((reward + model.expected_next(following)).logsumexp(dim=-1))
    return torch.stack(values[::-1])


def action_values(reward: Tensor, model: Model, values: Tensor) -> Tensor:
    """[T, B, S, A] Q_t of every decision, from the values [T + 1, B, S] of a soft or hard value iteration."""
    earned = reward.unsqueeze(-1) if reward.ndim == 2 else reward
    return torch.stack([earned + model.expected_next(following) for following in values[1:]])


def hard_values(reward: Tensor, model: Model, horizon: int) -> Tensor:
    """[T + 1, B, S] the largest expected return from every time and state (Bellman 1957)."""
    earned = reward.unsqueeze(-1) if reward.ndim == 2 else reward
    values = [reward if reward.ndim == 2 else reward.new_zeros(reward.shape[:2])]
    for _ in range(horizon):
        values.append((earned + model.expected_next(values[-1])).amax(dim=-1))
    return torch.stack(values[::-1])


def path_loss(reward: Tensor, model: Model, starts: Tensor, visits: Tensor, horizon: int) -> Tensor:
    """[B] negative log-likelihood of paths per step, deterministic dynamics: (mean_k V_0(s_0^k) - r . mu_D) / (T + 1).

    Args:
        reward: [B, S] or [B, S, A].
        model: deterministic; with others the likelihood of a finite number of paths has another term.
        starts: [B, K] first states; K is the number of demonstrations. Their values are averaged, never the states.
        visits: of the reward's shape, mean over the demonstrations of how often each was visited (mu_D).
        horizon: T.
    """
    first = soft_values(reward, model, horizon)[0].gather(1, starts).mean(dim=1)
    return (first - (reward * visits).flatten(1).sum(dim=1)) / (horizon + 1)


def causal_loss(reward: Tensor, model: Model, states: Tensor, actions: Tensor) -> Tensor:
    """[B] mean of -log pi_t(a_t | s_t) over the decisions of demonstrations (Ziebart et al. 2010).

    Right for stochastic dynamics too; equal to ``path_loss`` times (T + 1) / T for deterministic ones.

    Args:
        reward: [B, S] or [B, S, A].
        model: any.
        states: [B, K, T] before each decision.
        actions: [B, K, T].
    """
    horizon = states.shape[2]
    values = soft_values(reward, model, horizon)
    log_policy = action_values(reward, model, values) - values[:-1].unsqueeze(-1)  # [T, B, S, A]
    batch = torch.arange(states.shape[0])[:, None, None]
    return -log_policy[torch.arange(horizon), batch, states, actions].mean(dim=(1, 2))
