"""Offloading: the queues against an event-driven simulation, the optimum against all plans, graphs against daggen's."""

from __future__ import annotations

import heapq
import itertools
from typing import Any

import numpy as np
import pytest

from kshot import seeding
from kshot.envs import offload_dag
from kshot.envs.offload_dag import graphs as drawn
from kshot.envs.offload_dag.graphs import Graphs, from_edges, generate
from kshot.envs.offload_dag.optimum import optima, within
from kshot.envs.offload_dag.simulator import LINKS, Links, earliest_finish, makespans
from kshot.running.rollout import rollout
from kshot.types import Array, Task
from kshot.types.graphs import GraphLayout

FAMILY = offload_dag.build(offload_dag.Settings())


def some(n: int, nodes: tuple[int, int] = (1, 14), seed: int = 0, most: int = 25) -> Graphs:
    """Graphs of all kinds."""
    rng = seeding.generator("test graphs", seed)
    sizes = rng.integers(nodes[0], nodes[1] + 1, n)
    keys = seeding.split(seed, np.arange(n))
    return generate(keys, sizes, rng.uniform(0.2, 1, n), rng.uniform(0.1, 1, n), (0.2, 0.5, 2.0), 0.5, most)


def resources(n: int, seed: int = 0) -> tuple[Array, Array]:
    """Bandwidths and processor ratios at which each of the four queues is the narrow one now and then."""
    rng = seeding.generator("test resources", seed)
    return np.exp(rng.uniform(np.log(0.5), np.log(60.0), n)), np.exp(rng.uniform(np.log(0.5), np.log(30.0), n))


def event_driven(plan: list[int], times: Array, parents: list[list[int]], links: Links) -> float:
    """The makespan by a slow simulation: time goes from event to event, and each queue asks whether its next can start.

    A queue serves its jobs in the order of the nodes. What may start at once without being waited for (jobs on a
    downlink that is no queue, published entry nodes on the uplink) does not occupy it.
    """
    nodes = range(len(plan))
    jobs = {
        "device": [i for i in nodes if not plan[i]],
        "uplink": [i for i in nodes if plan[i]],
        "edge": [i for i in nodes if plan[i]],
        "downlink": [i for i in nodes if plan[i]],
    }
    column = {"device": 0, "uplink": 1, "edge": 2, "downlink": 3}
    done: set[tuple[str, int]] = set()  # jobs that are over
    running: dict[str, int] = dict.fromkeys(jobs, 0)

    def here(j: int) -> bool:
        return ("downlink" if plan[j] else "device", j) in done

    def ready(queue: str, i: int) -> bool:
        if queue == "device":
            return all(here(j) for j in parents[i])
        if queue == "uplink":
            return all((("uplink" if plan[j] else "device"), j) in done for j in parents[i])
        if queue == "edge":
            return ("uplink", i) in done and all(not plan[j] or ("edge", j) in done for j in parents[i])
        return ("edge", i) in done

    def occupies(queue: str, i: int) -> bool:
        if queue == "downlink":
            return links == "queued"
        return not (queue == "uplink" and links == "published" and not parents[i])

    events: list[tuple[float, str, int]] = []
    clock = 0.0
    while True:
        moved = True
        while moved:
            moved = False
            for queue, waiting in jobs.items():
                unordered = queue == "downlink" and links != "queued"
                for i in list(waiting) if unordered else waiting[:1]:
                    if not running[queue] and ready(queue, i):
                        waiting.remove(i)
                        running[queue] += occupies(queue, i)
                        heapq.heappush(events, (clock + times[i, column[queue]], queue, i))
                        moved = True
        if not events:
            assert not any(jobs.values()), "something waits for ever"
            return clock
        clock, queue, i = heapq.heappop(events)
        done.add((queue, i))
        running[queue] -= occupies(queue, i)


@pytest.mark.parametrize("links", LINKS)
def test_queues_are_those_of_an_event_driven_simulation(links: Links) -> None:
    n = 1000
    graphs = some(n, (1, 20), seed=LINKS.index(links))
    times = graphs.times(*resources(n))
    plans = (seeding.uniform(seeding.split(7, np.arange(n))[:, None], np.arange(25)) < 0.5).astype(np.int64)
    fast = makespans(plans, graphs.nodes, times, graphs.parents, links)
    for b in range(n):
        size = int(graphs.nodes[b])
        parents = [[j for j in range(i) if graphs.parents[b, i] >> j & 1] for i in range(size)]
        slow = event_driven(plans[b, :size].tolist(), times[b], parents, links)
        assert fast[b] == pytest.approx(slow, rel=1e-12), (b, links)


@pytest.mark.parametrize("links", LINKS)
def test_the_optimum_is_the_best_of_all_plans(links: Links) -> None:
    n, size = 60, 9
    graphs = some(n, (1, size), seed=11, most=size)
    times = graphs.times(*resources(n, 1))
    every = np.array(list(itertools.product((0, 1), repeat=size)))
    plans, values = optima(graphs.nodes, times, graphs.parents, links)
    np.testing.assert_allclose(makespans(plans, graphs.nodes, times, graphs.parents, links), values, rtol=1e-12)
    for b in range(n):
        repeated = [np.repeat(x[b : b + 1], len(every), axis=0) for x in (graphs.nodes, times, graphs.parents)]
        assert makespans(every, *repeated, links).min() == pytest.approx(values[b], rel=1e-12)


def test_whether_a_makespan_is_near_the_optimum_needs_no_optimum() -> None:
    graphs = some(200, (5, 12), seed=3)
    times = graphs.times(*resources(200, 2))
    _, values = optima(graphs.nodes, times, graphs.parents, "queued")
    for above in (1.0, 1.0199, 1.0201, 1.3):
        assert (within(values * above, 1.02, graphs.nodes, times, graphs.parents, "queued") == (above < 1.02)).all()


def test_graphs_are_drawn_with_the_random_numbers_of_kshot() -> None:
    keys = seeding.split(5, np.arange(50))
    for counter in (0, 7, 1000):
        expected = seeding.uniform(keys, counter)
        assert [drawn._uniform(key, counter) for key in keys] == expected.tolist()


def test_graphs_have_the_shape_they_are_asked_for() -> None:
    n, size = 400, 20
    keys, nodes, density = seeding.split(1, np.arange(n)), np.full(n, size), np.full(n, 0.6)
    by_fat = {}
    for fat in (0.0, 0.4, 0.8, 1.0):
        graphs = generate(keys, nodes, np.full(n, fat), density, (0.4,), 0.5, size)
        parents, children, depth = np.moveaxis(graphs.structure(), -1, 0)
        by_fat[fat] = depth.max(axis=1).mean()
        assert (graphs.sizes > 0).all() and np.allclose(graphs.outputs, 0.4 * graphs.sizes)
        assert graphs.outputs.min() >= 5.0 and graphs.outputs.max() <= 50.0
        assert ((parents > 0) == (depth > 0)).all()  # every node but those of the first level has predecessors
        assert (parents.sum(axis=1) == children.sum(axis=1)).all()
    assert by_fat[0.0] == size - 1  # a chain
    assert by_fat[0.4] > by_fat[0.8] > by_fat[1.0] >= 0
    regular = generate(keys, nodes, np.full(n, 0.5), density, (0.4,), 1.0, size)  # levels of int(20^.5) = 4
    assert (regular.structure()[..., 2].max(axis=1) == 4).all()
    dense, sparse = (
        generate(keys, nodes, np.full(n, 0.7), np.full(n, d), (0.4,), 0.5, size).structure()[..., 0].sum()
        for d in (1, 0.1)
    )
    assert dense > 1.5 * sparse


# Means over the 100 graphs of sets 4 and 12 of linkpark/metarl-offloading (env/mec_offloaing_envs/data), in
# seconds at 7 Mbit/s and a ratio of 10, computed from those files with these queues: all on the device, all on the
# server, random, the authors' greedy, the optimum; "published", then "uplink_queued".
AUTHORS = {
    (0.5, 0.7): {
        "published": (1432.0, 1480.8, 1100.8, 833.7, 762.6),
        "uplink_queued": (1432.0, 1654.5, None, 837.0, 795.3),
    },
    (0.8, 0.6): {"published": (1478.1, 1052.0, 890.7, 802.5, 555.5)},
}


@pytest.mark.parametrize(("cell", "links"), [(cell, links) for cell, found in AUTHORS.items() for links in found])
def test_makespans_are_those_of_the_authors_graphs(cell: tuple[float, float], links: Links) -> None:
    """Ours are drawn anew: means agree within four standard errors of their difference."""
    n = 300
    fat, density = (np.full(n, value) for value in cell)
    keys = seeding.split(seeding.key("like the authors'"), np.arange(n))
    graphs = generate(keys, np.full(n, 20), fat, density, (0.3, 0.4, 0.5), 0.5, 20)
    times = graphs.times(np.full(n, 7.0), np.full(n, 10.0))
    rest = (graphs.nodes, times, graphs.parents, links)
    shape = graphs.parents.shape
    coins = (seeding.uniform(keys[:, None], np.arange(1000, 1020)) < 0.5).astype(np.int64)
    plans = (np.zeros(shape), np.ones(shape), coins, earliest_finish(*rest), optima(*rest)[0])
    for plan, expected in zip(plans, AUTHORS[cell][links], strict=True):
        found = makespans(plan, *rest)
        error = found.std() * (1 / n + 1 / 100) ** 0.5
        assert expected is None or found.mean() == pytest.approx(expected, abs=4 * error)


def tasks_like(**changes: float) -> Task:
    params = {"fat": 0.5, "density": 0.7, "nodes": 20, "bandwidth": 7.0, "processor_ratio": 10.0} | changes
    return Task("offload_dag", "test", 0, tuple(params.items()), group="one")


def played(name: str, n: int = 20, family: Any = FAMILY, **changes: float) -> Any:
    task = tasks_like(**changes)
    return rollout(family, family.references[name]([task]), [task], seeding.split(3, np.arange(1)), n)


def test_returns_are_makespans_in_units_of_the_mean_time_on_the_device() -> None:
    np.testing.assert_allclose(played("all_local").returns, -20.0, rtol=1e-5)
    oracle = played("oracle")
    layout = FAMILY.spec.layout
    obs = oracle.obs[0, :, 0].astype(np.float64)
    features, parents = layout.features_of(obs), layout.parents_of(obs)
    assert (layout.step_of(oracle.obs[0]) == np.arange(20)).all()
    times = np.ascontiguousarray(features[..., :4])  # nominal resources are those of this task
    np.testing.assert_allclose(features[..., 0].mean(axis=1), 1.0, rtol=1e-6)
    _, best = optima(np.full(20, 20), times, parents, "queued")
    np.testing.assert_allclose(-oracle.returns[0], best, rtol=1e-5)
    assert oracle.success_last.all() and not played("all_local").success_any.any()


def test_observations_do_not_say_what_is_hidden() -> None:
    seen = [played("random", bandwidth=bandwidth, processor_ratio=9.0 - bandwidth).obs for bandwidth in (2.5, 7.0)]
    np.testing.assert_array_equal(*seen)
    shown = offload_dag.build(offload_dag.Settings(hidden="processor"))
    seen = [played("random", family=shown, bandwidth=bandwidth).obs for bandwidth in (2.5, 7.0)]
    changed = np.flatnonzero((seen[0] != seen[1]).any(axis=(0, 1, 2)))
    layout = shown.spec.layout
    current, everywhere = np.arange(layout.size)[layout.current], np.arange(layout.size)[layout.all_features]
    up_and_down = [*current[[1, 3]], *everywhere.reshape(20, -1)[:, [1, 3]].ravel()]
    assert changed.tolist() == sorted(up_and_down)


def test_decisions_are_observed_and_nothing_else_changes() -> None:
    episodes = played("random")
    layout, obs, action = FAMILY.spec.layout, episodes.obs[0], episodes.action[0]
    for t in range(20):
        expected = np.zeros((20, 20))
        expected[:, :t] = 2 * action[:, :t] - 1
        np.testing.assert_array_equal(obs[:, t, layout.decisions], expected)
        np.testing.assert_array_equal(obs[:, t, layout.current], layout.features_of(obs[:, t])[:, t])
        for part in (layout.parents, layout.all_features):
            np.testing.assert_array_equal(obs[:, t, part], obs[:, 0, part])
    assert episodes.terminated[0, :, -1].all() and not episodes.terminated[0, :, :-1].any()


def test_other_tasks_out_of_distribution_are_padded_and_end_early() -> None:
    family = offload_dag.build(offload_dag.Settings(test_tasks="ood"))
    tasks = family.tasks("test", 36, 0)
    assert {task["nodes"] for task in tasks} == {10, 15, 25} and family.spec.horizon == 25
    assert all(14.5 <= task["bandwidth"] <= 24.5 and 2 <= task["processor_ratio"] <= 4 for task in tasks)
    assert all(task["nodes"] == 20 for task in family.tasks("train", 36, 0))
    keys = seeding.split(3, np.arange(36))
    episodes = rollout(family, family.references["oracle"](tasks), tasks, keys, 1)
    assert (episodes.lengths[:, 0] == [task["nodes"] for task in tasks]).all() and episodes.success_last.all()
    task, size = tasks[0], int(tasks[0]["nodes"])
    small = offload_dag.build(offload_dag.Settings(nodes=size))
    alone = rollout(small, small.references["oracle"]([task]), [task], keys[:1], 1)
    np.testing.assert_array_equal(alone.reward[0, 0], episodes.reward[0, 0, :size])


def test_cells_of_test_tasks_are_new() -> None:
    cells = {split: set(FAMILY.settings.cells(split)) for split in ("train", "validation", "test")}
    assert len(cells["train"]) == 19 and len(cells["test"]) == 6 and not cells["train"] & cells["test"]
    for split, found in cells.items():
        assert {(task["fat"], task["density"]) for task in FAMILY.tasks(split, 40, 2)} == found


def test_a_mask_of_parents_survives_single_precision() -> None:
    layout = GraphLayout(25, 1)
    parents = np.array([(1 << i) - 1 for i in range(25)])
    obs = np.zeros(layout.size, dtype=np.float32)
    obs[layout.parents] = layout.as_numbers(parents)
    assert layout.parents_of(obs).tolist() == parents.tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nodes": 0}, "offload_dag: nodes must be at least 1 and at most 25, got 0"),
        ({"nodes": 26}, "offload_dag: nodes must be at least 1 and at most 25, got 26"),
        ({"densities": (0.0, 0.7)}, "offload_dag: densities must be above 0 and at most 1, got 0"),
        ({"fats": (-0.1,)}, "offload_dag: fats must be at least 0 and at most 1, got -0.1"),
        ({"bandwidth": (0.0, 14.5)}, "offload_dag: bandwidth must be above 0, got 0"),
        ({"processor_ratio": (5.0, 4.0)}, r"processor_ratio must go from the least to the most, got \[5, 4\]"),
        ({"links": "shared"}, "links must be one of queued, uplink_queued, published, got 'shared'"),
        ({"test_cells": ((0.5, 0.55),)}, r"test_cells has \[0.5, 0.55\], which is no pair of fats and densities"),
        ({"fats": (0.5,), "densities": (0.7,), "test_cells": ((0.5, 0.7),)}, "must leave cells for training"),
    ],
)
def test_settings_out_of_range_are_refused_in_a_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        offload_dag.Settings(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bandwidth": -1.0}, "task test-00000-.*: offload_dag: bandwidth must be above 0, got -1"),
        ({"density": 0.0}, "task test-00000-.*: offload_dag: density must be above 0 and at most 1, got 0"),
        ({"nodes": 21}, "task test-00000-.*: offload_dag: nodes must be at least 1 and at most 20, got 21"),
    ],
)
def test_tasks_out_of_range_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FAMILY.vector_env([tasks_like(**changes)], 1)


def test_graphs_handed_in_are_checked_and_ordered() -> None:
    sizes, outputs = np.array([10.0, 20.0, 30.0]), np.array([5.0, 5.0, 5.0])
    graph = from_edges(sizes, outputs, [(2, 0), (0, 1)])
    assert graph.sizes[0].tolist() == [30.0, 10.0, 20.0] and graph.parents[0].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="the graph has a cycle, 0 -> 1 -> 2 -> 0; it must be acyclic"):
        from_edges(sizes, outputs, [(0, 1), (1, 2), (2, 0)])
    with pytest.raises(ValueError, match="edge 1 -> 3 of a graph with nodes 0 to 2"):
        from_edges(sizes, outputs, [(1, 3)])
    with pytest.raises(ValueError, match="size must be above 0, got -1"):
        from_edges(-np.ones(2), np.ones(2), [])
    # The same graph with its nodes numbered differently is the same graph.
    big = some(1, (12, 12), seed=8)
    names = seeding.generator("names").permutation(12)
    edges = [(names[j], names[i]) for i in range(12) for j in range(i) if big.parents[0, i] >> j & 1]
    renamed_sizes, renamed_outputs = np.zeros(12), np.zeros(12)
    renamed_sizes[names], renamed_outputs[names] = big.sizes[0, :12], big.outputs[0, :12]
    again = from_edges(renamed_sizes, renamed_outputs, edges)
    np.testing.assert_array_equal(again.parents[0], big.parents[0, :12])
    np.testing.assert_array_equal(again.sizes[0], big.sizes[0, :12])
