"""One cell of a suite, fully resolved: everything that decides what a training or evaluation job computes."""

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

Count = Annotated[int, Field(gt=0)]
Index = Annotated[int, Field(ge=0)]

NAMES = ("suite", "family", "algorithm")
"""Where results are filed, which decides no model."""
FACTS = ("evidence", "test_actions", "headline", "from_scratch")
"""What follows from the modules and settings, so that fingerprints have no need of it."""


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


@dataclass(frozen=True)
class RunConfig:
    """One (family, algorithm, seed) of a suite.

    Attributes:
        suite: its name.
        family: the family's name in the suite, which paths and tables show.
        family_module: the file that implements it.
        algorithm: the name of the row in the suite, which paths and tables show.
        algorithm_module: the file that implements it; None for a reference policy, which the family provides and
            nobody trains.
        seed: of the training.
        steps: training budget in environment steps.
        evaluation: how it is evaluated.
        family_settings: complete, as plain values.
        algorithm_settings: complete, as plain values.
        task_seed: chooses the test tasks.
        device: where networks are trained.
        evidence: what the algorithm adapts on.
        test_actions: how it is meant to act when it is tested; a reference policy acts as it is, which is sampled.
        headline: the measure that comes first in the family's reports.
        from_scratch: whether the algorithm learns each task from its evidence alone, so that others are compared with
            it by what the other tasks are worth.
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
        """Whether Metaworld's own evaluation is asked for; reference policies cannot be put through it."""
        return self.evaluation.official and self.kind == "algorithm"

    @property
    def train_hash(self) -> str:
        """Fingerprint of what decides the trained model, seed included: a model is outdated when this changes."""
        return _digest(self._without(*NAMES, *FACTS, "evaluation"))

    @property
    def config_hash(self) -> str:
        """Fingerprint of everything but the seed: equal for the seeds of one cell, written into every row.

        An evaluation is outdated when this changes, or the seed. Whether the official evaluation is asked for, too,
        does not count: it changes no other result.
        """
        values = self._without(*FACTS, "seed")
        values["evaluation"].pop("official")
        return _digest(values)

    def directory(self, root: Path = Path("results")) -> Path:
        """Where this run's files live: ``<root>/<suite>/<family>/<algorithm>/seed-<n>``."""
        return root / self.suite / self.family / self.algorithm / f"seed-{self.seed}"

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain JSON types."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values["evaluation"] = self.evaluation.model_dump(mode="json")
        plain: dict[str, Any] = json.loads(json.dumps(values))
        return plain

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> RunConfig:
        """The inverse of ``to_dict``."""
        return cls(**{**value, "evaluation": Evaluation.model_validate(value["evaluation"])})

    def _without(self, *names: str) -> dict[str, Any]:
        return {name: value for name, value in self.to_dict().items() if name not in names}


def why_no_selection(runs: Iterable[RunConfig]) -> str:
    """Why no settings may be chosen from these runs, or empty: a task that chose a setting is no test any more."""
    tested = dict.fromkeys(run.family for run in runs if run.evaluation.split != "validation")
    if not tested:
        return ""
    return f"no selection on test tasks: evaluate {', '.join(tested)} with split: validation"


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
