"""The data that flows through kshot, and the protocols around it.

Everything that can be batched has a leading task axis ``T``; ``C`` is the number of copies of a task
that run side by side, ``E`` of episodes, ``H`` the horizon in environment steps.
Nothing here imports torch: environments, records and reports must work without it.
"""

from kshot.types.data import SPLITS, ActionKind, Array, Episodes, Evidence, Headline, Metrics, Mode, Split, Task
from kshot.types.family import DemonstrationFamily, FamilySpec, OfficialFamily, ReferencePolicy, TaskFamily
from kshot.types.learner import Calibrated, Collect, Explains, Memory, MetaLearner, Policy, TrialPolicy
from kshot.types.worlds import Dynamics, World

__all__ = [
    "SPLITS",
    "ActionKind",
    "Array",
    "Calibrated",
    "Collect",
    "DemonstrationFamily",
    "Dynamics",
    "Episodes",
    "Evidence",
    "Explains",
    "FamilySpec",
    "Headline",
    "Memory",
    "MetaLearner",
    "Metrics",
    "Mode",
    "OfficialFamily",
    "Policy",
    "ReferencePolicy",
    "Split",
    "Task",
    "TaskFamily",
    "TrialPolicy",
    "World",
]
