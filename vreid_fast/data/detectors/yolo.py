"""YOLO without suppression: one output, (1, 4 + C, N), or (1, N, 5 + C) with a score of "something" before classes."""

from __future__ import annotations

import numpy as np

from .graph import Found, Port, corners

WORDS = "one output (1, 4 + C, N) or (1, N, 5 + C), C classes"
PIXELS, LETTERBOX, SIZE = "unit", True, (640, 640)
OVERLAP = 0.6
"""People who stand behind each other lie on each other in a picture, too."""


def fits(outputs: list[Port]) -> bool:
    if len(outputs) != 1 or outputs[0].rank != 3:
        return False
    _, first, second = outputs[0].shape
    # Boxes are more than classes; a size that is left open is that of boxes.
    return (first is not None and first >= 5 and (second is None or second > first)) or (
        second is not None and second >= 6 and (first is None or first > second)
    )


def person(outputs: list[Port]) -> int:
    return 0


def letterbox(outputs: list[Port]) -> bool:
    return LETTERBOX


def decode(outputs: list[Port], values: list[np.ndarray], size: tuple[int, int], person: int) -> Found:
    rows = values[0][0].astype(np.float32)
    _, first, second = outputs[0].shape
    if second is None or (first is not None and first < second):
        rows, classes = rows.T, 4
        scores = rows[:, classes + person]
    else:
        scores = rows[:, 4] * rows[:, 5 + person]
    return Found(corners(rows[:, :4]), scores)
