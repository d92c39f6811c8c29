"""Images other than JPEG, by Pillow: which kinds are read, and how each becomes 8-bit RGB.

Sixteen bits become their upper eight; grey, palettes and CMYK become RGB; transparency is dropped. Numbers without an
agreed scale (real numbers, 32 bits) and files of several pictures are refused.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from .limits import LEAST_SIDE, MOST_PIXELS

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "GIF")
"""By content, whatever a file is called."""
ORIENTATION = 0x0112
"""Exif's tag."""
_PNG = b"\x89PNG\r\n\x1a\n"


def decode_other(content: bytes) -> tuple[np.ndarray, int]:
    """(H, W, 3) uint8 RGB as stored, and its Exif orientation, 1 to 8.

    Raises:
        ValueError: in words; and whatever Pillow raises on damaged data.
    """
    if content.startswith(_PNG):
        _check_png(content)
    with _open(content) as image:
        check_size(image.height, image.width)
        pages = getattr(image, "n_frames", 1)
        if pages > 1:
            raise ValueError(f"it holds {pages} pictures, wanted one: write each to a file of its own")
        image.load()
        return _eight_bits(image), _orientation(image.getexif)


def size_of_other(content: bytes) -> tuple[tuple[int, int], int]:
    """(H, W) as stored, and the Exif orientation; raises as `decode_other`."""
    with _open(content) as image:
        return (image.height, image.width), _orientation(image.getexif)


def _open(content: bytes) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError(f"it is no image of a kind that is read: JPEG, {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise ValueError(f"it has far more pixels than wanted, at most {MOST_PIXELS:,}") from None


def orientation(exif: bytes) -> int:
    """1 to 8, by Exif data; 1, which is upright, where there are none."""
    from PIL import Image

    def load() -> Image.Exif:
        found = Image.Exif()
        found.load(exif)
        return found

    return _orientation(load) if exif else 1


def _orientation(load: Callable[[], Image.Exif]) -> int:
    with suppress(Exception):  # other tags may be damaged in any way; the pixels are none the worse
        return int(load().get(ORIENTATION, 1))
    return 1


def check_size(height: int, width: int) -> None:
    """
    Raises:
        ValueError: an image too large, or of nothing.
    """
    if min(height, width) < LEAST_SIDE or height * width > MOST_PIXELS:
        wanted = f"wanted at least {LEAST_SIDE}x{LEAST_SIDE} and at most {MOST_PIXELS:,}"
        raise ValueError(f"it has {width}x{height} pixels, {wanted}")


def _eight_bits(image: Image.Image) -> np.ndarray:
    # Pillow clips to 255 what it converts from more than eight bits. Of PGM it makes 32 bits, scaled to sixteen.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return np.repeat(_upper_bits(image)[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        kind = "real numbers" if image.mode == "F" else "numbers of 32 bits"
        raise ValueError(f"it holds {kind}, which have no agreed scale: save it with 8 or 16 bits")
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _upper_bits(image: Image.Image) -> np.ndarray:
    """(H, W) uint8 of grey with more than eight bits."""
    tags = getattr(image, "tag_v2", {})  # of TIFF, which may hold 12 bits, or light as ink
    bits, inverted = tags.get(258, (16,))[0], tags.get(262, 1) == 0
    grey = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    return 255 - grey if inverted else grey


def _check_png(content: bytes) -> None:
    """Pillow does not look at the checksums of pixels."""
    at, kind = len(_PNG), b""
    while kind != b"IEND":
        head = content[at : at + 8]
        length, kind = int.from_bytes(head[:4]), head[4:]
        end = at + 12 + length
        if len(head) < 8 or end > len(content):
            raise ValueError(f"it is a PNG that ends at byte {len(content)}, in the middle of a part")
        if zlib.crc32(memoryview(content)[at + 4 : end - 4]) != int.from_bytes(content[end - 4 : end]):
            raise ValueError(f"it is a PNG whose part at byte {at} does not match its checksum")
        at = end
