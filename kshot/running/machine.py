"""Describes what a step computes with: the processor, the threads, and the kernels of the numeric libraries.

A library has several kernels for one operation, for several generations of processors, and chooses one when it is
loaded. Kernels round differently, so that the same settings give other bits where another kernel is chosen.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import resource
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import threadpoolctl

from kshot.suites.run import RunConfig
from kshot.threads import asked
from kshot.types import Array

_KERNEL_FEATURES = re.compile(r"(sse|ssse|avx|fma|f16c|amx|asimd|sve|sm(?!ap|ep|x)|bf16|i8mm|vsx|neon)")
"""Features of processors that libraries choose kernels by."""
_KERNEL_VARIABLES = re.compile(
    r"(OPENBLAS_CORETYPE|ATEN_CPU_CAPABILITY|MKL_(CBWR|ENABLE_INSTRUCTIONS|DEBUG_CPU_TYPE)"
    r"|(ONEDNN|DNNL)_MAX_CPU_ISA|NPY_(DISABLE|ENABLE)_CPU_FEATURES|NUMBA_CPU_(NAME|FEATURES)|CUBLAS_WORKSPACE_CONFIG)"
)
"""Environment variables that change which kernel a library chooses."""
_CPUINFO = Path("/proc/cpuinfo")


def why_no_device(device: str) -> str:
    """Why networks cannot be trained on ``device`` here; empty where they can."""
    if device == "cpu":
        return ""
    import torch  # most suites do without, and loading it takes seconds

    if device == "mps":
        return "" if torch.backends.mps.is_available() else "device mps: PyTorch finds no Metal here"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(device.partition(":")[2] or 0) < count:
        return ""
    found = f"only {', '.join(f'cuda:{i}' for i in range(count))}" if count else "no GPU"
    return f"device {device}: PyTorch finds {found} here"


def missing_devices(runs: Iterable[RunConfig]) -> list[str]:
    """``why_no_device`` of everything that learners of these runs are to train on."""
    devices = dict.fromkeys(run.device for run in runs if run.kind == "algorithm")
    return [reason for device in devices if (reason := why_no_device(device))]


def hardware() -> dict[str, Any]:
    """The processor, memory and threads that a step computes with, as plain data."""
    torch = sys.modules.get("torch")  # a step that has not imported it does not compute with it
    threads = torch.get_num_threads() if torch is not None else asked() or 1
    gpu = torch is not None and torch.cuda.is_available()
    processor = _processor()
    return {
        "cpu": processor["name"],
        "processor": {name: value for name, value in processor.items() if name != "name"},
        "cores": os.cpu_count() or 0,
        "threads": threads,
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": torch.cuda.get_device_name(0) if torch is not None and gpu else "",
        "platform": platform.platform(),
    }


def peak_memory() -> int:
    """The most memory that this process has had in use so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024  # of getrusage(2)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def kernels() -> dict[str, Any]:
    """The kernels of the numeric libraries that this process has loaded, as plain data.

    Returns:
        - ``libraries``: for each BLAS and OpenMP library its name, the folder it comes from (NumPy and SciPy have one
          each), version, architecture (the kernel that was chosen) and threading layer;
        - ``numpy``: the extensions that NumPy's own loops use, and a digest of the results of a few operations;
        - ``torch``: the processor capability that PyTorch dispatches on, the versions of its libraries, and such a
          digest, since MKL does not tell its kernel;
        - ``llvm``: the processor that Numba compiles for;
        - ``environment``: the environment variables that may have changed a choice.
    """
    description: dict[str, Any] = {
        "libraries": sorted((_library(info) for info in threadpoolctl.threadpool_info()), key=lambda one: str(one)),
        "numpy": {"extensions": _numpy_extensions(), "digest": _digest(*_numpy_results())},
        "environment": kernel_variables(),
    }
    torch = sys.modules.get("torch")  # scripted policies do without it: it has no part in their numbers
    if torch is not None:
        description["torch"] = {
            "cpu_capability": str(torch.backends.cpu.get_cpu_capability()),
            "libraries": _torch_libraries(torch.__config__.show()),
            "digest": _digest(*_torch_results(torch)),
        }
    llvm = sys.modules.get("llvmlite.binding")
    if llvm is not None:
        description["llvm"] = str(llvm.get_host_cpu_name())
    return description


def kernel_variables() -> dict[str, str]:
    """The environment variables of this process that may have changed which kernel a library chose."""
    return {name: value for name, value in sorted(os.environ.items()) if _KERNEL_VARIABLES.fullmatch(name)}


def _library(info: dict[str, Any]) -> dict[str, str]:
    entry = {name: str(info[name]) for name in ("version", "architecture", "threading_layer") if info.get(name)}
    return {"name": str(info["prefix"]), "folder": Path(info["filepath"]).parent.name, **entry}


def _numpy_extensions() -> list[str]:
    config: Any = np.show_config(mode="dicts")
    extensions = config.get("SIMD Extensions", {})
    return [*extensions.get("baseline", []), *extensions.get("found", [])]


def _torch_libraries(text: str) -> list[str]:
    """The lines of ``torch.__config__.show()`` that name libraries, and those that name its BLAS and LAPACK."""
    lines = [line.strip(" -") for line in text.splitlines() if line.startswith("  - ")]
    libraries = [line for line in lines if not line.startswith(("Build settings", "CPU capability"))]
    return libraries + re.findall(r"(?:BLAS|LAPACK)_INFO=\w+", text)


def _numbers(*shape: int) -> Array:
    """Fixed numbers in [-1, 1), exact on every machine."""
    integers = np.arange(int(np.prod(shape)), dtype=np.int64) * 7919 % 4096
    return integers.reshape(shape) / 2048.0 - 1.0


def _numpy_results() -> list[Array]:
    """Results of a regression, like learners' baselines, and of elementary functions, in both precisions."""
    a, b = _numbers(401, 9), _numbers(401, 1)
    gram = a.T @ a + np.eye(9)
    single = _numbers(97, 97).astype(np.float32)
    return [gram, np.linalg.solve(gram, a.T @ b), single @ single, np.exp(a), np.tanh(single), np.sin(a), a.sum(axis=0)]


def _torch_results(torch: Any) -> list[Array]:
    """Results of network layers for several tasks, and their gradient, in single precision."""
    x, w = (torch.tensor(_numbers(*shape), dtype=torch.float32) for shape in ((3, 200, 65), (3, 65, 64)))
    w.requires_grad_()
    out = torch.tanh(torch.bmm(x, w)).log_softmax(dim=-1)
    (gradient,) = torch.autograd.grad((out * out).mean(), w)
    return [out.detach().numpy(), gradient.numpy(), torch.exp(x[0]).numpy()]


def _digest(*results: Array) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in results)).hexdigest()[:12]


@cache
def _processor() -> dict[str, Any]:
    """Name, vendor, family, model, stepping, and the features that libraries choose kernels by."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""  # no /proc: not Linux
    first: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        first.setdefault(name.strip(), value.strip())
    features = first.get("flags", first.get("Features", "")).split()  # x86, ARM
    return {
        "name": first.get("model name") or platform.processor() or platform.machine(),
        "vendor": first.get("vendor_id", first.get("CPU implementer", "")),
        "family": first.get("cpu family", first.get("CPU architecture", "")),
        "model": first.get("model", first.get("CPU part", "")),
        "stepping": first.get("stepping", first.get("CPU revision", "")),
        "features": sorted(feature for feature in features if _KERNEL_FEATURES.match(feature)),
    }
