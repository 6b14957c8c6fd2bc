"""Settings of Sphinx, which makes a site of the Markdown pages: ``make docs``.

The pages are read where they stand, from the root of the repository, so that their links hold there as here.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from kshot import __version__  # noqa: E402

project = "kshot"
version = release = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "docs.building.contents",
    "docs.building.notebook_pages",
]
root_doc = "docs/README"
include_patterns = ["*.md", "config/README.md", "reports/README.md", "results/README.md", "docs/**"]
exclude_patterns = [".*", "[!cdr]*/**", "results/[!R]*", "reports/[!R]*", "config/[!R]*", "docs/building"]

myst_heading_anchors = 4  # by the rules of GitHub

# Whoever reads a signature wants `frame`, not `pandas.core.frame.DataFrame`.
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False

nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!kshot\.[a-z_]+$).*")]  # types of other packages have no page here

default_role = "code"
smartquotes = False  # what stands between quotes is often to be typed

html_theme = "furo"
html_title = f"kshot {release}"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False


def _plain_titles(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Titles that say what letters in the list below them stand for are titles for Sphinx, too."""
    for place, line in enumerate(lines):
        if match := re.fullmatch(r"Attributes \((.+)\):", line):
            lines[place : place + 1] = [f"With {match[1]}:", "", "Attributes:"]


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", _plain_titles, priority=100)  # before the sections are read
