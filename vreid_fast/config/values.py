"""The value of a knob from what somebody wrote, in a YAML file or on a command line, by the knob's type."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal

import yaml

from vreid_fast.errors import InputError

from .yaml_text import load_yaml

SWITCHES = {True: "on", False: "off"}
"""YAML takes these words for truth values."""


def value_of(kind: Any, given: Any) -> Any:
    """The value of type `kind` that is meant.

    Args:
        kind: str, int, float, bool, a Literal of words, a tuple of numbers, a union of str with int, or of one of these
            with None.
        given: a word, or what a YAML file holds.

    Raises:
        ValueError: it is something else; the message says what is wanted.
    """
    kinds = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    if given is None or (given == "null" and types.NoneType in kinds):
        if types.NoneType in kinds:
            return None
    elif str in kinds:
        if isinstance(given, str) or (int in kinds and isinstance(given, int)):
            return given
    elif typing.get_origin(kind) is Literal:
        return _one_of(typing.get_args(kind), given)
    elif typing.get_origin(kind) is tuple:
        return _several(typing.get_args(kind)[0], given)
    else:
        return _single(kinds[0], given)
    raise ValueError("text; quotes make it that")


def _one_of(choices: tuple[str, ...], given: Any) -> str:
    word = SWITCHES.get(given, given) if isinstance(given, bool) else given
    if word in choices:
        return word
    raise ValueError(f"{', '.join(choices[:-1])} or {choices[-1]}")


def _several(kind: type, given: Any) -> tuple:
    """Numbers in brackets; on a command line commas are enough."""
    if isinstance(given, str) and not given.lstrip().startswith("["):
        given = f"[{given}]"
    given = _read(given)
    try:
        return tuple(_single(kind, part) for part in (given if isinstance(given, list | tuple) else [given]))
    except ValueError:
        raise ValueError(f"{'whole ' * (kind is int)}numbers, as in [1, 2]") from None


def _single(kind: type, given: Any) -> Any:
    """A number or a truth value."""
    given = _read(given)
    if kind is bool:
        if isinstance(given, bool):
            return given
        raise ValueError("true or false")
    if isinstance(given, int | kind) and not isinstance(given, bool):
        return kind(given)
    raise ValueError("a whole number" if kind is int else "a number")


def _read(given: Any) -> Any:
    """What YAML makes of a text; anything else as it is."""
    try:
        return load_yaml(given) if isinstance(given, str) else given
    except (ValueError, RecursionError, yaml.YAMLError, InputError):
        return given
