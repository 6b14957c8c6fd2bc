"""What a suite is: algorithms x task families x seeds, as data. ``reading`` reads and checks it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema

from kshot.errors import suggest
from kshot.suites.document import Document, Problems
from kshot.suites.run import Budget, Evaluation, Index, LearningCurve, Model, RunConfig
from kshot.types import Evidence, Headline, Mode

DEFAULT_REFERENCES = ("random", "task_blind", "oracle")

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""Names become folder names and table rows: lower-case letters, digits, '-' and '_'."""
Values = dict[str, Any]
Device = Annotated[str, StringConstraints(pattern=r"^(cpu|cuda(:[0-9]+)?|mps)$")]
_NAMED: Any = Field(min_length=1, json_schema_extra={"additionalProperties": False})  # no names but those of Name


class FamilyCell(Model):
    """A task family as this suite uses it."""

    family: str | None = None
    """Module in envs/ that implements it; the cell's own name if left out."""
    settings: Values = Field(default={})
    """Settings of the family that differ from its defaults."""
    steps: Budget
    """Training budget of every run, in environment steps."""
    evaluation: Evaluation
    """How runs are evaluated."""
    learning_curve: LearningCurve | None = None
    """How policies are scored along their training, on validation tasks; not at all if left out."""
    references: tuple[str, ...] = DEFAULT_REFERENCES
    """Scripted policies of the family shown beside the algorithms."""


class FamilyOverride(Model):
    """What one algorithm does differently on one family."""

    settings: Values = Field(default={})
    """Settings of the algorithm for this family alone."""
    steps: Budget | None = None
    """Training budget for this family alone, in environment steps."""


class AlgorithmRow(Model):
    """An algorithm as this suite uses it."""

    algorithm: str | None = None
    """Module in algorithms/ that implements it; the row's own name if left out."""
    settings: Values = Field(default={})
    """Settings that differ from the defaults, on every family."""
    families: dict[str, FamilyOverride] = Field(default={})
    """What differs on single families, by the family's name in this suite."""
    device: Device | None = None
    """Where its networks are trained: as the suite says if left out."""


def one_or_more(names: Any) -> Any:
    """A name or a list of names as a tuple; any other value unchanged, for the validation to refuse."""
    if isinstance(names, list):
        return tuple(names)
    return (names,) if isinstance(names, str) else names


OneOrMore = Annotated[
    tuple[str, ...],
    BeforeValidator(one_or_more),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]


class Exclude(Model):
    """Pairs that are left out on purpose: every algorithm named on every family named."""

    algorithm: OneOrMore
    """Row name, or a list of them."""
    family: OneOrMore
    """Name of the family in this suite, or a list of them."""
    reason: Annotated[str, Field(min_length=1)]
    """Shown in the report where the result would stand."""


class FamilyFacts(Model):
    """What the code says of a family."""

    headline: Headline
    """The measure that comes first in its reports."""


class AlgorithmFacts(Model):
    """What the code says of an algorithm."""

    evidence: Evidence
    """What it adapts on."""
    test_actions: Mode
    """How it is meant to act when it is tested."""
    from_scratch: bool
    """Whether it learns each task from its evidence alone, for others to be compared with."""


class Facts(Model):
    """What the code says of the names in a suite."""

    families: dict[Name, FamilyFacts]
    """By the families' names in the suite."""
    algorithms: dict[Name, AlgorithmFacts]
    """By the names of the rows."""


class Suite(Model):
    """A benchmark: every algorithm on every family with every seed."""

    name: Name
    """Results are filed under results/<name>/."""
    description: str = ""
    """One or two sentences for the report."""
    seeds: Annotated[tuple[Index, ...], Field(min_length=1)]
    """Seeds of the training runs."""
    task_seed: Index = 0
    """Chooses the test tasks, which all runs share."""
    device: Device = "cpu"
    """Where networks are trained: cpu, cuda, cuda:<n> or mps."""
    rerun_on_code_change: bool = False
    """Whether results count as outdated when the code that made them changes (`kshot audit` tells in any case)."""
    families: Annotated[dict[Name, FamilyCell], _NAMED]
    """Task families, by the names that paths and tables show."""
    algorithms: Annotated[dict[Name, AlgorithmRow], _NAMED]
    """Algorithms, by the names that paths and tables show."""
    exclude: tuple[Exclude, ...] = ()
    """Pairs that are left out, with the reason."""
    facts: Facts | None = None
    """Written by kshot into resolved suites: what the code says of the names. To be left out of others."""

    def excluded(self, algorithm: str, family: str) -> bool:
        """Whether the suite leaves out this pair, given by the names of its row and its cell."""
        return any(algorithm in item.algorithm and family in item.family for item in self.exclude)

    def runs(self) -> list[RunConfig]:
        """All runs: algorithms x families x seeds without excluded pairs, then the reference policies with seed 0."""
        runs = [
            self._run(cell_name, row_name, seed)
            for cell_name in self.families
            for row_name in self.algorithms
            if not self.excluded(row_name, cell_name)
            for seed in self.seeds
        ]
        return runs + [self._run(cell, name, 0) for cell in self.families for name in self.families[cell].references]

    def find(self, family: str, algorithm: str, seed: int) -> RunConfig:
        """One run by its names. Raises ConfigError, with the nearest name, if the suite does not have it."""
        document, problems = Document(None, f"suite {self.name!r}"), Problems()
        if family not in self.families:
            problems.add(document, (), f"no family {family!r}{suggest(family, self.families)}")
        else:
            rows = [*self.algorithms, *self.families[family].references]
            if algorithm not in rows:
                problems.add(document, (), f"no algorithm {algorithm!r}{suggest(algorithm, rows)}")
            elif self.excluded(algorithm, family):
                problems.add(document, (), f"{algorithm!r} on {family!r} is excluded by this suite")
            else:
                seeds = self.seeds if algorithm in self.algorithms else (0,)
                if seed not in seeds:
                    problems.add(document, (), f"no seed {seed} for {algorithm!r}; it has {', '.join(map(str, seeds))}")
        problems.check()
        return self._run(family, algorithm, seed)

    def resolved(self, facts: bool = True) -> dict[str, Any]:
        """Plain data from which ``load_suite`` makes an equal suite; without ``facts``, only what users write."""
        return self.model_dump(mode="json", exclude=None if facts else {"facts"})

    def _run(self, cell_name: str, row_name: str, seed: int) -> RunConfig:
        cell, row = self.families[cell_name], self.algorithms.get(row_name)
        override = FamilyOverride() if row is None else row.families.get(cell_name, FamilyOverride())
        facts: dict[str, Any] = {}
        if self.facts is not None:
            facts = dict(self.facts.families.get(cell_name, ())) | dict(self.facts.algorithms.get(row_name, ()))
        return RunConfig(
            suite=self.name,
            family=cell_name,
            family_module=cell.family or cell_name,
            algorithm=row_name,
            algorithm_module=None if row is None else row.algorithm or row_name,
            seed=seed,
            steps=0 if row is None else override.steps or cell.steps,
            evaluation=cell.evaluation,
            family_settings=cell.settings,
            algorithm_settings={} if row is None else row.settings | override.settings,
            task_seed=self.task_seed,
            learning_curve=None if row is None else cell.learning_curve,
            device=self.device if row is None or row.device is None else row.device,
            **facts,
        )
