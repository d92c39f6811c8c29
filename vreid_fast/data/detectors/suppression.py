"""Non-maximum suppression: of boxes that lie on each other, the surest."""

from __future__ import annotations

import numpy as np

from .graph import Found

MOST = 1000
"""Boxes of a frame that are looked at, the surest ones: a graph that finds more found no people."""


def surest(found: Found, overlap: float) -> Found:
    """Without the boxes whose intersection over union with a surer one is above `overlap`."""
    order = np.argsort(-found.scores, kind="stable")[:MOST]
    left, top, right, bottom = found.boxes.T
    areas = (right - left) * (bottom - top)
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        wide = np.minimum(right[best], right[order]) - np.maximum(left[best], left[order])
        high = np.minimum(bottom[best], bottom[order]) - np.maximum(top[best], top[order])
        shared = wide.clip(0) * high.clip(0)
        order = order[shared <= overlap * (areas[best] + areas[order] - shared)]
    return found[np.array(kept, int)]
