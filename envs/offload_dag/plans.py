"""Scripted policies that place a whole graph at once: with or without knowing the resources of the task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kshot.envs.offload_dag.optimum import optima
from kshot.envs.offload_dag.simulator import (
    DOWNLINK,
    EDGE,
    LINKS,
    UPLINK,
    Links,
    copy,
    earliest_finish,
    njit,
    plan_makespan,
)
from kshot.types import Array, Memory
from kshot.types.graphs import GraphLayout

PlanOf = Callable[[Array, Array, Array], Array]
"""(nodes [B], times [B, N, 4] in units of the graph's mean time on the device, parents [B, N]) -> plans [B, N]."""


@dataclass(frozen=True)
class Planned:
    """A ``kshot.types.Policy`` that makes a plan in the first step of an episode and follows it.

    Attributes:
        layout: of the observations.
        plan_of: makes the plans.
        factors: [T, 4] what the observed times are multiplied by before they are planned with.
    """

    layout: GraphLayout
    plan_of: PlanOf
    factors: Array

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        return {"plan": np.zeros((n_tasks, n_copies, self.layout.nodes), dtype=np.int64)}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        lead, step, plan = obs.shape[:2], self.layout.step_of(obs), memory["plan"]
        new = step == 0
        if new.any():
            times = (self.layout.features_of(obs)[..., :4] * self.factors[:, None, None])[new]
            parents = self.layout.parents_of(obs)[new]
            plan = plan.copy()
            plan[new] = self.plan_of((times[..., 0] > 0).sum(axis=-1), np.ascontiguousarray(times), parents)
        action = np.take_along_axis(plan, np.minimum(step, self.layout.nodes - 1)[..., None], axis=2)[..., 0]
        return action, np.zeros(lead), {"plan": plan}

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return memory


def alone(nodes: Array, times: Array, parents: Array) -> Array:
    """Offload what by itself, with all queues free, is done sooner on the server."""
    return np.asarray((times[..., 1:].sum(axis=-1) < times[..., 0]).astype(np.int64))


def heft(links: Links) -> PlanOf:
    """Node after node where its result is there first (``simulator.earliest_finish``)."""
    return lambda nodes, times, parents: earliest_finish(nodes, times, parents, links)


def optimal(links: Links) -> PlanOf:
    """The shortest makespan (``optimum.optima``)."""
    return lambda nodes, times, parents: optima(nodes, times, parents, links)[0]


@njit
def _mean_makespan(plan: Array, nodes: int, cases: Array, parents: Array, links: int) -> float:
    total = 0.0
    for case in range(cases.shape[0]):
        total += plan_makespan(plan, nodes, cases[case], parents, links)
    mean: float = total / cases.shape[0]
    return mean


@njit
def _robust(
    nodes: Array, times: Array, parents: Array, factors: Array, links: int, starts: Array, plans: Array
) -> None:
    cases = np.zeros((factors.shape[0], *times.shape[1:]))
    plan = np.zeros(parents.shape[1], dtype=np.int64)
    for b in range(len(nodes)):
        for case in range(factors.shape[0]):
            cases[case] = times[b] * factors[case]
        best = np.inf
        for start in range(starts.shape[0]):
            copy(starts[start, b], plan)
            found = _mean_makespan(plan, nodes[b], cases, parents[b], links)
            changed = True
            while changed:
                changed = False
                for i in range(nodes[b]):
                    plan[i] = 1 - plan[i]
                    other = _mean_makespan(plan, nodes[b], cases, parents[b], links)
                    if other < found:
                        found, changed = other, True
                    else:
                        plan[i] = 1 - plan[i]
            if found < best:
                best = found
                copy(plan, plans[b])


def robust(factors: Array, links: Links) -> PlanOf:
    """The plan with the smallest mean makespan over resources that cannot be told apart, as far as single changes go.

    Args:
        factors: [R, 4] what the observed times are multiplied by in each of R equally likely cases.
        links: what waits for a link.

    The search starts from all on the device and from the plans of ``heft`` for each quarter of the cases.
    """

    def plan_of(nodes: Array, times: Array, parents: Array) -> Array:
        firsts = factors[np.linspace(0, len(factors) - 1, min(len(factors), 4)).round().astype(int)]
        starts = [np.zeros(parents.shape, dtype=np.int64)]
        starts += [earliest_finish(nodes, times * first, parents, links) for first in firsts]
        plans = np.zeros(parents.shape, dtype=np.int64)
        _robust(nodes, times, parents, factors, LINKS.index(links), np.stack(starts), plans)
        return plans

    return plan_of


def resource_factors(bandwidth: Array, ratio: Array, shown_bandwidth: Array, shown_ratio: Array) -> Array:
    """[..., 4] by which times at the shown resources become times at the true ones."""
    factors = np.ones((*np.shape(bandwidth), 4))
    factors[..., UPLINK] = factors[..., DOWNLINK] = shown_bandwidth / bandwidth
    factors[..., EDGE] = shown_ratio / ratio
    return factors
