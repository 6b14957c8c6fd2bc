"""Where kshot keeps what users name: in the checkout beside the package, in an installed copy within it.

``kshot/shipped`` holds it in both: in the checkout as links, which a wheel follows.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
ROOT = (_PACKAGE / "shipped" / "Snakefile").resolve().parent
"""The folder that holds ``Snakefile``, ``workflow/``, ``profiles/``, ``config/``, the lock, licence and citation."""
INSTALLED = ROOT.is_relative_to(_PACKAGE)
"""Whether this is an installed copy, which has no repository around it."""
CONFIG = ROOT / "config"
SUITES = CONFIG / "suites"
ALGORITHMS = CONFIG / "algorithms"
FIDELITY = CONFIG / "fidelity.yaml"
PUBLISHED = CONFIG / "published.yaml"
LOOKS = CONFIG / "looks.yaml"
REFERENCES = CONFIG / "references.bib"
CITED = CONFIG / "references.yaml"
SCHEMA = CONFIG / "schema" / "suite.schema.json"
NOT_SHOWN = "not-shown.json"
"""Beside a report's page: which figures and tables could not be made. Without any, there is no such file."""


def suite_files() -> list[Path]:
    """The suites that come with kshot."""
    return [relative(path) for path in sorted(SUITES.glob("*.yaml"))]


def relative(path: Path) -> Path:
    """The path as a user would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
