"""The rows of a data set's tracklets: a path that tells each from all others, and what is known of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from vreid_fast.data import Dataset, Tracklet
from vreid_fast.data.tracklets import distinct

from .table import Row

SUBSETS = ("train", "query", "gallery")


def rows_of(data: Dataset) -> tuple[list[Tracklet], list[Row]]:
    """All tracklets of a data set, each once, and their rows."""
    tracklets = distinct(data)
    within: dict[int, list[str]] = {}
    for subset in SUBSETS:
        for tracklet in getattr(data, subset):
            within.setdefault(id(tracklet), []).append(subset)
    paths = _paths(tracklets, data.name.partition(":")[2])
    return tracklets, [
        _row(row, path, tracklet, "|".join(dict.fromkeys(within[id(tracklet)])))
        for row, (path, tracklet) in enumerate(zip(paths, tracklets, strict=True))
    ]


def _row(row: int, path: str, tracklet: Tracklet, split: str) -> Row:
    seen = tracklet.sighting
    if seen is None:
        return Row(row, path, tracklet.camera, tracklet.identity, split)
    return Row(
        row, path, tracklet.camera, tracklet.identity, split, seen.video, seen.first_frame, seen.last_frame,
        seen.begins, seen.ends,
    )  # fmt: skip


def _paths(tracklets: Sequence[Tracklet], root: str) -> list[str]:
    """Each one's video or folder; where folders hold several, its first image; and a number where that is not enough,
    as for pieces of a video. From the data set's folder on."""
    folders = [os.path.dirname(tracklet.frames[0]) for tracklet in tracklets if tracklet.video is None]
    shared = len(set(folders)) < len(folders)
    paths = [
        os.path.normpath(tracklet.name if shared or tracklet.video is not None else os.path.dirname(tracklet.frames[0]))
        for tracklet in tracklets
    ]
    several, seen = Counter(paths), Counter()
    for place, path in enumerate(paths):
        while several[paths[place]] > 1 or (paths[place] != path and paths[place] in several):  # a name may end so too
            seen[path] += 1
            paths[place] = f"{path}#{seen[path]}"
    start = os.path.join(os.path.normpath(root), "") if root else ""
    return [path.removeprefix(start) for path in paths]
