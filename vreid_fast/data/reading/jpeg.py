"""JPEG images: what stands before their pixels, and the pixels, by libjpeg-turbo.

The same library is inside Pillow and DALI, but both hand out what it could make of damaged data. Here that is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

START, END = b"\xff\xd8", b"\xff\xd9"
SCAN = 0xDA
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of the segment that says how large an image is."""
UNREAD = ("tjDecompressHeader3", "Unsupported")
"""What libjpeg-turbo begins with where a JPEG is sound, but of a kind that it does not decode."""
EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
"""What their segments begin with."""


def is_jpeg(content: bytes | memoryview) -> bool:
    return content[:2] == START


def segments(content: bytes | memoryview) -> Iterator[tuple[int, bytes | memoryview]]:
    """(marker, content) of each segment up to the first scan, that included; of pixels nothing is read.

    Raises:
        ValueError: in words, where there should be another segment and is none, or where one does not end.
    """
    at, marker = 2, 0
    while marker != SCAN:
        if content[at : at + 1] != b"\xff":
            raise ValueError(f"no JPEG segment at byte {at}" if at < len(content) else "cut short before its pixels")
        while content[at : at + 1] == b"\xff":  # any number of them may stand before a marker
            at += 1
        marker, at = int.from_bytes(content[at : at + 1]), at + 1
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # these stand alone
            continue
        length = int.from_bytes(content[at : at + 2])
        if length < 2 or at + length > len(content):
            raise ValueError(f"the JPEG segment at byte {at} has no end")
        yield marker, content[at + 2 : at + length]
        at += length


class Header(NamedTuple):
    size: tuple[int, int]
    """(H, W) as stored."""
    components: int
    """Planes of pixels: 1 grey, 3 colours, 4 inks."""
    exif: bytes
    """Empty where there is none; so is `xmp`."""
    xmp: bytes


def header_of(content: bytes) -> Header:
    """What the segments say.

    Raises:
        ValueError: in words, where the structure does not hold.
    """
    frame, exif, xmp = None, b"", b""
    for marker, segment in segments(content):
        if marker in FRAMES:
            frame = segment
        elif marker == 0xE1 and segment[: len(EXIF)] == EXIF:
            exif = exif or bytes(segment)
        elif marker == 0xE1 and segment[: len(XMP)] == XMP:
            xmp = xmp or bytes(segment[len(XMP) :])
    if frame is None or len(frame) < 6:
        raise ValueError("no JPEG segment gives its size")
    return Header((int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])), frame[5], exif, xmp)


def decode_jpeg(content: bytes, components: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB as stored, not turned; `components` as in its header.

    Raises:
        ValueError: damaged data, also where most of the image could be seen.
    """
    import simplejpeg

    inks = components == 4  # simplejpeg's own look at the header fails at rare subsamplings

    def pixels(strict: bool) -> np.ndarray:
        wanted = "CMYK" if inks else "RGB"
        return simplejpeg.decode_jpeg(content, wanted, fastdct=False, fastupsample=False, strict=strict)

    try:
        decoded = pixels(strict=True)
    except ValueError as error:
        if str(error).startswith(UNREAD):
            raise ValueError(f"it is {_kind(content)}, which is not read: save it anew as JPEG or PNG") from error
        if not _is_padding(str(error), content):
            raise
        decoded = pixels(strict=False)
    return _rgb(decoded, content) if inks else decoded


def _kind(content: bytes) -> str:
    """Of a JPEG, what others of its kind are not."""
    marker, frame = next((marker, segment) for marker, segment in segments(content) if marker in FRAMES)
    family = "lossless" if marker & 3 == 3 else "hierarchical" if marker & 4 else "usual"
    planes = ", ".join(f"{factors >> 4}x{factors & 15}" for factors in frame[7::3])
    return f"a JPEG ({family}, {frame[0]} bits, planes sampled {planes})"


def _is_padding(problem: str, content: bytes) -> bool:
    """Whether all that is wrong are a few zeros before the end: some cameras fill up words so."""
    found = re.fullmatch(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9", problem)
    return bool(found) and content.split(END)[0].endswith(bytes(int(found[1]))) and int(found[1]) < 16


def _rgb(inks: np.ndarray, content: bytes) -> np.ndarray:
    """RGB of CMYK, by Pillow's formula. Adobe's programs store ink as light."""
    from PIL import Image

    adobe = any(marker == 0xEE and segment[:5] == b"Adobe" for marker, segment in segments(content))
    return np.asarray(Image.fromarray(255 - inks if adobe else inks, "CMYK").convert("RGB"))
