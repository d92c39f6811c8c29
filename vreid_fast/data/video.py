"""Video files through PyAV: what is in them, and their frames."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from vreid_fast.errors import InputError


@dataclass(frozen=True)
class VideoFacts:
    codec: str
    """As FFmpeg names it: h264, hevc, vp8, vp9, mjpeg, av1, ..."""
    frames: int
    width: int
    height: int
    pixels: str
    """FFmpeg's pixel format, such as yuv420p."""


@cache
def probe(path: str) -> VideoFacts:
    """What a video file holds.

    Raises:
        InputError: no such file, no video in it, or no frames.
    """
    import av

    try:
        with av.open(path) as container:
            if not container.streams.video:
                raise InputError(f"video {path}: holds no video stream")
            stream = container.streams.video[0]
            # Matroska and WebM do not say how many frames they hold.
            frames = stream.frames or sum(1 for packet in container.demux(stream) if packet.size)
            context = stream.codec_context
            facts = VideoFacts(context.name, frames, context.width, context.height, str(context.pix_fmt))
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"video {path}: {_problem(path, error)}") from error
    if not facts.frames or not facts.width or not facts.height:
        raise InputError(f"video {path}: holds no frames")
    return facts


def decode_video(path: str, frames: Sequence[int]) -> np.ndarray:
    """Frames of a video by number, in the order asked for, with repeats: (T, H, W, 3) uint8 RGB.

    Raises:
        InputError: a file that cannot be decoded up to the last frame wanted.
    """
    import av
    from av.video.reformatter import Interpolation

    # Interpolated chroma and exact arithmetic, as in DALI; FFmpeg's default comes out 1 to 2 levels darker.
    conversion = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    wanted, found = set(map(int, frames)), {}
    try:
        with av.open(path) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number in wanted:
                    found[number] = frame.to_ndarray(format="rgb24", interpolation=conversion)
                    if len(found) == len(wanted):
                        break
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"video {path}: {_problem(path, error)}") from error
    lacking = wanted - found.keys()
    if lacking:
        raise InputError(f"video {path}: frame {min(lacking)} cannot be decoded; the file may be cut short")
    return np.stack([found[int(number)] for number in frames])


def _problem(path: str, error: Exception) -> str:
    if not os.path.exists(path):
        return "is missing"
    if not os.path.getsize(path):
        return "is empty (0 bytes)"
    return f"cannot be decoded ({error.strerror or error})"
