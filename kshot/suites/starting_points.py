"""The settings that algorithms have unless a suite changes them, for selections to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kshot import registry
from kshot.suites.model import Suite
from kshot.suites.reading import load_suite


class Published(NamedTuple):
    """Complete settings of one algorithm on one family, as plain values.

    Attributes:
        code: the defaults in the algorithm's module.
        family: these, overridden by ``config/algorithms/<name>.yaml``, which has published or earlier chosen ones.
    """

    code: Mapping[str, Any]
    family: Mapping[str, Any]


def published(suite: Suite) -> dict[tuple[str, str], Published]:
    """(family's name in the suite, algorithm's module) -> settings, for every pair that the suite runs."""
    pairs = dict.fromkeys(
        (run.family, str(run.algorithm_module)) for run in suite.runs() if run.algorithm_module is not None
    )
    settings = {}
    for family, module in pairs:
        resolved = suite.resolved()
        one_pair = {"families": {family: resolved["families"][family]}, "algorithms": {module: {}}, "exclude": []}
        (run,) = load_suite(resolved | one_pair | {"seeds": [0]}).runs()[:1]
        defaults = registry.load("algorithms", module).Settings()
        settings[family, module] = Published(registry.plain(defaults), run.algorithm_settings)
    return settings
