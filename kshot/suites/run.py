"""One cell of a suite, fully resolved: everything that decides what a training or evaluation job computes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

RunKind = Literal["algorithm", "reference"]


@dataclass(frozen=True)
class Evaluation:
    """How runs of one family are evaluated; the same frozen tasks for every algorithm and seed.

    Attributes:
        tasks: number of test tasks.
        k: evidence points at which the adapted policy is scored, increasing, from 0. Learners that adapt on blocks of
            episodes act, within a block, by what they learnt from the complete ones.
        mean_episodes: mean-action episodes per task at each point; of learners that are meant to be tested with sampled
            actions, at least as many of these.
        sampled_episodes: sampled-action episodes per task for policies that do not adapt (references, k=0 learners).
        split: "test", or "validation" when settings are being chosen.
        official: whether learners are also put through Metaworld's own evaluation.
    """

    tasks: int
    k: tuple[int, ...]
    mean_episodes: int = 1
    sampled_episodes: int = 1
    split: Literal["test", "validation"] = "test"
    official: bool = False


@dataclass(frozen=True)
class RunConfig:
    """One (family, algorithm, seed) of a suite.

    ``family`` and ``algorithm`` are the names in the suite (what paths and tables show); ``*_module`` is the file that
    implements them, so that a suite can hold several variants of one algorithm. ``algorithm_module`` is None for a
    reference policy, which the family provides and nobody trains. ``steps`` is the training budget in environment
    steps.
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

    @property
    def kind(self) -> RunKind:
        return "reference" if self.algorithm_module is None else "algorithm"

    @property
    def official(self) -> bool:
        """Whether Metaworld's own evaluation is asked for; reference policies cannot be put through it."""
        return self.evaluation.official and self.kind == "algorithm"

    @property
    def train_hash(self) -> str:
        """Fingerprint of what decides the trained model, seed included; where results are filed does not count."""
        return _digest(
            {k: v for k, v in self.to_dict().items() if k not in ("suite", "family", "algorithm", "evaluation")}
        )

    @property
    def config_hash(self) -> str:
        """Fingerprint of everything but the seed: equal for the seeds of one cell, written into every row.

        Whether the official evaluation is asked for, too, does not count: it changes no other result.
        """
        values = {key: value for key, value in self.to_dict().items() if key != "seed"}
        values["evaluation"].pop("official")
        return _digest(values)

    def directory(self, root: Path = Path("results")) -> Path:
        """Where this run's files live: ``<root>/<suite>/<family>/<algorithm>/seed-<n>``."""
        return root / self.suite / self.family / self.algorithm / f"seed-{self.seed}"

    def to_dict(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(json.dumps(asdict(self)))  # plain JSON types only: tuples become lists
        return value

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> RunConfig:
        data = dict(value)
        evaluation = dict(data.pop("evaluation"))
        evaluation["k"] = tuple(evaluation["k"])
        return cls(evaluation=Evaluation(**evaluation), **data)


def why_no_selection(runs: Iterable[RunConfig]) -> str:
    """Why no settings may be chosen from these runs, or empty: a task that chose a setting is no test any more."""
    tested = dict.fromkeys(run.family for run in runs if run.evaluation.split != "validation")
    if not tested:
        return ""
    return f"no selection on test tasks: evaluate {', '.join(tested)} with split: validation"


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
