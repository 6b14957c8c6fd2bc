"""Policies on graphs: symmetry, reach and size of encoders, the decoder step by step and at once, gradients, fits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kshot import registry, seeding
from kshot.envs import bandit, nav2d, offload_dag
from kshot.learning import graph_gradient
from kshot.learning.graph_encoders import ENCODERS, Design, Encoder, Graph, encode, initial, matched
from kshot.learning.graph_policy import GraphPolicy, init_policy, per_task
from kshot.learning.networks import torch_generator
from kshot.learning.trials import read, to_trials
from kshot.running.rollout import rollout
from kshot.types import Episodes

ROWS: tuple[tuple[Encoder, int], ...] = (
    ("mlp", 1),
    ("seq2seq", 1),
    *(("graph2seq", k) for k in (1, 2, 3)),
    *(("gat", k) for k in (1, 2, 3)),
)
BY_ROW = pytest.mark.parametrize(("encoder", "hops"), ROWS)
LEARNERS = ("graph_ppo", "graph_maml", "graph_fomaml", "graph_reptile", "graph_rl2")
SMALL: dict[str, Any] = {"width": 8, "decoder": 8, "meta_batch": 3, "episodes": 4, "minibatches": 1, "epochs": 1}


@dataclass(frozen=True)
class Network:
    graph_encoder: Encoder = "graph2seq"
    hops: int = 2
    width: int = 16
    decoder: int = 16


def a_policy(family: Any, encoder: Encoder = "graph2seq", hops: int = 2, width: int = 16, seed: int = 0) -> GraphPolicy:
    return init_policy(family.spec, Network(encoder, hops, width, width), seed, "cpu", "this test")


def played(family: Any, policy: GraphPolicy, n_tasks: int, copies: int, split: Any = "train") -> Episodes:
    tasks = family.tasks(split, n_tasks, 0)
    return rollout(family, policy, tasks, seeding.split(1, np.arange(n_tasks)), copies)


def doubled(policy: GraphPolicy) -> GraphPolicy:
    return replace(policy, params={name: value.double() for name, value in policy.params.items()})


def some_graph(policy: GraphPolicy, family: Any) -> Graph:
    return policy.graph(policy.normalise(played(family, policy, 2, 3).obs[:, :, 0]))


@BY_ROW
def test_names_of_nodes_do_not_matter_to_encoders_of_graphs(encoder: Encoder, hops: int) -> None:
    family = offload_dag.build(offload_dag.Settings(nodes=12))
    policy = doubled(a_policy(family, encoder, hops))
    graph = some_graph(policy, family)
    names = torch.as_tensor(seeding.generator("names").permutation(12))
    renamed = Graph(graph.features[:, :, names], graph.before[:, :, names][..., names], graph.exists[:, :, names])
    nodes, whole = encode(policy.design, policy.params, graph)
    other_nodes, other_whole = encode(policy.design, policy.params, renamed)
    same = torch.allclose(nodes[:, :, names], other_nodes, atol=1e-12) and torch.allclose(
        whole, other_whole, atol=1e-12
    )
    assert same == (encoder != "seq2seq")  # which reads them in their order


@pytest.mark.parametrize("encoder", ["graph2seq", "gat"])
@pytest.mark.parametrize("hops", [1, 2, 3])
def test_what_a_node_sees_reaches_as_far_as_its_hops(encoder: Encoder, hops: int) -> None:
    """On a chain the vector of node i depends on the features of node j if and only if |i - j| <= k."""
    n = 8
    design = Design(encoder, hops, 3, 16, 16, 16)
    params = {name: value.double() for name, value in initial(design.shapes(), torch_generator(3)).items()}
    features = torch.rand(1, 1, n, 3, generator=torch_generator(1), dtype=torch.float64, requires_grad=True)
    before = torch.diag(torch.ones(n - 1, dtype=torch.float64), -1)[None, None]
    exists = torch.ones(1, 1, n, dtype=torch.bool)
    nodes, _ = encode(design, params, Graph(features, before, exists))
    for i in range(n):
        (gradient,) = torch.autograd.grad(nodes[0, 0, i].sum(), features, retain_graph=True)
        reached = gradient[0, 0].abs().sum(dim=-1) > 0
        assert reached.tolist() == [abs(i - j) <= hops for j in range(n)]


@pytest.mark.parametrize("width", [16, 32, 64, 128])
def test_encoders_have_about_equally_many_parameters(width: int) -> None:
    sizes = {row: matched(*row, 7, width).size for row in ROWS}
    assert max(sizes.values()) < 1.1 * min(sizes.values()), sizes
    for (encoder, hops), size in sizes.items():
        design = matched(encoder, hops, 7, width)
        params = initial(design.shapes(), torch_generator(0))
        assert sum(value.numel() for value in params.values()) == size


@BY_ROW
def test_the_decoder_step_by_step_is_the_decoder_at_once(encoder: Encoder, hops: int) -> None:
    """Also on graphs of other sizes side by side, and with parameters of every task's own."""
    family = offload_dag.build(offload_dag.Settings(nodes=6, test_tasks="ood", ood_nodes=(3, 8)))
    policy = a_policy(family, encoder, hops)
    for stacked in (False, True):
        if stacked:
            noise = {n: torch.randn(12, *v.shape, generator=torch_generator(5)) for n, v in policy.params.items()}
            policy = replace(policy, params={n: v + 0.1 * noise[n] for n, v in policy.params.items()})
        episodes = played(family, policy, 12, 3, "test")
        assert set(np.unique(episodes.lengths)) == {3, 8}
        logits, _ = policy.evaluate(policy.normalise(episodes.obs))
        log_prob = torch.log_softmax(logits, dim=-1).gather(-1, torch.tensor(episodes.action).unsqueeze(-1)).squeeze(-1)
        np.testing.assert_allclose(log_prob.numpy()[episodes.mask], episodes.log_prob[episodes.mask], atol=1e-5)


def test_a_padded_graph_is_decided_like_the_graph() -> None:
    small = offload_dag.build(offload_dag.Settings(nodes=6))
    large = offload_dag.build(offload_dag.Settings(nodes=6, test_tasks="ood", ood_nodes=(9,)))
    for encoder in ENCODERS:
        policy = a_policy(small, encoder)
        if encoder == "seq2seq":
            continue  # ids of neighbours are shares of the largest graph, as in MRLCO
        padded = replace(policy, spec=large.spec)
        for one, other in zip(played(small, policy, 4, 3).log_prob, played(large, padded, 4, 3).log_prob, strict=True):
            np.testing.assert_allclose(one, other[:, :6], atol=1e-6)


def outer_loss(learner: Any, theta: dict[str, Tensor], inner: Any, samples: Any) -> Tensor:
    params = learner.adapted(theta, [inner], len(samples.weight))
    return graph_gradient.task_losses(learner.policy(), params, samples, 0.2, 0.5).mean()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_gradients_of_second_order_are_those_of_finite_differences(encoder: Encoder) -> None:
    family = offload_dag.build(offload_dag.Settings(nodes=5))
    module = registry.load("algorithms", "graph_maml")
    settings = module.Settings(
        **SMALL | {"graph_encoder": encoder, "inner_lr": 0.5, "inner_epochs": 2, "inner_value_weight": 0.3}
    )
    learner = module.build(family.spec, settings, 0, "cpu")
    # Biases of 0 leave units without an input where relu has no derivative.
    shifts = {n: 0.1 * torch.randn(v.shape, generator=torch_generator(2)) for n, v in learner.policy().params.items()}
    shifted = {name: value + shifts[name] for name, value in learner.policy().params.items()}
    policy = learner._policy = doubled(replace(learner.policy(), params=shifted))
    episodes = [played(family, p, 3, 4) for p in (policy, a_policy(family, encoder, seed=1))]
    inner, samples = (graph_gradient.make_samples(policy, e, e.reward, settings) for e in episodes)
    theta = {name: value.clone().requires_grad_() for name, value in policy.params.items()}
    gradients = torch.autograd.grad(outer_loss(learner, theta, inner, samples), list(theta.values()))
    direction = {n: torch.randn(v.shape, generator=torch_generator(7)).double() for n, v in theta.items()}
    slope = sum(float((g * direction[n]).sum()) for n, g in zip(theta, gradients, strict=True))

    def moved(by: float) -> float:
        there = {name: (v + by * direction[name]).detach().requires_grad_() for name, v in theta.items()}
        return float(outer_loss(learner, there, inner, samples).detach())

    step = 1e-6
    values = moved(step), moved(-step)
    assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-7)
    learner.settings = replace(settings, order="first")
    first = torch.autograd.grad(outer_loss(learner, theta, inner, samples), list(theta.values()))
    params = learner.adapted(theta, [inner], 3)
    adapted = {name: value.detach().requires_grad_() for name, value in params.items()}
    loss = graph_gradient.task_losses(policy, adapted, samples, 0.2, 0.5).mean()
    expected = torch.autograd.grad(loss, list(adapted.values()))
    for mine, there in zip(first, expected, strict=True):  # the gradient at the adapted parameters, summed over tasks
        torch.testing.assert_close(mine, there.sum(dim=0), atol=1e-10, rtol=1e-7)
    assert any(not torch.allclose(a, b, rtol=1e-3) for a, b in zip(first, gradients, strict=True))


def test_reptile_of_one_step_takes_the_mean_gradient() -> None:
    family = offload_dag.build(offload_dag.Settings(nodes=5))
    module = registry.load("algorithms", "graph_reptile")
    settings = module.Settings(
        **SMALL | {"inner_steps": 1, "inner_lr": 0.01, "max_gradient_norm": 1e9, "inner_value_weight": 0.25}
    )
    learner = module.build(family.spec, settings, 0, "cpu")
    policy, episodes = learner.policy(), played(family, learner.policy(), 3, 4)
    learner.meta_step(family.tasks("train", 3, 0), lambda *_: episodes, 0.0)
    samples = graph_gradient.make_samples(policy, episodes, episodes.training_reward, settings)
    theta = {name: value.clone().requires_grad_() for name, value in policy.params.items()}
    loss = graph_gradient.task_losses(policy, per_task(theta, 3), samples, 0.2, 0.25).mean()
    for name, gradient in zip(theta, torch.autograd.grad(loss, list(theta.values())), strict=True):
        torch.testing.assert_close(learner._theta[name].grad, gradient, atol=2e-5, rtol=1e-3)


@BY_ROW
def test_a_trial_is_read_in_pieces_as_in_one_go(encoder: Encoder, hops: int) -> None:
    """Pieces begin anywhere in an episode; a piece of one step is how a policy acts."""
    family = offload_dag.build(offload_dag.Settings(nodes=5, episodes_per_trial=3))
    module = registry.load("algorithms", "graph_rl2")
    settings = module.Settings(**{"graph_encoder": encoder, "hops": hops, "width": 8, "decoder": 8})
    learner = module.build(family.spec, settings, 0, "cpu")
    policy = learner.policy()
    tasks, keys = family.tasks("train", 3, 0), seeding.split(1, np.arange(3))
    episodes = rollout(family, policy, tasks, keys, 2, 3)
    trials = to_trials(policy, episodes, 3, policy.start(3, 2))
    readings = [read(policy.network, trials, chunk, burn_in) for chunk, burn_in in ((15, 0), (4, 0), (4, 2), (1, 0))]
    for reading in readings:
        np.testing.assert_allclose(reading.log_prob, episodes.log_prob.reshape(6, 15), atol=1e-5)
        np.testing.assert_allclose(reading.value, readings[0].value, atol=1e-5)
        np.testing.assert_allclose(reading.value_after, readings[0].value_after, atol=1e-5)
    # What was seen in the first episode matters in the second.
    shifted = replace(trials, inputs=trials.inputs.clone())
    shifted.inputs[:, 1:5, -2] += 1.0
    assert (read(policy.network, shifted, 15, 0).log_prob - readings[0].log_prob).abs()[:, 5:].max() > 1e-6


def test_threads_change_no_bit() -> None:
    family = offload_dag.build(offload_dag.Settings(nodes=8))
    module, found = registry.load("algorithms", "graph_maml"), []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            learner = module.build(family.spec, module.Settings(**SMALL), 0, "cpu")
            tasks = family.tasks("train", 3, 0)

            def collect(policy: Any, tasks: Any, copies: int, episodes: int = 1) -> Episodes:
                return rollout(family, policy, tasks, seeding.split(1, np.arange(3)), copies)

            learner.meta_step(tasks, collect, 0.0)
            found.append([value.numpy().tobytes() for value in learner.policy().params.values()])
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


@pytest.mark.parametrize("encoder", ["graph2seq", "gat"])
def test_a_fit_to_the_best_plans_plays_nearly_as_well(encoder: Encoder) -> None:
    """With the resources shown: graphs of ten nodes, within 2 % of the optimum by mean actions."""
    family = offload_dag.build(offload_dag.Settings(nodes=10, hidden="none"))
    tasks = family.tasks("train", 16, 0)
    keys = seeding.split(1, np.arange(16))
    best = rollout(family, family.references["oracle"](tasks), tasks, keys, 2)
    policy = a_policy(family, encoder, 2, 32)
    theta = {name: value.clone().requires_grad_() for name, value in policy.params.items()}
    adam = torch.optim.Adam(list(theta.values()), lr=5e-3)
    obs, action = policy.normalise(best.obs), torch.tensor(best.action)
    for step in range(250):
        adam.param_groups[0]["lr"] = 5e-3 if step < 200 else 1e-3
        logits, _ = policy.evaluate(obs, theta)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 2), action.flatten())
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
    fitted = policy.with_params({name: value.detach() for name, value in theta.items()})
    again = rollout(family, fitted, tasks, keys, 2, mode="mean")
    np.testing.assert_array_equal(again.obs[:, :, 0], best.obs[:, :, 0])  # the same graphs
    assert again.returns.mean() >= 1.02 * best.returns.mean()  # both negative


@pytest.mark.parametrize("name", LEARNERS)
def test_what_has_no_graph_is_refused_in_a_line(name: str) -> None:
    module = registry.load("algorithms", name)
    with pytest.raises(ValueError, match=f"{name} decides on nodes of graphs, and observations of 'bandit' hold none"):
        module.build(bandit.build(bandit.Settings()).spec, module.Settings(), 0, "cpu")
    with pytest.raises(ValueError, match="observations of 'nav2d' hold none"):
        module.build(nav2d.build(nav2d.Settings()).spec, module.Settings(), 0, "cpu")
    with pytest.raises(ValueError, match="hops must be at least 1 and at most 25, got 0"):
        module.Settings(hops=0)
    with pytest.raises(ValueError, match="graph_encoder must be one of mlp, seq2seq, graph2seq, gat, got 'gcn'"):
        module.Settings(graph_encoder="gcn")
