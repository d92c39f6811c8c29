"""From a frame to what a graph takes, and its boxes back to the frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

MEAN, DEVIATION = np.float32([0.485, 0.456, 0.406]) * 255, np.float32([0.229, 0.224, 0.225]) * 255
GREY = 114
"""What YOLO is trained to see around a frame of another shape."""
PIXELS = {
    "raw": (np.float32([0, 0, 0]), np.float32([1, 1, 1])),
    "unit": (np.float32([0, 0, 0]), np.float32([255, 255, 255])),
    "imagenet": (MEAN, DEVIATION),
}
"""Subtracted from 0..255, and divided by: pixels from 0 to 255, from 0 to 1, or by ImageNet's mean and deviation."""


@dataclass(frozen=True)
class Picture:
    """How a graph wants a frame."""

    size: tuple[int, int] | None
    """Height and width; None = as the frame is."""
    pixels: str
    """A word of PIXELS."""
    letterbox: bool
    """The frame keeps its shape and is padded; else it is stretched."""
    last: bool = False
    """(H, W, 3), not (3, H, W)."""
    batch: bool = True
    type: str = "tensor(float)"

    def of(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A frame (H, W, 3) uint8 RGB as the graph takes it.

        Returns:
            The picture; and the scale and the shift, each (x, y, x, y), that take its pixels to those of the frame:
            pixel * scale + shift.
        """
        high, wide = frame.shape[:2]
        size = self.size or (high, wide)
        inner, begin = size, (0, 0)
        if self.letterbox:
            factor = min(size[0] / high, size[1] / wide)
            inner = (max(1, round(high * factor)), max(1, round(wide * factor)))
            begin = ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2)
        if inner != (high, wide):
            frame = np.asarray(Image.fromarray(frame).resize(inner[::-1], Image.Resampling.BILINEAR))
        if inner != size:
            padded = np.full((*size, 3), GREY, np.uint8)
            padded[begin[0] : begin[0] + inner[0], begin[1] : begin[1] + inner[1]] = frame
            frame = padded
        picture = frame
        if self.type != "tensor(uint8)":
            less, by = PIXELS[self.pixels]
            picture = (frame - less) / by
            if self.type == "tensor(float16)":
                picture = picture.astype(np.float16)
        if not self.last:
            picture = np.ascontiguousarray(picture.transpose(2, 0, 1))
        scale = np.float32([wide / inner[1], high / inner[0]] * 2)
        return picture[None] if self.batch else picture, scale, -np.float32([begin[1], begin[0]] * 2) * scale
