"""kshot: how well does a meta-reinforcement-learning algorithm do after K episodes on a task it has never seen?

What Python programs may rely on is in ``__all__`` (docs/python.md): it changes by the rules of semantic versioning, and
whatever it needs is imported when it is first used.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kshot.errors import ConfigError as ConfigError
    from kshot.errors import PipelineError as PipelineError
    from kshot.errors import RecordError as RecordError
    from kshot.errors import RegistryError as RegistryError
    from kshot.interface.curves import plot_k_curve as plot_k_curve
    from kshot.interface.evaluation import evaluate as evaluate
    from kshot.interface.pipeline import run as run
    from kshot.interface.policies import TrainedPolicy as TrainedPolicy
    from kshot.interface.policies import load_policy as load_policy
    from kshot.interface.results import load_results as load_results

__version__ = "0.1.0"
_HOME = {
    "ConfigError": "kshot.errors",
    "PipelineError": "kshot.errors",
    "RecordError": "kshot.errors",
    "RegistryError": "kshot.errors",
    "TrainedPolicy": "kshot.interface.policies",
    "evaluate": "kshot.interface.evaluation",
    "load_policy": "kshot.interface.policies",
    "load_results": "kshot.interface.results",
    "plot_k_curve": "kshot.interface.curves",
    "run": "kshot.interface.pipeline",
}
"""Where each name of the public interface is defined."""
__all__ = [
    "ConfigError",
    "PipelineError",
    "RecordError",
    "RegistryError",
    "TrainedPolicy",
    "evaluate",
    "load_policy",
    "load_results",
    "plot_k_curve",
    "run",
]

if not (Path(__file__).parent / "algorithms").is_dir():  # before anything fails in a less obvious way
    raise ImportError(
        "kshot/algorithms should be a link to the folder algorithms/, but this copy has lost its symbolic links; in a "
        "git checkout: git config core.symlinks true && git checkout -- kshot"
    )

importlib.import_module("kshot.helpers").install()  # plug-ins import what lies beside them


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'kshot' has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
