"""What a knob may be: its bounds stand beside its default and are checked when its group is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vreid_fast.errors import InputError


@dataclass(frozen=True)
class Bound:
    """A condition on a knob's value, and the words for it after "must be"."""

    holds: Callable[[Any], object]
    """Whether a value keeps it, as `bool` says."""
    words: str
    why: str = ""
    """Said of a value that breaks it."""


def at_least(least: float) -> Bound:
    return Bound(lambda value: value >= least, f"at least {least}")


def above(limit: float) -> Bound:
    return Bound(lambda value: value > limit, f"above {limit}")


def between(least: float, most: float) -> Bound:
    return Bound(lambda value: least <= value <= most, f"between {least} and {most}")


def knob(default: Any, *bounds: Bound) -> Any:
    """The default of a field in a `KnobGroup`, and its bounds."""
    return dataclasses.field(default=default, metadata={"bounds": bounds})


@dataclass(frozen=True)
class KnobGroup:
    """A frozen dataclass of knobs, each within its bounds.

    Raises:
        InputError: a value out of bounds, with the knob, what was wanted and what came.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for bound in field.metadata.get("bounds", ()):
                if not bound.holds(value):
                    came = list(value) if isinstance(value, tuple) else value
                    raise InputError(
                        f"--{field.name} must be {bound.words}, got {came}{f': {bound.why}' if bound.why else ''}"
                    )
