"""Resolves the names in a suite by importing their code: complete settings, and facts about each name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from kshot import plugins, registry
from kshot.errors import ConfigError, RegistryError, suggest
from kshot.places import ALGORITHMS
from kshot.suites.checks import Draft
from kshot.suites.document import Document, KeyPath, Problems, read
from kshot.suites.model import AlgorithmFacts, AlgorithmRow, Facts, FamilyCell, FamilyFacts, FamilyOverride
from kshot.suites.settings import Layer, resolve
from kshot.suites.wording import shortened
from kshot.types import Headline

_log = logging.getLogger(__name__)
Reading = Callable[[Path], Document]


def resolve_families(draft: Draft) -> tuple[dict[str, FamilyCell], dict[str, FamilyCell]]:
    """The cells of ``draft`` with complete settings; those with problems are left out, and their problems added.

    Returns:
        These, and all cells whose family is there with what has no problem of the settings that were given.
    """
    resolved: dict[str, FamilyCell] = {}
    given: dict[str, FamilyCell] = {}
    for name, cell in draft.cells.items():
        path: KeyPath = ("families", name)
        module_name = cell.family or name
        module = _load("envs", module_name, draft, (*path, "family") if cell.family else path)
        if module is None:
            continue
        layer = Layer(draft.document, (*path, "settings"), cell.settings)
        settings, accepted = resolve(module.Settings, module_name, [layer], draft.problems)
        if accepted is not None:
            given[name] = cell.model_copy(update={"family": module_name, "settings": accepted})
        if settings is not None:
            headline = _headline(module, settings)
            if headline not in get_args(Headline):
                text = (
                    f"{module_name!r} has the headline {headline!r}, which is none of {', '.join(get_args(Headline))}"
                )
                draft.add(path, text)
                continue
            resolved[name] = cell.model_copy(update={"family": module_name, "settings": settings})
            asked = cell.evaluation.official
            if asked and (obstacle := official_obstacle(module_name, cell.evaluation.split, settings)):
                draft.add((*path, "evaluation", "official"), f"no official evaluation: {obstacle}")
    return resolved, given


def _headline(module: ModuleType, settings: Mapping[str, Any]) -> Headline:
    headline = getattr(module, "headline", None)
    name: Headline = "return" if headline is None else headline(registry.settings(module, settings))
    return name


def official_obstacle(family: str, split: str, settings: Mapping[str, Any]) -> str:
    """Why learners on a family cannot go through Metaworld's own evaluation, in words; empty if they can.

    Args:
        family: its module.
        split: of the tasks that learners are evaluated on.
        settings: of the family, complete.
    """
    if split != "test":
        return f"it plays test tasks, and the split is {split!r}"
    module = registry.load("envs", family)
    check = getattr(module, "official_obstacle", None)
    if check is None:
        return f"only families of Meta-World have one, {family!r} has not"
    return str(check(registry.settings(module, settings)))


def resolve_algorithms(draft: Draft) -> dict[str, AlgorithmRow]:
    """The rows of ``draft`` with complete settings on every family; problems are left out and added likewise."""
    resolved: dict[str, AlgorithmRow] = {}
    excluded = {pair for _, pair in draft.exclusions}
    reading = cache(read)  # a file for each algorithm, asked for every family
    offers = {name: _offer(cell.family or name, cell.settings) for name, cell in draft.cells.items()}
    for name, row in draft.rows.items():
        path: KeyPath = ("algorithms", name)
        module_name = row.algorithm or name
        module = _load("algorithms", module_name, draft, (*path, "algorithm") if row.algorithm else path)
        if module is None:
            continue
        overrides: dict[str, FamilyOverride] = {}
        for cell_name, cell in draft.cells.items():
            if (name, cell_name) in excluded:
                continue
            family_name = cell.family or cell_name
            reason = _why_incompatible(module_name, module, family_name, offers[cell_name])
            if reason is not None:
                text = f"cannot run on family {cell_name!r}: {reason}; leave the pair out under 'exclude'"
                draft.add(path, text)
                continue
            override = row.families.get(cell_name, FamilyOverride())
            layers = [
                *_file_layers(module_name, family_name, draft.problems, reading),
                Layer(draft.document, (*path, "settings"), row.settings),
                Layer(draft.document, (*path, "families", cell_name, "settings"), override.settings),
            ]
            settings = resolve(module.Settings, module_name, layers, draft.problems).complete
            if settings is not None:
                overrides[cell_name] = FamilyOverride(settings=settings, steps=override.steps or cell.steps)
        resolved[name] = AlgorithmRow(algorithm=module_name, families=overrides, device=row.device)
    return resolved


def _offer(family: str, settings: Mapping[str, Any]) -> tuple[ModuleType, str] | None:
    """The module of a family and its kind of actions; None where there is a problem, which is one of its cell."""
    try:
        envs = registry.load("envs", family)
        return envs, envs.actions(registry.settings(envs, settings)) if hasattr(envs, "actions") else envs.ACTIONS
    except Exception:
        return None


def _why_incompatible(
    algorithm: str, module: ModuleType, family: str, offer: tuple[ModuleType, str] | None
) -> str | None:
    """Why an algorithm (its module being ``module``) cannot run on a family, or None if it can."""
    if offer is None:
        return None
    envs, actions = offer
    if actions not in module.ACTIONS:
        return f"{algorithm!r} needs {' or '.join(sorted(module.ACTIONS))} actions, {family!r} has {actions} ones"
    observes = getattr(module, "OBSERVES", None)
    if observes is not None and observes != getattr(envs, "OBSERVES", None):
        return f"{algorithm!r} needs observations that hold a {observes}, those of {family!r} hold none"
    if module.EVIDENCE not in envs.EVIDENCE:
        return f"{algorithm!r} learns from {module.EVIDENCE}, {family!r} offers {' and '.join(sorted(envs.EVIDENCE))}"
    return None


@cache
def _mention(reason: str) -> None:
    """Warn, once, of a plug-in that is left out: what is run in its place is kshot's own."""
    _log.warning("kshot: left out: %s", reason)


def _load(kind: registry.Kind, name: str, draft: Draft, path: KeyPath) -> ModuleType | None:
    """The module behind ``name``; None after adding a problem at ``path``."""
    if reason := plugins.mistake(kind, name):
        if not registry.is_own(kind, name):
            draft.add(path, reason)
            return None
        _mention(reason)
    try:
        return registry.load(kind, name)
    except RegistryError as error:
        known = name in registry.names(kind)
        draft.add(path, f"{error}{'' if known else f'; {plugins.searched()}'}")
    except Exception as error:  # a module may fail to import in any way
        draft.add(path, f"{kind}/{name} does not import: {plugins.why(error)}")
    return None


def _file_layers(algorithm: str, family: str, problems: Problems, reading: Reading) -> list[Layer]:
    """The layers of ``config/algorithms/<algorithm>.yaml``: ``defaults``, then ``families.<family>``.

    Plug-ins have such files, too. Of kshot's own algorithms these hold settings for families of plug-ins only.
    """
    path, own, layers = ALGORITHMS / f"{algorithm}.yaml", registry.is_own("algorithms", algorithm), list[Layer]()
    if path.is_file():
        layers += _layers_of(path, family, problems, reading, own)
    elif own:  # without its file an algorithm of kshot's own would quietly run with other settings; plug-ins need none
        problems.lines.append(f"{path}: no such file; kshot's own settings of {algorithm!r} belong there")
    for path in plugins.settings_files(algorithm):
        layers += _layers_of(path, family, problems, reading, own, plugged=True)
    return layers


def _layers_of(
    path: Path, family: str, problems: Problems, reading: Reading, own: bool, plugged: bool = False
) -> list[Layer]:
    """The layers of one file.

    Args:
        path: of the file.
        family: the module of the family.
        problems: gets the mistakes in the file.
        reading: parses it.
        own: whether it is of an algorithm of kshot's own.
        plugged: whether it is the file of a plug-in.
    """
    try:
        document = reading(path)
    except ConfigError as error:
        problems.lines += [line for line in error.problems if line not in problems.lines]
        return []
    value = {} if document.value is None else document.value
    if not isinstance(value, dict):
        problems.add(document, (), "expected a mapping with 'defaults' and 'families'")
        return []
    for key in value.keys() - {"defaults", "families"}:
        problems.add(document, (key,), f"unknown key {key!r}{suggest(key, ['defaults', 'families'])}")
    families = value.get("families", {})
    if own and plugged:
        text = "kshot's own algorithms get settings from plug-ins for families of plug-ins only"
        if "defaults" in value:
            problems.add(document, ("defaults",), text)
        for name in families if isinstance(families, dict) else ():
            if registry.is_own("envs", name):
                problems.add(document, ("families", name), text)
    layers = []
    for keys, values in (
        (("defaults",), value.get("defaults", {})),
        (("families", family), families.get(family, {}) if isinstance(families, dict) else families),
    ):
        if isinstance(values, dict):
            layers.append(Layer(document, keys, values))
        else:
            problems.add(document, keys, f"expected a mapping of settings, got {shortened(values)}")
    return layers


def facts(families: Mapping[str, FamilyCell], algorithms: Mapping[str, AlgorithmRow]) -> Facts:
    """The facts of a resolved suite."""
    cells, rows = {}, {}
    for name, cell in families.items():
        cells[name] = FamilyFacts(headline=_headline(registry.load("envs", str(cell.family)), cell.settings))
    for name, row in algorithms.items():
        module = registry.load("algorithms", str(row.algorithm))
        from_scratch = getattr(module, "FROM_SCRATCH", False)
        rows[name] = AlgorithmFacts(
            evidence=module.EVIDENCE, test_actions=module.TEST_ACTIONS, from_scratch=from_scratch
        )
    return Facts(families=cells, algorithms=rows)
