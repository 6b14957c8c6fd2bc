"""The commands that the documentation shows, and shipped suites cut down so that these can be run by their names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from docs.building import notebooks
from kshot import yaml_text
from kshot.places import ROOT, SUITES
from kshot.suites.reading import load_suite

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")]
PAGES += [page for folder in ("config", "docs", "reports", "results") for page in sorted((ROOT / folder).rglob("*.md"))]
OURS = ("kshot", "snakemake", "make", "python", "benchmarks/accelerator.sh")
SHELL = ("cd", "export", "mkdir", "source")
OTHERS = (".venv/bin/pre-commit", ".venv/bin/pytest", "conda", "git", "pip", "tensorboard", *SHELL)
PROGRAMS = (*OURS, *OTHERS)
"""What commands begin with; that there is no other, of those in blocks, is tested."""
PLACEHOLDERS = {"SUITE": "smoke", "fidelity-<name>": "fidelity-reach"}
FORMS = {
    "kshot compare A B": "kshot compare laptop /elsewhere/results/laptop",
    "kshot new algorithm NAME": "kshot new algorithm tally",
    "kshot new family NAME": "kshot new family lamps",
    "kshot new figure NAME": "kshot new figure worth",
    "kshot new table NAME": "kshot new table worths",
    "kshot run NAME": "kshot run tally",
    "kshot run smoke -- OPTIONS": "kshot run smoke -- --config 'seeds=[0,1]'",
    "kshot test NAME": "kshot test tally",
    "kshot verify --note": "kshot verify reports/reference/laptop --cell nav2d/fomaml/0 --note",
    "kshot verify FOLDER": "kshot verify reports/smoke/archive",
    "python -m benchmarks.task_blind NAME": "python -m benchmarks.task_blind nav2d",
}
"""Commands that stand for any of their kind -> one that is shown somewhere else."""


def _text(page: Path) -> str:
    if page.suffix == ".ipynb":
        return "\n\n".join(cell.source for cell in notebooks.read(page).cells if cell.cell_type == "markdown")
    return page.read_text(encoding="utf-8")


def commands(text: str) -> list[str]:
    """The commands of a page as a shell would read them: lines of blocks ``sh``, and what stands between backticks.

    Of the latter those that begin with one of ``PROGRAMS`` and say more than its name.
    """
    blocks = re.findall(r"^ *```sh\n(.*?)```", text, flags=re.DOTALL | re.MULTILINE)
    lines = [re.split(r"\s# ", line)[0].strip() for block in blocks for line in block.splitlines()]
    without = re.sub(r"^ *```.*?```", "", text, flags=re.DOTALL | re.MULTILINE)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", without)]
    lines += [span for span in spans if span.split(" ")[0] in PROGRAMS and " " in span]
    found = []
    for command in (part.strip() for line in lines for part in line.split(" && ")):
        for placeholder, value in PLACEHOLDERS.items():
            command = re.sub(rf"(?<![\w-]){re.escape(placeholder)}(?!\w)", value, command)
        if command:
            found.append(shlex.join(shlex.split(FORMS.get(command, command))))
    return found


def documented() -> dict[str, list[str]]:
    """Every command that is shown, and the pages that show it."""
    found: dict[str, list[str]] = {}
    for page in [*PAGES, *notebooks.notebooks()]:
        for command in commands(_text(page)):
            found.setdefault(command, []).append(page.relative_to(ROOT).as_posix())
    return found


def cut(
    name: str,
    families: Mapping[str, Mapping[str, Any]],
    algorithms: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int] = (0,),
    exclude: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """A shipped suite with few of its families and rows, and with budgets of a moment.

    Args:
        name: of a suite in config/suites.
        families: of it -> what is another one's there, key by key.
        algorithms: rows of it -> settings, instead of those that it has.
        seeds: of the suite.
        exclude: instead of what it excludes.
    """
    suite: dict[str, Any] = yaml_text.parse((SUITES / f"{name}.yaml").read_text(encoding="utf-8"))
    cells = {}
    for family, changes in families.items():
        cells[family] = {key: value for key, value in suite["families"][family].items() if key != "learning_curve"}
        for key, value in changes.items():
            kept = cells[family].get(key, {}) if isinstance(value, Mapping) else {}
            cells[family][key] = {**kept, **value} if isinstance(value, Mapping) else value
    rows = {}
    for row, settings in algorithms.items():
        rows[row] = {"algorithm": suite["algorithms"][row].get("algorithm", row), "settings": dict(settings)}
    suite |= {"seeds": list(seeds), "families": cells, "algorithms": rows, "exclude": list(exclude)}
    load_suite(suite)
    return suite
