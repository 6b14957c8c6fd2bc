"""Suites: what they are (``model``), how they are read (``reading``), and the runs that they ask for (``run``)."""

from kshot.suites.model import Suite
from kshot.suites.reading import find_suite, load_suite, read_suite
from kshot.suites.run import Evaluation, RunConfig

__all__ = ["Evaluation", "RunConfig", "Suite", "find_suite", "load_suite", "read_suite"]
