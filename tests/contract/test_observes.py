"""A learner that reads observations of a kind is refused where there are none, in a line, before anything starts."""

from __future__ import annotations

from pathlib import Path

from tests.contract.suites import plugins, problems

__all__ = ["plugins"]

SUITE = {
    "name": "trial",
    "seeds": [0],
    "families": {"offload_dag": {"steps": 1000, "evaluation": {"tasks": 2, "k": [0]}}},
    "algorithms": {"graph_ppo": {}},
}


def test_a_learner_on_graphs_is_refused_where_there_are_none() -> None:
    said = problems(SUITE | {"families": {"bandit": {"steps": 1000, "evaluation": {"tasks": 2, "k": [0]}}}})
    assert "'graph_ppo' needs observations that hold a graph, those of 'bandit' hold none" in said


def test_settings_that_make_no_network_or_no_graphs_are_named() -> None:
    said = problems(SUITE | {"algorithms": {"graph_ppo": {"settings": {"hops": 0}}}})
    assert "'graph_ppo' refuses these settings: hops must be at least 1 and at most 25, got 0" in said
    family = {"steps": 1000, "evaluation": {"tasks": 2, "k": [0]}, "settings": {"nodes": 0}}
    said = problems(SUITE | {"families": {"offload_dag": family}})
    assert "'offload_dag' refuses these settings: offload_dag: nodes must be at least 1 and at most 25, got 0" in said


def test_a_learner_with_continuous_actions_only_is_refused(plugins: Path) -> None:
    said = problems(SUITE | {"algorithms": {"continuous_only": {}}})
    assert "'continuous_only' needs continuous actions, 'offload_dag' has discrete ones" in said
