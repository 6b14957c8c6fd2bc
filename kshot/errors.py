"""The errors that users can cause, each of which ends in one clear line, and the words of "did you mean"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """A configuration cannot be used. ``problems`` holds one line for each mistake; the text is all of them."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class RegistryError(ValueError):
    """A name is unknown, or the module behind it does not fulfil the contract."""


class RecordError(ValueError):
    """A results file is missing, damaged or of another shape; the message names the file and the remedy."""


class PipelineError(RuntimeError):
    """A pipeline that was started from Python did not come to its end; the message says where to look."""


def suggest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'maml'?)`` for a near miss, else the list of what is known."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else f" (known: {', '.join(names) or 'none'})"
