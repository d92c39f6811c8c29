"""Where the packets of a video are in its file: what it takes to read and decode a clip without opening the file again.

Known of plain H.264, HEVC and VP9 in files that keep a packet in one piece, as MP4, MOV, Matroska and WebM do, and
whose parameter sets are those of the header. All else is decoded as a whole file.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from .video_packets import Packets

if TYPE_CHECKING:
    import av

BEFORE = 64
"""Bytes by which a container's own header may come before a packet's content, where it says that the packet begins."""
OTHER, IDR, CRA, SKIPPED, SETS = range(5)
"""What a packet holds. A decoder may begin at an IDR picture, and at a CRA picture where none has to be skipped, as
pictures are that follow it and refer to others before it. Parameter sets are for all packets behind them."""
NAL_UNITS = {
    "h264": {5: IDR, 7: SETS, 8: SETS, 13: SETS, 15: SETS},
    "hevc": {8: SKIPPED, 9: SKIPPED, 19: IDR, 20: IDR, 21: CRA, 32: SETS, 33: SETS, 34: SETS},
}
"""What their types mean, in H.264 and H.265."""


@dataclass(frozen=True)
class Run:
    """Packets (n,) from one that a decoder may begin with to the last that is needed: as in `Layout`."""

    offsets: np.ndarray
    sizes: np.ndarray
    numbers: np.ndarray

    @property
    def span(self) -> tuple[int, int]:
        """(first byte, bytes) in the file, with what lies between the packets."""
        first = int(self.offsets.min())
        return first, int((self.offsets + self.sizes).max()) - first

    def packets(self, content: np.ndarray) -> list[bytes]:
        """The packets, of the bytes of `span`."""
        starts = self.offsets - self.offsets.min()
        return [content[at : at + size].tobytes() for at, size in zip(starts.tolist(), self.sizes.tolist())]


@dataclass(frozen=True)
class Layout:
    """Of N packets, in the order of the file."""

    codec: str
    extradata: bytes
    """What a decoder is to know before the first packet."""
    offsets: np.ndarray
    """(N,) int64 first byte in the file."""
    sizes: np.ndarray
    """(N,) int64 bytes."""
    starts: np.ndarray
    """(N,) int64 place of the packet that a decoder may begin with to decode each."""
    numbers: np.ndarray
    """(N,) int64 frame that each shows."""

    def runs(self, wanted: Iterable[int]) -> list[Run]:
        """What has to be decoded for frames, by number: from the nearest key frame before each."""
        places = np.flatnonzero(np.isin(self.numbers, list(wanted)))
        starts, first = np.unique(self.starts[places], return_index=True)
        ends = places[np.append(first[1:], len(places)) - 1]
        runs = [slice(start, end + 1) for start, end in zip(starts, ends)]
        return [Run(self.offsets[run], self.sizes[run], self.numbers[run]) for run in runs]


class LayoutWalk:
    """Takes the packets of a video one after the other, and then knows its layout, if it has one."""

    def __init__(self, file: BinaryIO, stream: av.VideoStream):
        context = stream.codec_context
        self._file, self._codec, self._extradata = file, context.name, context.extradata or b""
        self._offsets, self._sizes, self._kinds = array("q"), array("q"), bytearray()
        # An avcC or hvcC record begins with 1, and says how many bytes long the lengths of NAL units are.
        at = {"h264": 4, "hevc": 21}.get(self._codec)
        record = at is not None and len(self._extradata) > at and self._extradata[0] == 1
        self._prefix = (self._extradata[at] & 3) + 1 if record else 0
        self._known = record or self._codec == "vp9"

    def take(self, packet: av.Packet) -> None:
        """The next packet, while it is there."""
        if self._known:
            content = bytes(packet)
            offset, kind = self._offset(packet.pos, content), self._kind(content)
            self._known = offset >= 0 and kind != SETS
            self._offsets.append(offset)
            self._sizes.append(len(content))
            self._kinds.append(kind)

    def layout(self, packets: Packets) -> Layout | None:
        """Of the packets taken, whose frames are known."""
        if not self._known or packets.numbers is None or len(packets) != len(self._offsets) or not len(packets):
            return None
        kinds, places = np.frombuffer(bytes(self._kinds), np.uint8), np.arange(len(packets))
        begins = packets.keys
        if self._prefix:
            pictures = np.maximum.accumulate(np.where((kinds == IDR) | (kinds == CRA), places, 0))
            skips = np.bincount(pictures, kinds == SKIPPED, len(packets))[pictures] > 0
            begins = (kinds == IDR) | ((kinds == CRA) & ~skips)
        starts = np.maximum.accumulate(np.where(begins, places, 0))
        arrays = (np.array(values, np.int64) for values in (self._offsets, self._sizes))
        return Layout(self._codec, self._extradata, *arrays, starts, packets.numbers)

    def _offset(self, near: int | None, content: bytes) -> int:
        """Where a packet's content is in the file; -1 = not in one piece, or not where the container says."""
        if near is None or near < 0:
            return -1
        try:
            self._file.seek(near)
            at = self._file.read(len(content) + BEFORE).find(content)
        except OSError:
            return -1
        return near + at if at >= 0 else -1

    def _kind(self, content: bytes) -> int:
        """What a packet holds; of one that does not end where its NAL units do, `SETS` too, as it is not understood."""
        if not self._prefix:
            return OTHER
        at, found, kinds = 0, OTHER, NAL_UNITS[self._codec]
        while at + self._prefix < len(content):
            length, at = int.from_bytes(content[at : at + self._prefix], "big"), at + self._prefix
            kind = kinds.get(content[at] & 0x1F if self._codec == "h264" else content[at] >> 1 & 0x3F, OTHER)
            if kind != SETS or content[at : at + length] not in self._extradata:  # those of the header, said again
                found = max(found, kind)
            at += length
        return found if at == len(content) else SETS
