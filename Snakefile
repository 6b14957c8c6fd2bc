# kshot: success after K episodes on unseen tasks. This file is the table of contents of the workflow.
#
#   snakemake --cores all                                          the laptop suite, from training to report
#   snakemake --cores all --configfile config/suites/smoke.yaml    another suite
#   snakemake -n                                                   what would be done, and nothing else
#
# Every job is a `kshot` command that can be run by hand; `kshot status SUITE` shows what the jobs are doing.

from snakemake.utils import min_version

min_version("9.27")


# Reads and checks the suite: nothing below is reached, and nothing runs, while it has mistakes.
include: "workflow/rules/common.smk"


report: "workflow/report/workflow.rst"


# <results>/... in a rule is results/<name of the suite>/..., and so on.
pathvars:
    results=f"results/{SUITE.name}",
    reports=f"reports/{SUITE.name}",
    logs=f"logs/{SUITE.name}",
    benchmarks=f"logs/{SUITE.name}",


wildcard_constraints:
    family=any_of(SUITE.families),
    algorithm=any_of(SUITE.algorithms),
    seed="[0-9]+",


localrules:
    all,
    partial_report,
    audit,


# Train, evaluate, sum up, draw, report: everything. The results are targets of their own, so that one that was deleted
# is made again: Snakemake does not miss a file from which a newer one was made.
rule all:
    input:
        "<reports>/index.html",
        files_of_runs("curve.parquet"),
        official_records(),


include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
# Targets of their own: aggregate, figures, paper_figures, tables, report, selection, partial_report, audit, reference.
include: "workflow/rules/report.smk"


onstart:
    write_suite()
    if not only_looks():
        pipeline.claim(RESULTS)


onsuccess:
    pipeline.release(RESULTS)


onerror:
    pipeline.release(RESULTS)
