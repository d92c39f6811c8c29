"""What a knob may be: its bounds stand beside its default and are checked when its group is made."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vreid_fast.errors import InputError
from vreid_fast.files import with_home

LARGEST = 2**63 - 1
"""Of an integer: what torch takes as a seed, and more steps than there will ever be."""


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


POSITIVE = Bound(lambda parts: parts and min(parts) >= 1, "positive numbers")
"""Of several numbers."""


def _all(holds: Callable[[Any], bool], kind: type) -> Callable[[Any], bool]:
    """Whether it holds for a value, or each of several, of this kind."""

    def check(value: Any) -> bool:
        parts = value if isinstance(value, tuple | list) else (value,)
        return all(holds(part) for part in parts if isinstance(part, kind))

    return check


OF_ALL = (
    Bound(_all(math.isfinite, float), "finite"),
    Bound(_all(lambda value: abs(value) <= LARGEST, int), f"at most {LARGEST}"),
)
"""What holds for every knob."""


def fixed(default: Any, *bounds: Bound) -> Any:
    """The default of a knob that makes a run's result what it is, and its bounds: a resume may not change it."""
    return _knob(default, bounds, "fixed")


def free(default: Any, *bounds: Bound) -> Any:
    """Likewise of a knob that only says where, how fast and how often: a resume may change it."""
    return _knob(default, bounds, "free")


def same_data(default: Any, *bounds: Bound) -> Any:
    """Likewise of a data set: a resume may say that it has moved, and looks whether it is the same."""
    return _knob(default, bounds, "same_data")


def _knob(default: Any, bounds: tuple[Bound, ...], on_resume: str) -> Any:
    return dataclasses.field(default=default, metadata={"bounds": bounds, "on_resume": on_resume})


@dataclass(frozen=True)
class KnobGroup:
    """A frozen dataclass of knobs, each within its bounds; in paths, ~ becomes the home folder.

    Raises:
        InputError: a value out of bounds, with the knob, what was wanted and what came.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str):
                if "\0" in value:
                    raise InputError(f"--{field.name} must be text without a NUL, got {value!r}")
                object.__setattr__(self, field.name, with_home(value))
            if value is None and field.default is None:
                continue
            for bound in (*field.metadata.get("bounds", ()), *OF_ALL):
                if not bound.holds(value):
                    came = list(value) if isinstance(value, tuple) else value
                    raise InputError(
                        f"--{field.name} must be {bound.words}, got {came}{f': {bound.why}' if bound.why else ''}"
                    )
