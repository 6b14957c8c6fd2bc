"""The front door: every step of a benchmark as a command. The workflow runs these same commands.

Heavy imports stand inside the commands that need them, so that help, list and status answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kshot import __version__
from kshot.arguments import SUITE_HELP, Parser, positive, with_root, with_run, with_suite

if TYPE_CHECKING:
    from kshot.running import jobs
    from kshot.suites.model import Suite
    from kshot.suites.run import RunConfig

FINDINGS, USER_ERROR = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status.

    0 done, 1 ``audit``, ``verify``, ``test`` or ``compare --fail-if-worse`` has findings, 2 something the user can mend
    (one line each on stderr), 130 Ctrl-C.
    """
    os.environ["MPLBACKEND"] = "agg"  # draws files; what a notebook names in its own process is not there in others
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options) or 0)
    except KeyboardInterrupt:
        print("kshot: interrupted; the same command does it again", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe, say `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if not isinstance(error, _mistakes()):
            raise
        for line in (str(error) or type(error).__name__).splitlines():
            print(f"kshot: {line}", file=sys.stderr)
        return USER_ERROR


def _mistakes() -> tuple[type[Exception], ...]:
    """Errors that a user can mend."""
    from kshot.errors import ConfigError, RecordError, RegistryError

    kinds: tuple[type[Exception], ...] = (ConfigError, RecordError, RegistryError, OSError)
    # Errors of what is only imported where it is needed.
    for module, name in (("kshot.running.checkpoint", "Busy"), ("kshot.reporting.style", "DrawingError")):
        if module in sys.modules:
            kinds = (*kinds, getattr(sys.modules[module], name))
    return kinds


def _parser() -> Parser:
    parser = Parser(
        prog="kshot", description="Success after K episodes on unseen tasks: meta-reinforcement learning, benchmarked."
    )
    parser.add_argument("--version", action="version", version=f"kshot {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> Parser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=run)
        return sub

    command("list", _list, "Show the algorithms, task families and suites that can be named.")
    command("path", _path, "Print the folder of the Snakefile, the suites and the settings.")
    check = command("check-config", _check_config, "Check suites and count their runs; nothing is run or written.")
    check.add_argument("suites", nargs="+", metavar="SUITE", help=SUITE_HELP)
    for name, run, text in (
        ("train", _train, "Train one run to its budget; goes on from its checkpoint if there is one."),
        ("evaluate", _evaluate, "Evaluate one trained run, or a reference policy, on unseen tasks."),
        ("official", _official, "Put one trained run through Metaworld's own evaluation."),
    ):
        job = with_run(command(name, run, text))
        job.add_argument("--again", action="store_true", help="do it even if it is finished, replacing its results")
    running = command("run", _run, "Run a whole suite with Snakemake, showing how far it is: training to report.")
    running.add_argument("suite", metavar="SUITE", help=SUITE_HELP)
    running.add_argument("--cores", default="all", metavar="N", help="how many cores to use (default: all)")
    running.passes_on, running.usage = True, "kshot run [-h] [--cores N] SUITE [-- OPTIONS AND TARGETS OF SNAKEMAKE]"
    filming = with_run(command("render", _render, "Show a run on a test task, before and after evidence, as a clip."))
    filming.add_argument("--task", type=int, default=0, help="number of the test task, from 0 (default: 0)")
    filming.add_argument("--k", type=int, nargs="+", help="after how much evidence (default: the least and the most)")
    filming.add_argument("--frames", type=positive, default=50, help="pictures of an episode, at most (default: 50)")
    filming.add_argument("--camera", help="of Meta-World: corner (the default), corner2, corner3, topview, ...")
    filming.add_argument("--out", type=Path, help="a .gif or .mp4 (default: a .gif in reports/<suite>/clips/)")
    logging = with_suite(command("tensorboard", _tensorboard, "Write training metrics as TensorBoard's event files."))
    logging.add_argument("--out", type=Path, help="where to write (default: runs/<suite>)")
    summing = with_suite(command("aggregate", _aggregate, "Check all results of a suite and compute its numbers."))
    page = with_suite(command("report", _report, "Write the report page from the numbers, figures and tables."))
    for sub in (summing, page):
        sub.add_argument("--partial", action="store_true", help="work with the runs that are there, listing the others")
    alone = "for a page kept without the results: copy the suite's CSV files beside it, and link to files there alone"
    page.add_argument("--alone", action="store_true", help=alone)
    stripping = command("strip-links", _strip_links, "Leave out links of pages to files that are not beside them.")
    stripping.add_argument("pages", nargs="+", type=Path, metavar="PAGE", help="an index.html of `kshot report`")
    drawing = with_suite(command("figures", _figures, "Draw the figures of a suite from its numbers."))
    paper = "draw those for papers: a PDF for each family, one column and one page wide, without titles"
    drawing.add_argument("--paper", action="store_true", help=paper)
    tabling = with_suite(command("tables", _tables, "Write the tables of a suite (CSV, LaTeX, Markdown)."))
    choosing = with_suite(command("select", _select, "Choose settings among the rows of a suite on validation tasks."))
    for sub in (page, drawing, tabling, choosing):
        sub.add_argument("--out", type=Path, help="where to write (default: reports/<suite>)")
    comparing = command("compare", _compare, "Compare two sets of results: what has got significantly worse or better.")
    sides = "a suite with results, a folder of results, or a kept suite"
    comparing.add_argument("a", metavar="A", help=sides)
    comparing.add_argument("b", metavar="B", help=f"{sides}; or a CSV or parquet file of episodes played elsewhere")
    comparing.add_argument("--root", type=Path, default=Path("results"), help="the results folder (default: results)")
    comparing.add_argument("--out", type=Path, help="where to write (default: reports/compare/<A>-<B>)")
    pairing = "compare learners whose names differ"
    comparing.add_argument("--pair", action="append", default=[], metavar="IN_A=IN_B", help=pairing)
    comparing.add_argument("--fail-if-worse", action="store_true", help="exit with 1 if a learner is worse in B")
    status = with_suite(command("status", _status, "Show what every run of a suite is doing, until all are finished."))
    status.add_argument("--once", action="store_true", help="print once instead of following")
    auditing = "List results that were made with other code, settings or numeric libraries than are here now."
    with_suite(command("audit", _audit, auditing))
    with_suite(command("fidelity", _fidelity, "File what a fidelity suite measured and write docs/fidelity.md."))
    with_suite(command("pack", _pack, "Keep a suite's finished runs, without models, in reports/reference/<suite>."))
    unpacking = with_root(command("unpack", _unpack, "Put runs that are kept where all other commands read them."))
    unpacking.add_argument("folder", type=Path, metavar="FOLDER", help="of one suite, as `kshot pack` wrote it")
    archiving = with_suite(command("archive", _archive, "Put all that a paper's artefact needs into one folder."))
    archiving.add_argument("--out", type=Path, help="the folder (default: reports/<suite>/archive)")
    archiving.add_argument("--models", action="store_true", help="keep the trained models, too")
    verifying = command("verify", _verify, "Check an archive or a kept suite, and compute some of its runs again.")
    verifying.add_argument("folder", type=Path, metavar="FOLDER", help="as `kshot archive` or `kshot pack` wrote it")
    choice = verifying.add_mutually_exclusive_group()
    choice.add_argument("--cells", type=int, default=1, metavar="N", help="how many runs, drawn by --seed (default: 1)")
    choice.add_argument("--cell", nargs="+", default=[], metavar="FAMILY/ALGORITHM/SEED", help="these runs")
    verifying.add_argument("--seed", type=int, default=0, help="of the drawing (default: 0)")
    making = command("new", _new, "Write a small working plug-in under a name of your own.")
    making.add_argument("kind", choices=("algorithm", "family", "figure"), help="what it is to be")
    making.add_argument("name", metavar="NAME", help="its name: lower-case letters, digits and '_'")
    making.add_argument("--folder", type=Path, default=Path(), help="where (default: here); to be named in KSHOT_PATH")
    testing = command("test", _test, "Check whether an algorithm, family, figure or table fulfils the contract.")
    testing.add_argument("name", metavar="NAME", help="its name")
    choice_help = "families to check an algorithm on, or algorithms to check a family with (default: some quick ones)"
    testing.add_argument("--on", nargs="+", default=[], metavar="NAME", help=choice_help)
    command("redraw", _redraw, "Make reports/reference and the tables in docs/ again from the runs that are kept.")
    return parser


def _load(options: argparse.Namespace, **how: Any) -> Suite:
    """The suite, read as ``kshot.suites.reading.load_suite`` can be asked to."""
    from kshot.suites.reading import find_suite, load_suite

    return load_suite(find_suite(options.suite, options.root), **how)


def _load_recorded(options: argparse.Namespace) -> Suite:
    """The suite for what reads results alone; of one that was resolved before no algorithm or family is imported."""
    return _load(options, recorded=True)


def _train(options: argparse.Namespace) -> int:
    run = _prepare(options)
    if run.kind == "reference":
        from kshot.errors import ConfigError

        raise ConfigError([f"{run.algorithm!r} is a reference policy: it is not trained; evaluate it"])
    from kshot.running.train import train

    return _do("train", train, run, options)


def _evaluate(options: argparse.Namespace) -> int:
    run = _prepare(options)
    from kshot.running.evaluate import evaluate
    from kshot.running.jobs import require_model

    require_model(run, options.root)
    return _do("evaluate", evaluate, run, options)


def _official(options: argparse.Namespace) -> int:
    run = _prepare(options)
    from kshot.running.jobs import require_model, require_official
    from kshot.running.official import official

    require_official(run)
    require_model(run, options.root)
    return _do("official", official, run, options)


def _do(name: jobs.Name, step: Callable[[RunConfig, Path], None], run: RunConfig, options: argparse.Namespace) -> int:
    """Do a step of a run, unless it has been done."""
    from kshot.running import jobs

    done = "" if options.again else jobs.already_finished(name, run, options.root)
    if done:
        print(done)
        return 0
    return jobs.run_step(name, step, run, options.root, _mistakes())


def _prepare(options: argparse.Namespace) -> RunConfig:
    """The run that was asked for, in a process that is set up to compute it."""
    from kshot.threads import asked, settle

    threads = options.threads or asked() or 1
    settle(threads)
    run = _load(options, only=(options.family, options.algorithm)).find(options.family, options.algorithm, options.seed)

    from kshot.errors import ConfigError
    from kshot.running import provenance
    from kshot.suites.estimates import why_too_large

    if reason := why_too_large(run):
        raise ConfigError([f"suite {run.suite!r}: {reason}"])
    if run.kind != "reference":  # scripted policies do without PyTorch, and loading it would be most of their run
        import torch

        from kshot.running.machine import why_no_device

        torch.set_num_threads(threads)
        if reason := why_no_device(run.device):
            raise ConfigError([f"suite {run.suite!r}: {reason}"])
    # Pins the digests of the code as it is now, before the long part.
    for runner in (provenance.RUNNER, provenance.OFFICIAL_RUNNER):
        provenance.source_digest(run, runner)
    return run


def _run(options: argparse.Namespace) -> int:
    from kshot.running import workflow
    from kshot.suites.reading import find_suite, read_suite

    file = find_suite(options.suite)
    suite = read_suite([file], workflow.overrides(options.passed_on), modules=False)
    return workflow.run(suite.name, suite.runs(), file, options.cores, options.passed_on)


def _render(options: argparse.Namespace) -> None:
    from kshot.rendering import graphics

    # MuJoCo takes what it is to draw with from the environment, when the family is imported.
    found = _load(options, modules=False).find(options.family, options.algorithm, options.seed)
    graphics.choose_for(found.family_module)
    run = _prepare(options)
    from kshot.rendering.clips import default_path, render

    out = options.out or default_path(run, options.task)
    print(render(run, options.root, options.task, options.k, out, options.frames, options.camera), out, sep="\n")


def _tensorboard(options: argparse.Namespace) -> None:
    suite = _load_recorded(options)
    from kshot.running.event_files import write_all

    _print_paths(write_all(suite.runs(), options.root, options.out or Path("runs") / suite.name))


def _aggregate(options: argparse.Namespace) -> None:
    from kshot.reporting import sums
    from kshot.reporting.aggregate import aggregate

    summary = aggregate(_load_recorded(options).runs(), options.root, options.partial)
    _print_paths(summary.with_name(name) for name in (*sums.FILES, sums.RECORD))


def _figures(options: argparse.Namespace) -> None:
    suite = _load_recorded(options)
    from kshot.reporting import figures, paper

    if options.paper:
        _print_paths(paper.render_all(suite.runs(), options.root, _out(options, suite) / "figures" / "paper"))
    else:
        _print_paths(figures.render_all(suite.runs(), options.root, _out(options, suite) / "figures"))


def _tables(options: argparse.Namespace) -> None:
    suite = _load_recorded(options)
    from kshot.reporting.tables import write_tables

    _print_paths(write_tables(suite.runs(), options.root, _out(options, suite) / "tables"))


def _select(options: argparse.Namespace) -> None:
    suite = _load_recorded(options)
    from kshot.reporting.select import write_selection
    from kshot.suites.starting_points import published

    _print_paths(write_selection(suite.runs(), options.root, published(suite), _out(options, suite)))


def _report(options: argparse.Namespace) -> None:
    suite = _load_recorded(options)
    from kshot.reporting.page import write_page

    page = write_page(
        suite.resolved(facts=False),
        suite.runs(),
        options.root,
        _out(options, suite),
        options.partial,
        alone=options.alone,
    )
    _print_paths([page])


def _strip_links(options: argparse.Namespace) -> None:
    from kshot.reporting.links import strip

    _print_paths([strip(path) for path in options.pages])


def _fidelity(options: argparse.Namespace) -> None:
    suite = _load_recorded(options)
    from kshot.reporting.fidelity import FILED, collect, write_page
    from kshot.reporting.fidelity_picture import write_picture

    _print_paths([collect(suite.name, options.root), write_page(), write_picture(FILED)])


def _pack(options: argparse.Namespace) -> None:
    suite = _load_recorded(options)
    from kshot.reporting.kept import pack

    _print_paths(pack(suite.resolved(), suite.runs(), options.root))


def _unpack(options: argparse.Namespace) -> None:
    from kshot.reporting.kept import unpack

    _print_paths(unpack(options.folder, options.root))


def _archive(options: argparse.Namespace) -> None:
    suite = _load_recorded(options)
    from kshot.reporting.archive import archive

    out = options.out or _out(options, suite) / "archive"
    _print_paths(archive(suite.resolved(), suite.runs(), options.root, out, options.models))


def _verify(options: argparse.Namespace) -> int:
    from functools import partial

    from kshot.reporting.archive import damages
    from kshot.reporting.kept import unpack
    from kshot.running.verify import Reading, verify
    from kshot.suites.reading import load_suite

    reading = Reading(damages, unpack, lambda file: load_suite(file, recorded=True).runs())
    promised = verify(options.folder, reading, options.cell, options.cells, options.seed, partial(print, flush=True))
    return 0 if promised else FINDINGS


def _redraw(options: argparse.Namespace) -> None:
    from kshot.reporting.redraw import redraw

    _print_paths(redraw(_recorded))


def _recorded(name: Path) -> tuple[dict[str, object], list[RunConfig]]:
    """What users wrote of a suite, given by its file or name, and its runs."""
    from kshot.suites.reading import find_suite, load_suite

    suite = load_suite(find_suite(str(name)), recorded=True)
    return suite.resolved(facts=False), suite.runs()


def _compare(options: argparse.Namespace) -> int:
    from kshot.reporting import compare_report

    found = compare_report.read(options.a, options.b, _recorded, options.root, options.pair)
    written = compare_report.write(found, options.out or compare_report.folder(found))
    _print_paths([*written, *compare_report.lines(found)])
    return FINDINGS if options.fail_if_worse and found.with_verdict("worse") else 0


def _print_paths(paths: Iterable[Path | str]) -> None:
    """What a step wrote, or found, a line each."""
    for path in paths:
        print(path)


def _out(options: argparse.Namespace, suite: Suite) -> Path:
    return options.out or Path("reports") / suite.name


def _status(options: argparse.Namespace) -> None:
    from kshot.running.status import show
    from kshot.suites.reading import find_suite, load_suite

    # Which runs there are can be told without importing any algorithm, so the picture appears at once.
    suite = load_suite(find_suite(options.suite, options.root, prefer_results=True), modules=False)
    show(suite.runs(), options.root, options.once)


def _audit(options: argparse.Namespace) -> int:
    suite = _load(options)
    from kshot.running.audit import audit

    found = audit(suite.runs(), options.root)
    if not found.checked:
        print(f"kshot: {options.root / suite.name}: {found.verdict}", file=sys.stderr)
        return USER_ERROR
    for finding in found.findings:
        print(finding)
    print(found.verdict)
    return FINDINGS if found.findings else 0


def _new(options: argparse.Namespace) -> None:
    from kshot.contract import new

    _print_paths(new.write(options.kind, options.name, options.folder))
    _print_paths(["Now:", *(f"  {line}" for line in new.next_steps(options.kind, options.name, options.folder))])


def _test(options: argparse.Namespace) -> int:
    import logging
    from functools import partial

    from kshot.contract import checking

    logging.getLogger("kshot.running.commits").setLevel(logging.ERROR)  # whose commit it is matters to results alone
    return 0 if checking.test(options.name, options.on, partial(print, flush=True)) else FINDINGS


def _list(options: argparse.Namespace) -> None:
    from kshot.listing import lines

    print("\n".join(lines()))


def _path(options: argparse.Namespace) -> None:
    from kshot.places import ROOT

    print(ROOT)


def _check_config(options: argparse.Namespace) -> int:
    from kshot.errors import ConfigError
    from kshot.interface.before import refused
    from kshot.suites.reading import find_suite, load_suite

    status = 0
    for name in options.suites:
        try:
            suite = load_suite(find_suite(name))
            runs = suite.runs()
            if reasons := refused(runs, suite.device):
                raise ConfigError(f"{name}: {reason}" for reason in reasons)
        except ConfigError as error:
            status = USER_ERROR
            for line in error.problems:
                print(f"kshot: {line}", file=sys.stderr)
            continue
        trained = sum(run.kind == "algorithm" for run in runs)
        print(f"{name}: {trained} training runs and {len(runs) - trained} reference evaluations, all valid")
    return status
