"""Images other than JPEG, by Pillow: which kinds are read, and how each becomes 8-bit RGB.

Sixteen bits become their upper eight; grey, palettes and CMYK become RGB; transparency is dropped. Numbers without an
agreed scale (real numbers, 32 bits) and files of several pictures are refused.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from . import other_kinds, png, pnm
from .limits import LEAST_SIDE, MOST_PIXELS

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "GIF")
"""By content, whatever a file is called."""
ORIENTATION = 0x0112
"""Exif's tag."""
# Exif that is damaged behind the orientation, and images that are refused for their size: once a process is no help.
warnings.filterwarnings("ignore", module=r"PIL\.(Image|TiffImagePlugin)$")
_STARTS = {b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF", png.START: "PNG", b"GIF8": "GIF"}
"""What files of a kind begin with, for those that Pillow does not know them by."""


def decode_other(content: bytes) -> tuple[np.ndarray, int]:
    """(H, W, 3) uint8 RGB as stored, and its Exif orientation, 1 to 8.

    Raises:
        ValueError: in words; and whatever Pillow raises on damaged data.
    """
    if content.startswith(png.START):
        png.check_parts(content)
    with _open(content) as image:
        check_size(image.height, image.width)
        pages = getattr(image, "n_frames", 1)
        if pages > 1:
            raise ValueError(f"it holds {pages} pictures, wanted one: write each to a file of its own")
        if image.format == "PPM":
            pnm.check_values(image, content)
        image.load()
        if image.format == "PNG" and _ends_black(image):
            png.check_rows(content)
        return _eight_bits(image), _orientation(image.getexif)


def _ends_black(image: Image.Image) -> bool:
    """Whether one of the last two rows is all zeros, as those are that a file lacks; interlaced, each second one."""
    rows = np.asarray(image.crop((0, image.height - 2, image.width, image.height)))
    return not rows.reshape(2, -1).any(axis=1).all()


def size_of_other(content: bytes) -> tuple[tuple[int, int], int]:
    """(H, W) as stored, and the Exif orientation; raises as `decode_other`."""
    with _open(content) as image:
        return (image.height, image.width), _orientation(image.getexif)


def _open(content: bytes) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        kind = next((kind for start, kind in _STARTS.items() if content.startswith(start)), None)
        if kind:
            raise ValueError(f"it is a {kind} that is damaged, or of a kind that is not read: save it anew") from None
        wanted = f"wanted JPEG, {', '.join(FORMATS)}"
        raise ValueError(f"it is {other_kinds.words(content)}, no image of a kind that is read; {wanted}") from None
    except Image.DecompressionBombError:
        raise ValueError(f"it has far more pixels than wanted, at most {MOST_PIXELS:,}") from None


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """1 to 8, by Exif data, or by XMP's where Exif is silent; 1, which is upright, where there are none."""
    from PIL import Image

    def load() -> Image.Exif:
        found = Image.Exif()
        found.load(exif)
        return found

    found = _orientation(load, 0) if exif else 0
    if not found and (word := re.search(rb'tiff:Orientation(?:="|>)([0-9])', xmp)):  # as Pillow does of other kinds
        found = int(word[1])
    return found or 1


def _orientation(load: Callable[[], Image.Exif], otherwise: int = 1) -> int:
    with suppress(Exception):  # other tags may be damaged in any way; the pixels are none the worse
        return int(load().get(ORIENTATION, otherwise))
    return otherwise


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
    if 2 in getattr(image, "tag_v2", {}).get(339, ()):
        raise ValueError("it holds numbers with a sign, which have no agreed scale: save it without")
    if image.mode == "P":
        _check_palette(image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _check_palette(image: Image.Image) -> None:
    """Pillow shows colours that a palette lacks as black."""
    colours = len(image.palette.palette) // len(image.palette.mode) if image.palette else 0
    _, highest = image.getextrema()
    if highest >= colours:
        raise ValueError(f"it has a palette of {colours} colours, and pixels of colour {highest}")
    words = getattr(image, "tag_v2", {}).get(320, ())
    if words and 0 < max(words) < 256:  # of TIFF: sixteen bits, but some programs write eight
        planes = np.array(words, np.uint8).reshape(3, -1)
        image.putpalette(planes.T.tobytes())
    image.info.pop("transparency", None)  # it is dropped anyway, and Pillow would warn of it


def _upper_bits(image: Image.Image) -> np.ndarray:
    """(H, W) uint8 of grey with more than eight bits."""
    tags = getattr(image, "tag_v2", {})  # of TIFF, which may hold 12 bits, or light as ink
    bits, inverted = tags.get(258, (16,))[0], tags.get(262, 1) == 0
    grey = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    return 255 - grey if inverted else grey
