"""What every algorithm promises on every family it can play (``kshot.contract.learners``)."""

from __future__ import annotations

from pathlib import Path

import pytest

from kshot.contract import learners
from tests.contract import tiny

PAIRS = pytest.mark.parametrize(("algorithm", "family_name"), tiny.compatible())
SHOWN = pytest.mark.parametrize(("algorithm", "family_name"), tiny.compatible(frozenset({"demonstrations"})))
EVERYWHERE = (
    learners.adapt_changes_neither_learner_nor_policy_nor_evidence,
    learners.adapting_to_b_after_a_equals_adapting_to_b_alone,
    learners.a_task_adapts_the_same_alone_and_in_company,
    learners.same_seed_same_bytes_other_seed_other_bytes,
    learners.stopped_and_resumed_equals_never_stopped,
)


@pytest.mark.parametrize("check", EVERYWHERE, ids=lambda check: check.__name__)  # what one trains, the next one needs
@PAIRS
def test_a_learner_keeps_what_it_promises(
    check: learners.Check, algorithm: str, family_name: str, tmp_path: Path
) -> None:
    check(algorithm, family_name, tmp_path)


@SHOWN
def test_demonstrations_count_the_same_in_one_part_or_in_several(
    algorithm: str, family_name: str, tmp_path: Path
) -> None:
    learners.demonstrations_count_the_same_in_one_part_or_in_several(algorithm, family_name, tmp_path)


def learners_with_a_family() -> list[tuple[str, str]]:
    """Every learner that is trained on what it plays, on one family, a quick one where there is one."""
    found: dict[str, str] = {}
    pairs = tiny.compatible(frozenset({"rollouts"}))
    for pair in sorted(pairs, key=lambda pair: pair.values[1] not in ("bandit", "nav2d")):
        found.setdefault(*pair.values)
    return [(a, f) for a, f in found.items() if learners.setup(tiny.run(a, f))[1].trains]


@pytest.mark.parametrize(("algorithm", "family_name"), learners_with_a_family())
def test_numbers_that_are_not_finite_end_a_run_and_keep_what_it_has(
    algorithm: str, family_name: str, tmp_path: Path
) -> None:
    learners.numbers_that_are_not_finite_end_a_run_and_keep_what_it_has(algorithm, family_name, tmp_path)
