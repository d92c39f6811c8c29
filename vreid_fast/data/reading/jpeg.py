"""JPEG images: what stands before their pixels, and the pixels, by libjpeg-turbo.

The same library is inside Pillow and DALI, but both hand out what it could make of damaged data. Here that is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

START, END = b"\xff\xd8", b"\xff\xd9"
SCAN = 0xDA
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of the segment that says how large an image is."""


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


def frame_size(segment: bytes | memoryview) -> tuple[int, int]:
    """(H, W) by the content of a segment of `FRAMES`."""
    return int.from_bytes(segment[1:3]), int.from_bytes(segment[3:5])


def size_and_exif(content: bytes) -> tuple[tuple[int, int], bytes]:
    """(H, W), and the Exif data (empty where there are none), by the segments.

    Raises:
        ValueError: in words, where the structure does not hold.
    """
    size, exif = None, b""
    for marker, segment in segments(content):
        if marker in FRAMES:
            size = frame_size(segment)
        elif marker == 0xE1 and segment[:6] == b"Exif\0\0":
            exif = exif or bytes(segment)
    if size is None:
        raise ValueError("no JPEG segment gives its size")
    return size, exif


def decode_jpeg(content: bytes) -> np.ndarray:
    """(H, W, 3) uint8 RGB as stored, not turned.

    Raises:
        ValueError: damaged data, also where most of the image could be seen.
    """
    import simplejpeg

    _, _, colours, _ = simplejpeg.decode_jpeg_header(content)
    inks = colours in ("CMYK", "YCCK")

    def pixels(strict: bool) -> np.ndarray:
        wanted = "CMYK" if inks else "RGB"
        return simplejpeg.decode_jpeg(content, wanted, fastdct=False, fastupsample=False, strict=strict)

    try:
        decoded = pixels(strict=True)
    except ValueError as error:
        if not _is_padding(str(error), content):
            raise
        decoded = pixels(strict=False)
    return _rgb(decoded, content) if inks else decoded


def _is_padding(problem: str, content: bytes) -> bool:
    """Whether all that is wrong are a few zeros before the end: some cameras fill up words so."""
    found = re.fullmatch(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9", problem)
    return bool(found) and content.split(END)[0].endswith(bytes(int(found[1]))) and int(found[1]) < 16


def _rgb(inks: np.ndarray, content: bytes) -> np.ndarray:
    """RGB of CMYK, by Pillow's formula. Adobe's programs store ink as light."""
    from PIL import Image

    adobe = any(marker == 0xEE and segment[:5] == b"Adobe" for marker, segment in segments(content))
    return np.asarray(Image.fromarray(255 - inks if adobe else inks, "CMYK").convert("RGB"))
