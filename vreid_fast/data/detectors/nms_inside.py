"""Graphs that suppress by themselves: boxes, scores and labels (torchvision, TensorFlow), or rows of all three."""

from __future__ import annotations

import numpy as np

from .graph import Found, Port, one

WORDS = "boxes, scores and labels, or (1, N <= 1000, 6): left, top, right, bottom, score, label"
PIXELS, LETTERBOX, SIZE = "unit", False, None
MOST_ROWS = 1000
"""More rows of six are those of a YOLO of one class."""


def fits(outputs: list[Port]) -> bool:
    return _rows(outputs) or None not in _three(outputs)


def person(outputs: list[Port]) -> int:
    """1 where labels are COCO's own, which begin with the background; 0 in rows of six, YOLO's."""
    return 0 if _rows(outputs) else 1


def letterbox(outputs: list[Port]) -> bool:
    return _rows(outputs)


def decode(outputs: list[Port], values: list[np.ndarray], size: tuple[int, int], person: int) -> Found:
    if _rows(outputs):
        rows = values[0].reshape(-1, 6)
        boxes, scores, labels = rows[:, :4], rows[:, 4], rows[:, 5]
    else:
        places = _three(outputs)
        boxes, scores, labels = (values[place] for place in places)
        boxes, scores, labels = boxes.reshape(-1, 4), scores.reshape(-1), labels.reshape(-1)
        if outputs[places[0]].named("detection_boxes"):  # TensorFlow's: top, left, bottom, right in parts of 1
            boxes = boxes[:, [1, 0, 3, 2]] * np.float32([size[1], size[0]] * 2)
    return Found(boxes, scores)[np.rint(labels) == person]


def _rows(outputs: list[Port]) -> bool:
    if len(outputs) != 1 or outputs[0].rank != 3 or outputs[0].shape[2] != 6:
        return False
    rows = outputs[0].shape[1]
    return rows is None or rows <= MOST_ROWS


def _three(outputs: list[Port]) -> tuple[int | None, int | None, int | None]:
    boxes = one(outputs, "boxes")
    if boxes is not None and outputs[boxes].named("pred_boxes"):
        boxes = None
    return boxes, one(outputs, "scores"), one(outputs, "labels", "classes")
