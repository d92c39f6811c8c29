"""Where in a recording a tracklet was seen, and at what time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from vreid_fast.errors import InputError


@dataclass(frozen=True, slots=True)
class Sighting:
    """Frames of a recording, and its clock where that is known (None = unknown)."""

    video: str
    """Names the recording, as the video's path."""
    first_frame: int
    """Counted from 0."""
    last_frame: int
    fps: float | None = None
    """Frames a second of the recording."""
    start: datetime | None = None
    """When its frame 0 was taken."""

    @property
    def begins(self) -> datetime | None:
        """When the first frame was taken."""
        return self._at(self.first_frame)

    @property
    def ends(self) -> datetime | None:
        """When the last frame was taken."""
        return self._at(self.last_frame)

    def as_json(self) -> list:
        """What `of_json` takes."""
        start = self.start and self.start.isoformat()
        return [self.video, self.first_frame, self.last_frame, self.fps, start]

    @classmethod
    def of_json(cls, row: list) -> Sighting:
        """Raises InputError, ValueError or TypeError for what is none."""
        video, first, last, fps, start = row
        fps = read_fps("fps", "" if fps is None else str(fps))
        if type(video) is not str or type(first) is not int or type(last) is not int or not 0 <= first <= last:
            raise ValueError(f"no sighting: {row}")
        return cls(video, first, last, fps, read_clock("start", start or ""))

    def _at(self, frame: int) -> datetime | None:
        if self.start is None or self.fps is None:
            return None
        try:
            return self.start + timedelta(seconds=frame / self.fps)
        except OverflowError:
            raise InputError(
                f"{self.video}: frame {frame} at {self.fps:g} frames a second from {self.start.isoformat()} on is "
                "beyond the year 9999; correct the start or the frames a second"
            ) from None


def read_clock(where: str, word: str) -> datetime | None:
    """The time that an ISO 8601 word stands for, None for an empty one; `where` begins the InputError for others."""
    try:
        return datetime.fromisoformat(word) if word else None
    except ValueError:
        raise InputError(f"{where}: wanted a date and time such as 2026-05-04T08:00:00, found {word!r}") from None


def read_fps(where: str, word: str) -> float | None:
    """Frames a second, None for an empty word; `where` begins the InputError for others."""
    try:
        fps = float(word or "1")
    except ValueError:
        fps = math.nan
    if not 0 < fps < 1e5:
        raise InputError(f"{where}: wanted frames a second, above 0, found {word!r}")
    return fps if word else None


def check_clocks(where: str, sightings: Iterable[Sighting | None]) -> None:
    """InputError where some clocks say their time zone and others do not: such times cannot be compared."""
    starts = [sighting.start for sighting in sightings if sighting and sighting.start]
    zoned = [start for start in starts if start.utcoffset() is not None]
    if zoned and len(zoned) < len(starts):
        plain = next(start for start in starts if start.utcoffset() is None)
        raise InputError(
            f"{where}: {zoned[0].isoformat()} has a time zone and {plain.isoformat()} has none; write all times with "
            "their zone, such as +02:00, or all without"
        )
