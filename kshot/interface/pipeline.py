"""The whole pipeline from Python: what ``kshot run`` does, and its results as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from kshot.errors import PipelineError
from kshot.interface.before import outdated, startable
from kshot.interface.results import load_results
from kshot.running import workflow


def run(suite: str | Path, *, cores: int | str = "all", options: Sequence[str] = ()) -> pd.DataFrame:
    """Run a suite with Snakemake, training to report, showing how far it is; only what is not done yet is done.

    Results go to ``results/<suite>`` in the present folder, and the report to ``reports/<suite>/index.html``.

    Args:
        suite: a suite's file, or the name of one that comes with kshot or with a plug-in.
        cores: how many to use, or "all".
        options: of Snakemake, for example ``["--config", "seeds=[0,1]"]``.

    Returns:
        ``load_results`` of the suite.

    Raises:
        ConfigError: the suite has mistakes, or asks for what its jobs would refuse; nothing is started then.
        PipelineError: a job failed; its log has been shown. Call ``run`` again to go on.
        KeyboardInterrupt: it was interrupted, and jobs have saved what they have. Call ``run`` again to go on.
    """
    found, file = startable(str(suite), options)
    note = outdated(found, file)
    status = workflow.run(found.name, found.runs(), file, str(cores), options, note, str(suite))
    if status in (130, 143):
        raise KeyboardInterrupt
    if status:
        raise PipelineError(f"suite {found.name!r}: not all could be done; see logs/{found.name}/snakemake.log")
    return load_results(found.name)
