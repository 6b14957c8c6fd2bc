"""Offloading: which parts of a program run on a device and which on an edge server (Wang et al. 2021, MRLCO).

A program is a directed acyclic graph of nodes that compute, send and wait for one another. In an episode a policy
places the nodes of one new graph, one after the other, on the device or on the server, and the reward is minus how much
the makespan grows (arXiv 2008.02033; code linkpark/metarl-offloading). A task is a kind of graph (its width "fat" and
its "density", as in daggen) and the resources: bandwidth of the links, and how much faster the server is. Unlike there,
resources differ from task to task and are hidden, since a policy that sees all times has nothing to adapt to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from kshot import seeding
from kshot.envs._scripted import constant_action, uniform_random
from kshot.envs._streams import Streams
from kshot.envs.offload_dag import plans
from kshot.envs.offload_dag.graphs import (
    NOMINAL_BANDWIDTH,
    NOMINAL_RATIO,
    Graphs,
    check_range,
    generate,
)
from kshot.envs.offload_dag.optimum import within
from kshot.envs.offload_dag.simulator import LINKS, Links, place_many
from kshot.types import ActionKind, Array, Evidence, ReferencePolicy, Split, Task
from kshot.types.graphs import MOST_NODES, GraphLayout, GraphSpec

ACTIONS: ActionKind = "discrete"
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts"})
OBSERVES = "graph"
"""What kind of observations learners get who ask for one (``OBSERVES`` of ``graph_ppo`` and others)."""
SUCCESS_FACTOR = 1.02
"""A makespan of at most this times the optimum is a success (kshot's definition)."""
FEATURES = 7
"""Of a node: its times on device, uplink, server and downlink, in units of the graph's mean time on the device and at
nominal resources where these are hidden; numbers of predecessors and successors; depth."""
_SCALE = np.array([1.0, 2.0, 0.25, 1.0, 4.0, 4.0, 8.0])
_TEST_CELLS = ((0.5, 0.7), (0.6, 0.8), (0.8, 0.6), (0.5, 0.5), (0.4, 0.7), (0.7, 0.4))
"""(fat, density) of the authors' sets 4, 8, 12, 16, 20 and 24 (``meta_evaluator.py``); they train on the other 19."""
_CASES = {"bandwidth": 6, "processor": 2}  # values of a hidden resource that "task_blind" averages over


@dataclass(frozen=True)
class Settings:
    """Graphs, resources and what is hidden of them.

    Attributes:
        nodes: n, nodes of a graph.
        fats: exponents of the graphs' width: levels have about n^fat nodes (the authors' five).
        densities: share of the level before that a node depends on at most (the authors' five).
        test_cells: pairs (fat, density) of the grid of both that only test tasks have (the authors' six).
        ccrs: communication-to-computation ratios; each graph has one of them (the authors' three).
        regularity: of the widths of levels (daggen's; the authors' .5).
        bandwidth: Mbit/s of both links, least and most (the range of the authors' sweep).
        processor_ratio: how much faster than the device the server is, least and most (kshot's choice).
        hidden: the resources that observations do not show; times then are those at nominal resources.
        links: what waits for a link: "queued" (uplink and downlink carry one node at a time), "uplink_queued", or
            "published", as in the authors' code, where in addition nodes without predecessors do not occupy the uplink.
        test_tasks: "held_out" makes test tasks of the test cells and the resources above, "ood" of the test cells with
            other sizes and resources, as follows.
        ood_nodes: numbers of nodes that those tasks have in turn.
        ood_bandwidth: their ``bandwidth``.
        ood_processor_ratio: their ``processor_ratio``.
        episodes_per_trial: length of a trial, in episodes, for learners with memory (kshot's choice).

    Raises:
        ValueError: a value out of its range, or cells that are not in the grid, all of it or none.
    """

    nodes: int = 20
    fats: tuple[float, ...] = (0.4, 0.5, 0.6, 0.7, 0.8)
    densities: tuple[float, ...] = (0.4, 0.5, 0.6, 0.7, 0.8)
    test_cells: tuple[tuple[float, float], ...] = _TEST_CELLS
    ccrs: tuple[float, ...] = (0.3, 0.4, 0.5)
    regularity: float = 0.5
    bandwidth: tuple[float, float] = (2.5, 14.5)
    processor_ratio: tuple[float, float] = (4.0, 20.0)
    hidden: Literal["both", "bandwidth", "processor", "none"] = "both"
    links: Links = "queued"
    test_tasks: Literal["held_out", "ood"] = "held_out"
    ood_nodes: tuple[int, ...] = (10, 15, 25)
    ood_bandwidth: tuple[float, float] = (14.5, 24.5)
    ood_processor_ratio: tuple[float, float] = (2.0, 4.0)
    episodes_per_trial: int = 10

    def __post_init__(self) -> None:
        check_range("nodes", np.array([self.nodes]), 1, MOST_NODES)
        check_range("ood_nodes", np.array(self.ood_nodes), 1, MOST_NODES)
        check_range("fats", np.array(self.fats), 0, 1)
        check_range("densities", np.array(self.densities), None, 1)
        check_range("ccrs", np.array(self.ccrs), None, np.inf)
        check_range("regularity", np.array([self.regularity]), 0, 1)
        check_range("episodes_per_trial", np.array([self.episodes_per_trial]), 1, np.inf)
        for name in ("bandwidth", "processor_ratio", "ood_bandwidth", "ood_processor_ratio"):
            low, high = getattr(self, name)
            check_range(name, np.array([low, high]), None, np.inf)
            if low > high:
                raise ValueError(f"offload_dag: {name} must go from the least to the most, got [{low:g}, {high:g}]")
        for name, value, known in (
            ("hidden", self.hidden, ("both", "bandwidth", "processor", "none")),
            ("links", self.links, LINKS),
            ("test_tasks", self.test_tasks, ("held_out", "ood")),
        ):
            if value not in known:
                raise ValueError(f"offload_dag: {name} must be one of {', '.join(known)}, got {value!r}")
        unknown = [cell for cell in self.cells("test") if cell not in self._grid()]
        if unknown:
            raise ValueError(f"offload_dag: test_cells has {list(unknown[0])}, which is no pair of fats and densities")
        if not self.test_cells or not self.cells("train"):
            raise ValueError("offload_dag: test_cells must leave cells for training and for testing")

    def _grid(self) -> list[tuple[float, float]]:
        return [(fat, density) for fat in self.fats for density in self.densities]

    def cells(self, split: Split) -> list[tuple[float, float]]:
        """The pairs (fat, density) of a split; validation tasks have those of training."""
        held_out = [(float(fat), float(density)) for fat, density in self.test_cells]
        return held_out if split == "test" else [cell for cell in self._grid() if cell not in held_out]

    @property
    def most_nodes(self) -> int:
        """N, to which observations are padded."""
        return max(self.nodes, *self.ood_nodes) if self.test_tasks == "ood" else self.nodes


def build(settings: Settings) -> OffloadFamily:
    """The family for ``settings``."""
    return OffloadFamily(settings)


def headline(settings: Settings) -> Literal["return"]:
    """Minus the makespan, in units of the graph's mean time on the device."""
    return "return"


class OffloadFamily:
    """``kshot.types.TaskFamily`` of offloading."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        layout = GraphLayout(settings.most_nodes, FEATURES)
        scale = np.ones(layout.size)
        scale[layout.current], scale[layout.all_features] = _SCALE, np.tile(_SCALE, layout.nodes)
        self.spec = GraphSpec(
            name="offload_dag",
            observation_dim=layout.size,
            action_space=spaces.Discrete(2),
            horizon=layout.nodes,
            episodes_per_trial=settings.episodes_per_trial,
            max_sub_envs=20_000,
            observation_scale=scale,
            layout=layout,
        )

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies. "task_blind" sees the graph, "greedy", "heft" and "oracle" the task's resources as well.

        "task_blind" has the plan with the smallest mean makespan over the resources of training (``plans.robust``),
        "greedy" offloads what by itself would be done sooner, "heft" places node after node where its result is there
        first (the authors' "greedy"), and "oracle" has the shortest makespan of all plans.
        """
        links = self.settings.links

        def knowing(plan_of: plans.PlanOf) -> ReferencePolicy:
            return lambda tasks: plans.Planned(self.spec.layout, plan_of, self._factors(tasks))

        return {
            "random": lambda tasks: uniform_random(self.spec.action_space),
            "task_blind": lambda tasks: self.blind(plans.robust(self.blind_cases(), links), len(tasks)),
            "all_local": lambda tasks: constant_action(np.zeros(len(tasks))),
            "all_remote": lambda tasks: constant_action(np.ones(len(tasks))),
            "greedy": knowing(plans.alone),
            "heft": knowing(plans.heft(links)),
            "oracle": knowing(plans.optimal(links)),
        }

    def blind(self, plan_of: plans.PlanOf, n_tasks: int) -> plans.Planned:
        """A policy that plans with the times that observations show."""
        return plans.Planned(self.spec.layout, plan_of, np.ones((n_tasks, 4)))

    def blind_cases(self) -> Array:
        """[R, 4] by what shown times are off, over an even grid of the resources that are hidden in training."""
        grids = []
        for name, (low, high), shown in (
            ("bandwidth", self.settings.bandwidth, NOMINAL_BANDWIDTH),
            ("processor", self.settings.processor_ratio, NOMINAL_RATIO),
        ):
            middles = low + (high - low) * (np.arange(_CASES[name]) + 0.5) / _CASES[name]
            grids.append(middles if self._hides(name) else np.array([shown]))
        bandwidth, ratio = (grid.ravel() for grid in np.meshgrid(*grids, indexing="ij"))
        return plans.resource_factors(bandwidth, ratio, np.array(NOMINAL_BANDWIDTH), np.array(NOMINAL_RATIO))

    def _hides(self, resource: str) -> bool:
        return self.settings.hidden in ("both", resource)

    def _factors(self, tasks: Sequence[Task]) -> Array:
        """[T, 4] by which shown times become the true ones."""
        bandwidth, ratio = _values(tasks, "bandwidth"), _values(tasks, "processor_ratio")
        return plans.resource_factors(bandwidth, ratio, *self.shown(bandwidth, ratio))

    def shown(self, bandwidth: Array, ratio: Array) -> tuple[Array, Array]:
        """The resources that observations show: nominal ones for those that are hidden."""
        return (
            np.full(bandwidth.shape, NOMINAL_BANDWIDTH) if self._hides("bandwidth") else bandwidth,
            np.full(ratio.shape, NOMINAL_RATIO) if self._hides("processor") else ratio,
        )

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` tasks of a split, its cells in turn, with resources uniform in their ranges.

        Each split and seed has a stream of its own, so that splits share no task.
        """
        s, base = self.settings, seeding.key("offload_dag", split, seed)
        shifted = split == "test" and s.test_tasks == "ood"
        cells, sizes = s.cells(split), s.ood_nodes if shifted else (s.nodes,)
        ranges = (s.ood_bandwidth, s.ood_processor_ratio) if shifted else (s.bandwidth, s.processor_ratio)
        first = int(seeding.uniform(np.array(base, dtype=np.uint64), 0) * len(cells))
        drawn = seeding.uniform(seeding.split(base, np.arange(n))[:, None], np.arange(2))
        found = []
        for i, uniform in enumerate(drawn.tolist()):
            fat, density = cells[(first + i) % len(cells)]
            bandwidth, ratio = (low + (high - low) * u for u, (low, high) in zip(uniform, ranges, strict=True))
            params = (
                ("fat", fat),
                ("density", density),
                ("nodes", sizes[i // len(cells) % len(sizes)]),
                ("bandwidth", bandwidth),
                ("processor_ratio", ratio),
            )
            found.append(Task("offload_dag", split, i, params, group=f"fat-{fat:g}-density-{density:g}"))
        return found

    def vector_env(self, tasks: Sequence[Task], copies: int) -> OffloadVectorEnv:
        """Raises ValueError for a task whose parameters are out of range."""
        for task in tasks:
            try:
                check_range("nodes", np.array([task["nodes"]]), 1, self.spec.layout.nodes)
                check_range("fat", np.array([task["fat"]]), 0, 1)
                check_range("density", np.array([task["density"]]), None, 1)
                for name in ("bandwidth", "processor_ratio"):
                    check_range(name, np.array([task[name]]), None, np.inf)
            except ValueError as error:
                raise ValueError(f"task {task.id}: {error}") from None
        return OffloadVectorEnv(self, tasks, copies)

    def reference(self, task: Task) -> dict[str, float]:
        """Empty: returns depend on the graph, which every episode draws anew."""
        return {}


class OffloadVectorEnv(VectorEnv[Array, Array, Array]):
    """N sub-environments side by side; every episode has another graph of its task's kind.

    Each sub-environment has a stream of random numbers, keyed by its seed. Key i of it decides the graph of episode i.
    """

    def __init__(self, family: OffloadFamily, tasks: Sequence[Task], copies: int) -> None:
        self.num_envs = len(tasks) * copies
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        spec = family.spec
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (spec.observation_dim,), np.float64)
        self.single_action_space = spaces.Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._family, self._layout = family, spec.layout
        self._links = family.settings.links
        names = ("fat", "density", "bandwidth", "processor_ratio")
        self._fat, self._density, self._bandwidth, self._ratio = (
            np.repeat(_values(tasks, name), copies) for name in names
        )
        self._nodes = np.repeat([task["nodes"] for task in tasks], copies).astype(np.int64)
        self._streams = Streams("offload_dag", self.num_envs, "the graphs")
        self._rows = np.arange(self.num_envs)

    def reset(
        self, *, seed: int | Sequence[int] | Array | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin the next episode; see ``Streams.reset`` for ``seed`` and what is refused."""
        self._streams.reset(seed)
        s = self._family.settings
        self.begin(
            generate(
                self._streams.keys(self._streams.episode),
                self._nodes,
                self._fat,
                self._density,
                s.ccrs,
                s.regularity,
                self._layout.nodes,
            )
        )
        return self._observation(), {}

    def begin(self, graphs: Graphs) -> None:
        """Begin an episode on given graphs, one for each sub-environment."""
        n, most = self.num_envs, self._layout.nodes
        self._graphs, self._times = graphs, graphs.times(self._bandwidth, self._ratio)
        self._unit = graphs.sizes.sum(axis=1) / graphs.nodes
        shown = graphs.times(*self._family.shown(self._bandwidth, self._ratio)) / self._unit[:, None, None]
        self._features = np.concatenate([shown, graphs.structure()], axis=-1)
        exists = np.arange(most) < graphs.nodes[:, None]
        self._features *= exists[..., None]
        self._obs = np.zeros((n, self._layout.size))
        self._obs[:, self._layout.parents] = self._layout.as_numbers(graphs.parents)
        self._obs[:, self._layout.all_features] = self._features.reshape(n, -1)
        self._free, self._ready = np.zeros((n, 4)), np.zeros((n, most, 3))
        self._makespan, self._growth = np.zeros(n), np.zeros(n)
        self._step = 0

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Place the next node of every graph; ``actions`` is [N] int, 1 offloads."""
        layout, graphs, step = self._layout, self._graphs, self._step
        offload = np.clip(actions, 0, 1).astype(np.int64)
        place_many(
            step, offload, graphs.nodes, self._times, graphs.parents, LINKS.index(self._links), self._free, self._ready,
            self._makespan, self._growth,
        )  # fmt: skip
        if step < layout.nodes:  # a step after the end of all episodes is allowed and changes nothing
            self._obs[:, layout.decisions.start + step] = np.where(step < graphs.nodes, 2.0 * offload - 1.0, 0.0)
        self._step += 1
        terminated = self._step >= graphs.nodes
        success = np.zeros(self.num_envs, dtype=bool)
        ends = np.flatnonzero(self._step == graphs.nodes)
        if len(ends):
            success[ends] = within(
                self._makespan[ends], SUCCESS_FACTOR, graphs.nodes[ends], self._times[ends], graphs.parents[ends],
                self._links,
            )  # fmt: skip
        reward = -self._growth / self._unit
        return self._observation(), reward, terminated, np.zeros(self.num_envs, dtype=bool), {"success": success}

    def _observation(self) -> Array:
        layout, obs = self._layout, self._obs
        obs[:, 0] = min(self._step, layout.nodes) / layout.nodes
        obs[:, layout.current] = self._features[:, self._step] if self._step < layout.nodes else 0.0
        return obs.copy()


def _values(tasks: Sequence[Task], name: str) -> Array:
    """[T] a parameter of the tasks."""
    return np.array([task[name] for task in tasks], dtype=np.float64)
