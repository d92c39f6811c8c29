"""One tracklet that is no data set's: at a path, or in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from vreid_fast.errors import InputError
from vreid_fast.files import why_no_file

from ..reading.video import probe
from ..tracklets import FramePaths, Tracklet
from .listing import IMAGES, list_images, named
from .remarks import Remarks


def tracklet_at(path: str | os.PathLike, camera: int | None = None) -> Tracklet:
    """The tracklet that a folder of images, a video or a single image is.

    Raises:
        InputError: no such path, a folder without images, or no video.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        return Tracklet(FramePaths(path, list_images(path, f"tracklet {path}", Remarks(path, path))), camera=camera)
    if why := why_no_file(path):
        raise InputError(f"tracklet {path}: {why}; wanted a folder of images, a video or an image")
    folder, name = os.path.split(path)
    if named(name, IMAGES):
        return Tracklet(FramePaths(folder, [name]), camera=camera)
    return Tracklet(range(probe(path).frames), camera=camera, video=path)


class ArrayFrames(Sequence[str]):
    """Frames in memory, each (H, W, 3) uint8 RGB, as a tracklet has them: names, and each as an encoded image."""

    __slots__ = ("_frames", "_name")

    def __init__(self, frames: Sequence[np.ndarray], name: str):
        self._frames, self._name = frames, name

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return ArrayFrames(self._frames[index], self._name)
        return f"{self._name}, frame {range(len(self))[index]}"

    def encoded(self, index: int) -> np.ndarray:
        """A frame as binary PPM: a few bytes of header, and its pixels as they are."""
        frame = self._frames[index]
        header = b"P6 %d %d 255\n" % (frame.shape[1], frame.shape[0])
        return np.frombuffer(header + np.ascontiguousarray(frame).tobytes(), np.uint8)


def tracklet_of(frames: np.ndarray | Sequence[np.ndarray], name: str, camera: int | None = None) -> Tracklet:
    """The tracklet of an array (T, H, W, 3), of one image (H, W, 3), or of images of any sizes, uint8 RGB.

    Args:
        name: for errors.
    Raises:
        ValueError: another shape or type, or no frames.
    """
    if isinstance(frames, np.ndarray) and frames.ndim == 3:
        frames = frames[None]
    if not len(frames):
        raise ValueError(f"{name}: wanted frames (T, H, W, 3) uint8 RGB, got none")
    for frame in frames:
        if frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape or frame.dtype != np.uint8:
            raise ValueError(f"{name}: wanted frames (T, H, W, 3) uint8 RGB, got one {frame.shape} {frame.dtype}")
    return Tracklet(ArrayFrames(frames, name), camera=camera)
