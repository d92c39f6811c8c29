"""Detectors that give boxes, scores and classes of what they found, as torchvision's do: suppression is inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .frame import Seen

GIVES = "boxes (N x 4, corners in pixels), scores (N) and labels (N), perhaps with a batch of one before"
SIZE, LETTERBOX, NORMALISE = (640, 640), True, False


def is_kind(shapes: Sequence[tuple]) -> bool:
    flat = [shape[1:] if len(shape) > 1 and shape[0] == 1 and len(shape) != 2 else shape for shape in shapes]
    kinds = sorted(len(shape) for shape in flat)
    return len(shapes) == 3 and kinds in ([1, 1, 2], [1, 2, 2], [2, 2, 2]) and sum(s[-1] == 4 for s in flat if s) == 1


def person(outputs: Sequence) -> int:
    """1, as torchvision counts COCO."""
    return 1


def people(given: Mapping[str, np.ndarray], seen: Seen, person: int, least: float) -> tuple[np.ndarray, np.ndarray]:
    boxes = next(array for array in given.values() if array.shape[-1] == 4 and array.ndim > 1).reshape(-1, 4)
    rest = {name: array.reshape(-1) for name, array in given.items() if array.size != boxes.size or array.ndim < 2}
    labels = next(
        (array for name, array in rest.items() if "label" in name.lower() or "class" in name.lower()),
        next((array for array in rest.values() if array.dtype.kind in "iu"), np.full(len(boxes), person)),
    )
    scores = next(array for array in rest.values() if array is not labels and array.dtype.kind == "f")
    kept = (labels == person) & (scores >= least)
    return seen.back(boxes[kept]), scores[kept]
