"""Commands about what can be named, and whether suites are valid; they run nothing."""

from __future__ import annotations

import argparse
import sys

from kshot import commands


def list_names(options: argparse.Namespace) -> None:
    from kshot.listing import lines

    print("\n".join(lines()))


def print_root(options: argparse.Namespace) -> None:
    from kshot.places import ROOT

    print(ROOT)


def check_config(options: argparse.Namespace) -> int:
    from kshot.errors import ConfigError
    from kshot.interface.before import checked

    status = 0
    for name in options.suites:
        try:
            runs = checked(name).runs()
        except ConfigError as error:
            status = commands.USER_ERROR
            for line in error.problems:
                print(f"kshot: {line}", file=sys.stderr)
            continue
        trained = sum(run.kind == "algorithm" for run in runs)
        print(f"{name}: {trained} training runs and {len(runs) - trained} reference evaluations, all valid")
    return status
