"""What people have noted in ``config/`` for reports: lists of entries in YAML, checked."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from kshot import yaml_text
from kshot.errors import RecordError

Entry = TypeVar("Entry", bound=BaseModel)


def read_entries(path: Path, kind: type[Entry]) -> list[Entry]:
    """The entries of a file. Raises RecordError naming the first mistake."""
    try:
        return TypeAdapter(list[kind]).validate_python(yaml_text.parse(path.read_text(encoding="utf-8")))  # type: ignore[valid-type]
    except yaml.YAMLError as error:
        raise RecordError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise RecordError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
