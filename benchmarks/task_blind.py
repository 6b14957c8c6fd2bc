"""The best policy that only looks: scripted candidates for every family's floor, none of which gets any evidence.

    python -m benchmarks.task_blind [NAME ...]

plays the candidates of ``benchmarks._task_blind`` on training tasks (on validation tasks where some of them are fitted
to the training tasks), chooses the best by the family's headline (of equally good ones by the return), and reports it
on test tasks beside "random", "oracle" and the family's own candidates. A candidate sees observations and counts
steps; it sees no reward, no task, and nothing of learners. The last column is where the row lies between random (0) and
the oracle (1): a family whose best candidate comes near 1 gives its tasks away. Without names, all families are
searched; ``--all`` plays every candidate on test tasks, too.

    python -m benchmarks.task_blind --targets

prints how much the first observation says of the target in each of Meta-World's 50 classes.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from metaworld import env_dict

from benchmarks._task_blind import CASES, guesses
from benchmarks._task_blind_base import Case
from kshot import registry, seeding
from kshot.envs import metaworld
from kshot.envs._target_prediction import fit
from kshot.errors import suggest
from kshot.running.rollout import rollout
from kshot.types import Array, ReferencePolicy, Split, Task, TaskFamily

SHOWN = ("random", "task_blind", "oracle")


@dataclass(frozen=True)
class Score:
    """Headline and return of an episode (of a trial where that is the headline), and the headline's standard error."""

    headline: float
    error: float
    episode_return: float

    @property
    def rank(self) -> tuple[float, float]:
        return self.headline, self.episode_return


def score(family: TaskFamily, headline: str, make: ReferencePolicy, tasks: Sequence[Task], copies: int) -> Score:
    """What ``make`` scores on ``tasks`` with sampled actions; the standard error is that over tasks."""
    episodes = family.spec.episodes_per_trial if headline == "trial_return" else 1
    keys = seeding.split(seeding.key("task-blind benchmark", tasks[0].split), np.arange(len(tasks)))
    played = rollout(family, make(tasks), tasks, keys, copies, episodes)
    # [T, copies, episodes of a trial]
    returns = played.returns.reshape(len(tasks), copies, episodes).sum(axis=2)
    success = played.success_last.reshape(len(tasks), copies, episodes)[:, :, 0]
    values: Array = (success if headline == "success_last" else returns).mean(axis=1)
    return Score(float(values.mean()), float(values.std() / len(tasks) ** 0.5), float(returns.mean()))


def drawn(family: TaskFamily, split: Split, n: int) -> list[Task]:
    """``n`` tasks of a split, by a seed of the benchmark's own."""
    return family.tasks(split, n, seeding.key("task-blind benchmark", split))


def opened(case: Case) -> tuple[TaskFamily, str, dict[str, ReferencePolicy]]:
    """The family of a case, its headline, and all candidates: the family's own come first."""
    module = registry.load("envs", case.family)
    settings = module.Settings(**case.settings)
    family = module.build(settings)
    own = {name: family.references[name] for name in ("task_blind", *case.shipped)}
    return family, module.headline(settings), own | dict(case.candidates(family))


def searched(name: str, everything: bool = False) -> list[str]:
    """Lines of the table for one case."""
    case = CASES[name]
    family, headline, candidates = opened(case)
    known, test = drawn(family, case.split, case.chosen_on), drawn(family, "test", case.test)
    found = {row: score(family, headline, make, known, case.copies) for row, make in candidates.items()}
    best = max(found, key=lambda row: found[row].rank)
    shown = candidates if everything else {best: candidates[best]}
    shown = shown | {row: family.references[row] for row in (*SHOWN, *case.shipped)}
    tested = {row: score(family, headline, make, test, case.copies) for row, make in shown.items()}
    low, high = tested["random"].headline, tested["oracle"].headline
    lines = []
    for row in ["random", *sorted(candidates, key=lambda row: found[row].rank), "oracle"]:
        cells = [name, f"**{row}**" if row == best else row, headline]
        cells += two(found[row]) if row in found else ["", ""]
        cells += two(tested[row]) if row in tested else ["", ""]
        cells += [f"{(tested[row].headline - low) / (high - low):.2f}" if row in tested and high != low else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def targets() -> list[str]:
    """Lines of a table: how far off guesses of the target are in every class of Meta-World, in centimetres.

    Fitted to the 50 training goals of ML1, mean over its 50 test goals; and what ``_target_prediction.fit`` chooses.
    """
    lines = [
        "| class | the mean | linear in what is seen | the nearest training task's | chosen |",
        "|---|---|---|---|---|",
    ]
    for name in sorted(env_dict.ALL_V3_ENVIRONMENTS):
        family = metaworld.build(metaworld.Settings(task=name))
        seen, places = family.first_observations_and_targets(name, "train")
        new, true = family.first_observations_and_targets(name, "test")
        ways = guesses(seen, places)
        off = [
            100 * np.linalg.norm(ways[way](new) - true, axis=1).mean()
            for way in ("the mean", "linear in what is seen", "the nearest training task's")
        ]
        chosen = "linear" if fit(seen, places).weights.any() else "mean"
        lines.append(f"| {name} | " + " | ".join(f"{value:.1f}" for value in off) + f" | {chosen} |")
    return lines


def two(score: Score) -> list[str]:
    """Cells of headline and return."""
    return [f"{score.headline:.2f} ± {score.error:.2f}", f"{score.episode_return:.2f}"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CASES)}")
    parser.add_argument("--all", action="store_true", help="every candidate on test tasks")
    parser.add_argument("--targets", action="store_true", help="what Meta-World's objects say of targets, instead")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in CASES:
            parser.error(f"unknown family {name!r}{suggest(name, CASES)}")
    warnings.simplefilter("ignore", UserWarning)  # metaworld's experts warn at nearly every step
    if arguments.targets:
        print("\n".join(targets()))
        return
    print("| family | policy | headline | chosen on | return | test tasks | return | share |", flush=True)
    print("|---|---|---|---|---|---|---|---|")
    for name in arguments.names or CASES:
        print("\n".join(searched(name, arguments.all)), flush=True)


if __name__ == "__main__":
    main()
