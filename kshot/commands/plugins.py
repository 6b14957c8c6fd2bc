"""Commands that write plug-ins, and check whether they fulfil the contract."""

from __future__ import annotations

import argparse

from kshot import commands


def new(options: argparse.Namespace) -> None:
    from kshot.contract import new

    commands.print_paths(new.write(options.kind, options.name, options.folder))
    lines = new.next_steps(options.kind, options.name, options.folder)
    commands.print_paths(["Now:", *(f"  {line}" for line in lines)])


def test(options: argparse.Namespace) -> int:
    from functools import partial

    from kshot.contract import checking
    from kshot.running.commits import unmentioned

    with unmentioned():
        passed = checking.test(options.name, options.on, partial(print, flush=True))
    return 0 if passed else commands.FINDINGS
