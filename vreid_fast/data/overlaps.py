"""Tracklets that one camera saw at the same time: two people, which is known without a label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Protocol

import numpy as np


class Seen(Protocol):
    """What a `Sighting` and a `Row` of features say of where a tracklet was seen."""

    video: str
    first_frame: int | None
    last_frame: int | None


def overlapping(seen: Sequence[Seen | None], cameras: Sequence[Hashable]) -> np.ndarray:
    """Pairs of places in `seen` that share a frame of one recording of one camera.

    Args:
        seen: (N,) where each was seen; None = not known.
        cameras: (N,) of what tells the camera, since two may name their recordings alike; None = not known.

    Returns:
        (P, 2) int64, the one that came first before the other.
    """
    recordings: dict[tuple, list[tuple[int, int, int]]] = defaultdict(list)
    for place, (one, camera) in enumerate(zip(seen, cameras, strict=True)):
        if one is None or camera is None or not one.video or one.first_frame is None or one.last_frame is None:
            continue
        recordings[camera, one.video].append((one.first_frame, place, one.last_frame))
    pairs: list[tuple[int, int]] = []
    for own in recordings.values():
        there: list[tuple[int, int]] = []
        for first, place, last in sorted(own):
            there = [(other, end) for other, end in there if end >= first]
            pairs += [(other, place) for other, _ in there]
            there.append((place, last))
    return np.array(pairs, np.int64).reshape(-1, 2)
