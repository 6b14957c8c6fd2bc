"""Commands that turn finished runs into numbers, figures, tables and pages, keep them and compare them."""

from __future__ import annotations

import argparse

from kshot import commands


def aggregate(options: argparse.Namespace) -> None:
    from kshot.reporting import sums
    from kshot.reporting.aggregate import aggregate

    summary = aggregate(commands.load_recorded(options).runs(), options.root, options.partial)
    commands.print_paths(summary.with_name(name) for name in (*sums.FILES, sums.RECORD))


def figures(options: argparse.Namespace) -> None:
    suite = commands.load_recorded(options)
    from kshot.reporting import figures, paper

    draw, folder = (paper.render_all, "paper_figures") if options.paper else (figures.render_all, "figures")
    commands.print_paths(draw(suite.runs(), options.root, commands.out_folder(options, suite) / folder))


def tables(options: argparse.Namespace) -> None:
    suite = commands.load_recorded(options)
    from kshot.reporting.tables import write_tables

    commands.print_paths(write_tables(suite.runs(), options.root, commands.out_folder(options, suite) / "tables"))


def select(options: argparse.Namespace) -> None:
    suite = commands.load_recorded(options)
    from kshot.reporting.select import write_selection
    from kshot.suites.starting_points import published

    commands.print_paths(
        write_selection(suite.runs(), options.root, published(suite), commands.out_folder(options, suite))
    )


def report(options: argparse.Namespace) -> None:
    suite = commands.load_recorded(options)
    from kshot.reporting.page import write_page

    page = write_page(
        suite.resolved(facts=False),
        suite.runs(),
        options.root,
        commands.out_folder(options, suite),
        options.partial,
        alone=options.alone,
    )
    commands.print_paths([page])


def strip_links(options: argparse.Namespace) -> None:
    from kshot.reporting.links import strip

    commands.print_paths([strip(path) for path in options.pages])


def compare(options: argparse.Namespace) -> int:
    from kshot.reporting import compare_report

    found = compare_report.read(options.a, options.b, commands.recorded, options.root, options.pair)
    written = compare_report.write(found, options.out or compare_report.folder(found))
    commands.print_paths([*written, *compare_report.lines(found)])
    return commands.FINDINGS if options.fail_if_worse and found.with_verdict("worse") else 0


def fidelity(options: argparse.Namespace) -> None:
    suite = commands.load_recorded(options)
    from kshot.reporting.fidelity import FILED, collect, write_page
    from kshot.reporting.fidelity_picture import write_picture

    commands.print_paths([collect(suite.name, options.root), write_page(), write_picture(FILED)])


def pack(options: argparse.Namespace) -> None:
    suite = commands.load_recorded(options)
    from kshot.reporting.kept import pack

    commands.print_paths(pack(suite.resolved(), suite.runs(), options.root))


def unpack(options: argparse.Namespace) -> None:
    from kshot.reporting.kept import unpack

    commands.print_paths(unpack(options.folder, options.root))


def redraw(options: argparse.Namespace) -> None:
    from kshot.reporting.redraw import redraw

    commands.print_paths(redraw(commands.recorded))


def archive(options: argparse.Namespace) -> None:
    suite = commands.load_recorded(options)
    from kshot.reporting.archive import archive

    out = options.out or commands.out_folder(options, suite) / "archive"
    commands.print_paths(archive(suite.resolved(), suite.runs(), options.root, out, options.models))


def verify(options: argparse.Namespace) -> int:
    from functools import partial

    from kshot.reporting.archive import damages
    from kshot.reporting.kept import unpack
    from kshot.running.verify import Asked, Reading, verify
    from kshot.suites.reading import load_suite

    reading = Reading(damages, unpack, lambda file: load_suite(file, recorded=True).runs())
    asked = Asked(options.cell, options.cells, options.seed, options.note)
    promised = verify(options.folder, reading, asked, partial(print, flush=True))
    return 0 if promised else commands.FINDINGS
