"""Arguments that several commands take, and those that a command passes on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

SUITE_HELP = "a suite file, or the name of one in config/suites/ or of a folder in the results folder"


class Parser(argparse.ArgumentParser):
    """One that can leave what stands after ``--`` to another program, as ``passed_on``."""

    passes_on = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Not left to argparse, which gives positional arguments up at the first option behind one."""
        words = list(sys.argv[1:] if args is None else args)
        if not self.passes_on:
            return super().parse_known_args(words, namespace)
        place = words.index("--") if "--" in words else len(words)
        found, unknown = super().parse_known_args(words[:place], namespace)
        found.passed_on = words[place + 1 :]
        return found, unknown


def with_suite(parser: Parser) -> Parser:
    """Takes a suite, and where its results are."""
    parser.add_argument("suite", metavar="SUITE", help=SUITE_HELP)
    return with_root(parser)


def with_root(parser: Parser) -> Parser:
    """Takes the results folder."""
    parser.add_argument("--root", type=Path, default=Path("results"), help="the results folder (default: results)")
    return parser


def with_run(parser: Parser) -> Parser:
    """Takes one run of a suite."""
    with_suite(parser)
    parser.add_argument("--family", required=True, help="the family's name in the suite")
    parser.add_argument("--algorithm", required=True, help="the algorithm's (or reference policy's) name in the suite")
    parser.add_argument("--seed", required=True, type=int, help="one of the suite's seeds; 0 for a reference policy")
    parser.add_argument("--threads", type=positive, help="threads for computing (default: $OMP_NUM_THREADS or 1)")
    return parser


def positive(text: str) -> int:
    """A whole number of at least 1. Raises argparse.ArgumentTypeError."""
    value = int(text) if text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return value
