"""The best placement of a graph's nodes, by branch and bound, compiled.

Placements are tried depth first in the order of the graph, from a plan that no single change improves. A branch ends
where even the better of two lower bounds is no better than the best plan known: the time of paths when every remaining
node finishes at its earliest, alone on what it needs, and the load of the nodes from some point on, shared out between
device and uplink as if they could be cut in pieces.
"""

from __future__ import annotations

import numpy as np

from kshot.envs.offload_dag.simulator import (
    AT_DEVICE,
    AT_EDGE,
    DEVICE,
    DOWNLINK,
    EDGE,
    LINKS,
    SENT,
    UPLINK,
    Links,
    _earliest_finish,
    copy,
    njit,
    place,
    plan_makespan,
)
from kshot.types import Array
from kshot.types.graphs import MOST_NODES


@njit
def lower_bound(
    first: int, nodes: int, times: Array, parents: Array, links: int, free: Array, ready: Array, begin: Array
) -> float:
    """No placement of the nodes from ``first`` on ends before this; the arrays are those of ``simulator.place``.

    Lines of ``ready`` from ``first`` on, and ``begin`` [N, 2], are scratch.
    """
    bound = 0.0
    for i in range(first, nodes):
        at_device, sent, at_edge = 0.0, 0.0, 0.0
        for j in range(i):
            if (parents[i] >> j) & 1:
                at_device = max(at_device, ready[j, AT_DEVICE])
                sent = max(sent, ready[j, SENT])
                at_edge = max(at_edge, ready[j, AT_EDGE])
        begin[i, 0], begin[i, 1] = max(free[DEVICE], at_device), max(free[UPLINK], sent)
        local, up = begin[i, 0] + times[i, DEVICE], begin[i, 1] + times[i, UPLINK]
        edge = max(free[EDGE], up, at_edge) + times[i, EDGE]
        back = (max(free[DOWNLINK], edge) if links == 0 else edge) + times[i, DOWNLINK]
        ready[i, AT_DEVICE], ready[i, SENT], ready[i, AT_EDGE] = min(local, back), min(local, up), 0.0
        bound = max(bound, ready[i, AT_DEVICE])
    # The nodes from i on, cut in pieces: x seconds of device time stay here, the others cross the uplink.
    device, uplink, tail, load, rate = np.inf, np.inf, np.inf, 0.0, times[0, UPLINK] / times[0, DEVICE]
    for i in range(nodes - 1, first - 1, -1):
        if links == 2 and parents[i] == 0:
            continue  # it may cost neither
        device, uplink = min(device, begin[i, 0]), min(uplink, begin[i, 1])
        tail = min(tail, times[i, EDGE] + times[i, DOWNLINK])
        load += times[i, DEVICE]
        after = uplink + tail
        x = (after - device + load * rate) / (1.0 + rate)
        if x <= 0.0:
            bound = max(bound, after + load * rate)
        elif x >= load:
            bound = max(bound, device + load)
        else:
            bound = max(bound, device + x)
    return bound


@njit
def improve(plan: Array, nodes: int, times: Array, parents: Array, links: int, makespan: float) -> float:
    """Change single placements as long as that shortens the makespan; the plan is updated, its makespan returned."""
    changed = True
    while changed:
        changed = False
        for i in range(nodes):
            plan[i] = 1 - plan[i]
            found = plan_makespan(plan, nodes, times, parents, links)
            if found < makespan:
                makespan, changed = found, True
            else:
                plan[i] = 1 - plan[i]
    return makespan


@njit
def search(nodes: int, times: Array, parents: Array, links: int, best: Array, limit: float) -> tuple[float, int]:
    """The best makespan of one graph, and branches looked at; writes the plan to ``best`` [N].

    With a ``limit`` only plans below it are searched for: the result is the first one found, or the limit.
    """
    size = times.shape[0]
    frees, ready, begin = np.zeros((size + 1, 4)), np.zeros((size, 3)), np.zeros((size, 2))
    spans, plan, tried = np.zeros(size + 1), np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    trial, bounds = np.zeros(4), np.zeros(2)
    order = np.zeros((size, 2), dtype=np.int64)
    scores = np.zeros((size, 2))
    decide = limit < np.inf
    if decide:
        value = limit
    else:
        value = _earliest_finish(nodes, times, parents, links, plan)
        value = improve(plan, nodes, times, parents, links, value)
        copy(plan, best)
    count, depth, fresh = 0, 0, True
    if nodes == 0:
        return 0.0, count
    while depth >= 0:
        if fresh:
            for offload in range(2):
                copy(frees[depth], trial)
                done = place(depth, offload, times, parents, links, trial, ready)
                span = max(spans[depth], done)
                bounds[offload] = max(span, lower_bound(depth + 1, nodes, times, parents, links, trial, ready, begin))
                count += 1
            first = 1 if bounds[1] < bounds[0] else 0
            order[depth, 0], order[depth, 1] = first, 1 - first
            scores[depth, 0], scores[depth, 1] = bounds[first], bounds[1 - first]
            tried[depth] = 0
        k = tried[depth]
        if k == 2 or scores[depth, k] >= value:
            depth -= 1
            fresh = False
            continue
        tried[depth] = k + 1
        plan[depth] = order[depth, k]
        copy(frees[depth], frees[depth + 1])
        done = place(depth, plan[depth], times, parents, links, frees[depth + 1], ready)
        spans[depth + 1] = max(spans[depth], done)
        if depth + 1 == nodes:
            if spans[nodes] < value:
                value = spans[nodes]
                copy(plan, best)
                if decide:
                    return value, count
            fresh = False
            continue
        depth += 1
        fresh = True
    return value, count


@njit
def _optima(nodes: Array, times: Array, parents: Array, links: int) -> tuple[Array, Array, Array]:
    plans = np.zeros(parents.shape, dtype=np.int64)
    values, counts = np.zeros(len(nodes)), np.zeros(len(nodes), dtype=np.int64)
    for b in range(len(nodes)):
        values[b], counts[b] = search(nodes[b], times[b], parents[b], links, plans[b], np.inf)
    return plans, values, counts


def optima(nodes: Array, times: Array, parents: Array, links: Links) -> tuple[Array, Array]:
    """The best plans [B, N] of B graphs and their makespans [B], exact.

    Raises:
        ValueError: a graph has more than ``MOST_NODES`` nodes.
    """
    if (nodes > MOST_NODES).any():
        raise ValueError(f"offload_dag: the optimum is computed up to {MOST_NODES} nodes, not for {int(nodes.max())}")
    plans, values, _ = _optima(nodes, times, parents, LINKS.index(links))
    return plans, values


@njit
def _within(makespans: Array, factor: float, nodes: Array, times: Array, parents: Array, links: int) -> Array:
    result = np.zeros(len(nodes), dtype=np.bool_)
    size = times.shape[1]
    for b in range(len(nodes)):
        if nodes[b] == 0:
            continue
        limit, plan = makespans[b] / factor, np.zeros(size, dtype=np.int64)
        free, ready, begin = np.zeros(4), np.zeros((size, 3)), np.zeros((size, 2))
        if lower_bound(0, nodes[b], times[b], parents[b], links, free, ready, begin) >= limit:
            result[b] = True
            continue
        found = _earliest_finish(nodes[b], times[b], parents[b], links, plan)
        if found >= limit:
            found = improve(plan, nodes[b], times[b], parents[b], links, found)
        if found >= limit:
            found, _ = search(nodes[b], times[b], parents[b], links, plan, limit)
        result[b] = found >= limit
    return result


def within(makespans: Array, factor: float, nodes: Array, times: Array, parents: Array, links: Links) -> Array:
    """[B] whether makespans are at most ``factor`` times the optimum; faster than computing the optimum."""
    found: Array = _within(makespans, factor, nodes, times, parents, LINKS.index(links))
    return found
