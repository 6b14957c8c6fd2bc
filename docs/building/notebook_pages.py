"""Notebooks as pages of the site: their text, code and stored outputs, without running anything."""

from __future__ import annotations

from typing import Any

import nbformat
from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx


class NotebookParser(MystParser):
    """Reads a notebook as the Markdown page that says and shows the same."""

    supported = ("ipynb",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Turn the notebook ``inputstring`` (JSON) into the nodes of ``document``."""
        super().parse(markdown(inputstring), document)


def markdown(text: str) -> str:
    """A notebook, given as JSON, as Markdown with its pictures in it."""
    parts = []
    for cell in nbformat.reads(text, as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        elif cell.cell_type == "code":
            parts.append(f"```python\n{cell.source}\n```")
            parts += map(_shown, cell.outputs)
    return "\n\n".join(parts) + "\n"


def _shown(output: Any) -> str:
    if output.output_type == "stream":
        return f"```text\n{output.text.rstrip()}\n```"
    if "image/png" in output.data:
        return f"![What the cell draws](data:image/png;base64,{output.data['image/png'].strip()})"
    return f"```text\n{output.data['text/plain']}\n```"


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_source_suffix(".ipynb", "ipynb")
    app.add_source_parser(NotebookParser)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
