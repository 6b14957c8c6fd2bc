"""Lists results that were made by other code, settings or numeric libraries than the present ones."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kshot import computed_again
from kshot.checksums import verify_all, without_models
from kshot.errors import RecordError
from kshot.records import read_json
from kshot.running import jobs, machine, provenance
from kshot.suites.run import RunConfig
from kshot.threads import asked

MACHINE_KINDS = ("versions", "kernels", "threads")
"""Kinds of differences in what computed the numbers. Many results share one, so that it becomes a single finding."""


@dataclass(frozen=True)
class Finding:
    """One difference between results and what would be computed now.

    Attributes:
        kind: "damaged", "code", "settings", "model" (the evaluation is of another model than the present file),
            "versions" (of packages), "kernels" (of numeric libraries) or "threads".
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
    """The result of ``audit``.

    Attributes:
        findings: first those of single files, in the order of the runs, then those of ``MACHINE_KINDS``.
        checked: number of records compared.
        missing: number of runs without a finished evaluation.
        modelless: number of trained runs without any model, as they are kept; no finding, the numbers are there.
    """

    findings: tuple[Finding, ...]
    checked: int
    missing: int
    modelless: int = 0

    @property
    def verdict(self) -> str:
        """One line on all of it."""
        if not self.checked:
            return f"no results to check; {self.missing} runs not finished"
        kinds = list(dict.fromkeys(finding.kind for finding in self.findings))
        files = {path for finding in self.findings for path in finding.paths}
        outcome = "all made by this code, with these settings and libraries"
        if kinds:
            outcome = f"{len(files)} differ in {', '.join(kinds)}"
        modelless = f"; {self.modelless} runs without their model" if self.modelless else ""
        return f"{self.checked} result files checked: {outcome}{modelless}; {self.missing} runs not finished"


def audit(runs: Sequence[RunConfig], root: Path) -> Audit:
    """Compare the records of all finished steps with the present source files, suite and machine.

    Source files that are noted to give the same numbers (``computed_again``) are no difference.

    Args:
        runs: of one suite, as it is now.
        root: folder of all results.
    """
    file_findings: list[Finding] = []
    machine_paths: dict[tuple[str, str], list[Path]] = {}
    checked = missing = modelless = 0
    same = computed_again.as_one(computed_again.read(root / runs[0].suite)) if runs else {}
    for run in runs:
        directory = run.directory(root)
        missing += not (directory / jobs.STEPS["evaluate"].record).is_file()
        for name, step in jobs.STEPS.items():
            path = directory / step.record
            if not path.is_file():
                continue
            checked += 1
            try:
                record = verify_all(path, modelless=True)
                differences = jobs.differences(name, run, directory, record)
            except RecordError as error:
                file_findings.append(Finding("damaged", str(error).removeprefix(f"{path}: "), (path,)))
                continue
            modelless += without_models(path, record)
            digests = record["source_digest"], provenance.source_digest(run, step.runner)
            if len({same.get(digest, digest) for digest in digests}) == 1:
                differences = [(kind, text) for kind, text in differences if kind != "code"]
            file_findings += [Finding(kind, text, (path,)) for kind, text in differences]
            for difference in machine_differences(record):
                machine_paths.setdefault(difference, []).append(path)
    machine_findings = [Finding(kind, text, tuple(paths)) for (kind, text), paths in machine_paths.items()]
    machine_findings.sort(key=lambda finding: MACHINE_KINDS.index(finding.kind))
    return Audit((*file_findings, *machine_findings), checked, missing, modelless)


def by_other_code(runs: Sequence[RunConfig], root: Path) -> tuple[int, int]:
    """How many finished runs were made, in some step, by other source files than are here, and how many are finished.

    Checksums are left to ``audit``; what cannot be read counts as neither.
    """
    other = finished = 0
    for run in runs:
        directory = run.directory(root)
        paths = {name: directory / step.record for name, step in jobs.STEPS.items()}
        if not paths["evaluate"].is_file():
            continue
        try:
            made = {name: read_json(path).get("source_digest") for name, path in paths.items() if path.is_file()}
        except RecordError:
            continue
        finished += 1
        other += any(digest != provenance.source_digest(run, jobs.STEPS[name].runner) for name, digest in made.items())
    return other, finished


def machine_differences(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Differences between what computed a result and the present machine: pairs as of ``differences_between``."""
    modules = {"torch": "torch", "llvm": "llvmlite.binding"}
    recorded = record.get("kernels") or {}
    for name in ("numpy", "scipy.linalg", *(module for key, module in modules.items() if key in recorded)):
        importlib.import_module(name)  # ``machine.kernels`` reports only what is loaded
    present = {"kernels": machine.kernels(), "hardware": {"threads": asked() or 1}}
    return differences_between(record, present | {"versions": dict(provenance.versions())})


def differences_between(record: dict[str, Any], present: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Differences between what computed two results, the second here: pairs of a kind and a text.

    Packages, kernels and threads decide the last bits of a result (``docs/reproducibility.md``). Another processor is
    no difference if the kernels are the same.

    Args:
        record: of one step, as ``provenance.collect`` makes it.
        present: likewise; ``versions``, ``kernels`` and ``hardware`` are enough.
    """
    for name, recorded_version in record.get("versions", {}).items():
        version = present["versions"].get(name, recorded_version)
        if recorded_version != version:
            yield "versions", f"{name} {recorded_version}, here {version}"
    recorded = record.get("kernels")
    if recorded is None:
        yield "kernels", "not recorded"
    else:
        cpu = str(record.get("hardware", {}).get("cpu", ""))
        yield from _kernel_differences(_flat(recorded), _flat(present["kernels"]), cpu)
    recorded_threads = record.get("hardware", {}).get("threads")
    threads = present["hardware"]["threads"]
    if recorded_threads is not None and recorded_threads != threads:
        yield "threads", f"{recorded_threads}, here {threads}"


def _kernel_differences(recorded: dict[str, str], present: dict[str, str], cpu: str) -> Iterator[tuple[str, str]]:
    """Pairs as of ``differences_between``, of flat kernels; ``cpu``: where the first were recorded."""
    for name, recorded_value in recorded.items():
        present_value = present.get(name, "none")
        if recorded_value != present_value:
            yield "kernels", f"{name} {recorded_value}{f' (on {cpu})' if cpu else ''}, here {present_value}"
    for name in present:  # environment variables that are set now and were not then
        if name.startswith("variable ") and name not in recorded:
            yield "kernels", f"{name} not set, here {present[name]}"


def _flat(kernels: dict[str, Any]) -> dict[str, str]:
    """The result of ``machine.kernels`` as names and values to compare."""
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
