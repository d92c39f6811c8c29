"""Tally every frame of a data set, to find those that training would fail on."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from vreid_fast.errors import InputError

from ..reading.images import decode_image, read_encoded
from ..reading.video import each_frame
from ..tracklets import Tracklet, spread


@dataclass(frozen=True)
class Fault:
    """Frames of one file that cannot be read."""

    tracklet: Tracklet | None
    """None where not even its length is known."""
    frames: list[int]
    """Empty for a tracklet without frames, or of unknown length."""
    file: str
    reason: str
    """Names file and tracklet too."""

    def __str__(self) -> str:
        lost = f"{len(self.frames)} frames from frame {self.frames[0]} on: " if len(self.frames) > 1 else ""
        return lost + self.reason


@dataclass
class Tally:
    """What came of tally some frames."""

    frames: int = 0
    """Decoded."""
    encoded: int = 0
    """Bytes."""
    faults: list[Fault] = field(default_factory=list)

    @property
    def unreadable(self) -> int:
        """Frames that cannot be read; a tracklet without frames counts as one."""
        return sum(max(1, len(fault.frames)) for fault in self.faults)

    def add(self, other: Tally) -> None:
        self.frames += other.frames
        self.encoded += other.encoded
        self.faults += other.faults


def read_all(tracklets: Sequence[Tracklet], most: int | None, threads: int) -> Iterator[Tally]:
    """Decode at most `most` frames of each tracklet, in threads; what came of each, in their order."""
    pool, stop = ThreadPoolExecutor(threads), threading.Event()
    try:
        yield from pool.map(lambda tracklet: read_tracklet(tracklet, spread(len(tracklet), most), stop), tracklets)
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def read_tracklet(tracklet: Tracklet, frames: Iterable[int], stop: threading.Event | None = None) -> Tally:
    """Decode frames of a tracklet one at a time, until `stop` is set; a video is decoded once."""
    frames, stop = list(frames), stop or threading.Event()
    if not frames:
        return Tally(faults=[Fault(tracklet, [], _file(tracklet), f"{tracklet} cannot be trained on")])
    return (_read_images if tracklet.video is None else _read_video)(tracklet, frames, stop)


def _read_images(tracklet: Tracklet, frames: list[int], stop: threading.Event) -> Tally:
    tally = Tally()
    for index in frames:
        if stop.is_set():
            break
        try:
            encoded = read_encoded(tracklet, index)
            tally.encoded += encoded.nbytes
            decode_image(encoded, tracklet, index)
            tally.frames += 1
        except InputError as error:
            tally.faults.append(Fault(tracklet, [index], os.fspath(tracklet.frames[index]), str(error)))
    return tally


def _read_video(tracklet: Tracklet, frames: list[int], stop: threading.Event) -> Tally:
    tally, lacking = Tally(), dict.fromkeys(frames)
    try:
        for number, _ in each_frame(tracklet.video, frames):
            del lacking[number]
            tally.frames += 1
            if stop.is_set():
                return tally
        video = tracklet.video
        tally.encoded = os.path.getsize(video) if isinstance(video, str) else video.encoded().nbytes
    except InputError as error:
        reason = f"{error}; it is {tracklet}"
        tally.faults.append(Fault(tracklet, list(lacking), _file(tracklet), reason))
    return tally


def _file(tracklet: Tracklet) -> str:
    return str(tracklet.video or getattr(tracklet.frames, "folder", ""))
