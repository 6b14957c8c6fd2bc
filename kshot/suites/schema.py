"""The JSON schema by which editors check and complete suites: ``python -m kshot.suites.schema`` writes it."""

from __future__ import annotations

import json
from typing import Any

from kshot.places import SCHEMA
from kshot.records import write_text
from kshot.suites.sweeps import SuiteFile


def json_schema() -> dict[str, Any]:
    """The JSON schema of suite files."""
    schema = SuiteFile.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "kshot suite"}


def schema_text() -> str:
    """The committed form of ``json_schema``."""
    return json.dumps(json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    write_text(SCHEMA, schema_text())
    print(f"wrote {SCHEMA}")
