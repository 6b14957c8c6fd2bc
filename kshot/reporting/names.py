"""How reports call things."""

from __future__ import annotations

import re
from typing import Literal

from kshot.types import Evidence

At = int | Literal["all"]
"""After so many episodes of evidence (or demonstrations), or with all that a policy can use: then K differs."""
Pair = tuple[str, str]
"""(family, policy), by their names in the suite; a policy is a learner or scripted."""

DEMONSTRATIONS: Evidence = "demonstrations"
"""The kind of evidence that is shown, not played."""
FROM_DEMONSTRATIONS = "from demonstrations"
RANDOM, ORACLE, TASK_BLIND = "random", "oracle", "task_blind"
"""Scripted policies that every family has."""
CEILING = "ceiling"
"""The scripted policy that is the best a family's planners can do, where it has such."""
BAYES = "bayes_optimal_trial"
"""The best possible trial, which some families know in closed form."""
TRIAL_RETURN, LIKELIHOOD, VALUE_DIFFERENCE = "trial_return", "held_out_log_likelihood", "value_difference"
METRIC_NAMES = {
    "return": "return",
    "success_any": "success at any step",
    "success_last": "success at the last step",
    "first_success": "steps to first success",
    TRIAL_RETURN: "return of a trial",
    VALUE_DIFFERENCE: "expected value difference",
    LIKELIHOOD: "log-likelihood of held-out demonstrations",
}


def policy_name(name: str) -> str:
    """``task_blind`` -> ``task-blind``: a name as it is shown."""
    return {BAYES: "Bayes-optimal"}.get(name, name.replace("_", "-"))


def slug(title: str) -> str:
    """``point, from demonstrations`` -> ``point-demonstrations``: a section's title in names of files and labels."""
    return re.sub(r"[^\w.]+", "-", title.replace(FROM_DEMONSTRATIONS, DEMONSTRATIONS)).strip("-")
