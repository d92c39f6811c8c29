"""What `crop` cuts from: a video, or a folder that holds its frames as images, such as img1 of the MOT challenge."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import numpy as np

from ..formats.listing import list_images
from ..formats.remarks import Remarks
from ..reading.images import read_frames
from ..reading.video import CutVideo, contents, each_frame
from ..reading.video_facts import VideoFacts
from ..tracklets import BadFrame, FramePaths, Tracklet


def look(scene: str) -> tuple[VideoFacts, list[str]]:
    """What it holds, and what a user should be told of that.

    Raises:
        InputError: no such file or folder, or nothing in it that can be read.
    """
    if os.path.isdir(scene):
        remarks = Remarks("crop", scene)
        images = _images(scene, remarks)
        height, width = read_frames(images, [0])[0].shape[:2]
        return VideoFacts("images", len(images), width, height, "rgb24"), remarks.notes()
    found = contents(scene)
    notes = []
    if found.streams > 1:
        size = f"{found.facts.height}x{found.facts.width}"
        notes.append(f"video {scene}: holds {found.streams} videos; that of {size} is read")
    if found.facts.frames < found.promised and not found.problem:
        notes.append(
            f"video {scene}: {found.facts.frames} of the {found.promised} frames that its header counts come out"
        )
    return found.facts, notes


def each(scene: str, facts: VideoFacts, frames: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
    """The wanted frames in order: number from 0, and (H, W, 3) uint8 RGB.

    Raises:
        CutVideo: after the frames that can be read, where others cannot.
    """
    if not os.path.isdir(scene):
        yield from each_frame(scene, frames, parallel=True)
        return
    images, lost = _images(scene, Remarks("crop", scene)), {}
    for number in sorted(frames):
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


def _images(folder: str, remarks: Remarks) -> Tracklet:
    return Tracklet(FramePaths(folder, list_images(folder, "crop", remarks)))
