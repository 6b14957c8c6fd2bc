"""How fast task families step, in comparison with what they are made of.

    python -m benchmarks.families [NAME ...]

prints a table for each family named, or for all, and a last line of JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from benchmarks import _gymnasium
from kshot.errors import suggest

CASES: dict[str, Callable[[], tuple[list[str], dict[str, Any]]]] = {"gymnasium": _gymnasium.report}
"""Family -> what measures it: lines of a table, and the numbers behind it."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CASES)}")
    arguments = parser.parse_args()
    found = {}
    for name in arguments.names or CASES:
        if name not in CASES:
            parser.error(f"unknown family {name!r}{suggest(name, CASES)}")
        lines, found[name] = CASES[name]()
        print("\n".join(lines), flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
