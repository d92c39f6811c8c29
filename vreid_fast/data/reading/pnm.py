"""PGM and PPM images: whether their values are what they say. Pillow takes those above the highest for white."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


def check_values(image: Image.Image, content: bytes) -> None:
    """Of values that are stored as bytes; those of text Pillow looks at itself, and 255 and 65,535 hold all there are.

    Args:
        image: opened and not yet loaded.

    Raises:
        ValueError: in words, where a value is above the highest that the header names.
    """
    decoder, _, start, more = image.tile[0]
    if decoder != "ppm":
        return
    highest = more[1]
    count = image.width * image.height * len(image.getbands())
    kind = np.dtype(np.uint8 if highest < 256 else ">u2")
    values = np.frombuffer(content, kind, min(count, (len(content) - start) // kind.itemsize), start)
    if values.max(initial=0) > highest:
        raise ValueError(f"it has pixels of {values.max()}, and says that {highest} is white: write it anew")
