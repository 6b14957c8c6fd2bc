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
    import logging
    from functools import partial

    from kshot.contract import checking

    logging.getLogger("kshot.running.commits").setLevel(logging.ERROR)  # whose commit it is matters to results alone
    return 0 if checking.test(options.name, options.on, partial(print, flush=True)) else commands.FINDINGS
