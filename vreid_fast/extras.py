"""Packages that only some commands need: which extra brings each, and what is said where it is missing."""

from __future__ import annotations

import importlib.util

from .errors import InputError


def needs(module: str, extra: str) -> None:
    """InputError where a module is not installed, with the extra of this package that brings it."""
    if importlib.util.find_spec(module) is None:
        raise InputError(f"{module} is not installed; pip install 'vreid-fast[{extra}]' brings it")
