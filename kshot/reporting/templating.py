"""How the templates of pages are rendered: everything from data is escaped, and a name that nobody set is an error."""

from __future__ import annotations

from pathlib import Path

import jinja2

from kshot.reporting import values

TEMPLATES = Path(__file__).parent / "templates"


def environment() -> jinja2.Environment:
    """For the templates beside this file, with the filter ``value`` for what stands in tables."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["value"] = values.html
    return made
