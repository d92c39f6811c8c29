"""Which rows of an index may be an answer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from vreid_fast.errors import InputError
from vreid_fast.extraction.table import Row


@dataclass(frozen=True)
class Filter:
    """Cameras and times; what is empty or None allows all."""

    cameras: Collection[int] = ()
    """These alone."""
    not_cameras: Collection[int] = ()
    begins: datetime | None = None
    """Seen at this time or later."""
    ends: datetime | None = None
    """Seen at this time or earlier."""

    @property
    def allows_all(self) -> bool:
        return not (self.cameras or self.not_cameras or self.begins or self.ends)

    def __call__(self, rows: Sequence[Row]) -> np.ndarray:
        """(N,) bool, whether each may be an answer.

        Raises:
            InputError: times where no row has a clock, or where one has a time zone and the other has not.
        """
        allowed = np.ones(len(rows), bool)
        if self.cameras:
            allowed &= np.array([row.camera in self.cameras for row in rows], bool)
        if self.not_cameras:
            allowed &= np.array([row.camera not in self.not_cameras for row in rows], bool)
        for option, limit in (("--from", self.begins), ("--to", self.ends)):
            if limit is None:
                continue
            clocks = [row.end if option == "--from" else row.start for row in rows]
            known = [clock for clock in clocks if clock is not None]
            if not known:
                raise InputError(f"{option}: no tracklet has a clock; crop with --start, then extract and index again")
            other = next((clock for clock in known if (clock.tzinfo is None) != (limit.tzinfo is None)), None)
            if other is not None:
                has = "without a time zone" if other.tzinfo is None else "with a time zone"
                raise InputError(f"{option} {limit.isoformat()}: clocks here are {has}, as {other.isoformat()}")
            inside = limit.__le__ if option == "--from" else limit.__ge__
            allowed &= np.array([clock is not None and inside(clock) for clock in clocks], bool)
        return allowed
