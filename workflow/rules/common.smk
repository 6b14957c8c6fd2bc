# The suite, and what the rules need to know about its runs.

import os
import re
import sys
from pathlib import Path

from kshot import yaml_text
from kshot.places import SUITES
from kshot.suites.reading import load_suite, read_suite
from kshot.errors import ConfigError
from kshot.suites.document import command_line, read
from kshot.suites.estimates import too_large
from kshot.records import write_text
from kshot.suites.run import why_no_selection
from kshot.running import pipeline
from kshot.running.machine import missing_devices
from kshot.running.provenance import reporting_digest, source_digest

# Jobs use the Python that runs Snakemake, whether or not its environment was activated.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
)


def stop(*lines):
    """End with one line for each thing that the user has to mend."""
    for line in lines:
        print(f"Error: {line}", file=sys.stderr)
    sys.exit(2)


def asked_suite():
    """The suite that is asked for, with complete settings.

    From the command line: --configfile (default: laptop) with --config key=value on top. As a module of another workflow,
    whose command line speaks of something else, what that one hands over as ``config``.
    """
    if __name__:  # the name of the module; Snakemake gives a main workflow none
        return load_suite(command_line(config, f"config of module {__name__}"))
    files = workflow.overwrite_configfiles or [SUITES / "laptop.yaml"]
    return read_suite(files, workflow.config_settings.config)


def checked_suite():
    """The suite, if its results may be filed and it can be computed here; else the end, with a line for each reason."""
    try:
        suite = asked_suite()
        file = Path("results", suite.name, "suite.yaml")
        earlier = read(file).value if file.is_file() else {"name": suite.name}
    except ConfigError as error:
        stop(*error.problems)
    for folder in (file.parent.parent, file.parent):
        if folder.exists() and not folder.is_dir():
            stop(f"{folder} is a file, but has to be the folder of the results")
    name = earlier.get("name") if isinstance(earlier, dict) else None
    if name != suite.name:
        stop(
            f"{file} belongs to suite {name!r}; move that folder away, or give this suite another name"
        )
    # Where jobs go to other machines (--jobs, as in profiles/slurm), these have the device, and look for it.
    if workflow.resource_settings.nodes is None:
        if reasons := missing_devices(suite.runs()):
            stop(*(f"suite {suite.name!r}: {reason}" for reason in reasons))
    here = workflow.resource_settings.nodes is None
    if reasons := too_large(suite.runs(), memory=here):
        stop(*(f"suite {suite.name!r}: {reason}" for reason in reasons))
    return suite


SUITE = checked_suite()
RESULTS = Path("results", SUITE.name)

# A pipeline that was killed leaves its locks, and jobs that end by themselves: the same command goes on.
pipeline.announce()
if locks := pipeline.remove_dead_locks(
    RESULTS,
    Path(".snakemake", "locks"),
    (f"results/{SUITE.name}/", f"reports/{SUITE.name}/"),
):
    print(f"Removed {len(locks)} locks of a pipeline that was killed.", file=sys.stderr)


def only_looks():
    """Whether all that is asked for looks at what is there, perhaps while another pipeline of this suite goes on."""
    targets = set(workflow.dag_settings.targets)
    return bool(targets) and targets <= {"partial_report", "audit", "reference"}


def write_suite():
    """Write the resolved suite, from which the jobs read their settings, to results/<suite>/suite.yaml."""
    file = Path("results", SUITE.name, "suite.yaml")
    if file.is_file() and only_looks():
        return
    try:
        write_text(file, yaml_text.sealed(yaml_text.dump(SUITE.resolved())))
    except OSError as error:
        stop(
            f"cannot write {file} ({error.strerror}); results/ must be a folder you can write to"
        )


def any_of(names):
    """A pattern that matches these names only."""
    return "|".join(map(re.escape, names)) or "(?!)"


def run_of(wildcards):
    """The run that a job belongs to."""
    return SUITE.find(wildcards.family, wildcards.algorithm, int(wildcards.seed))


def gpus(wildcards):
    """How many GPUs a training or an evaluation of a learner has to itself."""
    return 0 if run_of(wildcards).device == "cpu" else 1


def training_hash(wildcards):
    """The fingerprint of what decides the trained model; a job is outdated when this changes."""
    return run_of(wildcards).train_hash


def evaluation_hash(wildcards):
    """The fingerprint of what decides the result of an evaluation."""
    return run_of(wildcards).config_hash


def code(wildcards):
    """The state of the code behind a run, if the suite wants results to follow it."""
    return (
        source_digest(run_of(wildcards))
        if SUITE.rerun_on_code_change
        else "not watched"
    )


def files_of_runs(name, kind=None):
    """The path of one file of every run, or of the runs of one kind: algorithm or reference."""
    return [
        str(run.directory() / name) for run in SUITE.runs() if kind in (None, run.kind)
    ]


def selection_input(wildcards):
    """The suite's numbers, if settings may be chosen from them: asked only where a selection is wanted."""
    refusal = why_no_selection(SUITE.runs())
    if refusal:
        stop(f"suite {SUITE.name!r}: {refusal}")
    return rules.aggregate.output


def official_records():
    """The records of the official evaluation, where the suite asks for it."""
    return [
        str(run.directory() / "official.json") for run in SUITE.runs() if run.official
    ]
