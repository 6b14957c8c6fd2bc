"""What planning costs, and what leaving it out of the meta-gradient costs in accuracy.

    python -m benchmarks.planner

Times one soft value iteration forward, with its gradient, and with the gradient of that gradient's norm (what a
meta-gradient needs), on voxel grids of 960 and about 5,000 cells with 27 moves, T = 20 and 40; the separable sum over
neighbours beside gathering them. Then, on small boxes, the sum by one matrix as a share of the time axis by axis, and
multiplying numbers too small for full precision in single precision, flushed to 0, as a share of the time as they are.
Then the relative error of MandRIL's meta-gradient when the planner, or all of the inner step, is taken as a constant,
by the size of the inner rate.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from kshot import seeding
from kshot.algorithms.mandril import adapted
from kshot.envs import gridnavi
from kshot.learning import networks, planner
from kshot.learning.descent import flushed_denormals
from kshot.learning.irl import Demonstrations, reward_map

SHAPES: dict[int, tuple[int, ...]] = {960: (10, 12, 8), 4913: (17, 17, 17)}
HORIZONS = (20, 40)
RATES = (0.1, 0.3, 1.0, 3.0)
SMALL: dict[int, tuple[int, ...]] = {144: (12, 12), 256: (16, 16)}
THETAS = 10
"""Initial parameters over which the errors are averaged."""


def milliseconds(function: Callable[[], object], rounds: int) -> float:
    """Median over rounds, after one that warms up."""
    function()
    spent = []
    for _ in range(rounds):
        begin = time.perf_counter()
        function()
        spent.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(spent)


def timings(shape: tuple[int, ...], horizon: int, batch: int, rounds: int) -> dict[str, float]:
    """Milliseconds of one soft value iteration for ``batch`` tasks."""
    grid = planner.Grid(shape)
    reward = torch.randn(batch, grid.n_states, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    reward.requires_grad_()

    def value(model: planner.Model) -> Tensor:
        return planner.soft_values(reward, model, horizon)[0, :, 0].sum()

    def twice() -> Tensor:
        (visits,) = torch.autograd.grad(value(grid), reward, create_graph=True)
        return torch.autograd.grad((visits**2).sum(), reward)[0]

    with torch.no_grad():
        result = {
            "gathered": milliseconds(lambda: value(grid.gathered), max(1, rounds // 5)),
            "forward": milliseconds(lambda: value(grid), rounds),
        }
    result["with gradient"] = milliseconds(lambda: torch.autograd.grad(value(grid), reward), rounds)
    result["with second"] = milliseconds(twice, rounds)
    return result


def share_of_one_matrix(shape: tuple[int, ...], horizon: int, batch: int, rounds: int) -> float:
    """Time with the second gradient, neighbourhoods summed by one matrix, over the time axis by axis."""
    few, spent = planner.FEW_STATES, []
    try:
        for bound in (planner.Grid(shape).n_states, 0):
            planner.FEW_STATES = bound
            spent.append(timings(shape, horizon, batch, rounds)["with second"])
    finally:
        planner.FEW_STATES = few
    return spent[0] / spent[1]


def share_when_flushed(batch: int, rounds: int) -> float:
    """Time of a layer's product with subnormal gradients when they are flushed, over the time when they are not."""
    weights = torch.ones(batch, 128, 128)
    gradients = torch.full((batch, 128, 144), 1e-39)
    as_they_are = milliseconds(lambda: weights @ gradients, rounds)
    with flushed_denormals():
        return milliseconds(lambda: weights @ gradients, rounds) / as_they_are


def gradient_errors(rate: float, seed: int) -> dict[str, float]:
    """Relative errors of the cheaper meta-gradients at one theta, one inner step of MandRIL on eight GridNavi tasks."""
    family = gridnavi.build(gridnavi.Settings())
    tasks = family.tasks("train", 8, 0)
    assert family.spec.world is not None
    world = family.spec.world

    def shown(name: str, n: int) -> Demonstrations:
        keys = seeding.split(seeding.key(name), np.arange(len(tasks)))
        return Demonstrations.of(world, family.demonstrations(tasks, n, keys), "cpu")

    training, testing = shown("training", 5), shown("testing", 5)
    initial = networks.init_mlp((25, 64, 64, 1), networks.torch_generator(seed))
    theta = {name: x.double().requires_grad_() for name, x in initial.items()}
    rates = dict.fromkeys(theta, torch.tensor(rate, dtype=torch.float64))
    gradients = {}
    for order in ("full", "detached_planner", "first"):
        phi, _ = adapted(networks.stack(theta, len(tasks)), rates, training, 1, order)
        loss = testing.loss(reward_map(phi, testing.features)).mean()
        gradients[order] = networks.flatten(torch.autograd.grad(loss, list(theta.values())))
    full = gradients.pop("full")
    return {order: float((gradient - full).norm() / full.norm()) for order, gradient in gradients.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batch", type=int, default=8, help="tasks planned for at once")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, object] = {}
    print(f"milliseconds for {options.batch} tasks, one thread, float64")
    print(f"{'cells':>6} {'T':>3} {'gathered':>9} {'forward':>8} {'with gradient':>14} {'with second':>12}")
    for cells, shape in SHAPES.items():
        for horizon in HORIZONS:
            one = timings(shape, horizon, options.batch, options.rounds)
            found[f"{cells} {horizon}"] = one
            print(f"{cells:>6} {horizon:>3} {one['gathered']:>9.1f} {one['forward']:>8.1f} ", end="")
            print(f"{one['with gradient']:>14.1f} {one['with second']:>12.1f}")
    print("\none matrix, share of the time axis by axis (with second)")
    for cells, shape in SMALL.items():
        share = share_of_one_matrix(shape, HORIZONS[0], options.batch, options.rounds)
        found[f"one matrix {cells}"] = share
        print(f"{cells:>6} {share:>9.2f}")
    found["flushed"] = share_when_flushed(options.batch, options.rounds)
    print(f"\nproduct with numbers too small for full precision, flushed, share of as they are: {found['flushed']:.3f}")
    print(f"\nrelative error of the meta-gradient, mean of {THETAS} thetas\n  rate  detached planner  first order")
    for rate in RATES:
        single = [gradient_errors(rate, seed) for seed in range(THETAS)]
        errors = {order: statistics.fmean(one[order] for one in single) for order in single[0]}
        found[f"rate {rate}"] = errors
        print(f"{rate:>6} {errors['detached_planner']:>17.3f} {errors['first']:>12.3f}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
