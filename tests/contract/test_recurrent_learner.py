"""A learner with a network and a loss of its own on top of RL^2, VariBAD, fulfils the contract of all learners."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kshot import seeding
from kshot.contract import learners
from kshot.running.train import Collector
from tests.contract import tiny

CHECKS = [
    learners.adapt_changes_neither_learner_nor_policy_nor_evidence,
    learners.adapting_to_b_after_a_equals_adapting_to_b_alone,
    learners.a_task_adapts_the_same_alone_and_in_company,
]


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KSHOT_PATH", str(Path(__file__).with_name("plugins")))


@pytest.mark.parametrize("family", ["bandit", "gridnavi"])
def test_two_meta_steps_train_policy_and_decoder(family: str) -> None:
    made, learner = learners.setup(tiny.run("varibad_ppo", family))
    before = learners.frozen(learner.state_dict()["network"])
    for iteration in range(2):
        tasks = made.tasks("train", learner.tasks_per_step, seeding.key(0, iteration))
        metrics = learner.meta_step(tasks, Collector(made, 0, iteration), iteration / 2)
        assert np.isfinite(list(metrics.values())).all()
        assert metrics["reconstruction"] > 0 and metrics["kl"] > 0
    after = learner.state_dict()["network"]
    unmoved = [name for name in after if (after[name] == before[name]).all()]
    assert not unmoved


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_what_learners_promise(check: learners.Check, tmp_path: Path) -> None:
    check("varibad_ppo", "bandit", tmp_path)


def test_it_ends_with_the_same_bytes_when_trained_again_or_interrupted(tmp_path: Path) -> None:
    learners.same_seed_same_bytes_other_seed_other_bytes("varibad_ppo", "bandit", tmp_path / "again")
    learners.stopped_and_resumed_equals_never_stopped("varibad_ppo", "bandit", tmp_path / "stopped")
