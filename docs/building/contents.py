"""The site's table of contents: the links in the lists of each README.md under docs/, in their order.

Sphinx asks for a directive that would be noise to those who read the pages as they are. It gets one as it reads them.
"""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath
from typing import Any

from sphinx.application import Sphinx

_LINK = re.compile(r"^(?:-|\d+\.) \[([^\]]+)\]\(([^)#:]+\.(?:md|rst|ipynb))\)", re.MULTILINE)
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def sections(text: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """The headings of a page and the links that the lists below them begin their lines with: words and target.

    What stands before the first heading of the second level has the heading "".
    """
    parts = _HEADING.split(text)
    found = zip(["", *parts[1::2]], parts[::2], strict=True)
    return [(title, links) for title, part in found if (links := _LINK.findall(part))]


def document(page: str, link: str) -> str:
    """The name that Sphinx has for what ``page`` links to: a path from the root, without its ending."""
    target = os.path.normpath(PurePosixPath(page).parent / link)
    return str(PurePosixPath(target).with_suffix(""))


def directives(page: str, text: str) -> str:
    """What Sphinx has to read at the end of a page, so that it shows the page's lists at the side of every page."""
    blocks = []
    for title, links in sections(text):
        entries = "\n".join(f"{words} </{document(page, link)}>" for words, link in links)
        caption = f":caption: {title}\n" if title else ""
        blocks.append(f"\n```{{toctree}}\n:hidden:\n{caption}\n{entries}\n```\n")
    return "".join(blocks)


def _read(app: Sphinx, name: str, source: list[str]) -> None:
    if name.startswith("docs/") and PurePosixPath(name).name == "README":
        source[0] += directives(name, source[0])


def _begin(app: Sphinx, error: Exception | None) -> None:
    """The folder's own page leads to the first one."""
    if error is None and app.builder.format == "html":
        page = f"{app.config.root_doc}.html"
        text = f'<!doctype html>\n<meta charset="utf-8">\n<meta http-equiv="refresh" content="0; url={page}">\n'
        (app.outdir / "index.html").write_text(f'{text}<title>kshot</title>\n<a href="{page}">kshot</a>\n')


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", _read)
    app.connect("build-finished", _begin)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
