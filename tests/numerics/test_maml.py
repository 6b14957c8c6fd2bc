"""Meta-gradients of the MAML family against finite differences, and what separates its members."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from kshot.algorithms import anil, fomaml, maml, reptile
from kshot.learning import distributions, networks, policy_gradient, trust_region
from kshot.learning.distributions import kl, log_prob
from kshot.learning.networks import flatten, unflatten
from kshot.learning.policy_gradient import Samples
from kshot.types import Episodes, FamilySpec

T, N, D, A = 3, 40, 3, 2


def make_spec(discrete: bool) -> FamilySpec:
    space = spaces.Discrete(A) if discrete else spaces.Box(-1, 1, (A,))
    return FamilySpec("probe", D, space, horizon=5, episodes_per_trial=1)


def make_learner(discrete: bool, **settings: object) -> maml.MAML:
    """A MAML learner in float64."""
    learner = maml.build(
        make_spec(discrete), maml.Settings(hidden=(6,), inner_lr=0.3, **settings), seed=0, device="cpu"
    )
    params = {name: value.double() for name, value in learner.policy().params.items()}
    learner._policy = replace(learner._policy, params=params)
    if learner._adam is not None:
        learner._theta = {name: value.clone().requires_grad_() for name, value in params.items()}
        learner._adam = torch.optim.Adam(list(learner._theta.values()), lr=learner.settings.outer_lr)
    return learner


def make_samples(learner: maml.MAML, discrete: bool, n: int) -> list[Samples]:
    """Random samples; log-probabilities are those of the policies that MAML would have sampled them with."""
    rng = torch.Generator().manual_seed(5)
    params = networks.stack(learner.policy().params, T)
    samples = []
    for _ in range(n):
        obs = torch.randn(T, N, D, generator=rng, dtype=torch.float64)
        distribution = learner.policy().distribution(obs, params)
        if discrete:
            action = torch.randint(A, (T, N), generator=rng)
        else:
            action = distribution[0] + torch.randn(T, N, A, generator=rng, dtype=torch.float64)
        advantage = torch.randn(T, N, generator=rng, dtype=torch.float64)
        weight = torch.rand(T, N, generator=rng, dtype=torch.float64)
        weight = weight / weight.sum(dim=1, keepdim=True)
        batch = Samples(obs, action.detach(), log_prob(distribution, action).detach(), advantage, weight)
        samples.append(batch)
        params = learner._stepped(params, batch)
    return samples


def objective(learner: maml.MAML, theta: networks.Params, samples: list[Samples]) -> torch.Tensor:
    """The outer surrogate as a function of theta; the last ones are those collected after adaptation."""
    outputs = learner.adapted_distribution(theta, [maml.InnerStep(batch) for batch in samples[:-1]], samples[-1].obs)
    return maml.outer_surrogate(outputs, samples[-1]) / T


def meta_gradient(learner: maml.MAML, samples: list[Samples]) -> torch.Tensor:
    theta = {name: value.clone().requires_grad_() for name, value in learner.policy().params.items()}
    return flatten(torch.autograd.grad(objective(learner, theta, samples), list(theta.values())))


def finite_differences(learner: maml.MAML, samples: list[Samples], eps: float = 1e-5) -> torch.Tensor:
    params = learner.policy().params
    center = flatten(list(params.values()))
    result = torch.zeros_like(center)
    for i in range(len(center)):
        offset = torch.zeros_like(center)
        offset[i] = eps
        up, down = (objective(learner, unflatten(center + s * offset, params), samples) for s in (1, -1))
        result[i] = (up - down).detach() / (2 * eps)
    return result


def relative_error(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("inner_steps", [1, 2])
@pytest.mark.parametrize("settings", [{}, {"surrogate": "log_prob"}, {"adapt": "head"}])
def test_meta_gradient_equals_finite_differences(discrete: bool, inner_steps: int, settings: dict[str, str]) -> None:
    learner = make_learner(discrete, **settings)
    samples = make_samples(learner, discrete, inner_steps + 1)
    assert relative_error(meta_gradient(learner, samples), finite_differences(learner, samples)) < 1e-5


@pytest.mark.parametrize("discrete", [False, True])
def test_first_order_is_maml_with_the_inner_gradient_detached(discrete: bool) -> None:
    second, first = make_learner(discrete), make_learner(discrete, order="first")
    samples = make_samples(second, discrete, 2)
    theta = {name: value.clone().requires_grad_() for name, value in second.policy().params.items()}
    # By hand: the step is computed, frozen, and added to a theta that still carries gradients.
    stacked = networks.stack(theta, T)
    stepped = second._stepped(stacked, samples[0])
    step = {name: stepped[name] - stacked[name].detach() for name in stacked}
    outputs = second.policy().distribution(samples[1].obs, {name: stacked[name] + step[name] for name in stacked})
    expected = torch.autograd.grad(maml.outer_surrogate(outputs, samples[1]) / T, list(theta.values()))

    torch.testing.assert_close(meta_gradient(first, samples), flatten(expected), rtol=1e-12, atol=1e-14)
    assert relative_error(meta_gradient(first, samples), meta_gradient(second, samples)) > 1e-2


def test_fomaml_and_anil_are_maml_with_one_setting_changed() -> None:
    assert fomaml.Settings() == fomaml.Settings(**{**vars(maml.Settings()), "order": "first"})
    assert anil.Settings() == anil.Settings(**{**vars(maml.Settings()), "adapt": "head"})
    learner = fomaml.build(make_spec(False), fomaml.Settings(), 0, "cpu")
    assert type(learner) is maml.MAML
    for wrong in (lambda: fomaml.Settings(order="second"), lambda: anil.Settings(adapt="all")):
        with pytest.raises(ValueError, match="use maml"):
            wrong()


def test_anil_moves_only_the_last_layer() -> None:
    learner = make_learner(False, adapt="head")
    (batch,) = make_samples(learner, False, 1)
    before = networks.stack(learner.policy().params, T)
    after = learner._stepped(before, batch)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"weight_1", "bias_1"}


def test_inner_step_of_a_task_depends_on_its_own_samples_only() -> None:
    learner = make_learner(False)
    (batch,) = make_samples(learner, False, 1)
    stacked = networks.stack(learner.policy().params, T)
    together = learner._stepped(stacked, batch)
    other = batch.advantage.clone()
    other[0] *= -3
    changed = learner._stepped(stacked, replace(batch, advantage=other))
    for name in together:
        assert torch.equal(together[name][1:], changed[name][1:])
        assert not torch.equal(together[name][0], changed[name][0])


def fake_episodes(spec: FamilySpec, seed: int) -> Episodes:
    rng = np.random.default_rng(seed)
    shape = (T, 4, spec.horizon)
    mask = np.arange(spec.horizon) < rng.integers(2, spec.horizon + 1, size=shape[:2])[..., None]
    flags = np.zeros(shape, dtype=bool)
    return Episodes(
        obs=rng.normal(size=(*shape, D)),
        action=rng.normal(size=(*shape, A)),
        reward=rng.normal(size=shape) * mask,
        terminated=flags.copy(),
        truncated=flags.copy(),
        mask=mask,
        log_prob=np.zeros(shape),
        success=flags.copy(),
        final_obs=rng.normal(size=(T, 4, D)),
    )


class FixedCollect:
    """Gives prepared episodes, call by call, with the log-probabilities of the policy that asks."""

    def __init__(self, spec: FamilySpec) -> None:
        self.spec, self.calls = spec, 0

    def __call__(self, policy: object, tasks: object, copies: int, episodes: int = 1) -> Episodes:
        self.calls += 1
        batch = fake_episodes(self.spec, self.calls)
        obs = policy.normalise(batch.obs).flatten(1, 2)  # type: ignore[attr-defined]
        params = policy.params  # type: ignore[attr-defined]
        stacked = params if params["weight_0"].ndim == 3 else networks.stack(params, T)
        action = torch.as_tensor(batch.action.copy()).to(obs).flatten(1, 2)
        taken = log_prob(policy.distribution(obs, stacked), action)  # type: ignore[attr-defined]
        return replace(batch, log_prob=taken.detach().numpy().reshape(batch.reward.shape))

    def demonstrations(self, tasks: object, n: int, arrangement: int = 0) -> Episodes:
        raise AssertionError("not asked for")


def reptile_learner(inner_steps: int) -> reptile.Reptile:
    settings = reptile.Settings(hidden=(6,), inner_steps=inner_steps, inner_lr=0.2, outer_lr=0.7, outer_lr_end=0.7)
    learner = reptile.build(make_spec(False), settings, seed=1, device="cpu")
    params = {name: value.double() for name, value in learner.policy().params.items()}
    learner._policy = replace(learner._policy, params=params)
    return learner


def joint_gradient_step(learner: reptile.Reptile) -> torch.Tensor:
    """Theta - outer_lr * inner_lr * gradient of the mean loss of all tasks, all at the shared theta."""
    collect = FixedCollect(make_spec(False))
    policy = learner.policy()
    episodes = collect(policy, [], 4)
    batch = policy_gradient.make_samples(policy, episodes, episodes.reward, learner.settings)
    theta = {name: value.clone().requires_grad_() for name, value in policy.params.items()}
    outputs = policy.distribution(batch.obs, networks.stack(theta, T))
    loss = policy_gradient.surrogate_loss(outputs, batch, "log_prob").mean()
    gradient = flatten(torch.autograd.grad(loss, list(theta.values())))
    return flatten(list(policy.params.values())) - 0.7 * 0.2 * gradient


def test_reptile_with_one_inner_step_is_the_joint_gradient() -> None:
    learner = reptile_learner(1)
    expected = joint_gradient_step(learner)
    learner.meta_step([None] * T, FixedCollect(make_spec(False)), 0.0)  # type: ignore[list-item]
    torch.testing.assert_close(flatten(list(learner.policy().params.values())), expected, rtol=1e-6, atol=1e-9)


def test_reptile_with_more_steps_is_not() -> None:
    learner = reptile_learner(3)
    expected = joint_gradient_step(learner)
    learner.meta_step([None] * T, FixedCollect(make_spec(False)), 0.0)  # type: ignore[list-item]
    assert relative_error(flatten(list(learner.policy().params.values())), expected) > 1e-3


def test_maml_keeps_its_parameters_when_the_line_search_fails() -> None:
    """With a bound on the KL that no step satisfies, theta must come out of the meta-step bit for bit as it went in."""
    settings = maml.Settings(hidden=(6,), line_search_steps=1, max_kl=1e-30)
    learner = maml.build(make_spec(False), settings, seed=0, device="cpu")
    before = {name: value.clone() for name, value in learner.policy().params.items()}
    metrics = learner.meta_step([None] * T, FixedCollect(make_spec(False)), 0.0)  # type: ignore[list-item]
    assert metrics["accepted"] == 0.0
    assert all(torch.equal(before[name], value) for name, value in learner.policy().params.items())


def test_maml_moves_within_the_bound_when_it_succeeds() -> None:
    learner = maml.build(make_spec(False), maml.Settings(hidden=(6,)), seed=0, device="cpu")
    before = flatten(list(learner.policy().params.values()))
    metrics = learner.meta_step([None] * T, FixedCollect(make_spec(False)), 0.0)  # type: ignore[list-item]
    assert metrics["accepted"] == 1.0 and 0 < metrics["kl"] <= 0.01
    assert not torch.equal(before, flatten(list(learner.policy().params.values())))


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("inner_steps", [1, 2])
@pytest.mark.parametrize("order", ["second", "first"])
def test_curvature_is_the_hessian_of_the_kl_after_adaptation(discrete: bool, inner_steps: int, order: str) -> None:
    """Gauss-Newton product against a double backward of the mean KL divergence, through the inner steps, in float64."""
    learner = make_learner(discrete, order=order)
    samples = make_samples(learner, discrete, inner_steps + 1)
    inner, last = [maml.InnerStep(batch) for batch in samples[:-1]], samples[-1]
    theta = {name: value.clone().requires_grad_() for name, value in learner.policy().params.items()}
    leaves = list(theta.values())
    outputs = learner.adapted_distribution(theta, inner, last.obs)
    product = trust_region.gauss_newton_product(outputs, last.weight, leaves)
    old = tuple(output.detach() for output in outputs)
    divergence = (kl(old, learner.adapted_distribution(theta, inner, last.obs)) * last.weight).sum()
    gradient = flatten(torch.autograd.grad(divergence, leaves, create_graph=True))
    hessian = torch.stack([flatten(torch.autograd.grad(g, leaves, retain_graph=True)) for g in gradient])
    gauss_newton = torch.stack([product(row) for row in torch.eye(len(gradient), dtype=torch.float64)])
    assert relative_error(gauss_newton, hessian) < 1e-6


def test_thinned_samples_change_the_derivative_and_not_the_value() -> None:
    learner = make_learner(False)
    samples = make_samples(learner, False, 2)
    theta = {name: value.clone().requires_grad_() for name, value in learner.policy().params.items()}
    adapted = learner._stepped(networks.stack(learner.policy().params, T), samples[0])
    results = []
    for step in (maml.InnerStep(samples[0]), maml.InnerStep(samples[0].thin(4), adapted)):
        (mean, _) = learner.adapted_distribution(theta, [step], samples[1].obs)
        results.append((mean.detach(), flatten(torch.autograd.grad(mean.sum(), list(theta.values())))))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=0, atol=1e-12)
    assert 1e-3 < relative_error(results[1][1], results[0][1]) < 1


def stepped(**settings: object) -> tuple[maml.MAML, dict[str, float]]:
    """A learner after one meta-step on prepared episodes, in float64."""
    learner = make_learner(False, **settings)
    return learner, learner.meta_step([None] * T, FixedCollect(make_spec(False)), 0.5)  # type: ignore[list-item]


@pytest.mark.parametrize("settings", [{}, {"inner_steps": 2}, {"curvature_stride": 2}, {"outer": "ppo"}])
def test_groups_of_tasks_give_what_all_tasks_at_once_give(settings: dict[str, object]) -> None:
    (whole, metrics), (grouped, _) = stepped(**settings), stepped(samples_at_once=1, **settings)
    start = make_learner(False)
    for name, value in whole.policy().params.items():
        torch.testing.assert_close(value, grouped.policy().params[name], rtol=1e-6, atol=1e-9)
    assert not torch.equal(whole.policy().params["weight_0"], start.policy().params["weight_0"]), metrics


def test_a_step_is_refused_as_soon_as_some_groups_diverge_too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"max_kl": 2.0, "surrogate": "log_prob"}  # so far away that the quadratic model is wrong
    calls = []
    adapted = maml.MAML.adapted_distribution

    def counted(*arguments: Any) -> distributions.Distribution:
        calls.append(1)
        return adapted(*arguments)

    (whole, metrics) = stepped(**settings)
    monkeypatch.setattr(maml.MAML, "adapted_distribution", counted)
    (grouped, same) = stepped(samples_at_once=1, **settings)
    trials = int(metrics["line_search_trials"])
    assert trials > 1 and same["line_search_trials"] == trials
    moved, expected = (flatten(list(learner.policy().params.values())) for learner in (grouped, whole))
    assert relative_error(moved, expected) < 1e-6
    in_search = len(calls) - T * (1 + grouped.settings.cg_iterations)  # the gradient's, and every curvature product's
    assert T + trials - 1 <= in_search < T * trials


def test_low_precision_rounds_gradient_and_curvature_and_not_what_decides() -> None:
    exact, low = (
        maml.build(make_spec(False), maml.Settings(hidden=(64, 64), precision=precision), seed=0, device="cpu")
        for precision in ("float32", "bfloat16")
    )
    samples = [
        Samples(*(x.float() for x in vars(batch).values())) for batch in make_samples(make_learner(False), False, 2)
    ]
    theta = {name: value.clone().requires_grad_() for name, value in exact.policy().params.items()}
    step = maml.InnerStep(samples[0], exact._stepped(networks.stack(exact.policy().params, T), samples[0]))
    groups = maml.in_groups([step], samples[1], 10_000)
    leaves = list(theta.values())
    before, gradient, old = exact._surrogate_gradient(theta, leaves, groups)
    _, rounded, _ = low._surrogate_gradient(theta, leaves, groups)
    assert 1e-5 < relative_error(rounded, gradient) < 0.03
    vector = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(1))
    products = [learner._curvature(theta, leaves, [step], samples[1])(vector) for learner in (exact, low)]
    assert 1e-5 < relative_error(products[1], products[0]) < 0.03
    compared_with, distributions_then = low._as_sampled(groups)
    assert compared_with == pytest.approx(before, rel=1e-5)
    for found, expected in zip(distributions_then[0], old[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for metrics in (learner.meta_step([None] * T, FixedCollect(make_spec(False)), 0.0) for learner in (exact, low)):  # type: ignore[list-item]
        assert metrics["accepted"] == 1.0 and 0 < metrics["kl"] <= 0.01


@pytest.mark.parametrize("outer", ["trpo", "ppo"])
def test_frozen_features_stay_and_the_head_goes_on(outer: str) -> None:
    start = make_learner(False).policy().params
    frozen, _ = stepped(outer=outer, freeze_features=0.5)
    moved = {name for name, value in frozen.policy().params.items() if not torch.equal(value, start[name])}
    assert moved == {"weight_1", "bias_1", "log_std"}
    still_learning, _ = stepped(outer=outer, freeze_features=0.6)
    assert not torch.equal(still_learning.policy().params["weight_0"], start["weight_0"])


def test_first_ppo_step_follows_the_meta_gradient() -> None:
    """Adam's first step has the size of its rate and the sign of the gradient, which is the finite-difference one."""
    learner = make_learner(False, outer="ppo", outer_epochs=1, outer_lr=1e-4, clip=1e9)
    collect = FixedCollect(make_spec(False))
    before = flatten(list(learner.policy().params.values()))
    policy, samples, params = learner.policy(), [], networks.stack(learner.policy().params, T)
    for _ in range(2):
        episodes = collect(policy, [], 4)
        samples.append(policy_gradient.make_samples(policy, episodes, episodes.reward, learner.settings))
        params = learner._stepped(params, samples[-1])
        policy = replace(policy, params=params)
    gradient = meta_gradient(learner, samples)
    learner.meta_step([None] * T, FixedCollect(make_spec(False)), 0.0)  # type: ignore[list-item]
    step = flatten(list(learner.policy().params.values())) - before
    clear = gradient.abs() > 1e-6
    torch.testing.assert_close(step[clear], 1e-4 * gradient.sign()[clear], rtol=1e-2, atol=0)
