"""Frames that are stored on their side or mirrored: Exif, or a video's display matrix, says how they are shown."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import av


class Turn(NamedTuple):
    """What makes a stored frame upright: first transposed, then flipped."""

    transpose: bool
    left_right: bool
    up_down: bool


UPRIGHT = Turn(False, False, False)


def turn_of(frame: av.VideoFrame, otherwise: Turn = UPRIGHT) -> Turn:
    """By its display matrix, as players do; turns that are no multiple of 90 degrees are left out.

    Args:
        otherwise: of a frame that has no display matrix.
    """
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = struct.unpack("=5i", bytes(data)[:20])
            if a and d and not b and not c:
                return Turn(False, a < 0, d < 0)
            if b and c and not a and not d:
                return Turn(True, c < 0, b < 0)
            return UPRIGHT
    return otherwise


_BY_EXIF = {
    2: Turn(False, True, False),
    3: Turn(False, True, True),
    4: Turn(False, False, True),
    5: Turn(True, False, False),
    6: Turn(True, True, False),
    7: Turn(True, True, True),
    8: Turn(True, False, True),
}


def turn_by_exif(orientation: int) -> Turn:
    """By the number that Exif gives, 1 to 8; others mean nothing."""
    return _BY_EXIF.get(orientation, UPRIGHT)


def upright(pixels: np.ndarray, turn: Turn) -> np.ndarray:
    """(H, W, 3) of a stored frame as it is shown."""
    if turn == UPRIGHT:
        return pixels
    pixels = pixels.transpose(1, 0, 2) if turn.transpose else pixels
    return np.ascontiguousarray(pixels[:: -1 if turn.up_down else 1, :: -1 if turn.left_right else 1])


def may_be_turned(file: BinaryIO, container: str) -> bool:
    """Whether a header holds a display matrix, or something like it; to be sure, a frame has to be decoded.

    Args:
        container: FFmpeg's name of the file's format.
    """
    if "mp4" in container:
        return _has_matrix(_box(file, b"moov"))
    if "matroska" in container:  # an element Projection, before the first cluster
        return b"\x76\x70" in file.read(1 << 16).partition(b"\x1f\x43\xb6\x75")[0]
    return False


def _box(file: BinaryIO, kind: bytes) -> bytes:
    """The first outer box of this kind in an MP4."""
    at = 0
    while True:
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return b""
        size = int.from_bytes(head[:4])
        size = int.from_bytes(head[8:]) if size == 1 else size
        if size > 1 << 40:  # no box, but something else
            return b""
        if head[4:8] == kind:
            file.seek(at)
            return file.read(size or -1)  # 0: up to the end of the file
        if size < 8:
            return b""
        at += size


def _has_matrix(moov: bytes) -> bool:
    """Whether one of the boxes mvhd and tkhd has another matrix than that of upright frames."""
    for kind, place in ((b"mvhd", 36), (b"tkhd", 40)):
        for found in re.finditer(kind, moov):
            later = 12 * (moov[found.end() : found.end() + 1] == b"\x01")  # times of 64 bits
            start = found.end() + place + later
            rows = moov[start : start + 20]
            if len(rows) == 20 and struct.unpack(">2i4x2i", rows) != (1 << 16, 0, 0, 1 << 16):
                return True
    return False
