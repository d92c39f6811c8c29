"""YAML as people read it: 010 is ten, 1:30 is text, a name stands once, and errors name the line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from vreid_fast.errors import InputError

TEXT = "<unicode string>"
"""What PyYAML calls the file in an error."""


class _Loader(yaml.SafeLoader):
    """Safe YAML with the numbers of YAML 1.2's core schema: no octal by a leading zero, no sixties, no dates.

    yes, no, on and off are truth values still, as in YAML 1.1.
    """

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012, as the class above has it


for _tag, _form, _first in (
    ("bool", "yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_form})$"), list(_first))


def _integer(_: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(node.value, 0 if node.value[:2] in ("0o", "0x") else 10)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def load_yaml(text: str) -> Any:
    """The value of a YAML text; JSON is read too.

    Raises:
        InputError: a name that is there twice, with both lines.
        yaml.YAMLError: no YAML.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_doubles(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        InputError: one that cannot be read, or holds something else; the file is named, and the line.
    """
    path = Path(path)
    try:
        content = load_yaml(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = str(error.strerror if isinstance(error, OSError) else error).replace(TEXT, path.name)
        raise InputError(f"{path}: cannot be read: {' '.join(reason.split())}") from error
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"{content!r:.60}"
        raise InputError(f"{path}: wanted lines such as `seed: 1`, found {found}")
    return content


def _refuse_doubles(node: yaml.Node, seen: set[int] | None = None) -> None:
    seen = set() if seen is None else seen
    if id(node) in seen:  # aliases lead to one node from many places
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in lines:
                raise InputError(f"line {line}: {name} is there twice, in line {lines[name]} too")
            lines[name] = line
            _refuse_doubles(value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for part in node.value:
            _refuse_doubles(part, seen)
