"""Detectors of the family of DETR: logits of each query, and its box in parts of the image; nothing is suppressed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .frame import Seen, corners

GIVES = "logits (1 x queries x classes) and boxes (1 x queries x 4, centre and size in parts of the image)"
SIZE, LETTERBOX, NORMALISE = (640, 640), False, True
COCO = 80
"""Classes of those that have none for nothing, and take each by itself, as RT-DETR does."""


def is_kind(shapes: Sequence[tuple]) -> bool:
    return len(shapes) == 2 and all(len(shape) == 3 for shape in shapes) and sum(s[-1] == 4 for s in shapes) == 1


def person(outputs: Sequence) -> int:
    """1 in COCO's own numbers, which DETR has; 0 where there are 80 classes."""
    classes = next(output.shape[-1] for output in outputs if output.shape[-1] != 4)
    return 0 if classes == COCO else 1


def people(given: Mapping[str, np.ndarray], seen: Seen, person: int, least: float) -> tuple[np.ndarray, np.ndarray]:
    boxes = next(array for array in given.values() if array.shape[-1] == 4)[0]
    logits = next(array for array in given.values() if array.shape[-1] != 4)[0].astype(np.float64)
    if logits.shape[1] == COCO:
        scores = 1 / (1 + np.exp(-logits[:, person]))
    else:
        shares = np.exp(logits - logits.max(1, keepdims=True))
        scores = shares[:, person] / shares.sum(1)
    kept = scores >= least
    height, width = seen.pixels.shape[:2]
    return seen.back(corners(boxes[kept] * [width, height, width, height])), scores[kept]
