"""The queues that placed nodes wait in, compiled: the device, its uplink, the edge server and its downlink.

Nodes are placed one after the other in the order of the graph, and every queue serves them in that order (Wang et al.
2021, arXiv 2008.02033, section 3; code linkpark/metarl-offloading, ``get_scheduling_cost_step_by_step``). A node on the
device waits until the results of its predecessors are there. An offloaded node is sent once its predecessors are done
on the device or sent themselves, runs on the server once it has arrived and predecessors there are done, and its
result comes back over the downlink.
"""

from __future__ import annotations

from typing import Any, Literal

import numba
import numpy as np

from kshot.types import Array

Links = Literal["queued", "uplink_queued", "published"]
"""What waits for a link. "queued": uplink and downlink carry one node at a time. "uplink_queued": only the uplink does.
"published": as in the authors' code, where the downlink carries everything at once, and offloaded nodes without
predecessors do not occupy the uplink (the branch that places them does not write ``ws_avaliable_time``)."""
LINKS: tuple[Links, ...] = ("queued", "uplink_queued", "published")

DEVICE, UPLINK, EDGE, DOWNLINK = range(4)
"""Columns of the times of a node, and of when each queue is free."""
AT_DEVICE, SENT, AT_EDGE = range(3)
"""Columns of when a node's result is on the device; when its data are on the device or sent; when it is done on the
server (0 if it runs on the device)."""


def njit(function: Any) -> Any:
    """Compile a function, and keep the machine code in a file where there is a place for it."""
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither the folder of the source nor the user's cache can be written
        return numba.njit(nogil=True)(function)


@njit
def place(node: int, offload: int, times: Array, parents: Array, links: int, free: Array, ready: Array) -> float:
    """Place the next node of one graph, and return when its result is on the device.

    Args:
        node: its number.
        offload: 1 for the edge server, 0 for the device.
        times: [N, 4] seconds of every node in every queue.
        parents: [N] bits of the predecessors of each node.
        links: index into ``LINKS``.
        free: [4] when each queue is free; updated.
        ready: [N, 3] of the nodes placed so far; the node's own line is written.
    """
    at_device, sent, at_edge = 0.0, 0.0, 0.0
    for j in range(node):
        if (parents[node] >> j) & 1:
            at_device = max(at_device, ready[j, AT_DEVICE])
            sent = max(sent, ready[j, SENT])
            at_edge = max(at_edge, ready[j, AT_EDGE])
    done: float
    if offload == 0:
        done = max(free[DEVICE], at_device) + times[node, DEVICE]
        free[DEVICE] = done
        ready[node, AT_DEVICE], ready[node, SENT], ready[node, AT_EDGE] = done, done, 0.0
        return done
    up = max(free[UPLINK], sent) + times[node, UPLINK]
    if links != 2 or parents[node] != 0:
        free[UPLINK] = up
    edge = max(free[EDGE], up, at_edge) + times[node, EDGE]
    free[EDGE] = edge
    start = max(free[DOWNLINK], edge) if links == 0 else edge
    done = start + times[node, DOWNLINK]
    free[DOWNLINK] = done
    ready[node, AT_DEVICE], ready[node, SENT], ready[node, AT_EDGE] = done, up, edge
    return done


@njit
def place_many(
    step: int, actions: Array, nodes: Array, times: Array, parents: Array, links: int, free: Array, ready: Array,
    makespan: Array, growth: Array,
) -> None:  # fmt: skip
    """Place node ``step`` of B graphs, where they have one: all arrays of ``place`` with a leading axis B.

    ``makespan`` [B] is updated, ``growth`` [B] is set to how much it grew.
    """
    for b in range(actions.shape[0]):
        growth[b] = 0.0
        if step < nodes[b]:
            done = place(step, actions[b], times[b], parents[b], links, free[b], ready[b])
            if done > makespan[b]:
                growth[b] = done - makespan[b]
                makespan[b] = done


@njit
def copy(source: Array, target: Array) -> None:
    """Copy a short vector; this compiles faster than an assignment of slices."""
    for i in range(source.shape[0]):
        target[i] = source[i]


@njit
def plan_makespan(plan: Array, nodes: int, times: Array, parents: Array, links: int) -> float:
    """Makespan of a plan [N] (1: offload) for one graph."""
    free, ready, makespan = np.zeros(4), np.zeros((times.shape[0], 3)), 0.0
    for node in range(nodes):
        makespan = max(makespan, place(node, plan[node], times, parents, links, free, ready))
    return makespan


@njit
def _makespans(plans: Array, nodes: Array, times: Array, parents: Array, links: int) -> Array:
    result = np.zeros(plans.shape[0])
    for b in range(plans.shape[0]):
        result[b] = plan_makespan(plans[b], nodes[b], times[b], parents[b], links)
    return result


def makespans(plans: Array, nodes: Array, times: Array, parents: Array, links: Links) -> Array:
    """[B] makespans, in seconds, of plans [B, N] (1: offload) for B graphs with ``times`` [B, N, 4]."""
    found: Array = _makespans(np.ascontiguousarray(plans, dtype=np.int64), nodes, times, parents, LINKS.index(links))
    return found


@njit
def _earliest_finish(nodes: int, times: Array, parents: Array, links: int, plan: Array) -> float:
    """Place every node where its result is there first, the server on ties; writes the plan, returns the makespan."""
    free, ready, makespan = np.zeros(4), np.zeros((times.shape[0], 3)), 0.0
    trial, done = np.zeros(4), np.zeros(2)
    for node in range(nodes):
        for offload in range(2):
            copy(free, trial)
            done[offload] = place(node, offload, times, parents, links, trial, ready)
        plan[node] = 0 if done[0] < done[1] else 1
        makespan = max(makespan, place(node, plan[node], times, parents, links, free, ready))
    return makespan


@njit
def _earliest_finishes(nodes: Array, times: Array, parents: Array, links: int) -> Array:
    plans = np.zeros(parents.shape, dtype=np.int64)
    for b in range(len(nodes)):
        _earliest_finish(nodes[b], times[b], parents[b], links, plans[b])
    return plans


def earliest_finish(nodes: Array, times: Array, parents: Array, links: Links) -> Array:
    """[B, N] plans that place node after node where its result is there first: what the authors' code calls greedy.

    That code's ``greedy_solution`` always counts uplink waits of nodes without predecessors; so do we, and never waits
    for the downlink under "published".
    """
    found: Array = _earliest_finishes(
        nodes, times, parents, LINKS.index("uplink_queued" if links == "published" else links)
    )
    return found
