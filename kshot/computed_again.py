"""Digests of source code that give the same numbers, because a run was computed with both.

A digest changes with every byte of the code that decides a run's numbers, also where no number changes by it. Runs with
different digests may not be compared, unless it is shown that they may: ``kshot verify --note`` computes a kept run
again, and where every value and the model are the same it notes both digests here, in the folder of its suite.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from kshot import records
from kshot.errors import RecordError

FILE = "computed-again.json"
"""In the folder of a suite's results, and in that of its kept runs; not there where nothing was noted."""


@dataclass(frozen=True, order=True)
class Again:
    """A run that was computed again, with the same values.

    Attributes:
        run: FAMILY/ALGORITHM/SEED.
        made_by: the digests it was made by; two where it was trained and evaluated by different code.
        again_by: the digest it was computed again by.
        git_commit: of the code with that digest.
    """

    run: str
    made_by: tuple[str, ...]
    again_by: str
    git_commit: str


def read(folder: Path) -> list[Again]:
    """What is noted of a suite.

    Raises:
        RecordError: the file is not one that ``add`` wrote.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        notes = [Again(**{**entry, "made_by": tuple(entry["made_by"])}) for entry in records.read_json(path)["runs"]]
        if not all(isinstance(text, str) for note in notes for text in (note.run, note.again_by, *note.made_by)):
            raise TypeError("a name or digest is no text")
    except (KeyError, TypeError) as error:
        raise RecordError(f"{path}: is not as `kshot verify --note` writes it ({error}); delete it") from None
    return notes


def add(folder: Path, notes: Iterable[Again]) -> None:
    """Note more runs of a suite, beside those that are noted."""
    if found := {*read(folder), *notes}:
        records.write_json(folder / FILE, {"runs": [asdict(note) for note in sorted(found)]})


def as_one(notes: Sequence[Again]) -> dict[str, str]:
    """Of every digest that is noted, the one that stands for all that give the same numbers."""
    stands: dict[str, str] = {}
    for note in notes:
        names = {stands.get(digest, digest) for digest in (*note.made_by, note.again_by)}
        one = min(names)
        stands |= dict.fromkeys((*note.made_by, note.again_by), one)
        stands |= {digest: one for digest, other in stands.items() if other in names}
    return stands
