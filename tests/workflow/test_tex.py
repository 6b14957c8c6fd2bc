"""Every table and every figure for papers in an article, set by a real LaTeX: `make test-tex`."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from kshot import records
from kshot.reporting import paper, tables
from kshot.reporting.faults import Faults
from kshot.reporting.results import load
from kshot.reporting.table_latex import latex
from tests import in_papers

PROGRAMS = ("pdflatex", "pdffonts")
MISSING = [program for program in PROGRAMS if shutil.which(program) is None]
pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(
        bool(MISSING), reason=f"no {' and no '.join(MISSING)} here: `make test-tex` says what to install"
    ),
]

# ICML's columns, and NeurIPS's single one. No package but booktabs, and graphicx for the figures.
CLASSES = {
    "two": r"\documentclass[twocolumn]{article}\setlength{\textwidth}{6.75in}\setlength{\columnsep}{.25in}",
    "one": r"\documentclass{article}\setlength{\textwidth}{5.5in}",
}
PREAMBLE = r"""
\setlength{\textheight}{9in}\setlength{\topmargin}{-.5in}\setlength{\oddsidemargin}{-.1in}
\usepackage{booktabs}\usepackage{graphicx}\graphicspath{{figures/}}
\begin{document}
"""
FAULTS = re.compile(
    r"^! .*|.*(?:Overfull .hbox|Float too large|undefined|multiply defined|Missing character|Too many).*", re.M
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `kshot tables` and `kshot figures --paper` write."""
    root = tmp_path_factory.mktemp("paper")
    runs = in_papers.write(root / "results")
    tables.write_tables(runs, root / "results", root / "tables")
    records.write_text(root / "tables" / "odd.tex", latex(in_papers.ODD, "made_up"))
    paper.render_all(runs, root / "results", root / "figures")
    data = load(runs, root / "results")
    for picture in paper.pictures(data, Faults()):
        assert (root / "figures" / f"{picture.stem}.tex").is_file(), f"{picture.stem} was not drawn"
    return root


@pytest.mark.parametrize("columns", CLASSES)
def test_an_article_takes_all_of_them(columns: str, folder: Path) -> None:
    floats = sorted((folder / "tables").glob("*.tex")) + sorted((folder / "figures").glob("*.tex"))
    assert len(floats) > 25
    text = [CLASSES[columns], PREAMBLE]
    for path in floats:
        content = path.read_text(encoding="utf-8")
        text += [rf"See~\ref{{{label}}}." for label in re.findall(r"\\label{([^}]+)}", content)]
        text += [content, wide(content) if path.parent.name == "figures" else "", r"\clearpage"]
    records.write_text(folder / f"{columns}.tex", "\n".join([*text, r"\end{document}", ""]))
    for _ in range(2):  # references are known at the second time
        command = ["pdflatex", "-interaction=nonstopmode", "-no-shell-escape", f"{columns}.tex"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    log = (folder / f"{columns}.log").read_text(encoding="utf-8", errors="replace").replace("\nl.", " l.")
    assert done.returncode == 0 and not FAULTS.findall(log), "\n".join(FAULTS.findall(log)[:20])
    assert not without_letters(folder / f"{columns}.pdf")


def test_figures_have_letters_and_no_pictures_of_them(folder: Path) -> None:
    drawn = sorted((folder / "figures").glob("*.pdf"))
    assert drawn and not [path.name for path in drawn if without_letters(path)]


def wide(content: str) -> str:
    """The same figure over all of the page."""
    return (
        content.replace("{figure}", "{figure*}").replace("-column.pdf", "-text.pdf").replace(r"\label{", r"\label{all-")
    )


def without_letters(path: Path) -> list[str]:
    """The fonts of a PDF that are not in it, or bitmaps (Type 3)."""
    lines = subprocess.run(["pdffonts", path], capture_output=True, text=True, check=True).stdout.splitlines()
    place = lines[0].index("emb")
    assert len(lines) > 2, f"{path} holds no text"
    return [line for line in lines[2:] if "Type 3" in line or not line[place:].startswith("yes")]
