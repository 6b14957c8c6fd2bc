"""How scripted policies are scored: whole trials for those whose memory outlasts an episode."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from kshot.running.evaluate import evaluate
from kshot.suites.run import Evaluation, RunConfig
from kshot.types import Headline


def curve(family: str, reference: str, root: Path, headline: Headline = "return", **settings: int) -> pd.DataFrame:
    """The rows of one reference policy on four test tasks."""
    run = RunConfig(
        suite="contract",
        family=family,
        family_module=family,
        algorithm=reference,
        algorithm_module=None,
        seed=0,
        steps=1,
        evaluation=Evaluation(tasks=4, k=(0,), sampled_episodes=3),
        family_settings=settings,
        headline=headline,
    )
    evaluate(run, root)
    return pd.read_parquet(run.directory(root) / "curve.parquet")


@pytest.mark.parametrize(("reference", "episodes"), [("oracle", 1), ("posterior_sampling", 20), ("search", 20)])
def test_memory_over_episodes_means_a_score_for_every_episode(reference: str, episodes: int, tmp_path: Path) -> None:
    rows = curve("nav2d_sparse", reference, tmp_path)  # whose headline is not that of the trial
    assert (rows.groupby("k").size() == 12).all()
    assert sorted(rows["k"].unique()) == list(range(episodes))
    assert rows.loc[rows["k"] == episodes - 1, "success_last"].all()


def test_where_the_trial_counts_all_play_trials(tmp_path: Path) -> None:
    assert sorted(curve("bandit", "oracle", tmp_path, headline="trial_return", pulls=4)["k"].unique()) == [0, 1, 2, 3]
