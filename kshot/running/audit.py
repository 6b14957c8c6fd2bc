"""Which results were not made by the code, the settings and the numeric libraries that are here now?"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kshot.errors import RecordError
from kshot.records import read_json
from kshot.running import jobs, machine, provenance
from kshot.suites.run import RunConfig

MACHINE_KINDS = ("versions", "kernels", "threads")
"""Of what numbers were computed with. Many results share such a difference, so that it is told once."""


@dataclass(frozen=True)
class Finding:
    """One way in which results differ from what would be made now.

    Attributes:
        kind: "damaged", "code", "settings", "model" (evaluated from another model than is there), "versions" (of
            packages), "kernels" (of numeric libraries) or "threads".
        text: the difference.
        paths: of the records that have it.
    """

    kind: str
    text: str
    paths: tuple[Path, ...]

    def __str__(self) -> str:
        others = f" and {len(self.paths) - 1} others" if len(self.paths) > 1 else ""
        return f"{self.kind}: {self.paths[0]}{others}: {self.text}"


@dataclass(frozen=True)
class Audit:
    """What ``audit`` found.

    Attributes:
        findings: differences, first those of single files in the order of the runs, then those of machines.
        checked: number of result files looked at.
        missing: number of runs without a finished evaluation.
    """

    findings: tuple[Finding, ...]
    checked: int
    missing: int

    @property
    def verdict(self) -> str:
        """One line on all of it."""
        if not self.checked:
            return f"no results to check; {self.missing} runs not finished"
        kinds = list(dict.fromkeys(finding.kind for finding in self.findings))
        files = {path for finding in self.findings for path in finding.paths}
        found = "all made by this code, with these settings and libraries"
        if kinds:
            found = f"{len(files)} differ in {', '.join(kinds)}"
        return f"{self.checked} result files checked: {found}; {self.missing} runs not finished"


def audit(runs: Sequence[RunConfig], root: Path) -> Audit:
    """Compare the records of all finished steps with the source files, the suite and the machine as they are now."""
    single: list[Finding] = []
    shared: dict[tuple[str, str], list[Path]] = {}
    checked = missing = 0
    for run in runs:
        directory = run.directory(root)
        missing += not (directory / jobs.STEPS["evaluate"].record).is_file()
        for name, step in jobs.STEPS.items():
            path = directory / step.record
            if not path.is_file():
                continue
            checked += 1
            try:
                record = read_json(path)
                found = jobs.outdated(name, run, directory, record)
            except RecordError as error:
                single.append(Finding("damaged", str(error).removeprefix(f"{path}: "), (path,)))
                continue
            single += [Finding(kind, text, (path,)) for kind, text in found]
            for difference in machine_differences(record):
                shared.setdefault(difference, []).append(path)
    of_machines = [Finding(kind, text, tuple(paths)) for (kind, text), paths in shared.items()]
    of_machines.sort(key=lambda finding: MACHINE_KINDS.index(finding.kind))
    return Audit((*single, *of_machines), checked, missing)


def machine_differences(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Pairs of a kind (``MACHINE_KINDS``) and a text: what a result was computed with, where that is another one here.

    Packages, kernels and threads decide the last bits of a result (``docs/reproducibility.md``). That it was made on
    another processor is no difference if the kernels are the same.
    """
    versions = dict(provenance.versions())
    changed = [(name, was, versions[name]) for name, was in record.get("versions", {}).items() if name in versions]
    for name, was, now in changed:
        if was != now:
            yield "versions", f"{name} {was}, here {now}"
    recorded = record.get("kernels")
    if recorded is None:
        yield "kernels", "not recorded"
    else:
        yield from _kernel_differences(recorded, str(record.get("hardware", {}).get("cpu", "")))
    threads, here = record.get("hardware", {}).get("threads"), int(os.environ.get("OMP_NUM_THREADS") or "1")
    if threads is not None and threads != here:
        yield "threads", f"{threads}, here {here}"


def _kernel_differences(recorded: dict[str, Any], cpu: str) -> Iterator[tuple[str, str]]:
    loads = {"torch": "torch", "llvm": "llvmlite.binding"}
    for name in ("numpy", "scipy.linalg", *(module for key, module in loads.items() if key in recorded)):
        importlib.import_module(name)  # what is not loaded has no kernel
    now = _flat(machine.kernels())
    for name, was in _flat(recorded).items():
        here = now.get(name, "none")
        if was != here:
            yield "kernels", f"{name} {was}{f' (on {cpu})' if cpu else ''}, here {here}"
    for name in now:  # a variable that is set here and was not there
        if name.startswith("variable ") and name not in _flat(recorded):
            yield "kernels", f"{name} not set, here {now[name]}"


def _flat(kernels: dict[str, Any]) -> dict[str, str]:
    """What ``machine.kernels`` tells, as names and values to compare."""
    flat = {}
    for library in kernels["libraries"]:
        facts = [library[name] for name in ("architecture", "version", "threading_layer") if name in library]
        flat[f"{library['name']} of {library['folder']}"] = " ".join(facts) or "present"
    flat["loops of numpy"] = " ".join(kernels["numpy"]["extensions"])
    flat["digest of numpy's results"] = kernels["numpy"]["digest"]
    if "torch" in kernels:
        torch = kernels["torch"]
        flat["capability of torch"] = torch["cpu_capability"]
        flat["libraries of torch"] = ", ".join(torch["libraries"])
        flat["digest of torch's results"] = torch["digest"]
    if "llvm" in kernels:
        flat["processor that numba compiles for"] = kernels["llvm"]
    return flat | {f"variable {name}": value for name, value in kernels["environment"].items()}
