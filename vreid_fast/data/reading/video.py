"""Videos through PyAV: what is in them, and their frames. A video is a path, or a `StoredVideo`."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vreid_fast.errors import InputError

from ..tracklets import StoredVideo
from .upright import UPRIGHT, Turn, may_be_turned, turn_of, upright
from .video_facts import VideoFacts

if TYPE_CHECKING:
    import av


@dataclass(frozen=True)
class Contents:
    """What a look through a video's packets tells; what they leave in doubt was decoded once."""

    facts: VideoFacts
    plain: bool
    """Every packet is one frame, shown as it is, and the header counts as many: to every decoder they are the same."""
    promised: int
    """Frames by the header, where it counts them; more than come out, if some are hidden or were dropped."""
    readable: int
    """Frames that come out, as far as is known without decoding every file."""
    problem: str | None = None
    """Why decoding ended early; `facts` then counts the frames promised, so that those lost can be named."""


def probe(video: str | StoredVideo) -> VideoFacts:
    """What a video holds; a pack knows it, a file is looked through once.

    Raises:
        InputError: no such file, no video in it, or no frames.
    """
    return contents(video).facts if isinstance(video, str) else video.facts


def contents(video: str | StoredVideo) -> Contents:
    """What really is in a video; known of a file until it changes, found out again for a video in a pack.

    Raises:
        InputError: no such file, no video in it, or no frames.
    """
    if not isinstance(video, str):
        return _look(video)
    try:
        status = os.stat(video)
    except OSError:
        return _look(video)  # an address, or an error in the words of all others
    return _probe(video, status.st_size, status.st_mtime_ns)


@cache
def _probe(path: str, size: int, changed: int) -> Contents:
    return _look(path)


def _look(video: str | StoredVideo) -> Contents:
    import av

    try:
        with av.open(_source(video)) as container:
            if not container.streams.video:
                raise InputError(f"video {video}: holds no video stream")
            stream = container.streams.video[0]
            # Headers count what edit lists hide and what was never written; Matroska and WebM count nothing.
            promised, context = stream.frames, stream.codec_context
            codec, width, height, pixels = context.name, context.width, context.height, str(context.pix_fmt)
            packets, whole = _packets(container, stream)
            turn = _turn_of(video, container.format.name)
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"video {video}: {_problem(video, error)}") from error
    shown = [packet.time for packet in packets if packet.shown]
    known = [time for time in shown if time is not None]
    # Frames before the first key frame, or shown before it though they follow it, may not come out.
    whole = whole and promised in (0, len(packets)) and bool(packets) and packets[0].key
    whole = whole and (not known or known[0] == min(known)) and len(set(known)) == len(known)
    plain = whole and len(known) == len(packets) and turn == UPRIGHT
    if turn.transpose:
        width, height = height, width
    readable, problem = (len(shown), None) if whole else _count(video)
    if shown and not readable:
        problem = problem or "none of its frames can be decoded; is their key frame missing?"
    frames = (promised or len(shown)) if problem else readable
    if not frames or not width or not height:
        raise InputError(f"video {video}: holds no frames")
    return Contents(VideoFacts(codec, frames, width, height, pixels), plain, promised or frames, readable, problem)


def _turn_of(video: str | StoredVideo, container: str) -> Turn:
    """How the first frame is to be turned; nothing is decoded where the header says that it is not."""
    import av

    try:
        with open(video, "rb") if isinstance(video, str) else _source(video) as file:
            if not may_be_turned(file, container):
                return UPRIGHT
        with av.open(_source(video)) as opened:
            return turn_of(next(opened.decode(video=0)))
    except (av.FFmpegError, OSError, StopIteration):
        return UPRIGHT


class _Packet(NamedTuple):
    key: bool
    shown: bool
    """Not hidden by an edit list."""
    time: int | None


def _packets(container: av.container.InputContainer, stream: av.VideoStream) -> tuple[list[_Packet], bool]:
    """The packets that hold something, and whether each of them should give a frame."""
    import av

    packets, whole, codec = [], True, stream.codec_context.name
    try:
        for packet in container.demux(stream):
            if packet.size:
                packets.append(_Packet(packet.is_keyframe, not packet.is_discard, packet.pts))
                whole = whole and not packet.is_corrupt and not _invisible(codec, packet)
    except av.FFmpegError:
        whole = False
    return packets, whole


def _invisible(codec: str, packet: av.Packet) -> bool:
    """Whether a packet of VP8 or VP9 holds nothing but a frame that only others refer to, by its first bits."""
    if codec not in ("vp8", "vp9"):
        return False
    content = memoryview(packet)
    first = content[0]
    if codec == "vp8":
        return not first & 0x10
    if content[-1] & 0xE0 == 0xC0:  # several frames, of which the last is shown
        return False
    # Two bits each of marker and profile (the fourth profile has one more), then: shown again, no key frame, shown.
    bits = f"{first:08b}"[5 if first & 0x30 == 0x30 else 4 :]
    return bits[0] == "0" and bits[2] == "0"


def _count(video: str | StoredVideo) -> tuple[int, str | None]:
    """How many frames come out, and why not more do, if that is an error."""
    import av

    count = 0
    try:
        with av.open(_source(video)) as container:
            for _ in container.decode(video=0):
                count += 1
    except (av.FFmpegError, OSError) as error:
        return count, _problem(video, error)
    return count, None


def _source(video: str | StoredVideo) -> str | io.BytesIO:
    return video if isinstance(video, str) else io.BytesIO(video.encoded())


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
        with av.open(_source(video)) as container:
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
    """(H, W, 3) uint8 RGB of a decoded frame, upright."""
    from av.video.reformatter import Interpolation

    # Interpolated chroma and exact arithmetic, as in DALI; FFmpeg's default comes out 1 to 2 levels darker.
    conversion = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    return upright(frame.to_ndarray(format="rgb24", interpolation=conversion), turn_of(frame))


def _problem(video: str | StoredVideo, error: Exception) -> str:
    if isinstance(video, str) and not os.path.exists(video):
        return "is missing"
    if isinstance(video, str) and not os.path.getsize(video):
        return "is empty (0 bytes)"
    return f"cannot be decoded ({error.strerror or error})"
