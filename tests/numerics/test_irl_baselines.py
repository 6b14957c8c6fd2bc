"""Rewards fitted from scratch, pre-trained or conditioned: gradients, batches and symmetries that are known exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kshot import records, seeding
from kshot.algorithms import contextual_irl, mandril, maxent_irl, pretrained_irl
from kshot.algorithms.contextual_irl import conditioned, encoded
from kshot.algorithms.mandril import adapted
from kshot.envs import bandit, gridnavi, spritegrid, tabular_mdp
from kshot.learning import fine_tuning, irl, networks, planner
from kshot.learning.descent import flushed_denormals
from kshot.learning.fine_tuning import FineTuning, Recipe, descent
from kshot.learning.irl import Demonstrations, reward_map
from kshot.learning.networks import Params
from kshot.running.evaluate import evaluate
from kshot.running.rollout import rollout
from kshot.running.train import Collector, train
from kshot.suites.run import Evaluation, RunConfig
from kshot.types import Episodes, TaskFamily
from tests.planning import visitations

FAMILIES = {
    "states": gridnavi.build(gridnavi.Settings(horizon=5)),
    "pairs": bandit.build(bandit.Settings(arms=4)),
    "stochastic": tabular_mdp.build(tabular_mdp.Settings(states=4, actions=3, horizon=4, observe_dynamics=True)),
}
LEARNERS = (maxent_irl, pretrained_irl, contextual_irl)


def episodes_of(family: TaskFamily, n: int, tasks: int = 3, name: str = "shown") -> Episodes:
    keys = seeding.split(seeding.key(name), np.arange(tasks))
    episodes: Episodes = family.demonstrations(family.tasks("train", tasks, 0), n, keys)  # type: ignore[attr-defined]  # these families have them
    return episodes


def shown(family: TaskFamily, n: int, tasks: int = 3, name: str = "shown") -> Demonstrations:
    return Demonstrations.of(irl.world_of(family.spec), episodes_of(family, n, tasks, name), "cpu")


def network(family: TaskFamily, hidden: tuple[int, ...]) -> Params:
    return irl.init_network((irl.features_of(family.spec).shape[-1], *hidden, 1), 3, "cpu")


def expected_visits(reward: torch.Tensor, seen: Demonstrations) -> torch.Tensor:
    """Of the soft-optimal policy from the starts of the demonstrations, by pushing mass forward."""
    values = planner.soft_values(reward, seen.model, seen.actions.shape[2])
    policy = (planner.action_values(reward, seen.model, values) - values[:-1].unsqueeze(-1)).exp()
    start = torch.zeros(reward.shape[:2], dtype=torch.float64)
    first = seen.states[..., 0]
    start.scatter_add_(1, first, torch.full(first.shape, 1 / first.shape[1], dtype=torch.float64))
    states, pairs = visitations(policy, seen.model, start)
    return states if reward.ndim == 2 else pairs


@pytest.mark.parametrize("kind", ["states", "pairs"])
@pytest.mark.parametrize("hidden", [(), (16,)])
def test_at_convergence_expected_visits_are_those_of_the_demonstrations(kind: str, hidden: tuple[int, ...]) -> None:
    family = FAMILIES[kind]
    seen = shown(family, 40)
    params = networks.stack(network(family, hidden), 3)
    ((_, fitted),) = descent(params, seen.loss_of, "adam", 0.03, (1500,))
    reward = reward_map(fitted, seen.features)
    assert (expected_visits(reward, seen) - seen.visits(reward)).abs().max() < 0.02
    before = reward_map(params, seen.features)
    assert (expected_visits(before, seen) - seen.visits(before)).abs().max() > 0.3


def test_a_fitted_reward_behaves_like_the_expert_that_was_shown() -> None:
    family = gridnavi.build(gridnavi.Settings())
    learner = maxent_irl.build(family.spec, maxent_irl.Settings(hidden=()), 0, "cpu")
    learner._tuning.recipes[10] = Recipe("adam", 0.03, 300)
    tasks, keys = family.tasks("train", 4, 0), seeding.split(seeding.key("play"), np.arange(4))
    evidence = family.demonstrations(tasks, 20, keys)
    played = rollout(family, learner.adapt(learner.policy(), evidence), tasks, keys, 1, mode="mean")
    best = np.array([family.reference(task)["oracle"] for task in tasks])
    assert played.success_last.all() and (played.returns[:, 0] > best - 0.5).all()


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("optimiser", ["gd", "adam"])
def test_tasks_in_one_batch_are_tuned_as_each_alone(kind: str, optimiser: fine_tuning.Optimiser) -> None:
    family = FAMILIES[kind]
    params = network(family, (6,))
    together = dict(descent(networks.stack(params, 3), shown(family, 3).loss_of, optimiser, 0.1, (2, 7)))
    assert list(together) == [2, 7]
    for task in range(3):
        own = episodes_of(family, 3).select(np.array([task]))
        loss = Demonstrations.of(irl.world_of(family.spec), own, "cpu").loss_of
        for steps, alone in descent(networks.stack(params, 1), loss, optimiser, 0.1, (2, 7)):
            for name, x in alone.items():
                torch.testing.assert_close(together[steps][name][task], x[0], atol=1e-12, rtol=0)
    assert all((x == network(family, (6,))[name]).all() for name, x in params.items())


def test_gradient_descent_is_mandrils_inner_step() -> None:
    family = FAMILIES["states"]
    seen, params = shown(family, 3), network(family, (6,))
    ((_, found),) = descent(networks.stack(params, 3), seen.loss_of, "gd", 0.3, (4,))
    theta = {name: x.clone().requires_grad_() for name, x in networks.stack(params, 3).items()}
    rates = dict.fromkeys(params, torch.tensor(0.3, dtype=torch.float64))
    phi, _ = adapted(theta, rates, seen, 4, "first")
    for name, x in phi.items():
        torch.testing.assert_close(found[name], x.detach(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", ["states", "pairs"])
def test_pre_training_descends_on_the_pooled_gradient_and_on_mandrils_without_inner_rate(kind: str) -> None:
    family = FAMILIES[kind]
    learner = pretrained_irl.build(family.spec, pretrained_irl.Settings(hidden=(6,), meta_batch=3), 0, "cpu")
    before = {name: x.detach().clone().requires_grad_() for name, x in learner._params.items()}
    tasks = family.tasks("train", 3, 1)
    learner.meta_step(tasks, Collector(family, 0, 0), 0.0)
    taken = {name: x.grad for name, x in learner._params.items()}

    testing = learner._loss_on(irl.held_out_demonstrations(Collector(family, 0, 0), tasks, 2, 2)).__self__  # type: ignore[attr-defined]
    rates = dict.fromkeys(before, torch.tensor(0.0, dtype=torch.float64))
    phi, _ = adapted(networks.stack(before, 3), rates, testing, 2, "full")
    meta = torch.autograd.grad(testing.loss_of(phi).mean(), list(before.values()), retain_graph=True)
    reward = reward_map(before, testing.features)
    excess = (expected_visits(reward, testing) - testing.visits(reward)).detach()
    pooled = torch.autograd.grad(
        reward, list(before.values()), grad_outputs=excess / len(reward) / (testing.actions.shape[2] + 1)
    )
    for name, x, y in zip(before, meta, pooled, strict=True):
        gradient = taken[name]
        assert gradient is not None
        torch.testing.assert_close(gradient, x, atol=1e-12, rtol=0)
        torch.testing.assert_close(gradient, y, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_context_does_not_depend_on_the_order_of_demonstrations(kind: str) -> None:
    family = FAMILIES[kind]
    learner = contextual_irl.build(family.spec, contextual_irl.Settings(), 0, "cpu")
    evidence = episodes_of(family, 4)
    turned = evidence.select(slice(None), np.array([2, 0, 3, 1]))
    twice = Episodes.joined([evidence, evidence])
    contexts = [
        encoded(learner._params["encoder"], learner._demonstrations(x)).detach() for x in (evidence, turned, twice)
    ]
    torch.testing.assert_close(contexts[0], contexts[1], atol=1e-13, rtol=0)
    torch.testing.assert_close(contexts[0], contexts[2], atol=1e-13, rtol=0)
    other = encoded(learner._params["encoder"], learner._demonstrations(episodes_of(family, 4, name="other"))).detach()
    assert not torch.allclose(contexts[0], other)


def test_a_context_is_an_input_beside_the_features() -> None:
    params = irl.init_network((5 + 4, 7, 6, 1), 1, "cpu")
    rng = networks.torch_generator(2)
    features = torch.rand(3, 2, 8, 5, generator=rng, dtype=torch.float64)
    context = torch.rand(3, 4, generator=rng, dtype=torch.float64)
    beside = torch.cat([features, context[:, None, None].expand(3, 2, 8, 4)], dim=-1)
    torch.testing.assert_close(reward_map(conditioned(params, context), features), reward_map(params, beside))


def test_a_contextual_reward_learns_to_read_demonstrations() -> None:
    family = gridnavi.build(gridnavi.Settings())
    settings = contextual_irl.Settings(hidden=(32,), encoder_hidden=(32,), lr=1e-2)
    learner = contextual_irl.build(family.spec, settings, 0, "cpu")
    losses = {"loss": [0.0], "loss_prior": [0.0]}
    for i in range(150):
        tasks = family.tasks("train", learner.tasks_per_step, seeding.key(i))
        metrics = learner.meta_step(tasks, Collector(family, 0, i), i / 150)
        if metrics["loss"] != metrics["loss_prior"]:
            losses = {name: [*values, metrics[name]] for name, values in losses.items()}
    assert np.mean(losses["loss"][-20:]) < 0.7 < 1.0 < np.mean(losses["loss_prior"][-20:])


def test_a_diverging_rate_is_never_chosen() -> None:
    family = spritegrid.build(spritegrid.Settings(side=4, copies=2, horizon=6))
    settings = maxent_irl.Settings(
        gd_rates=(1e9, 0.1, 1e200), adam_rates=(1e300,), test_steps=(1, 5), calibration_tasks=3, shots=(1, 2)
    )
    learner = maxent_irl.build(family.spec, settings, 0, "cpu")
    tasks = family.tasks("validation", 3, 0)
    metrics = learner.calibrate(tasks, Collector(family, 0, 0))
    for shots in (1, 2):
        assert metrics[f"test_rate_{shots}"] == 0.1 and metrics[f"test_adam_{shots}"] == 0.0
        curve = {steps: metrics[f"validation_loss_{shots}_{steps}"] for steps in (1, 5)}
        assert min(curve, key=curve.__getitem__) == metrics[f"test_steps_{shots}"]
    hopeless = replace(settings, gd_rates=(1e200,), adam_rates=())
    learner = maxent_irl.build(family.spec, hopeless, 0, "cpu")
    with pytest.raises(FloatingPointError, match="no choice of rate and steps for 1 demonstrations gives a finite"):
        learner.calibrate(tasks, Collector(family, 0, 0))


def test_a_calibration_in_which_everything_diverges_ends_the_run_as_diverged(tmp_path: Path) -> None:
    settings = {"gd_rates": [1e200], "adam_rates": [], "calibration_tasks": 3, "test_steps": [1, 2]}
    evaluation = Evaluation(tasks=2, k=(0, 1))
    run = RunConfig("trial", "gridnavi", "gridnavi", "hopeless", "maxent_irl", 0, 10, evaluation, {}, settings)
    train(run, tmp_path)
    record = records.read_json(run.directory(tmp_path) / "run.json")
    assert record["status"] == "diverged"
    assert record["reason"].startswith("calibration: no choice of rate and steps for 1 demonstrations")
    evaluate(run, tmp_path)
    curve = records.read_table(run.directory(tmp_path) / "curve.parquet", records.CURVE_SCHEMA)
    assert list(curve["status"]) == ["diverged"]


def test_other_numbers_of_demonstrations_use_the_nearest_smaller_choice() -> None:
    chosen = {2: "two", 5: "five"}
    assert [irl.chosen_for(chosen, shots) for shots in (1, 2, 4, 5, 100)] == ["two", "two", "two", "five", "five"]


def test_what_was_chosen_survives_saving() -> None:
    settings = maxent_irl.Settings()
    tuning = FineTuning(settings)
    assert set(tuning.recipes.values()) == {Recipe("gd", settings.gd_rates[0], 1)}
    tuning.recipes[5] = Recipe("adam", 0.01, 20)
    other = FineTuning(settings)
    other.load_state_dict(tuning.state_dict())
    assert other.recipes == tuning.recipes


def test_mandrils_calibration_reports_every_number_of_steps() -> None:
    family = gridnavi.build(gridnavi.Settings(horizon=5))
    settings = mandril.Settings(hidden=(8,), shots=(1, 2), test_steps=(1, 3), calibration_tasks=4)
    learner = mandril.build(family.spec, settings, 0, "cpu")
    metrics = learner.calibrate(family.tasks("validation", 4, 0), Collector(family, 0, 0))
    for shots in (1, 2):
        curve = {steps: metrics[f"validation_loss_{shots}_{steps}"] for steps in (1, 3)}
        assert metrics[f"test_steps_{shots}"] == min(curve, key=curve.__getitem__)
        for steps in (1, 3):
            assert -0.5 <= metrics[f"validation_return_{shots}_{steps}"] <= 4.0
            assert 0.0 <= metrics[f"validation_success_{shots}_{steps}"] <= 1.0
    greedy = replace(learner.policy(), greedy=True)
    obs = np.zeros((1, 2, 2))
    noise = np.array([[np.eye(5)[2] * 1e3, np.eye(5)[1] * 1e3]])
    assert (greedy.act(obs, greedy.start(1, 2), noise)[0] == greedy.act(obs, greedy.start(1, 2), None)[0]).all()
    sampled = replace(greedy, greedy=False)
    np.testing.assert_array_equal(sampled.act(obs, sampled.start(1, 2), noise)[0], [[2, 1]])


@pytest.mark.parametrize("module", LEARNERS, ids=lambda module: module.__name__)
def test_a_family_without_known_dynamics_is_refused(module: object) -> None:
    family = tabular_mdp.build(tabular_mdp.Settings())
    with pytest.raises(ValueError, match="family 'tabular_mdp' with these settings has no known dynamics"):
        module.build(family.spec, module.Settings(), 0, "cpu")  # type: ignore[attr-defined]  # a module


@pytest.mark.parametrize(
    ("module", "settings", "message"),
    [
        (maxent_irl, {"gd_rates": (), "adam_rates": ()}, "gd_rates and adam_rates are both empty"),
        (maxent_irl, {"gd_rates": (0.1, -1.0)}, r"gd_rates must be positive, got \(0.1, -1.0\)"),
        (maxent_irl, {"test_steps": (0, 1)}, r"test_steps must be numbers from 1 on, got \(0, 1\)"),
        (pretrained_irl, {"shots": ()}, r"shots must be numbers from 1 on, got \(\)"),
        (pretrained_irl, {"lr": 0.0}, "lr must be positive, got 0.0"),
        (contextual_irl, {"hidden": ()}, "hidden must have a layer"),
        (contextual_irl, {"shots": (-1,)}, r"shots must be numbers from 0 on, got \(-1,\)"),
    ],
)
def test_wrong_settings_get_one_clear_line(module: object, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        module.Settings(**settings)  # type: ignore[attr-defined]  # a module


def test_numbers_too_small_for_full_precision_are_zero_only_where_that_was_asked_for() -> None:
    tiny = torch.tensor(1e-39)
    assert tiny * 1 != 0
    with flushed_denormals():
        if torch.set_flush_denormal(True):  # False where the processor cannot
            assert tiny * 1 == 0
    with pytest.raises(RuntimeError, match="within"), flushed_denormals():
        raise RuntimeError("within")
    assert tiny * 1 != 0
