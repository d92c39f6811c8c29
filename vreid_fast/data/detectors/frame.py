"""A frame as a detector sees it, and boxes back in the frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

IMAGENET = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
GREY = 114
"""Of what a letterbox adds, as YOLO has it."""


@dataclass(frozen=True)
class Seen:
    """What is shown of a frame."""

    pixels: np.ndarray
    """(H, W, 3) uint8."""
    scale: np.ndarray
    """(2,) pixels shown for each of the frame, x and y."""
    shift: np.ndarray
    """(2,) x and y of the frame's corner in it."""

    def back(self, boxes: np.ndarray) -> np.ndarray:
        """(N, 4) left, top, right, bottom of what is shown -> of the frame."""
        return (boxes - np.tile(self.shift, 2)) / np.tile(self.scale, 2)


def fit(frame: np.ndarray, size: tuple[int, int], *, letterbox: bool) -> Seen:
    """A frame in the size (H, W): with its shape kept and grey beside it, or stretched."""
    from PIL import Image

    height, width = frame.shape[:2]
    scale = np.array([size[1] / width, size[0] / height])
    if letterbox:
        scale[:] = scale.min()
    shown = np.maximum(1, np.rint([width, height] * scale)).astype(int)
    pixels = np.asarray(Image.fromarray(frame).resize(tuple(shown.tolist()), Image.Resampling.BILINEAR))
    scale = shown / [width, height]
    shift = (np.array(size[::-1]) - shown) // 2
    if not letterbox or not shift.any():
        return Seen(pixels, scale, np.zeros(2))
    whole = np.full((*size, 3), GREY, np.uint8)
    whole[shift[1] : shift[1] + shown[1], shift[0] : shift[0] + shown[0]] = pixels
    return Seen(whole, scale, shift.astype(float))


def corners(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) centre x, centre y, width, height -> left, top, right, bottom."""
    middle, half = boxes[:, :2], boxes[:, 2:] / 2
    return np.concatenate([middle - half, middle + half], 1)
