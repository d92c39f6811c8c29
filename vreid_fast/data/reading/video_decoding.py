"""One pass over a video: its frames with their true numbers, past those that are damaged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vreid_fast.errors import InputError

from ..tracklets import StoredVideo
from .limits import MOST_PIXELS
from .video_file import opened, why_not
from .video_packets import Packets

if TYPE_CHECKING:
    import av

FRAME = re.compile(rb"\xff[\xc0-\xc2]\0.{6}(.)", re.DOTALL)
SCAN = re.compile(rb"\xff\xda\0.(.)", re.DOTALL)
"""Segments of a JPEG, up to their number of planes."""


class Damaged(InputError):
    """A pass that several threads made met damage; one thread finds out which frames are hit."""


def decode(
    video: str | StoredVideo, packets: Packets, wanted: set[int] | None, faults: list[str], *, parallel: bool = False
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Frames and their numbers, ascending where the video is sound.

    A frame that refers to a damaged one is damaged too, though decoders pass it on: after damage none is given until
    the next key frame.

    Args:
        wanted: what has to come out; more may. None = all.
        faults: gains the reason of each damage that is met.
        parallel: frames in threads.
    Raises:
        InputError: a file that cannot be opened, or not read on.
        Damaged: damage, where frames are decoded in parallel.
    """
    with opened(video) as (container, stream):
        decoder = _decoder(stream)
        if parallel:
            stream.codec_context.thread_count, stream.codec_context.thread_type = 0, "AUTO"
        needed = None if wanted is None or parallel else packets.needed(wanted)
        given, run, gaps = _Given(packets), _Run(), packets.behind_gaps()
        for place, packet in enumerate(_each_packet(container, stream, faults)):
            if needed is not None and packet is not None and not needed[place : place + 1].all():
                continue
            if packets.in_order and not parallel and packet is not None and packets.keys[place : place + 1].any():
                decoder = _anew(decoder, stream)  # so that a pass that begins here sees the same
            if place in gaps:
                run.breaks(place - 1)
            try:
                if packet is not None:
                    _check(decoder.name, packet)
                frames = decoder.decode(packet)
            except Exception as error:
                faults.append(why_not(error))
                run.breaks(place)
                frames = []
            if packet is not None and packet.is_corrupt:
                faults.append("its data is damaged")
                run.breaks(place)
            if faults and parallel:
                raise Damaged(f"video {video}: is damaged")
            if faults and packets.numbers is None:
                return  # what comes behind has no number
            for frame in frames:
                number, at = given.place(frame, None if parallel else place)
                if frame.is_corrupt:
                    faults.append("its data is damaged")
                    run.breaks(at)
                if parallel and (faults or number < 0):
                    raise Damaged(f"video {video}: is damaged")
                key = frame.key_frame or (decoder is not stream.codec_context and packets.keys[at : at + 1].any())
                if number >= 0 and run.sound(key, at):
                    yield number, frame


def _decoder(stream: av.VideoStream) -> av.VideoCodecContext:
    """FFmpeg's own, but for VP8: of a damaged frame, that one shows what its memory held before.

    The other knows nothing of how frames are to be turned; `Contents.turn` does.
    """
    import av

    given = stream.codec_context
    if given.name != "vp8":
        return given
    decoder = av.CodecContext.create("libvpx", "r")
    decoder.extradata, decoder.thread_count = given.extradata, given.thread_count
    return decoder


def _anew(decoder: av.VideoCodecContext, stream: av.VideoStream) -> av.VideoCodecContext:
    """A decoder that knows nothing of the frames before."""
    if decoder is not stream.codec_context:  # libvpx cannot be made to forget
        return _decoder(stream)
    decoder.flush_buffers()
    return decoder


def _check(codec: str, packet: av.Packet) -> None:
    """Of what decoders do not look at themselves.

    Raises:
        ValueError: VP8 of more pixels than are read, as libvpx takes memory for whatever size a key frame names; a
            JPEG that lacks the pixels of a plane, as FFmpeg shows what its memory held before.
    """
    if codec == "libvpx" and packet.size >= 10:
        head = bytes(memoryview(packet)[:10])
        width, height = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (6, 8))
        if not head[0] & 1 and width * height > MOST_PIXELS:
            raise ValueError(f"a frame of {height}x{width}; the limit is {MOST_PIXELS:,} pixels")
    elif codec == "mjpeg":
        content = bytes(packet)
        frame = FRAME.search(content)
        scanned = sum(planes[0] for planes in SCAN.findall(content))
        if not scanned or (frame and scanned < frame[1][0]):
            raise ValueError("its pixels are missing")


def _each_packet(
    container: av.container.InputContainer, stream: av.VideoStream, faults: list[str]
) -> Iterator[av.Packet | None]:
    """Those that hold something, then None, for the frames that a decoder still keeps."""
    try:
        yield from (packet for packet in container.demux(stream) if packet.size)
    except Exception as error:
        faults.append(why_not(error))
    yield None


class _Given:
    """Numbers of the frames that a decoder gives."""

    def __init__(self, packets: Packets):
        self._packets, self._count = packets, 0
        known = packets.numbers is not None and not packets.in_order
        shown = (packets.numbers >= 0).nonzero()[0] if packets.numbers is not None else ()
        self._shown = shown
        self._places = dict(zip(packets.times[shown].tolist(), shown.tolist())) if known else {}

    def place(self, frame: av.VideoFrame, place: int | None) -> tuple[int, int]:
        """A frame's number (-1 = it has none) and the place of its packet.

        Args:
            place: of the packet that a decoder without delay was given; None = it may be any.
        """
        count = self._count
        self._count += 1
        numbers = self._packets.numbers
        if numbers is None:
            return count, count
        if not self._packets.in_order:
            place = self._places.get(frame.pts, -1)
        elif place is None:
            place = int(self._shown[count]) if count < len(self._shown) else -1
            if frame.pts is not None and frame.pts != self._packets.times[place]:
                place = -1
        return (int(numbers[place]), place) if 0 <= place < len(numbers) else (-1, -1)


class _Run:
    """Whether what a decoder gives is sound: damage goes on to the next key frame."""

    def __init__(self):
        self._first = self._last = -1

    def breaks(self, place: int) -> None:
        """Of the packet that is damaged."""
        self._first = place if self._first < 0 else min(place, self._first)
        self._last = max(place, self._last)

    def sound(self, key: bool, place: int) -> bool:
        """Whether a frame is, by whether it needs no other, and the place of its packet."""
        if self._last < 0 or place < self._first:
            return True
        if key and place > self._last:
            self._first = self._last = -1
        return self._last < 0
