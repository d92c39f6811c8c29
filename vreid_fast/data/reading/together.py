"""Clips of one video read in one pass: frames between a key frame and the next are decoded once for all of them."""

from __future__ import annotations

import numpy as np

from .decoder import Wanted

MOST = 32
"""Frames of a pass, so that those of a long tracklet are spread over the threads."""


def together(wanted: Wanted) -> tuple[Wanted, np.ndarray]:
    """Requests for frames of the same videos, joined; those of images as they are.

    Returns:
        what to read in their stead, of a video each frame once and ascending; (n,) where in its frames each of the n
        frames wanted is.
    """
    groups: dict[tuple[bool, int], list[int]] = {}
    for row, (tracklet, _) in enumerate(wanted):
        groups.setdefault((True, id(tracklet)) if tracklet.video is not None else (False, row), []).append(row)
    counts = np.array([len(frames) for _, frames in wanted])
    if len(groups) == len(wanted):
        return wanted, np.arange(counts.sum())
    starts, joined, places, first = np.cumsum(counts) - counts, [], np.empty(counts.sum(), np.int64), 0
    for (is_video, _), rows in groups.items():
        tracklet, numbers = wanted[rows[0]][0], np.concatenate([wanted[row][1] for row in rows])
        inverse, parts = np.arange(len(numbers)), [numbers]
        if is_video:
            numbers, inverse = np.unique(numbers, return_inverse=True)
            parts = np.split(numbers, range(MOST, len(numbers), MOST))
        places[np.concatenate([starts[row] + np.arange(counts[row]) for row in rows])] = first + inverse
        first += len(numbers)
        joined += [(tracklet, part) for part in parts]
    return joined, places
