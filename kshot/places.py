"""Where the repository keeps what users name."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The repository: kshot is run in place, so its configuration stands beside its code."""
SUITES = ROOT / "config" / "suites"
YARDSTICKS = ROOT / "config" / "fidelity.yaml"
"""What learners are held to where the answer is published or known."""
LOOKS = ROOT / "config" / "looks.yaml"
"""How policies are drawn."""


def suite_files() -> list[Path]:
    """The suites that come with the repository."""
    return [relative(path) for path in sorted(SUITES.glob("*.yaml"))]


def relative(path: Path) -> Path:
    """The path as a user would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
