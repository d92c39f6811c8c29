"""Detectors of the family of YOLO, without suppression: a box and a score of each class at each place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .frame import Seen, corners

GIVES = (
    "one array, 1 x (4 + classes) x places (YOLOv8 and later), 1 x places x (5 + classes) (YOLOv5, v7, YOLOX) or "
    "1 x N x 6 (YOLOv10: suppression is inside)"
)
SIZE, LETTERBOX, NORMALISE = (640, 640), True, False
OVERLAP = 0.6
"""Part of two boxes that may be common; of more, the surer one stays."""


def is_kind(shapes: Sequence[tuple]) -> bool:
    return len(shapes) == 1 and len(shapes[0]) == 3 and None not in shapes[0][1:] and min(shapes[0][1:]) >= 5


def person(outputs: Sequence) -> int:
    """0, as YOLO counts COCO."""
    return 0


def people(given: Mapping[str, np.ndarray], seen: Seen, person: int, least: float) -> tuple[np.ndarray, np.ndarray]:
    (array,) = given.values()
    found = array[0].astype(np.float64)
    if found.shape[1] == 6 and found.shape[0] > 6:  # left, top, right, bottom, score, class
        kept = (found[:, 4] >= least) & (found[:, 5] == person)
        return seen.back(found[kept, :4]), found[kept, 4]
    if found.shape[0] < found.shape[1]:
        found = found.T  # (places, 4 + classes)
        scores = found[:, 4 + person]
    else:
        scores = found[:, 4] * found[:, 5 + person]
    kept = scores >= least
    boxes, scores = corners(found[kept, :4]), scores[kept]
    chosen = suppressed(boxes, scores)
    return seen.back(boxes[chosen]), scores[chosen]


def suppressed(boxes: np.ndarray, scores: np.ndarray, overlap: float = OVERLAP) -> list[int]:
    """Rows of the boxes (N, 4) that no surer one overlaps by more than `overlap` of their union."""
    order, chosen = np.argsort(-scores, kind="stable"), []
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    while len(order):
        first, order = order[0], order[1:]
        chosen.append(int(first))
        low, high = np.maximum(boxes[order, :2], boxes[first, :2]), np.minimum(boxes[order, 2:], boxes[first, 2:])
        common = np.prod(np.maximum(high - low, 0), axis=1)
        order = order[common <= overlap * (areas[order] + areas[first] - common)]
    return chosen
