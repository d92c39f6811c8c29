"""Clips of several videos as one small video, for a decoder that takes files: all it needs of them, and nothing else.

DALI opens each file, walks through it for an index, and gets a decoder for it: once for a cut, not once for a clip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from ..tracklets import Tracklet
from .decoder import Wanted
from .images import read_video
from .matroska import matroska
from .video import contents
from .video_file import part_of


@dataclass(frozen=True)
class Cut:
    content: np.ndarray
    """The bytes of a video file, (bytes,) uint8."""
    frames: np.ndarray
    """(n,) int32 where in it the frames wanted are, clip by clip."""


def stream_of(tracklet: Tracklet) -> tuple:
    """What videos have in common that can be in one cut: codec, size and header; another for each that cannot be."""
    found = contents(tracklet.video)
    if found.layout is None:
        return ("", 0, 0, tracklet.name.encode(errors="surrogateescape"))
    return (found.layout.codec, found.facts.height, found.facts.width, found.layout.extradata)


def cuts(wanted: Wanted, count: int, each: Callable[[Callable, Iterable], list]) -> list[Cut]:
    """Clips in the order wanted, of each kind of stream in at most `count` cuts; one kind comes after the other.

    Args:
        each: runs a function on many arguments, perhaps at once.

    Raises:
        InputError: a file that cannot be read.
    """
    parts = []
    for stream, rows in groupby(range(len(wanted)), lambda row: stream_of(wanted[row][0])):
        clips = [wanted[row] for row in rows]
        if stream[0]:
            bounds = np.linspace(0, len(clips), min(count, len(clips)) + 1).astype(int).tolist()
            parts += [clips[start:end] for start, end in zip(bounds, bounds[1:])]
        else:
            parts += [[clip] for clip in clips]
    return each(_cut, parts)


def _cut(clips: Sequence[tuple[Tracklet, np.ndarray]]) -> Cut:
    codec, height, width, header = stream_of(clips[0][0])
    if not codec:
        ((tracklet, numbers),) = clips
        return Cut(read_video(tracklet), np.asarray(numbers, np.int32))
    packets, frames, first = [], [], 0
    for tracklet, numbers in clips:
        places = {}
        for run in contents(tracklet.video).layout.runs(numbers):
            # Of frames that refer to later ones the order of showing is another than that of decoding.
            shown = first + np.argsort(np.argsort(run.numbers))
            own = run.packets(part_of(tracklet.video, *run.span))
            packets += [
                (place, number == 0, content) for number, (place, content) in enumerate(zip(shown.tolist(), own))
            ]
            places |= zip(run.numbers.tolist(), shown.tolist())
            first += len(own)
        frames += [places[int(number)] for number in numbers]
    file = matroska(codec, header, (height, width), packets)
    return Cut(np.frombuffer(file, np.uint8), np.array(frames, np.int32))
