"""Opening a video with FFmpeg: the local file of that name, its best stream, and every failure as an InputError."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from vreid_fast.errors import InputError
from vreid_fast.files import absence

from ..tracklets import StoredVideo
from .limits import MOST_PIXELS

if TYPE_CHECKING:
    import av

PLAYLISTS = {"concat", "dash", "hls", "imf"}
"""Formats whose files name other files."""
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@contextmanager
def opened(video: str | StoredVideo) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """A video and its main stream, as the ffmpeg command chooses it: the default one, else the largest picture.

    Raises:
        InputError: also for all that goes wrong in the block, as hostile files make PyAV raise anything.
    """
    import av

    try:
        # Names and titles are of no use here, and damaged ones no reason to refuse a file.
        with av.open(_source(video), metadata_errors="replace") as container:
            if set(container.format.name.split(",")) & PLAYLISTS:
                raise InputError(f"video {video}: is a list of other files ({container.format.name}), not a video")
            if not container.streams.video:
                raise InputError(f"video {video}: holds no video stream")
            stream = max(container.streams.video, key=_rank)
            context = stream.codec_context
            if context is None:
                raise InputError(f"video {video}: cannot be decoded, its codec is not known")
            if context.width * context.height > MOST_PIXELS:
                size = f"{context.height}x{context.width}"
                raise InputError(f"video {video}: has frames of {size}; the limit is {MOST_PIXELS:,} pixels")
            # What is left of a damaged frame would be shown over whatever the decoder's memory held before.
            context.options = {"max_pixels": str(MOST_PIXELS), "err_detect": "explode"}
            context.thread_count = 1  # tracklets are decoded side by side
            yield container, stream
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"video {video}: {no_file(video) or f'cannot be decoded ({why_not(error)})'}") from error


def bytes_of(video: str | StoredVideo) -> BinaryIO:
    """The video's own bytes, to be closed.

    Raises:
        OSError: a file that cannot be opened, or an address.
        InputError: a pack that cannot be read.
    """
    return open(video, "rb") if isinstance(video, str) else io.BytesIO(video.encoded())


def part_of(video: str | StoredVideo, first: int, size: int) -> np.ndarray:
    """Some bytes of a video, (size,) uint8.

    Raises:
        InputError: a file or a pack that cannot be read, or ends before.
    """
    if not isinstance(video, str):
        return video.part(first, size)
    try:
        content = np.fromfile(video, np.uint8, size, offset=first)
    except OSError as error:
        raise InputError(f"video {video}: cannot be read ({why_not(error)})") from error
    if len(content) < size:
        raise InputError(f"video {video}: ends before byte {first + size:,}; it was longer when it was looked through")
    return content


def is_cover(stream: av.VideoStream) -> bool:
    """Whether it is a picture that stands for a film, and no film."""
    return bool(stream.disposition & stream.disposition.attached_pic)


def _rank(stream: av.VideoStream) -> tuple[bool, bool, int, int]:
    context = stream.codec_context
    area = context.width * context.height if context else 0
    return (
        context is not None and not is_cover(stream),
        bool(stream.disposition & stream.disposition.default),
        area,
        -stream.index,
    )


def why_not(error: Exception) -> str:
    """What PyAV raised, in FFmpeg's own words where it has some."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def no_file(video: str | StoredVideo) -> str | None:
    """What is the matter with a path that is no file, or an empty one."""
    if not isinstance(video, str) or ADDRESS.match(video):
        return None
    if problem := absence(video):
        return None if "%" in video else problem
    if os.path.isdir(video):
        return "is a folder; wanted a video file"
    return "is empty (0 bytes)" if os.path.isfile(video) and not os.path.getsize(video) else None


def _source(video: str | StoredVideo) -> str | io.BytesIO:
    """What FFmpeg opens; a name such as `cam:1.mp4` would be a protocol to it, were it not said to be a file's."""
    if not isinstance(video, str):
        return io.BytesIO(video.encoded())
    return video if ADDRESS.match(video) or ("%" in video and not os.path.lexists(video)) else f"file:{video}"
