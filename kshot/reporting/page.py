"""The report: one self-contained HTML page that opens from disk and asks the network for nothing."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import jinja2
import pandas as pd
import yaml
from markupsafe import Markup, escape

from kshot import records
from kshot.errors import RecordError
from kshot.reporting import figures, links, style, tables
from kshot.reporting.data import DEMONSTRATIONS, METRIC_NAMES, Data, Section, load
from kshot.reporting.demonstrated import given_away
from kshot.reporting.layout import Table, is_demonstrated, part_title, title
from kshot.reporting.stats import INTERVAL_RUNS, MINIMUM_RUNS, is_range
from kshot.suites.run import RunConfig

_TEMPLATES = Path(__file__).parent / "templates"
_VALUE = re.compile(r"(-?[\d.]+)(?: \[(-?[\d.]+)(, | to )(-?[\d.]+)\])?(?: at K = (\d+))?(?: \((.+)\))?")
_SPREAD = re.compile(r"(-?[\d.]+) ± ([\d.]+)(?: \((-?[\d.]+)\))?")
_RUNS = re.compile(r"(\d+/\d+)(?: \((.+)\))?")
_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Picture:
    """A figure as it stands on the page: one image per part, and links to its files."""

    name: str
    caption: str
    images: Mapping[str, str]  # part's title -> data URI
    links: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Half:
    """What the page shows of learners that adapt on one kind of evidence.

    Attributes:
        families: (name, description, title of its part) of every family that such learners play.
        tables: by name.
        pictures: by name.
    """

    families: tuple[tuple[str, str, str], ...]
    tables: Mapping[str, TextTable]
    pictures: Mapping[str, Picture]


@dataclass(frozen=True)
class TextTable:
    """A table as it stands on the page."""

    name: str
    title: str
    caption: str
    parts: tuple[tuple[str, pd.DataFrame], ...]
    sources: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]

    @property
    def wide(self) -> bool:
        """Whether two parts do not fit side by side."""
        return max(len(text.columns) for _, text in self.parts) > 6


def write_page(
    suite: Mapping[str, Any],
    runs: Sequence[RunConfig],
    root: Path,
    out: Path,
    partial: bool = False,
    alone: bool = False,
) -> Path:
    """Write ``out/index.html``.

    Args:
        suite: the resolved suite, to be shown.
        runs: the complete grid that the suite expects.
        root: folder of all results.
        out: folder of the report. Figures and tables found in its ``figures`` and ``tables`` are linked.
        partial: accept that runs are missing; the page says which.
        alone: the page is to be kept without ``root``: the suite's CSV files are copied beside it, and it links to
            files in ``out`` alone.

    Returns:
        The path of the page.

    Raises:
        RecordError: runs are missing and ``partial`` is False, or the suite has not been aggregated since its runs
            last changed.
    """
    data = load(runs, root)
    missing = int((data.cells["state"] == "missing").sum())
    if missing and not partial:
        raise RecordError(f"{missing} of {len(runs)} runs are missing; {data.folder / 'cells.csv'} lists them")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = tables.build(data)
    colours = {title(name): look.color for name, look in style.looks(data.names).items()}
    environment.filters |= {"value": value_html, "duration": duration, "count": count, "policy": title}
    html = environment.get_template("page.html.j2").render(
        suite=data.suite,
        description=str(suite.get("description") or ""),
        facts=_facts(data),
        notices=_notices(data),
        halves=[_half(data, out, shown, demonstrated) for demonstrated in (False, True)],
        colours=colours,
        incomplete=data.cells[data.cells["state"] != "ok"].to_dict("records"),
        excluded=[_excluded(item) for item in suite.get("exclude") or ()],
        config=yaml.safe_dump(json.loads(json.dumps(suite)), sort_keys=False, allow_unicode=True, width=100),
        provenance=_provenance(data, out),
        files=_files(data, out),
    )
    path = out / "index.html"
    if alone:
        for name in links.DATA_FILES:
            if name.endswith(".csv"):
                records.write_bytes(out / name, (data.folder / name).read_bytes())
        html = links.kept(html, out)
    records.write_text(path, html)
    return path


def _excluded(item: Mapping[str, Any]) -> dict[str, str]:
    """An entry of ``exclude`` in plain words: names of one or several algorithms and families, and the reason."""
    return {name: _listed(item[name]) for name in ("algorithm", "family")} | {"reason": str(item["reason"])}


def _listed(names: str | Sequence[str]) -> str:
    """``maml``, ``maml and reptile``, or ``maml, fomaml and reptile``."""
    *most, last = [names] if isinstance(names, str) else names
    return f"{', '.join(most)} and {last}" if most else last


def value_html(text: str) -> Markup:
    """A value with what qualifies it on a line of its own; anything else as it is.

    ``0.80 [0.76, 0.86] at K = 10`` has an interval and a K, ``0.80 [0.76 to 0.86]`` the range of few seeds,
    ``0.80 ± 0.04 (0.82)`` an error and a median, ``0.80 [0.5, 1.0] (3 families, n = 5)`` what it is based on.
    """
    if runs := _RUNS.fullmatch(text):
        return Markup("{}<small>{}</small>").format(runs[1], runs[2]) if runs[2] else Markup("{}").format(text)
    if spread := _SPREAD.fullmatch(text):
        value, by, median = (part.replace("-", _MINUS) if part else "" for part in spread.groups())
        below = Markup("<small>median {}</small>").format(median) if median else ""
        return Markup("<b>{}</b><small>± {}</small>{}").format(value, by, below)
    match = _VALUE.fullmatch(text)
    if match is None:
        return Markup("{}").format(text)
    value, low, between, high, k, basis = (part.replace("-", _MINUS) if part else "" for part in match.groups())
    kind = "range" if between == " to " else "95 %"
    notes = [f"{kind} [{low}{between}{high}]"] * bool(low) + [f"K = {k}"] * bool(k) + [basis] * bool(basis)
    small = Markup("<small>{}</small>").format(" · ".join(notes)) if notes else Markup("")
    return Markup("<b>{}</b>{}").format(value, small)


def duration(seconds: float) -> str:
    """``2.5 h``, ``40 min`` or ``12 s``."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def count(value: float) -> str:
    """``1.2 M``, ``340 k`` or ``512``."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"


def _facts(data: Data) -> list[tuple[str, str]]:
    """The strip of figures below the title."""
    cells = data.cells
    learners = cells[cells["kind"] == "algorithm"]
    ok = int((cells["state"] == "ok").sum())
    seeds = learners["seed"].nunique()
    families, algorithms = cells["family"].nunique(), learners["algorithm"].nunique()
    return [
        (str(families), "task family" if families == 1 else "task families"),
        (str(algorithms), "learner" if algorithms == 1 else "learners"),
        (str(seeds), "seed" if seeds == 1 else "seeds"),
        (f"{ok}/{len(cells)}", "runs complete"),
        (count(cells["train_env_steps"].fillna(0).sum()), "training steps"),
        (duration(cells["wall_seconds"].fillna(0).sum()), "run time, all runs"),
    ]


def _notices(data: Data) -> list[tuple[str, Markup]]:
    """(severity, text) of everything a reader must know before believing a number."""
    cells, found = data.cells, []
    mixed = int((cells["source_flag"] == "mixed").sum())
    if mixed:
        text = (
            "Mixed source code: {} runs share their modules with runs that other code made. Their numbers must not be "
            'compared until the older ones have been run again. <a href="#provenance">Provenance</a> shows the digests.'
        )
        found.append(("bad", Markup(text).format(mixed)))
    for state, text in (
        ("missing", "{} of {} runs are missing. Averages are over the runs that exist."),
        ("diverged", "{} of {} runs diverged. They count in no average; the tables show how many runs do."),
    ):
        n = int((cells["state"] == state).sum())
        if n:
            text += ' See <a href="#incomplete">incomplete runs</a>.'
            found.append(("warn", Markup(text).format(n, len(cells))))
    expected = data.summary.loc[data.summary["kind"] == "algorithm", "n_seeds_expected"]
    if len(expected) and expected.max() < MINIMUM_RUNS:
        text = "Fewer than {} seeds: no interval can be given, and no difference between learners is established."
        found.append(("warn", Markup(text).format(MINIMUM_RUNS)))
    elif len(expected) and is_range(expected.max()):
        text = (
            "What stands beside means, and bands in figures, is the range of {} seeds, from the lowest to the highest: "
            "intervals are given from {} seeds on."
        )
        found.append(("note", Markup(text).format(expected.max(), INTERVAL_RUNS)))
    splits = sorted({info.split for info in data.families.values()} - {"test"})
    if splits:
        text = "Evaluated on {} tasks: these numbers are for choosing settings, they are not results."
        found.append(("warn", Markup(text).format(", ".join(splits))))
    done = cells[cells["state"] != "missing"]
    if (done["git_dirty"] == "True").any():
        found.append(("note", Markup("Some runs were made from a working tree with uncommitted changes.")))
    commits = done["git_commit"].nunique()
    if commits > 1:
        text = "The runs come from {} commits; <code>kshot audit</code> tells whether that matters."
        found.append(("note", Markup(text).format(commits)))
    return found


def _half(data: Data, out: Path, shown: Sequence[Table], demonstrated: bool) -> Half:
    """Everything about learners from demonstrations, or about all others: the two are never seen side by side."""
    sections = [
        (family, evidence) for family, evidence, _ in data.sections if (evidence == DEMONSTRATIONS) == demonstrated
    ]
    texts = {}
    for table in shown:
        parts = tuple((part, text) for part, text in table.parts if is_demonstrated(part) == demonstrated)
        if parts:
            texts[table.name] = _text_table(replace(table, parts=parts), data, out)
    pictures = {module.NAME: _picture(module, data, out, sections) for module in figures.modules()}
    return Half(
        tuple((section[0], _description(data, section), part_title(*section)) for section in sections),
        texts,
        {name: picture for name, picture in pictures.items() if picture.images},
    )


def _description(data: Data, section: Section) -> str:
    info, metric = data.families[section[0]], data.headline(section)
    ks = ", ".join(str(k) for k in info.k)
    headline = METRIC_NAMES[metric]
    if metric == "trial_return":
        headline = f"return of a trial of {info.episodes_per_trial} episodes"
    compared = "" if metric == "trial_return" else f", compared at K = {data.comparison(section)}"
    parts = [f"{info.tasks} {info.split} tasks", f"headline: {headline}{compared}", f"K = {ks}"]
    parts += [f"{len(info.classes)} classes"] * bool(info.classes)
    steps = "step" if info.horizon == 1 else "steps"
    facts = "; ".join([*parts, f"episodes of at most {info.horizon} {steps}"])
    note = given_away(data, section) if section[1] == DEMONSTRATIONS else ""
    return f"{facts}. {note}" if note else facts


def _picture(module: ModuleType, data: Data, out: Path, sections: Sequence[Section]) -> Picture:
    """A figure as images: one for each of the sections where the module can do that.

    One that cannot shows everything at once, and stands where the first sections do.
    """
    concerned = module.sections(data) if hasattr(module, "sections") else _sections(data)
    if getattr(module, "BY_SECTION", False):
        parts = {part_title(*section): data.only(section) for section in concerned if section in sections}
    else:
        parts = {"": data} if concerned and concerned[0] in sections else {}
    images = {}
    for part, narrowed in parts.items():
        with style.context(module.NAME):
            svg = style.render(figures.draw(module, narrowed), "svg")
        images[part] = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    links = _existing([out / "figures" / f"{module.NAME}.{format}" for format in style.FORMATS], out)
    return Picture(module.NAME, module.CAPTION, images, tuple(links))


def _sections(data: Data) -> list[Section]:
    return [(family, evidence) for family, evidence, _ in data.sections if data.algorithms(family, evidence)]


def _text_table(table: Table, data: Data, out: Path) -> TextTable:
    sources = [(name, _link(data.folder / name, out)) for name in table.sources]
    links = _existing([out / "tables" / f"{table.name}{suffix}" for suffix in (".csv", ".tex", ".md")], out)
    return TextTable(table.name, table.title, table.caption, table.parts, tuple(sources), tuple(links))


def _files(data: Data, out: Path) -> list[tuple[str, str, str]]:
    """(name, link, what it holds) of the suite's data files."""
    held = (
        "every mean, interquartile mean and interval",
        "the score of every run",
        "the outcome on every test task, averaged over runs",
        "every run the suite expects, its state and where it came from",
    )
    return [(name, _link(data.folder / name, out), text) for name, text in zip(links.DATA_FILES, held, strict=True)]


def _provenance(data: Data, out: Path) -> dict[str, Any]:
    """Rows of the table of runs, and the distinct environments that they name by letter."""
    environments: dict[str, str] = {}
    rows = []
    cells = {(c["family"], c["algorithm"], c["seed"]): c for c in data.cells.to_dict("records")}
    for run in data.runs:
        cell = cells[run.family, run.algorithm, run.seed]
        if cell["state"] == "missing":
            continue
        folder = run.directory(data.root)
        record = records.read_json(folder / ("run.json" if run.kind == "algorithm" else "evaluate.json"))
        hardware, versions = record.get("hardware", {}), record.get("versions", {})
        key = json.dumps([hardware, versions], sort_keys=True)
        label = environments.setdefault(key, _letter(len(environments)))
        files = ["curve.parquet", "evaluate.json", "run.json", "train.parquet", "official.json"]
        rows.append(
            {
                "cell": cell,
                "environment": label,
                "threads": hardware.get("threads", ""),
                "files": _existing([folder / name for name in files], out),
            }
        )
    described = []
    for key, label in environments.items():
        hardware, versions = json.loads(key)
        parts = [f"{hardware.get('cpu', 'unknown CPU')}", f"{hardware.get('cores', '?')} cores"]
        parts += [str(hardware[name]) for name in ("gpu", "platform") if hardware.get(name)]
        parts += [f"threads: {hardware.get('threads', '?')}", f"{hardware.get('memory_gb', '?')} GB"]
        packages = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
        described.append((label, "; ".join(parts), packages))
    return {"rows": rows, "environments": described}


def _letter(index: int) -> str:
    """A, B, ..., Z, AA, AB, ..."""
    return (_letter(index // 26 - 1) if index >= 26 else "") + chr(ord("A") + index % 26)


def _existing(paths: Sequence[Path], out: Path) -> list[tuple[str, str]]:
    """(label, link) of those files that are there."""
    return [(path.name, _link(path, out)) for path in paths if path.is_file()]


def _link(path: Path, out: Path) -> str:
    """Relative to the page, so that results and reports can be moved together."""
    return str(escape(Path(os.path.relpath(path, out)).as_posix()))
