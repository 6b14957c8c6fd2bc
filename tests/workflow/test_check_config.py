"""What ``kshot check-config`` accepts, no job refuses: it does what jobs do before their first episode."""

from __future__ import annotations

import re
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
            "families.nav2d_sparse.evaluation.tasks: nav2d_sparse: 21 tasks asked for, the test split has 20",
        ),
        (
            {"bandit": BANDIT | {"evaluation": {"tasks": 4, "k": [0, 5]}}},
            {"maml": {"settings": {"episodes": 10}}},
            "families.bandit.evaluation.k: for 'maml', the learner adapts on 10 episodes at a time, but evaluation.k "
            "is [0, 5]; list 10 or more",
        ),
        (
            {"nav2d_sparse": BANDIT | {"evaluation": {"tasks": 4, "k": [0, 30]}}},
            {"rl2": {}},
            "families.nav2d_sparse.evaluation.k: for 'rl2', the learner takes in at most 19 episodes of a task, but "
            "evaluation.k is [0, 30]; list 1 to 19",
        ),
        (
            {"tabular_mdp": TABLES | {"settings": {"observe_dynamics": False}}},
            {"replay": {}},
            "algorithms.replay: on family 'tabular_mdp': family 'tabular_mdp' with these settings has no known "
            "dynamics to plan with",
        ),
        (
            {"gridnavi": BANDIT | {"evaluation": {"tasks": 1, "k": [0, 1]}, "settings": {"held_out": 3}}},
            {"maxent_irl": {"settings": {"calibration_tasks": 16}}},
            "algorithms.maxent_irl: on family 'gridnavi': gridnavi: 16 tasks asked for, the validation split has 3",
        ),
        (
            {"metaworld_hand": HAND},
            {"pretrained_irl": {"settings": {"outer_demonstrations": 5, "shots": [1]}}},
            "families.metaworld_hand.settings.demonstrations: for 'pretrained_irl', the learner asks for 5 different "
            "demonstrations of a training task, there are 4; raise the family's setting demonstrations",
        ),
        (
            {"bandit": TABLES | {"references": ["random", "oracel"]}},
            {"rl2": {}},
            "families.bandit.references[1]: the family has no reference policy 'oracel' (did you mean 'oracle'?); list "
            "others in references",
        ),
    ],
)
def test_what_jobs_would_refuse_is_refused_in_one_line(
    tmp_path: Path, called: Called, families: dict[str, Any], algorithms: dict[str, Any], said: str
) -> None:
    write_suite(tmp_path, {"name": "refused", "seeds": [0, 1], "families": families, "algorithms": algorithms})
    done = called(tmp_path, "check-config", "suite.yaml")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(rf"kshot: suite\.yaml:\d+: {re.escape(said)}", line)


MISTAKES = """\
name: mistakes
seeds: [0]
families:
  cartpole:
    family: gymnasium
    settings:
      environment: CartPole-v1
      task:
        attributes:
          lengths: [0.25, 1.0]
          gravity: [15.0, 5.0]
          masspole: {values: [0.1, 0.3]}
          masscrat: [0.5, 1.0]
    steps: 1000
    evaluation: {tasks: 4, k: [0, 10]}
    references: [random]
  pole:
    family: gymnasium
    settings:
      environment: no_such_module:make
      task: {attributes: {length: [0.25, 1.0]}}
    steps: 1000
    evaluation: {tasks: 4, k: [0, 10]}
    references: [random]
  pendulum:
    family: gymnasium
    settings:
      environment: Pendulum-v1
      task: {attributes: {mass: [0.5, 1.0]}}
      horizn: 20
    steps: 1000
    evaluation: {tasks: 4, k: [0, 10]}
    references: [random]
  bandit:
    settings: {arms: 1, pulls: 0}
    steps: 1000
    evaluation: {tasks: 4, k: [0, 10]}
  nav2d:
    steps: 1000
    evaluation:
      tasks: 4
      k: [0, 5]
algorithms:
  maml: {settings: {inner_rate: 1.0}}
  reptile: {}
exclude:
  - {algorithm: reptile, family: [cartpole, pole, pendulum, bandit], reason: an example}
"""


def test_all_mistakes_of_families_are_told_at_once_with_those_of_the_file(tmp_path: Path, called: Called) -> None:
    """Whether they are found in the file, by the settings themselves or only when a family or learner is built."""
    (tmp_path / "suite.yaml").write_text(MISTAKES)
    done = called(tmp_path, "check-config", "suite.yaml")
    assert done.returncode == 2
    lines = sorted(done.stderr.splitlines(), key=lambda line: int(line.split(":")[2]))
    expected = [
        ("10: families.cartpole.settings.task.attributes.lengths: ", "no attribute 'lengths' (did you mean 'length'?)"),
        ("11: families.cartpole.settings.task.attributes.gravity: ", "the range [15.0, 5.0] is upside down"),
        ("13: families.cartpole.settings.task.attributes.masscrat: ", "'masscrat' (did you mean 'masscart'?)"),
        ("20: families.pole.settings.environment: ", "No module named 'no_such_module'"),
        ("29: families.pendulum.settings.task.attributes.mass: ", "PendulumEnv has no attribute 'mass'"),
        ("30: families.pendulum.settings.horizn: ", "no setting 'horizn' (did you mean 'horizon'?)"),
        ("35: families.bandit.settings.arms: ", "arms must be at least 2"),
        ("35: families.bandit.settings.pulls: ", "pulls must be at least 1"),
        ("42: families.nav2d.evaluation.k: ", "for 'reptile', the learner adapts on"),
        ("44: algorithms.maml.settings.inner_rate: ", "no setting 'inner_rate'"),
    ]
    for line, (start, part) in zip(lines, expected, strict=True):
        assert line.startswith(f"kshot: suite.yaml:{start}") and part in line, line


def test_what_jobs_take_is_accepted(tmp_path: Path, called: Called) -> None:
    write_suite(tmp_path)
    assert called(tmp_path, "check-config", "suite.yaml").returncode == 0
    learners = {"pretrained_irl": {"settings": {"outer_demonstrations": 4, "shots": [1, 4]}}}
    write_suite(tmp_path, SUITE | {"families": {"metaworld_hand": HAND}, "algorithms": learners})
    assert called(tmp_path, "check-config", "suite.yaml").returncode == 0
