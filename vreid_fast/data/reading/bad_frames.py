"""Frames that cannot be read: an error, or their nearest neighbour in their stead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np

from vreid_fast import ranks
from vreid_fast.errors import InputError

from ..tracklets import BadFrame, Tracklet
from .images import read_frames

Result = TypeVar("Result")

POLICIES = ("error", "skip")


class BadFrames:
    """What the loaders of a run do about bad frames, and which they have met.

    Args:
        policy: "error" = raise; "skip" = take the nearest frame of the tracklet that can be read, the earlier of
            two; all are in `found`.

    Raises:
        InputError: an unknown policy.
    """

    def __init__(self, policy: str = "error"):
        if policy not in POLICIES:
            raise InputError(f"--on_bad_frame {policy}: wanted {' or '.join(POLICIES)}")
        self.policy = policy
        self.found: dict[str, dict[int, str]] = {}
        """Reason by frame number by first frame or video of a tracklet."""
        self._lock = threading.Lock()

    def attempt(self, read: Callable[[], Result]) -> Result:
        """`read()`, tried again after each bad frame, which `replaced` leaves out from then on.

        Raises:
            InputError: a bad frame, unless they are skipped, or a tracklet without any good one.
        """
        while True:
            try:
                return read()
            except BadFrame as error:
                if self.policy == "error":
                    raise
                self._note(error)

    def replaced(self, tracklet: Tracklet, frames: np.ndarray) -> np.ndarray:
        """Frame numbers (T,) with known bad ones replaced by their nearest good neighbour."""
        bad = self.found.get(tracklet.name) if self.found else None
        if not bad:
            return frames
        good = np.array([number for number in range(len(tracklet)) if number not in bad])
        return np.array([good[np.abs(good - frame).argmin()] for frame in frames])

    def read(self, tracklet: Tracklet, frames: Iterable[int]) -> list[np.ndarray]:
        """`read_frames`, by the policy."""
        numbers = np.array([int(frame) for frame in frames])
        return self.attempt(lambda: read_frames(tracklet, self.replaced(tracklet, numbers)))

    def meet(self) -> None:
        """Know of those that other ranks have met too."""
        for other in ranks.of_all(self.found):
            for name, bad in other.items():
                self.found.setdefault(name, {}).update(bad)

    def report(self) -> list[str]:
        """One line a bad frame."""
        return [reason for frames in self.found.values() for _, reason in sorted(frames.items())]

    def _note(self, error: BadFrame) -> None:
        with self._lock:
            bad = self.found.setdefault(error.tracklet.name, {})
            bad |= {frame: str(error) for frame in error.frames}
        if len(bad) == len(error.tracklet):
            raise InputError(f"no frame of {error.tracklet} can be read; the last: {error}") from error
