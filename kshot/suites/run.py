"""One run of a suite, fully resolved: everything that decides what its training and its evaluation compute."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kshot.types import Evidence, Headline, Mode

RunKind = Literal["algorithm", "reference"]

LARGEST = 2**31 - 1
"""Of whole numbers in suites and settings: columns of tables, and seeds of generators, hold 32 bits."""
Count = Annotated[int, Field(gt=0, le=LARGEST)]
Index = Annotated[int, Field(ge=0, le=LARGEST)]
Budget = Annotated[int, Field(gt=0, le=10**15)]
"""Environment steps of a training; ten years of a machine that makes three million a second."""

NAMES = ("suite", "family", "algorithm")
"""Fields that decide only where results are filed: fingerprints of trained models leave them out."""
FACTS = ("evidence", "test_actions", "headline", "from_scratch")
"""Fields that follow from the modules and settings: all fingerprints leave them out."""


class Model(BaseModel):
    """Frozen, and with no keys but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Evaluation(Model):
    """How the runs of one family are evaluated, on the same tasks for every algorithm and seed."""

    tasks: Count
    """Number of unseen tasks, the same for every algorithm and seed."""
    k: Annotated[tuple[Index, ...], Field(min_length=1)]
    """Evidence points at which policies are scored: episodes of the task consumed so far, increasing, from 0."""
    mean_episodes: Count = 1
    """Episodes per task at each point by which learners are compared."""
    sampled_episodes: Count = 1
    """Sampled-action episodes per task for policies that do not adapt."""
    split: Literal["test", "validation"] = "test"
    """Which tasks: "validation" while settings are being chosen, "test" for results."""
    official: bool = False
    """Also run Metaworld's own evaluation and show both; for families of Meta-World, on test tasks only."""


class LearningCurve(Model):
    """How policies are scored along their training: on validation tasks, of which learners are told nothing."""

    points: Annotated[int, Field(ge=2, le=1000)]
    """Equal parts of the budget, after each of which the model is kept, and scored once the training is done."""
    tasks: Count
    """Number of validation tasks."""
    k: Annotated[tuple[Index, ...], Field(min_length=1)]
    """Evidence points, as in an evaluation."""


@dataclass(frozen=True)
class RunConfig:
    """One run: a family, an algorithm and a seed of a suite.

    Attributes:
        suite: its name.
        family: the family's name in the suite, which paths and tables show.
        family_module: the module in envs/ that implements it.
        algorithm: the name of the row in the suite, which paths and tables show; or of a reference policy.
        algorithm_module: the module in algorithms/ that implements it; None for a reference policy, which the family
            provides and which is not trained.
        seed: of the training.
        steps: training budget in environment steps.
        evaluation: how it is evaluated.
        family_settings: complete, as plain values.
        algorithm_settings: complete, as plain values.
        task_seed: chooses the test tasks.
        learning_curve: how it is scored along its training, if it is.
        device: where networks are trained.
        evidence: what the algorithm adapts on.
        test_actions: how it is meant to choose actions when it is tested; "sampled" for reference policies.
        headline: the measure that comes first in the family's reports.
        from_scratch: whether the algorithm learns each task from its evidence alone; others are compared with it, to
            tell what the other tasks are worth.
    """

    suite: str
    family: str
    family_module: str
    algorithm: str
    algorithm_module: str | None
    seed: int
    steps: int
    evaluation: Evaluation
    family_settings: Mapping[str, Any] = field(default_factory=dict)
    algorithm_settings: Mapping[str, Any] = field(default_factory=dict)
    task_seed: int = 0
    learning_curve: LearningCurve | None = None
    device: str = "cpu"
    evidence: Evidence = "rollouts"
    test_actions: Mode = "sampled"
    headline: Headline = "return"
    from_scratch: bool = False

    @property
    def kind(self) -> RunKind:
        return "reference" if self.algorithm_module is None else "algorithm"

    @property
    def official(self) -> bool:
        """Whether the suite asks for Metaworld's own evaluation of this run; never of reference policies."""
        return self.evaluation.official and self.kind == "algorithm"

    @property
    def train_hash(self) -> str:
        """Fingerprint of all that decides the trained model, seed included; if it changes, the model is outdated."""
        return _digest(self._without(*NAMES, *FACTS, "evaluation", "learning_curve"))

    @property
    def config_hash(self) -> str:
        """Fingerprint of all but the seed, which all results hold: equal for the seeds of an algorithm on a family.

        If it changes, the evaluation is outdated. Whether the suite also asks for the official evaluation is left out:
        that changes no other result.
        """
        values = self._without(*FACTS, "seed")
        values["evaluation"].pop("official")
        if self.learning_curve is None:
            values.pop("learning_curve")  # as before there were any
        return _digest(values)

    def directory(self, root: Path = Path("results")) -> Path:
        """Where this run's files live: ``<root>/<suite>/<family>/<algorithm>/seed-<n>``."""
        return root / self.suite / self.family / self.algorithm / f"seed-{self.seed}"

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain JSON types."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values["evaluation"] = self.evaluation.model_dump(mode="json")
        values["learning_curve"] = self.learning_curve and self.learning_curve.model_dump(mode="json")
        plain: dict[str, Any] = json.loads(json.dumps(values))
        return plain

    def _without(self, *names: str) -> dict[str, Any]:
        return {name: value for name, value in self.to_dict().items() if name not in names}


def why_no_selection(runs: Iterable[RunConfig]) -> str:
    """Why no settings may be chosen by these runs; empty if they may.

    Settings are never chosen on test tasks: these would no longer be a test.
    """
    on_test_tasks = dict.fromkeys(run.family for run in runs if run.evaluation.split != "validation")
    if not on_test_tasks:
        return ""
    return f"no selection on test tasks: evaluate {', '.join(on_test_tasks)} with split: validation"


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
