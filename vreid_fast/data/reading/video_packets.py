"""The packets of a video: which of them shows which frame, as far as that can be told without decoding."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import av

BELIEVED = 10
"""A file that speaks of more times the frames that are there is not believed."""
IN_ORDER = ("vp8", "vp9", "mjpeg")
"""Codecs whose frames are shown in the order of their packets, and that begin anew at each key frame."""


@dataclass(frozen=True)
class Packets:
    """N packets that hold something, in the order of the file."""

    numbers: np.ndarray | None
    """(N,) frame that each shows, from 0; -1 = none. None where that is not known: frames are counted then."""
    times: np.ndarray
    """(N,) int64 when each is shown, in the stream's own units; meaningless where a file has none."""
    keys: np.ndarray
    """(N,) bool."""
    corrupt: np.ndarray
    """(N,) bool: damaged, by the container's own word."""
    frames: int
    """That are shown, with those whose packets were lost on the way."""
    in_order: bool
    whole: bool
    """Each packet that is shown should give its frame."""
    lost: int = 0
    """Frames whose packets are gone."""

    def __len__(self) -> int:
        return len(self.times)

    def needed(self, wanted: set[int]) -> np.ndarray | None:
        """(N,) bool: packets to decode for some frames; None = all, until the frames are there."""
        if not self.in_order or self.numbers is None:
            return None
        places = np.arange(len(self))
        runs = np.maximum.accumulate(np.where(self.keys, places, 0))  # where each begins anew
        ends = np.full(len(self), -1)
        asked = np.flatnonzero(np.isin(self.numbers, list(wanted)))
        np.maximum.at(ends, runs[asked], asked)
        return places <= ends[runs]

    def spaced(self) -> Packets:
        """With room for packets that are gone, where the time between frames tells of them; for damaged videos."""
        if self.numbers is None or self.lost or self.frames < 3:
            return self
        shown = self.numbers >= 0
        steps = np.diff(np.sort(self.times[shown]))
        step = int(np.median(steps))
        # A steady rate, as of cameras: a longer step is a frame that is not there. Milliseconds are rounded.
        counts = np.rint(steps / max(step, 1)).astype(np.int64)
        steady = np.abs(steps - counts * step) <= 0.1 * step
        if step <= 0 or not steady.all() or np.mean(counts == 1) < 0.8 or counts.min() < 1:
            return self
        at = np.concatenate([[0], np.cumsum(counts)])
        frames = int(at[-1]) + 1
        if frames > BELIEVED * self.frames:
            return self
        numbers = self.numbers.copy()
        numbers[shown] = at[numbers[shown]]
        return replace(self, numbers=numbers, frames=frames, lost=frames - self.frames)

    def behind_gaps(self) -> set[int]:
        """Places of the packets that follow one that is gone."""
        if not self.lost or self.numbers is None:
            return set()
        behind = (self.numbers > 0) & ~np.isin(self.numbers - 1, self.numbers)
        return set(np.flatnonzero(behind).tolist())

    def only(self, frames: set[int]) -> Packets:
        """With these frames alone, counted from 0 again."""
        if self.numbers is None or len(frames) == self.frames:
            return replace(self, frames=len(frames))
        kept = np.isin(self.numbers, list(frames))
        ranks = np.searchsorted(np.sort(self.numbers[kept]), self.numbers)
        return replace(self, numbers=np.where(kept, ranks, -1), frames=len(frames), lost=0)


def read_packets(
    container: av.container.InputContainer, stream: av.VideoStream, take: Callable[[av.Packet], None]
) -> Packets:
    """Walk through a video; it ends where reading fails. `take` gets each packet that holds something."""
    import av

    codec, height, whole = stream.codec_context.name, stream.codec_context.height, True
    times, places, flags, tables = array("q"), array("q"), bytearray(), None
    try:
        for packet in container.demux(stream):
            if packet.size:
                take(packet)
                key, visible = _first_bits(codec, packet)
                if codec == "mjpeg":
                    own, rows = _tables(packet)
                    tables = own if tables is None else tables
                    key = own == tables != () and rows in (height, None)
                shown, known = visible and not packet.is_discard, packet.pts is not None
                whole = whole and visible and not packet.is_corrupt
                times.append(packet.pts if known else 0)
                places.append(-1 if packet.pos is None else packet.pos)
                flags.append(key | shown << 1 | packet.is_corrupt << 2 | known << 3)
    except av.FFmpegError:
        whole = False
    bits = np.frombuffer(bytes(flags), np.uint8)
    keys, shown, corrupt, known = (bits & 1 << bit > 0 for bit in range(4))
    found = Packets(
        None, np.array(times, np.int64), keys, corrupt, int(shown.sum()), codec in IN_ORDER, whole and len(bits) > 0
    )
    seen = found.times[shown]
    unique = bool(known[shown].all()) and len(np.unique(seen)) == len(seen)
    if unique and len(seen):
        # Frames before the first key frame, or shown before it though they follow it, may not come out.
        found = replace(found, whole=found.whole and bool(keys[0]) and seen[0] == seen.min())
    else:
        found = replace(found, whole=False)
    if not (unique or found.in_order):
        return found
    order = np.argsort(seen, kind="stable") if not found.in_order else np.arange(len(seen))
    ranks = np.empty(len(seen), np.int64)
    ranks[order] = np.arange(len(seen))
    numbers = np.full(len(bits), -1)
    numbers[shown] = ranks
    return _by_index(replace(found, numbers=numbers), np.array(places, np.int64), shown, container, stream)


def _by_index(
    found: Packets,
    places: np.ndarray,
    shown: np.ndarray,
    container: av.container.InputContainer,
    stream: av.VideoStream,
) -> Packets:
    """Numbers that leave room for packets that are gone, where an AVI's index knows of them."""
    numbers = found.numbers
    if container.format.name == "avi" and len(places) < stream.frames:
        entries = np.array([entry.pos for entry in stream.index_entries if entry.size], np.int64)
        chunks = places[shown] - 8  # the index counts from a chunk's header, FFmpeg from its content
        at = np.searchsorted(entries, chunks)
        if len(entries) > len(places) and np.array_equal(entries[np.minimum(at, len(entries) - 1)], chunks):
            numbers = numbers.copy()
            numbers[shown] = at if found.in_order else np.sort(at)[numbers[shown]]
            return replace(found, numbers=numbers, frames=len(entries), lost=len(entries) - found.frames, whole=False)
    return found


def _first_bits(codec: str, packet: av.Packet) -> tuple[bool, bool]:
    """Whether a packet needs no other, and whether it shows a frame: some of VP8 and VP9 are for others to refer to.

    Of those codecs the frame's own header is believed, as decoders do, and not the container.
    """
    if codec not in ("vp8", "vp9"):
        return packet.is_keyframe, True
    content = memoryview(packet)
    first = content[0]
    if codec == "vp8":
        return not first & 1, bool(first & 0x10)
    # Two bits each of marker and profile (the fourth profile has one more), then: shown again, no key frame, shown.
    again, inter, shown = f"{first:08b}"[5 if first & 0x30 == 0x30 else 4 :][:3]
    several = content[-1] & 0xE0 == 0xC0  # of which the last is shown
    return again == "0" and inter == "0", several or again == "1" or shown == "1"


def _tables(packet: av.Packet) -> tuple[tuple, int | None]:
    """What segments a JPEG begins with: what one lacks, a decoder takes from the one before. And its height.

    Half the video's is that of a field, which the next packet completes; None where both are in this one.
    """
    content, at, found, rows = memoryview(packet), 2, [], 0
    while at + 7 <= len(content) and content[at] == 0xFF:
        kind, length = content[at + 1], content[at + 2] << 8 | content[at + 3]
        if kind == 0xDA:  # the scan
            return tuple(found), None if bytes(content[at:]).find(b"\xff\xd8\xff") > 0 else rows
        if kind == 0xDB or 0xC0 <= kind <= 0xCF:
            found.append((kind, length, content[at + 4]))
        if kind in (0xC0, 0xC1, 0xC2):
            rows = content[at + 5] << 8 | content[at + 6]
        at += 2 + length
    return (), rows
