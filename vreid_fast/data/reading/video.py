"""Videos through PyAV: what is in them, and their frames. A video is a path, or a `StoredVideo`."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from vreid_fast.errors import InputError

from ..tracklets import StoredVideo
from .video_facts import VideoFacts

if TYPE_CHECKING:
    import av


def probe(video: str | StoredVideo) -> VideoFacts:
    """What a video holds; a pack knows it, a file is opened once.

    Raises:
        InputError: no such file, no video in it, or no frames.
    """
    return _probe(video) if isinstance(video, str) else video.facts


@cache
def _probe(path: str) -> VideoFacts:
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


class CutVideo(InputError):
    """Frames of a video that cannot be decoded, though others of it may."""

    def __init__(self, message: str, frames: Iterable[int]):
        super().__init__(message)
        self.frames = tuple(frames)


def decode_video(video: str | StoredVideo, frames: Sequence[int]) -> np.ndarray:
    """Frames of a video by number, in the order asked for, with repeats: (T, H, W, 3) uint8 RGB.

    Raises:
        CutVideo: a file that cannot be decoded up to the last frame wanted.
        InputError: a file that cannot be read at all.
    """
    found = dict(each_frame(video, frames))
    return np.stack([found[int(number)] for number in frames])


def each_frame(
    video: str | StoredVideo, frames: Iterable[int], *, parallel: bool = False
) -> Iterator[tuple[int, np.ndarray]]:
    """The wanted frames in the order of the video, each once, in one pass: number and (H, W, 3) uint8 RGB.

    Args:
        parallel: several frames at once in threads of FFmpeg's own; for long videos that are read alone.
    Raises:
        CutVideo: a file that cannot be decoded up to the last frame wanted, after the frames that can.
        InputError: a file that cannot be read at all.
    """
    import av

    lacking, opened, why = set(map(int, frames)), False, "the file may be cut short"
    try:
        with av.open(video if isinstance(video, str) else io.BytesIO(video.encoded())) as container:
            opened = True
            if parallel:
                container.streams.video[0].thread_type = "AUTO"
            for number, frame in enumerate(container.decode(video=0)):
                if number in lacking:
                    yield number, to_rgb(frame)
                    lacking.remove(number)
                    if not lacking:
                        break
    except (av.FFmpegError, OSError) as error:
        why = _problem(video, error)
        if not opened:
            raise InputError(f"video {video}: {why}") from error
    if lacking:
        raise CutVideo(f"video {video}: frame {min(lacking)} cannot be decoded; {why}", sorted(lacking))


def to_rgb(frame: av.VideoFrame) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a decoded frame."""
    from av.video.reformatter import Interpolation

    # Interpolated chroma and exact arithmetic, as in DALI; FFmpeg's default comes out 1 to 2 levels darker.
    conversion = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    return frame.to_ndarray(format="rgb24", interpolation=conversion)


def _problem(video: str | StoredVideo, error: Exception) -> str:
    if isinstance(video, str) and not os.path.exists(video):
        return "is missing"
    if isinstance(video, str) and not os.path.getsize(video):
        return "is empty (0 bytes)"
    return f"cannot be decoded ({error.strerror or error})"
