"""Do the learners learn? On families whose optimum is known, with statistics instead of a look at a curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kshot import records
from kshot.running import build
from kshot.running.evaluate import evaluate
from kshot.running.train import train
from kshot.suites.run import Evaluation, RunConfig

NAV2D = {
    "maml": {"curvature_stride": 5},
    "fomaml": {"curvature_stride": 5},
    "anil": {"curvature_stride": 5},
    "reptile": {"inner_lr": 0.5, "inner_steps": 5},
}


def curve(
    tmp_path: Path, algorithm: str, family: str, steps: int, evaluation: Evaluation, **settings: Any
) -> pd.DataFrame:
    """Train one run and return its evaluation, one row per episode."""
    family_settings = settings.pop("family_settings", {})
    run = RunConfig("learning", family, family, algorithm, algorithm, 0, steps, evaluation, family_settings, settings)
    train(run, tmp_path)
    evaluate(run, tmp_path)
    return records.read_table(run.directory(tmp_path) / "curve.parquet", records.CURVE_SCHEMA)


@pytest.mark.parametrize(
    ("algorithm", "settings", "share"),
    [
        ("rl2", {"hidden": 16}, 0.8),
        # Rewards this small drown in what a random critic says.
        ("rl2", {"hidden": 16, "value_scale": "running", "reward_scale": 1e-3}, 0.8),
        ("rl2", {"hidden": 16, "memory": "lstm"}, 0.6),
        ("rl2_transformer", {"hidden": 16, "layers": 1, "context": 4, "lr": 3e-3}, 0.6),
    ],
    ids=["gru", "small rewards", "lstm", "transformer"],
)
def test_rl2_comes_close_to_the_bayes_optimal_bandit_value_and_never_beats_it(
    algorithm: str, settings: dict[str, Any], share: float, tmp_path: Path
) -> None:
    """Two arms, four pulls: chance is 2.0, the exact optimum (dynamic programming) about 2.37."""
    family_settings = {"arms": 2, "pulls": 4}
    evaluation = Evaluation(tasks=20_000, k=(0, 1, 2, 3))
    options = {**settings, "meta_batch": 500, "family_settings": family_settings}
    rows = curve(tmp_path, algorithm, "bandit", 300_000, evaluation, **options)
    run = RunConfig("x", "bandit", "bandit", "rl2", "rl2", 0, 1, evaluation, family_settings)
    family = build.family(run)
    optimum = family.reference(family.tasks("test", 1, 0)[0])["bayes_optimal_trial"]
    totals = rows[rows["mode"] == "sampled"].groupby("task", observed=True)["return"].sum()
    assert len(totals) == 20_000
    mean, error = totals.mean(), totals.std() / np.sqrt(len(totals))
    assert mean > 2.0 + share * (optimum - 2.0)
    assert mean < optimum + 4 * error, "better than the best possible: the evaluation leaks"


def best_next_pull(pulls: int, seen: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))) -> float:
    """The largest expected reward of a pull after ``pulls`` more, of which only what they tell counts.

    ``seen``: wins and losses of every arm so far.
    """
    means = [(wins + 1) / (wins + losses + 2) for wins, losses in seen]
    if not pulls:
        return max(means)
    values = []
    for arm, (wins, losses) in enumerate(seen):
        won, lost = ((*seen[:arm], after, *seen[arm + 1 :]) for after in ((wins + 1, losses), (wins, losses + 1)))
        values.append(means[arm] * best_next_pull(pulls - 1, won) + (1 - means[arm]) * best_next_pull(pulls - 1, lost))
    return max(values)


def test_dream_acts_by_what_it_found_out_about_a_bandit_and_never_better_than_possible(tmp_path: Path) -> None:
    """Two arms, four pulls to explore: the best of the next pull is .617 (dynamic programming), chance .5."""
    settings = {"hidden": 16, "encoder": (16,), "exploration_episodes": 4, "trials": 4, "lr": 3e-3, "discount": 1.0}
    settings |= {"free_norm": 1.0, "exploration_entropy": 0.02, "family_settings": {"arms": 2, "pulls": 5}}
    rows = curve(tmp_path, "dream", "bandit", 200_000, Evaluation(tasks=20_000, k=(0, 4)), **settings)
    score = rows[(rows["mode"] == "sampled") & (rows["k"] == 4)].groupby("task", observed=True)["return"].mean()
    error = score.std() / np.sqrt(len(score))
    optimum = best_next_pull(4)
    assert score.mean() > 0.5 + 0.65 * (optimum - 0.5)
    assert score.mean() < optimum + 4 * error, "better than the best possible: the evaluation leaks"


def test_pearl_pulls_the_arm_that_its_posterior_likes_and_never_a_better_one_than_possible(tmp_path: Path) -> None:
    """The same bandit, explored by posterior sampling: the best pull after four has .617, the first one .5."""
    settings = {"latent": 2, "hidden": (32,), "encoder_hidden": (32,), "training_tasks": 100, "collect_tasks": 50}
    settings |= {"initial_episodes": 20, "prior_episodes": 2, "posterior_episodes": 8, "extra_posterior_episodes": 0}
    settings |= {"growing_context": True, "gradient_steps": 100, "meta_batch": 20, "batch_size": 16, "context_size": 20}
    settings |= {"lr": 3e-3, "reward_scale": 10.0, "kl_weight": 0.3, "family_settings": {"arms": 2, "pulls": 2}}
    rows = curve(tmp_path, "pearl_discrete", "bandit", 9_500, Evaluation(tasks=20_000, k=(0, 4)), **settings)
    rows = rows[rows["mode"] == "mean"]
    score = {k: rows[rows["k"] == k]["return"] for k in (0, 4)}
    assert score[0].mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(score[0])))
    optimum, error = best_next_pull(4), score[4].std() / np.sqrt(len(score[4]))
    assert score[4].mean() > 0.5 + 0.65 * (optimum - 0.5)
    assert score[4].mean() < optimum + 4 * error, "better than the best possible: the evaluation leaks"


def test_varibad_finds_the_goal_underway_and_never_sooner_than_possible(tmp_path: Path) -> None:
    """Short point navigation, two episodes: waiting at the start has -3.8 an episode, whoever knows the goal -.5."""
    settings: dict[str, Any] = {"latent": 3, "encoder_hidden": (), "memory_width": 32, "decoder_hidden": (32,)}
    settings |= {"hidden": (32, 32), "meta_batch": 100, "trials": 1, "initial_trials": 4, "gradient_steps": 400}
    settings |= {"vae_updates": 300, "vae_lr": 3e-3, "lr": 3e-3, "batch_size": 128, "discount": 0.9, "tau": 0.02}
    settings |= {"reward_scale": 20.0, "reward_input_scale": 5.0}
    family_settings = {"horizon": 10, "episodes_per_trial": 2}
    evaluation = Evaluation(tasks=200, k=(0, 1))
    rows = curve(tmp_path, "varibad", "nav2d", 16_000, evaluation, family_settings=family_settings, **settings)
    family = build.family(RunConfig("x", "nav2d", "nav2d", "rl2", "rl2", 0, 1, evaluation, family_settings))
    known = pd.DataFrame([family.reference(task) for task in family.tasks("test", 200, 0)])
    score = rows[(rows["mode"] == "sampled") & (rows["k"] == 1)].groupby("task", observed=True)["return"].mean()
    assert len(score) == len(known)
    blind, optimum = known["task_blind"].mean(), known["oracle"].mean()
    assert score.mean() > blind + 0.3 * (optimum - blind)
    assert score.mean() < optimum, "better than the best possible: the evaluation leaks"
    first = rows[(rows["mode"] == "sampled") & (rows["k"] == 0)]["return"].mean()
    assert first > blind, "nothing is found out before the first episode ends"


BEFORE_AND_AFTER = Evaluation(tasks=40, k=(0, 20))


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return curve(tmp_path_factory.mktemp("untrained"), "untrained", "nav2d", 1, BEFORE_AND_AFTER, test_episodes=20)


@pytest.mark.parametrize("algorithm", sorted(NAV2D))
def test_one_gradient_step_helps_after_meta_training_and_hardly_before(
    algorithm: str, untrained: pd.DataFrame, tmp_path: Path
) -> None:
    """Point navigation: a sign-flip permutation test over unseen goals, trained against untrained."""
    settings = {"test_episodes": 20, **NAV2D[algorithm]}
    trained = curve(tmp_path, algorithm, "nav2d", 400_000, BEFORE_AND_AFTER, **settings)

    def gains(rows: pd.DataFrame) -> np.ndarray:
        sampled = rows[rows["mode"] == "sampled"]
        by_task = sampled.pivot_table(index="task", columns="k", values="return", aggfunc="mean", observed=True)
        return (by_task[20] - by_task[0]).to_numpy()

    difference = gains(trained) - gains(untrained)
    signs = np.random.default_rng(0).choice([-1, 1], size=(2000, len(difference)))
    p_value = float(((signs * difference).mean(axis=1) >= difference.mean()).mean())
    assert p_value < 0.01
    assert gains(trained).mean() > 8.0
