"""Whom a suite has to cite: BibTeX of its algorithms, task families, statistics and software."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kshot import yaml_text
from kshot.errors import RecordError
from kshot.places import CITED, REFERENCES, ROOT
from kshot.suites.run import RunConfig

_ENTRY = re.compile(r"^@\w+\{([^,\s]+),\n.*?^\}\n", re.DOTALL | re.MULTILINE)


def entries(path: Path = REFERENCES) -> dict[str, str]:
    """The BibTeX entries of a file by their keys. Raises RecordError where a key stands there twice."""
    found: dict[str, str] = {}
    for match in _ENTRY.finditer(path.read_text(encoding="utf-8")):
        if match[1] in found:
            raise RecordError(f"{path}: the key {match[1]} stands there twice")
        found[match[1]] = match[0]
    return found


def cited(path: Path = CITED) -> dict[str, Any]:
    """What ``config/references.yaml`` says: keys for every suite, and for each module keys or why there are none."""
    value: dict[str, Any] = yaml_text.parse(path.read_text(encoding="utf-8"))
    return value


def bibliography(runs: Sequence[RunConfig]) -> str:
    """A BibTeX file with all that the runs of a suite use. What has no entry is named in a comment.

    Args:
        runs: all of the suite's.

    Raises:
        RecordError: ``config/references.yaml`` names a key that ``config/references.bib`` has not.
    """
    known, noted = entries(), cited()
    modules = {("envs", run.family_module) for run in runs}
    modules |= {("algorithms", run.algorithm_module) for run in runs if run.algorithm_module is not None}
    keys, without = set(noted["every_suite"]), list[str]()
    for kind, name in sorted(modules):
        found = noted[kind].get(name, "no part of kshot; cite it as its authors ask")
        if isinstance(found, str):
            without.append(f"% {kind}/{name}: {found}\n")
        else:
            keys |= set(found)
    if unknown := sorted(keys - known.keys()):
        raise RecordError(f"{CITED}: names {unknown[0]}, which {REFERENCES.name} does not have")
    head = f"% What the suite {runs[0].suite} is made of.\n{''.join(without)}"
    return "\n".join([head, own_entry(), *(known[key] for key in sorted(keys))])


def own_entry() -> str:
    """The entry of kshot, from ``CITATION.cff``."""
    cff = yaml_text.parse((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    names = [f"{{{one['name']}}}" if "name" in one else _person(one) for one in cff["authors"]]
    fields = {"title": f"{{{cff['title']}}}", "author": " and ".join(names), "version": str(cff["version"])}
    fields |= {"license": cff["license"]} | {name: cff[name] for name in ("url", "doi") if name in cff}
    if released := cff.get("date-released"):
        fields["year"] = str(released)[:4]
    lines = [f"  {name:<9} = {{{value}}},\n" for name, value in fields.items()]
    return f"@misc{{kshot,\n{''.join(lines)}}}\n"


def _person(author: dict[str, str]) -> str:
    return f"{author['family-names']}, {author['given-names']}"
