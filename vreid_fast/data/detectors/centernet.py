"""CenterNet: a map of how likely each place is the centre of a class, and maps of sizes there."""

from __future__ import annotations

import numpy as np

from .graph import Found, Port, one

WORDS = "a map of centres (heatmap or keypoints), one of sizes (wh; 2 or 4 values), maybe one of shifts (reg or offset)"
PIXELS, LETTERBOX, SIZE = "raw", False, (512, 512)
LEAST = 0.01
"""Places below it are no centres."""


def fits(outputs: list[Port]) -> bool:
    places = _maps(outputs)[:2]
    return None not in places and all(outputs[place].rank == 4 for place in places)


def person(outputs: list[Port]) -> int:
    return 0


def letterbox(outputs: list[Port]) -> bool:
    return LETTERBOX


def decode(outputs: list[Port], values: list[np.ndarray], size: tuple[int, int], person: int) -> Found:
    heat, sizes, shifts = (
        None if place is None else _channels_first(values[place], outputs[place].shape) for place in _maps(outputs)
    )
    heat = heat[person]
    padded = np.pad(heat, 1, constant_values=-np.inf)
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).max((2, 3))
    rows, columns = np.nonzero((heat == around) & (heat > LEAST))
    scale = np.float32([size[1] / heat.shape[1], size[0] / heat.shape[0]] * 2)
    centres = np.stack([columns, rows], 1).astype(np.float32)
    if shifts is not None:
        centres += shifts[:, rows, columns].T
    sides = sizes[:, rows, columns].T
    if len(sizes) == 2:  # width and height, in places of the map
        boxes = np.concatenate([centres - sides / 2, centres + sides / 2], 1) * scale
    else:  # from the centre to left, top, right, bottom, in pixels
        boxes = np.concatenate([centres * scale[:2] - sides[:, :2], centres * scale[:2] + sides[:, 2:]], 1)
    return Found(boxes, heat[rows, columns])


def _maps(outputs: list[Port]) -> tuple[int | None, int | None, int | None]:
    return one(outputs, "heat", "hm", "keypoints"), one(outputs, "wh"), one(outputs, "reg", "offset")


def _channels_first(values: np.ndarray, shape: tuple[int | None, ...]) -> np.ndarray:
    """(C, h, w) of (1, C, h, w) or, as TensorFlow has it, of (1, h, w, C): two equal sizes are those of the map."""
    values = values[0].astype(np.float32)
    last = values.shape[0] == values.shape[1] != values.shape[2]
    return values.transpose(2, 0, 1) if last else values
