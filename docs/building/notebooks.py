"""Runs the notebooks and stores what their cells print and draw: ``python -m docs.building.notebooks``.

The cells of a notebook run one after the other in this process, in a folder of their own where they ask for one. What
the last expression of a cell gives is shown, and figures that are open at the end of a cell, as Jupyter does.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import nbformat
from nbformat import NotebookNode, v4

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
_PROGRESS = re.compile(r"^\d+/\d+ runs done.*\n", re.MULTILINE)
"""How far a suite is: what is printed depends on the time that it takes."""


def notebooks() -> list[Path]:
    """Every notebook of the documentation."""
    return sorted(FOLDER.glob("*.ipynb"))


def read(path: Path) -> NotebookNode:
    """A notebook, checked against its format."""
    found = nbformat.read(path, as_version=4)
    nbformat.validate(found)
    return found


def execute(notebook: NotebookNode, folder: Path = FOLDER) -> None:
    """Run all cells of a notebook as if Jupyter had been started in ``folder``, and replace their outputs.

    The folder that the process is in, its environment and where it looks for modules are afterwards as before. An error
    in a cell is raised as it is.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    with _as_in_jupyter(folder):
        count = 0
        for cell in notebook.cells:
            if cell.cell_type == "code":
                count += 1
                cell.execution_count = count
                cell.outputs = _run(cell.source, names, count)


@contextlib.contextmanager
def _as_in_jupyter(folder: Path) -> Iterator[None]:
    import matplotlib.pyplot as plt

    before, surroundings, path = Path.cwd(), dict(os.environ), list(sys.path)
    with matplotlib.rc_context():
        plt.switch_backend("agg")
        os.chdir(folder)
        try:
            yield
        finally:
            plt.close("all")
            os.chdir(before)
            os.environ.clear()
            os.environ.update(surroundings)
            sys.path[:] = path


def _run(source: str, names: dict[str, Any], count: int) -> list[NotebookNode]:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, f"cell {count}", "exec"), names)
        if last is not None and not source.rstrip().endswith(";"):
            value = eval(compile(ast.Expression(last.value), f"cell {count}", "eval"), names)
        elif last is not None:
            exec(compile(ast.Module([last], []), f"cell {count}", "exec"), names)
    text = _PROGRESS.sub("", printed.getvalue())
    outputs = [v4.new_output("stream", name="stdout", text=text)] if text else []
    if value is not None:
        outputs.append(v4.new_output("execute_result", {"text/plain": repr(value)}, execution_count=count))
    return outputs + _figures()


def _figures() -> list[NotebookNode]:
    """The open figures as pictures; they are closed."""
    import matplotlib.pyplot as plt

    found = []
    for number in plt.get_fignums():
        file = io.BytesIO()
        plt.figure(number).savefig(file, format="png", dpi=100, metadata={"Software": None})
        found.append(v4.new_output("display_data", {"image/png": base64.b64encode(file.getvalue()).decode()}))
    plt.close("all")
    return found


def main() -> None:
    """Run every notebook and write it with its outputs."""
    for path in notebooks():
        notebook = read(path)
        execute(notebook)
        nbformat.write(notebook, path)
        print(path)


if __name__ == "__main__":
    main()
