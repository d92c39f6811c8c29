"""Knobs as a file of a run holds them, by name and without groups: every kind is looked at before it is used."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from vreid_fast.errors import InputError

from .knobs import Config


def stored(knobs: object) -> Config:
    """The configuration of a run from what its checkpoint holds; knobs that it lacks have their defaults.

    Raises:
        InputError: no mapping of knobs, an unknown knob, one of another kind, or one out of its bounds.
    """
    if not isinstance(knobs, Mapping) or not all(isinstance(name, str) for name in knobs):
        raise InputError(f"wanted knobs by name, got {type(knobs).__name__}")
    kinds = {name: kind for group in Config.groups().values() for name, kind in typing.get_type_hints(group).items()}
    for name, value in knobs.items():
        if name in kinds and not _is_a(value, kinds[name]):
            raise InputError(f"--{name}: wanted {_words(kinds[name])}, got {' '.join(repr(value).split())[:60]}")
    return Config.of(**knobs)


def _is_a(value: object, kind: Any) -> bool:
    origin = get_origin(kind)
    if origin is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if origin is types.UnionType:
        return any(_is_a(value, part) for part in get_args(kind))
    if origin is tuple:
        return isinstance(value, tuple | list) and all(_is_a(part, get_args(kind)[0]) for part in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind


def _words(kind: Any) -> str:
    return (
        " or ".join(map(str, get_args(kind))) if get_origin(kind) is Literal else getattr(kind, "__name__", str(kind))
    )
