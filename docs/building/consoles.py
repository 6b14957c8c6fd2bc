"""Runs the examples of pages as a reader would: files that they show, commands after ``$``, and what these print."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\S+\.\w+)\n")
ANYTHING = "..."
"""Stands in what is shown for any text."""


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str


class Command(NamedTuple):
    """A line after ``$``, in words, and the lines below it."""

    words: tuple[str, ...]
    shown: str


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a page that begin at the margin."""
    return [Block(*match.groups()) for match in _BLOCK.finditer(text)]


def commands(console: str) -> Iterator[Command]:
    """The commands of a console block."""
    for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        line, _, shown = part.partition("\n")
        yield Command(tuple(shlex.split(line)), shown)


def fits(printed: str, shown: str) -> bool:
    """Whether something was printed as it is shown, where ``...`` stands for anything."""
    pattern = ".*".join(map(re.escape, shown.split(ANYTHING)))
    return re.fullmatch(pattern, printed, flags=re.DOTALL) is not None


def replay(text: str, folder: Path, run: Callable[[tuple[str, ...]], str]) -> list[str]:
    """Write the files of a page, whose blocks begin with ``# name``, run its consoles in order, and compare.

    Args:
        text: the page.
        folder: where the files go.
        run: runs a command there and returns what it prints.

    Returns:
        A line for every command that printed something else than what the page shows.
    """
    wrong = []
    for block in blocks(text):
        if match := _FILE.match(block.text):
            (folder / match[1]).write_text(block.text)
        if block.language == "console":
            for command in commands(block.text):
                if not fits(printed := run(command.words), command.shown):
                    wrong.append(f"$ {shlex.join(command.words)}\n{printed}")
    return wrong
