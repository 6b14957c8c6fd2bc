"""The front door: every step of a benchmark as a command. The workflow runs these same commands.

Here are their names and arguments; what they do stands in ``kshot.commands``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from kshot import __version__, commands
from kshot.arguments import SUITE_HELP, Parser, positive, with_root, with_run, with_suite
from kshot.commands import demonstrations, plugins, reports, runs, suites


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
        if not isinstance(error, commands.mistakes()):
            raise
        for line in (str(error) or type(error).__name__).splitlines():
            print(f"kshot: {line}", file=sys.stderr)
        return commands.USER_ERROR


def _parser() -> Parser:
    parser = Parser(
        prog="kshot", description="Success after K episodes on unseen tasks: meta-reinforcement learning, benchmarked."
    )
    parser.add_argument("--version", action="version", version=f"kshot {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> Parser:
        sub = subparsers.add_parser(name, help=text, description=text)
        sub.set_defaults(command=run)
        return sub

    def on_suite(name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> Parser:
        return with_suite(command(name, run, text))

    command("list", suites.list_names, "Show the algorithms, task families and suites that can be named.")
    command("path", suites.print_root, "Print the folder of the Snakefile, the suites and the settings.")
    check = command(
        "check-config",
        suites.check_config,
        "Show every mistake of suites with its line, and count their runs; nothing is run or written.",
    )
    check.add_argument("suites", nargs="+", metavar="SUITE", help=SUITE_HELP)
    for name, run, text in (
        ("train", runs.train, "Train one run to its budget; goes on from its checkpoint if there is one."),
        ("evaluate", runs.evaluate, "Evaluate one trained run, or a reference policy, on unseen tasks."),
        ("official", runs.official, "Put one trained run through Metaworld's own evaluation."),
    ):
        job = with_run(command(name, run, text))
        job.add_argument("--again", action="store_true", help="do it even if it is finished, replacing its results")
    running = command(
        "run", runs.run_suite, "Run a whole suite with Snakemake, showing how far it is: training to report."
    )
    running.add_argument("suite", metavar="SUITE", help=SUITE_HELP)
    running.add_argument("--cores", default="all", metavar="N", help="how many cores to use (default: all)")
    running.epilog = (
        "What stands behind -- is for Snakemake. A change: kshot run SUITE -- --config 'seeds=[0,1]'. A report on what "
        "is there: kshot run SUITE -- partial_report. More targets: figures, tables, paper_figures, report, selection, "
        "audit."
    )
    running.passes_on, running.usage = True, "kshot run [-h] [--cores N] SUITE [-- OPTIONS AND TARGETS OF SNAKEMAKE]"
    filming = with_run(
        command("render", runs.render, "Show a run on a test task, before and after evidence, as a clip.")
    )
    filming.add_argument("--task", type=int, default=0, help="number of the test task, from 0 (default: 0)")
    filming.add_argument("--k", type=int, nargs="+", help="after how much evidence (default: the least and the most)")
    filming.add_argument("--frames", type=positive, default=50, help="pictures of an episode, at most (default: 50)")
    filming.add_argument("--camera", help="of Meta-World: corner (the default), corner2, corner3, topview, ...")
    filming.add_argument("--out", type=Path, help="a .gif or .mp4 (default: a .gif in reports/<suite>/clips/)")
    logging = on_suite("tensorboard", runs.tensorboard, "Write training metrics as TensorBoard's event files.")
    logging.add_argument("--out", type=Path, help="where to write (default: runs/<suite>)")
    summing = on_suite("aggregate", reports.aggregate, "Check all results of a suite and compute its numbers.")
    page = on_suite("report", reports.report, "Write the report page from the numbers, figures and tables.")
    for sub in (summing, page):
        sub.add_argument("--partial", action="store_true", help="work with the runs that are there, listing the others")
    alone = "for a page kept without the results: copy the suite's CSV files beside it, and link to files there alone"
    page.add_argument("--alone", action="store_true", help=alone)
    stripping = command(
        "strip-links", reports.strip_links, "Leave out links of pages to files that are not beside them."
    )
    stripping.add_argument("pages", nargs="+", type=Path, metavar="PAGE", help="an index.html of `kshot report`")
    drawing = on_suite("figures", reports.figures, "Draw the figures of a suite from its numbers.")
    paper = "draw those for papers: a PDF for each family and across families, one column and one page wide"
    drawing.add_argument("--paper", action="store_true", help=paper)
    tabling = on_suite("tables", reports.tables, "Write the tables of a suite (CSV, LaTeX, Markdown).")
    choosing = on_suite("select", reports.select, "Choose settings among the rows of a suite on validation tasks.")
    for sub in (page, drawing, tabling, choosing):
        sub.add_argument("--out", type=Path, help="where to write (default: reports/<suite>)")
    comparing = command(
        "compare", reports.compare, "Compare two sets of results: what has got significantly worse or better."
    )
    sides = "a suite with results, a folder of results, or a kept suite"
    comparing.add_argument("a", metavar="A", help=sides)
    comparing.add_argument("b", metavar="B", help=f"{sides}; or a CSV or parquet file of episodes played elsewhere")
    comparing.add_argument("--root", type=Path, default=Path("results"), help="the results folder (default: results)")
    comparing.add_argument("--out", type=Path, help="where to write (default: reports/compare/<A>-<B>)")
    pairing = "compare learners whose names differ"
    comparing.add_argument("--pair", action="append", default=[], metavar="IN_A=IN_B", help=pairing)
    comparing.add_argument("--fail-if-worse", action="store_true", help="exit with 1 if a learner is worse in B")
    status = on_suite("status", runs.status, "Show what every run of a suite is doing, until all are finished.")
    status.add_argument("--once", action="store_true", help="print once instead of following")
    auditing = "List results that were made with other code, settings or numeric libraries than are here now."
    on_suite("audit", runs.audit, auditing)
    on_suite("fidelity", reports.fidelity, "File what a fidelity suite measured and write docs/fidelity.md.")
    on_suite("pack", reports.pack, "Keep a suite's finished runs, without models, in reports/reference/<suite>.")
    unpacking = with_root(
        command("unpack", reports.unpack, "Put runs that are kept where all other commands read them.")
    )
    unpacking.add_argument("folder", type=Path, metavar="FOLDER", help="of one suite, as `kshot pack` wrote it")
    archiving = on_suite("archive", reports.archive, "Put all that a paper's artefact needs into one folder.")
    archiving.add_argument("--out", type=Path, help="the folder (default: reports/<suite>/archive)")
    archiving.add_argument("--models", action="store_true", help="keep the trained models, too")
    verifying = command(
        "verify", reports.verify, "Check an archive or a kept suite, and compute some of its runs again."
    )
    verifying.add_argument("folder", type=Path, metavar="FOLDER", help="as `kshot archive` or `kshot pack` wrote it")
    choice = verifying.add_mutually_exclusive_group()
    choice.add_argument("--cells", type=int, default=1, metavar="N", help="how many runs, drawn by --seed (default: 1)")
    choice.add_argument("--cell", nargs="+", default=[], metavar="FAMILY/ALGORITHM/SEED", help="these runs")
    verifying.add_argument("--seed", type=int, default=0, help="of the drawing (default: 0)")
    verifying.add_argument("--note", action="store_true", help="which versions of the code gave the same, in FOLDER")
    showing = command(
        "demonstrations", demonstrations.demonstrations, "Write successful episodes of Meta-World's scripted experts."
    )
    showing.add_argument("name", metavar="NAME", help="a class (reach-v3), or ML10, ML25, ML45, MT10, MT25, MT50")
    showing.add_argument("--out", required=True, metavar="OUT", help="a .parquet file, or minari:NAME")
    showing.add_argument("--split", default="train", help="train (the default), validation or test")
    showing.add_argument("--tasks", type=positive, help="only the first ones of each class (default: all 50)")
    showing.add_argument("--number", type=positive, default=1, help="of episodes of each task (default: 1)")
    showing.add_argument("--noise", type=float, default=0.0, help="deviation of noise on the actions (default: 0)")
    showing.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    showing.add_argument("--goal-seed", type=int, default=0, help="of the tasks (default: 0)")
    showing.add_argument("--whole", action="store_true", help="play on to step 500 instead of ending at success")
    showing.add_argument("--goal-observable", action="store_true", help="show the target, as MT10 to MT50 always do")
    showing.add_argument("--threads", type=positive, help="for the physics (default: $OMP_NUM_THREADS or all cores)")
    showing.add_argument("--replace", action="store_true", help="replace what is there already")
    making = command("new", plugins.new, "Write a small working plug-in under a name of your own.")
    making.add_argument("kind", choices=("algorithm", "family", "figure", "table"), help="what it is to be")
    making.add_argument("name", metavar="NAME", help="its name: lower-case letters, digits and '_'")
    making.add_argument("--folder", type=Path, default=Path(), help="where (default: here); to be named in KSHOT_PATH")
    testing = command("test", plugins.test, "Check whether an algorithm, family, figure or table fulfils the contract.")
    testing.add_argument("name", metavar="NAME", help="its name")
    choice_help = "families to check an algorithm on, or algorithms to check a family with (default: some quick ones)"
    testing.add_argument("--on", nargs="+", default=[], metavar="NAME", help=choice_help)
    command(
        "redraw", reports.redraw, "Make reports/reference and the tables in docs/ again from the runs that are kept."
    )
    return parser
