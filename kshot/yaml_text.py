"""YAML 1.2, by which everything here is read and written: suites, settings, options, looks.

PyYAML knows YAML 1.1, in which ``020000`` is 8192, ``1:00:00`` is 3600, ``on`` is true, and ``1e-3`` is text. Here
plain scalars mean what the core schema of YAML 1.2.2 says (https://yaml.org/spec/1.2.2/#103-core-schema), as in editors
and in the JSON that schemas check. Two things differ from it: ``<<`` merges mappings, as in 1.1, and every key is text,
since all keys here are names. What is written means the same to readers of 1.1 and of 1.2.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Hashable
from typing import Any

import yaml

_TAG = "tag:yaml.org,2002:"
_CORE = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
    "merge": (r"<<", ["<"]),
}


class Loader(yaml.SafeLoader):
    """A safe loader of YAML 1.2 whose keys are text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """As in PyYAML, but ``010:`` is the key "010" and ``null:`` the key "null"."""
        self.flatten_mapping(node)
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = f"{_TAG}str"
        return super().construct_mapping(node, deep)


def _int(loader: Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text[2:], {"0o": 8, "0x": 16}[text[:2]]) if text[:2] in ("0o", "0x") else int(text)


Loader.yaml_implicit_resolvers = {}
for _name, (_pattern, _first) in _CORE.items():
    Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"^(?:{_pattern})$"), _first)
Loader.add_constructor(f"{_TAG}int", _int)


class Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would read as something else than text."""

    def ignore_aliases(self, data: Any) -> bool:
        """Everything is written where it stands."""
        return True


Dumper.yaml_implicit_resolvers = {key: list(found) for key, found in yaml.SafeDumper.yaml_implicit_resolvers.items()}
for _name, (_pattern, _first) in _CORE.items():
    Dumper.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"^(?:{_pattern})$"), _first)


def _str(dumper: Dumper, text: str) -> yaml.ScalarNode:
    # What one version takes for the end of a line stands escaped, which needs double quotes.
    return dumper.represent_scalar(f"{_TAG}str", text, style='"' if re.search("[\x85\u2028\u2029]", text) else None)


Dumper.add_representer(str, _str)


def parse(text: str) -> Any:
    """The value of a YAML document. Raises yaml.YAMLError or ValueError where it is none."""
    return yaml.load(text, Loader=Loader)


def dump(value: Any, **options: Any) -> str:
    """Plain data as YAML, keys in their order; ``parse`` gives it back."""
    text: str = yaml.dump(value, None, Dumper, **({"sort_keys": False, "allow_unicode": True} | options))
    return text


_SEAL = "# sha256 of the rest, which is not for editing (in a copy that is, delete this line): "


def sealed(text: str) -> str:
    """A document that begins with its checksum, in a comment."""
    return f"{_SEAL}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def seal_is_broken(text: str) -> bool:
    """Whether a document begins with a checksum that is not its own."""
    seal, _, rest = text.partition("\n")
    return seal.startswith(_SEAL) and seal.removeprefix(_SEAL) != hashlib.sha256(rest.encode()).hexdigest()
