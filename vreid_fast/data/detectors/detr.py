"""DETR and its kin: for each of N questions scores of classes, and a box in parts of the picture."""

from __future__ import annotations

import numpy as np

from .graph import Found, Port, corners, one

WORDS = "logits (1, N, C) and pred_boxes (1, N, 4)"
PIXELS, LETTERBOX, SIZE = "imagenet", False, (640, 640)
COCO = (91, 92)
"""Classes of graphs that number them as COCO does, in which 1 is a person; without and with "nothing"."""


def fits(outputs: list[Port]) -> bool:
    logits, boxes = _two(outputs)
    return None not in (logits, boxes) and outputs[logits].rank == outputs[boxes].rank == 3


def person(outputs: list[Port]) -> int:
    return 1 if outputs[_two(outputs)[0]].shape[2] in COCO else 0


def letterbox(outputs: list[Port]) -> bool:
    return LETTERBOX


def decode(outputs: list[Port], values: list[np.ndarray], size: tuple[int, int], person: int) -> Found:
    logits, boxes = (values[place][0].astype(np.float32) for place in _two(outputs))
    # 92 = COCO's 91 and "nothing", which share one softmax as DETR's do. Later ones score each class alone.
    if logits.shape[1] == COCO[1]:
        powers = np.exp(logits - logits.max(1, keepdims=True))
        scores = powers[:, person] / powers.sum(1)
    else:
        scores = 1 / (1 + np.exp(-logits[:, person].clip(-80, 80)))
    return Found(corners(boxes) * np.float32([size[1], size[0]] * 2), scores)


def _two(outputs: list[Port]) -> tuple[int | None, int | None]:
    return one(outputs, "logits"), one(outputs, "pred_boxes")
