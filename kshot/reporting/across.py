"""Which learners can be compared over several families: those that have scores on the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kshot.reporting.sections import Section


@dataclass(frozen=True)
class Comparison:
    """Learners, and the sections that all of them have scores in; all of one kind of evidence."""

    learners: tuple[str, ...]
    sections: tuple[Section, ...]


def comparisons(scored: Mapping[str, Sequence[Section]], least: int = 2) -> list[Comparison]:
    """The largest comparisons that every learner can be part of.

    A share or a mean over some families says nothing beside one over others. So learners stand together over families
    that all of them have scores on: first where there are the most pairs of a learner and a family, then wherever
    learners stand that have been in none before. Those that share too few families with others are in none.

    Args:
        scored: for every learner, the sections in which it has scores; all of one kind of evidence.
        least: so many families make a comparison.
    """
    sections = {section.family: section for of in scored.values() for section in of}
    own = {name: frozenset(section.family for section in of) for name, of in scored.items()}
    shared = set(own.values())
    for families in own.values():
        shared |= {families & others for others in shared}
    found = []
    for families in shared:
        learners = tuple(name for name in scored if families <= own[name])
        if len(families) >= least and len(learners) >= min(2, len(scored)):
            found.append(Comparison(learners, tuple(of for name, of in sections.items() if name in families)))
    names = list(scored)
    # No two have the same learners: of families that the same learners share, all are in one.
    found.sort(key=lambda one: (-len(one.learners) * len(one.sections), [names.index(name) for name in one.learners]))
    chosen: list[Comparison] = []
    for one in found:
        if set(one.learners) - {name for other in chosen for name in other.learners}:
            chosen.append(one)
    return chosen
