"""What `crop` cuts from: a video, or a folder that holds its frames as images, such as img1 of the MOT challenge."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from vreid_fast.errors import InputError
from vreid_fast.files import why_no_file

from ..formats.listing import list_images
from ..formats.remarks import Remarks
from ..reading.images import read_frames
from ..reading.video import CutVideo, contents, each_frame
from ..reading.video_facts import VideoFacts
from ..tracklets import BadFrame, FramePaths, Tracklet


@dataclass(frozen=True)
class Recording:
    """A video, or a folder of images, that was looked at."""

    path: str
    facts: VideoFacts
    notes: list[str]
    """What a user should be told of it."""
    images: Tracklet | None = None
    """Those of a folder."""
    fps: float | None = None
    """Frames a second, by a video's header."""

    def frames(self, wanted: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """The wanted frames in order: number from 0, and (H, W, 3) uint8 RGB.

        Raises:
            CutVideo: after the frames that can be read, where others cannot.
        """
        if self.images is None:
            return each_frame(self.path, wanted, parallel=True)
        return _each_image(self.images, self.facts, wanted)


def look(path: str) -> Recording:
    """What a video or folder holds.

    Raises:
        InputError: no such file or folder, or nothing in it that can be read.
    """
    if os.path.isdir(path):
        remarks = Remarks("crop", path)
        images = Tracklet(FramePaths(path, list_images(path, "crop", remarks)))
        height, width = read_frames(images, [0])[0].shape[:2]
        return Recording(path, VideoFacts("images", len(images), width, height, "rgb24"), remarks.notes(), images)
    if why := why_no_file(path):
        raise InputError(f"video {path}: {why}; give a video, or a folder of its frames")
    found = contents(path)
    notes = []
    if found.streams > 1:
        size = f"{found.facts.height}x{found.facts.width}"
        notes.append(f"video {path}: holds {found.streams} videos; that of {size} is read")
    if found.facts.frames < found.promised and not found.problem:
        notes.append(
            f"video {path}: {found.facts.frames} of the {found.promised} frames that its header counts come out"
        )
    return Recording(path, found.facts, notes, fps=found.fps)


def _each_image(images: Tracklet, facts: VideoFacts, wanted: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
    lost = {}
    for number in sorted(wanted):
        try:
            (pixels,) = read_frames(images, [number])
        except BadFrame as error:
            lost[number] = str(error)
            continue
        if pixels.shape[:2] != (facts.height, facts.width):
            lost[number] = (
                f"image {images.frames[number]} has {pixels.shape[0]}x{pixels.shape[1]} pixels, the first "
                f"{facts.height}x{facts.width}"
            )
            continue
        yield number, pixels
    if lost:
        first = next(iter(lost.values()))
        raise CutVideo(first, lost, first)
