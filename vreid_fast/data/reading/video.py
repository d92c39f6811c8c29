"""Videos through PyAV: what is in them, and their frames. A video is a path, or a `StoredVideo`."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from vreid_fast.errors import InputError

from ..tracklets import StoredVideo
from .upright import UPRIGHT, Turn, may_be_turned, turn_of, upright
from .video_clip import clip_frames
from .video_colours import ToRgb
from .video_decoding import Damaged, decode
from .video_facts import VideoFacts
from .video_file import bytes_of, is_cover, no_file, opened
from .video_layout import Layout, LayoutWalk
from .video_packets import BELIEVED, Packets, read_packets

if TYPE_CHECKING:
    import av


@dataclass(frozen=True)
class Contents:
    """What a look through a video's packets tells; what they leave in doubt was decoded once."""

    facts: VideoFacts
    packets: Packets
    plain: bool
    """Every packet is one frame, shown as it is, and the header counts as many: to every decoder they are the same."""
    promised: int
    """Frames by the header, where it counts them; more than come out, if some are hidden or were dropped."""
    readable: int
    """Frames up to the last that comes out, as far as is known without decoding every file."""
    lost: tuple[int, ...] = ()
    """Those before it that do not, as far as is known."""
    problem: str | None = None
    """Why not all come out; `facts` then counts the frames promised, so that those lost can be named."""
    streams: int = 1
    """Videos in the file, without cover pictures."""
    turn: Turn = UPRIGHT
    """Of the first frame."""
    fps: float | None = None
    """Frames a second, by the header."""
    layout: Layout | None = None
    """Of a plain video, where it is known."""


def probe(video: str | StoredVideo) -> VideoFacts:
    """What a video holds; a pack knows it, a file is looked through once.

    Raises:
        InputError: no such file, no video in it, or no frames.
    """
    return contents(video).facts if isinstance(video, str) else video.facts


def contents(video: str | StoredVideo) -> Contents:
    """What really is in a video; known of a file until it changes.

    Raises:
        InputError: no such file, no video in it, or no frames.
    """
    if not isinstance(video, str):
        return _probe(video, 0, 0)
    try:
        status = os.stat(video)
    except OSError:
        return _look(video)  # an address, or an error in the words of all others
    return _probe(video, status.st_size, status.st_mtime_ns)


@cache
def _probe(video: str | StoredVideo, size: int, changed: int) -> Contents:
    return _look(video)


def _look(video: str | StoredVideo) -> Contents:
    with opened(video) as (container, stream):
        # Headers count what edit lists hide and what was never written; Matroska and WebM count nothing.
        promised, context, name = stream.frames, stream.codec_context, container.format.name
        codec, width, height, pixels = context.name, context.width, context.height, str(context.pix_fmt)
        fps = float(stream.average_rate) if stream.average_rate else None
        streams = sum(not is_cover(other) for other in container.streams.video)
        usual = streams == 1 == len(container.streams.video) and _usual_colours(context)
        packets, layout = _walk(video, container, stream)
        turn = _turn_of(video, name)
    whole = packets.whole and promised in (0, len(packets))
    plain = whole and packets.frames == len(packets) and turn == UPRIGHT and usual
    if turn.transpose:
        width, height = height, width
    lost, problem = (), None
    frames = readable = packets.frames
    if not whole:
        packets, found, problem = _survey(video, packets)
        if problem:
            gone = promised - len(packets) - packets.lost
            frames = packets.frames + (gone if 0 < gone <= BELIEVED * len(packets) and not packets.lost else 0)
            readable = max(found, default=-1) + 1
            lost = tuple(sorted(set(range(readable)) - found))
        else:
            frames = readable = packets.frames
    if not frames or not width or not height:
        raise InputError(f"video {video}: {no_file(video) or 'holds no frames'}")
    facts = VideoFacts(codec, frames, width, height, pixels)
    layout = layout if plain else None
    return Contents(facts, packets, plain, promised or frames, readable, lost, problem, streams, turn, fps, layout)


def _walk(
    video: str | StoredVideo, container: av.container.InputContainer, stream: av.VideoStream
) -> tuple[Packets, Layout | None]:
    try:
        file = bytes_of(video)
    except OSError:
        file = io.BytesIO()  # an address: no packet is found in it
    with file:
        walk = LayoutWalk(file, stream)
        packets = read_packets(container, stream, walk.take)
        return packets, walk.layout(packets)


def _survey(video: str | StoredVideo, packets: Packets) -> tuple[Packets, set[int], str | None]:
    """Decode all of a video whose packets leave doubts: how they are to be counted, what comes out, what is wrong."""
    faults: list[str] = []
    found = {number for number, _ in decode(video, packets, None, faults)}
    if faults and packets.spaced() is not packets:
        packets = packets.spaced()
        found = {number for number, _ in decode(video, packets, None, faults)}
    if packets.frames and not found:
        return packets, found, "none of its frames can be decoded; is their key frame missing?"
    if faults or packets.lost:
        return packets, found, faults[0] if faults else "parts of the file are gone"
    return packets.only(found), found, None


def _usual_colours(context: av.VideoCodecContext) -> bool:
    """Whether nothing says that the colours are others than most decoders take them for."""
    full = context.pix_fmt is not None and context.pix_fmt.startswith("yuvj")
    # Of H.273: matrix 2 is unspecified, 5 and 6 are BT.601; range 0 is unspecified, 1 limited, 2 full.
    return context.colorspace in (2, 5, 6) and context.color_range in ((0, 2) if full else (0, 1))


def _turn_of(video: str | StoredVideo, container: str) -> Turn:
    """How the first frame is to be turned; nothing is decoded where the header says that it is not."""
    try:
        with bytes_of(video) as file:
            if not may_be_turned(file, container):
                return UPRIGHT
        with opened(video) as (opened_again, stream):
            return turn_of(next(opened_again.decode(stream)))
    except (InputError, OSError):
        return UPRIGHT


class CutVideo(InputError):
    """Frames of a video that cannot be decoded, though others of it may."""

    def __init__(self, message: str, frames: Iterable[int], why: str):
        super().__init__(message)
        self.frames, self.why = tuple(frames), why


def decode_video(video: str | StoredVideo, frames: Sequence[int]) -> np.ndarray:
    """Frames of a video by number, in the order asked for, with repeats: (T, H, W, 3) uint8 RGB.

    Raises:
        CutVideo: a file that cannot be decoded up to the last frame wanted.
        InputError: a file that cannot be read at all.
    """
    numbers, known = [int(number) for number in frames], contents(video)
    found, size = None, (known.facts.height, known.facts.width)
    if known.layout is not None:
        found = clip_frames(video, known.layout, size, set(numbers))
    if found is None:
        found = dict(each_frame(video, numbers))
    return np.stack([found[number] for number in numbers])


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
    lacking = set(map(int, frames))
    if not lacking:
        return
    found, faults = contents(video), []
    size, to_rgb = (found.facts.height, found.facts.width), ToRgb(threads=0 if parallel else 1)
    # Damage in frames that several threads decode at once cannot be told from frame to frame: then one does.
    for threads in (True, False) if parallel and found.problem is None else (False,):
        try:
            for number, frame in decode(video, found.packets, lacking, faults, parallel=threads):
                if number in lacking:
                    pixels = upright(to_rgb(frame), turn_of(frame, found.turn))
                    if pixels.shape[:2] != size:
                        faults.append(
                            f"it has {pixels.shape[0]}x{pixels.shape[1]} pixels, the video {size[0]}x{size[1]}"
                        )
                        continue
                    lacking.remove(number)
                    yield number, pixels
                    if not lacking:
                        return
            break
        except Damaged:
            faults.clear()
    why = next(iter(faults), found.problem or "the file may be cut short")
    raise CutVideo(f"video {video}: frame {min(lacking)} cannot be decoded; {why}", sorted(lacking), why)
