"""The settings that algorithms have where a suite says nothing: where a selection starts from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kshot import registry
from kshot.suites.model import Suite
from kshot.suites.reading import load_suite


class Published(NamedTuple):
    """Complete settings of one algorithm on one family, as plain values.

    Attributes:
        code: the defaults in the algorithm's file.
        family: those with ``config/algorithms/<name>.yaml`` on top: the published or earlier chosen ones.
    """

    code: Mapping[str, Any]
    family: Mapping[str, Any]


def published(suite: Suite) -> dict[tuple[str, str], Published]:
    """By (family in the suite, algorithm module), for every pair that the suite runs in some row."""
    pairs = dict.fromkeys(
        (run.family, str(run.algorithm_module)) for run in suite.runs() if run.algorithm_module is not None
    )
    found = {}
    for family, module in pairs:
        resolved = suite.resolved()
        plain = {"families": {family: resolved["families"][family]}, "algorithms": {module: {}}, "exclude": []}
        (run,) = load_suite(resolved | plain | {"seeds": [0]}).runs()[:1]
        defaults = registry.load("algorithms", module).Settings()
        found[family, module] = Published(registry.plain(defaults), run.algorithm_settings)
    return found
