"""What a page links to, and how it is kept without the data it was made from: with links to files beside it alone.

A page in ``reports/<suite>/`` links to the runs in ``results/``. Committed or mailed alone, such links lead nowhere.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from markupsafe import escape

from kshot import records
from kshot.errors import RecordError

_LINK = re.compile(r'<a href="(?P<target>[^"]*)">(?P<text>.*?)</a>', re.DOTALL)
_ELSEWHERE = re.compile(r"#|[a-z][a-z0-9+.-]*:", re.IGNORECASE)  # a place on the page itself, or a scheme
_NOTE = "Files that are named without a link are not kept with this page."
_END = "</div></footer>"
DATA_FILES = {
    "summary.csv": "every mean, interquartile mean and interval",
    "scores.csv": "the score of every run",
    "tasks.parquet": "the outcome on every test task, averaged over runs",
    "cells.csv": "every run the suite expects, its state and where it came from",
}
"""Files of a suite's numbers, as ``aggregate`` writes them, and what they hold: linked where a page is beside them."""


def kept(page: str, folder: Path) -> str:
    """The page with links to files in ``folder`` alone, where it is to lie; of others the text stays.

    A link to a suite's numbers (``DATA_FILES``) becomes one to the file of that name in ``folder``, if there is one.
    """

    def replaced(match: re.Match[str]) -> str:
        target = html.unescape(match["target"])
        if _ELSEWHERE.match(target):
            return match[0]
        if beside(target, folder):
            return match[0]
        name = target.rsplit("/", 1)[-1]
        if name in DATA_FILES and beside(name, folder):
            return f'<a href="{name}">{match["text"]}</a>'
        return match["text"]

    text = _LINK.sub(replaced, page)
    return text if text == page or _NOTE in text else text.replace(_END, f" {_NOTE}{_END}")


def beside(target: str, folder: Path) -> bool:
    """Whether a relative link from a page in ``folder`` leads to a file in it or below it."""
    path = (folder / unquote(target.split("#")[0])).resolve()
    return path.is_relative_to(folder.resolve()) and path.is_file()


def targets(page: str) -> list[str]:
    """What a page links to or shows, without places on the page itself and what the page holds as data."""
    found = [html.unescape(target) for target in re.findall(r'(?:href|src)="([^"]*)"', page)]
    return [target for target in found if not target.startswith(("#", "data:"))]


def link(path: Path, out: Path) -> str:
    """To a file from a page in ``out``: relative, so that results and reports can be moved together."""
    return str(escape(Path(os.path.relpath(path, out)).as_posix()))


def existing(paths: Sequence[Path], out: Path) -> list[tuple[str, str]]:
    """(label, link) of those files that are there."""
    return [(path.name, link(path, out)) for path in paths if path.is_file()]


def data_files(folder: Path, out: Path) -> list[tuple[str, str, str]]:
    """(name, link, what it holds) of a suite's data files."""
    return [(name, link(folder / name, out), text) for name, text in DATA_FILES.items()]


def strip(path: Path) -> Path:
    """Rewrite a page so that it links to files beside it alone.

    Raises:
        RecordError: there is no such page, or it is none of kshot's.
    """
    if not path.is_file():
        raise RecordError(f"{path}: no such file; name a page that `kshot report` wrote")
    text = path.read_text(encoding="utf-8", errors="replace")
    if _END not in text or "kshot report" not in text:
        raise RecordError(f"{path}: not a page that `kshot report` wrote")
    records.write_text(path, kept(text, path.parent))
    return path
