"""What ``kshot check-config`` accepts, no job refuses: it does what jobs do before their first episode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.workflow.conftest import Called
from tests.workflow.pipeline import SUITE, write_suite

BANDIT = {"steps": 1000, "evaluation": {"tasks": 4, "k": [0, 10]}}
TABLES = {"steps": 1000, "evaluation": {"tasks": 4, "k": [0, 1]}}
HAND = TABLES | {"settings": {"task": "reach-v3", "demonstrations": 4}}


@pytest.mark.parametrize(
    ("families", "algorithms", "said"),
    [
        (
            {"nav2d_sparse": BANDIT | {"evaluation": {"tasks": 21, "k": [0, 10]}}},
            {"rl2": {}},
            "nav2d_sparse/rl2: family 'nav2d_sparse': nav2d_sparse: 21 tasks asked for, the test split has 20",
        ),
        (
            {"bandit": BANDIT | {"evaluation": {"tasks": 4, "k": [0, 5]}}},
            {"maml": {"settings": {"episodes": 10}}},
            "bandit/maml: the learner adapts on 10 episodes at a time, but evaluation.k is [0, 5]; list 10 or more",
        ),
        (
            {"tabular_mdp": TABLES | {"settings": {"observe_dynamics": False}}},
            {"replay": {}},
            "tabular_mdp/replay: family 'tabular_mdp' with these settings has no known dynamics to plan with",
        ),
        (
            {"gridnavi": BANDIT | {"evaluation": {"tasks": 1, "k": [0, 1]}, "settings": {"held_out": 3}}},
            {"maxent_irl": {"settings": {"calibration_tasks": 16}}},
            "gridnavi/maxent_irl: family 'gridnavi': gridnavi: 16 tasks asked for, the validation split has 3",
        ),
        (
            {"metaworld_hand": HAND},
            {"pretrained_irl": {"settings": {"outer_demonstrations": 5, "shots": [1]}}},
            "metaworld_hand/pretrained_irl: the learner asks for 5 different demonstrations of a training task, there "
            "are 4; raise the family's setting demonstrations",
        ),
    ],
)
def test_what_jobs_would_refuse_is_refused_in_one_line(
    tmp_path: Path, called: Called, families: dict[str, Any], algorithms: dict[str, Any], said: str
) -> None:
    write_suite(tmp_path, {"name": "refused", "seeds": [0, 1], "families": families, "algorithms": algorithms})
    done = called(tmp_path, "check-config", "suite.yaml")
    assert done.returncode == 2
    assert f"kshot: suite.yaml: {said}" in done.stderr.splitlines()


def test_what_jobs_take_is_accepted(tmp_path: Path, called: Called) -> None:
    write_suite(tmp_path)
    assert called(tmp_path, "check-config", "suite.yaml").returncode == 0
    learners = {"pretrained_irl": {"settings": {"outer_demonstrations": 4, "shots": [1, 4]}}}
    write_suite(tmp_path, SUITE | {"families": {"metaworld_hand": HAND}, "algorithms": learners})
    assert called(tmp_path, "check-config", "suite.yaml").returncode == 0
