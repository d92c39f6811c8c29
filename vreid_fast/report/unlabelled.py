"""What there is to see without labels: who looks like whom, clusters, what is in none. Nothing is right or wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vreid_fast.metrics import pairwise_distances

from .ranked import RankedItem, RankedQuery, query_frames

LISTS, DEPTH = 8, 10
MEMBERS = 10
"""Tracklets shown of a cluster."""

ReadFrames = Callable[[Any, np.ndarray], Sequence[np.ndarray]]
"""(tracklet, frame indices) -> that many images (H, W, 3) uint8."""


@dataclass(frozen=True)
class ClusterSheet:
    """Some tracklets of a cluster, or of those that are in none, each by an image and a label."""

    title: str
    size: int
    cameras: int | None
    """How many see it, where that is known."""
    items: list[tuple[np.ndarray, str]]


def pick_nearest(
    features: Tensor,
    tracklets: Sequence,
    labels: Tensor | None = None,
    *,
    distance: str = "cosine",
    read_frames: ReadFrames,
) -> list[RankedQuery]:
    """For eight tracklets the nearest that other cameras saw; where a camera is unknown, the nearest others.

    They are of clusters that are spread evenly from the largest to the smallest of two or more; without clusters they
    are spread over the data.

    Args:
        features: (N, D) vectors.
        tracklets: N of them (anything with a length, a camera and a name).
        labels: (N,) their clusters, -1 = in none; None = they are not known.
        distance: as of `pairwise_distances`.
    """
    groups = _groups(labels)
    one_each = [rows[number % len(rows)] for number, rows in enumerate(groups)]  # not the first of all: of one camera
    first = one_each or list(range(len(tracklets)))
    lists = []
    for row in (first[place] for place in _spread(len(first), LISTS)):
        away = pairwise_distances(features[row : row + 1], features, distance)[0]
        others = [place for place, other in enumerate(tracklets) if place != row and _elsewhere(other, tracklets[row])]
        near = sorted(others, key=lambda place: float(away[place]))[:DEPTH]
        items = [
            RankedItem(_middle(tracklets[place], read_frames), _label(tracklets[place]), float(away[place]), None)
            for place in near
        ]
        if items:
            asked = tracklets[row]
            title = f"{_label(asked)}: {_path(asked, tracklets)}"
            lists.append(RankedQuery(query_frames(asked, read_frames), title, items, None))
    return lists


def pick_clusters(
    labels: Tensor | None, tracklets: Sequence, *, most: int = 8, read_frames: ReadFrames
) -> list[ClusterSheet]:
    """Up to `most` clusters of two or more, spread evenly from the largest to the smallest, with tracklets spread over
    each; behind them the tracklets that are in none, where there are such."""
    groups = _groups(labels)
    sheets = [
        _sheet(f"{len(rows)} tracklets", rows, tracklets, read_frames)
        for rows in (groups[place] for place in _spread(len(groups), most))
    ]
    alone = [] if labels is None else torch.nonzero(labels.cpu() < 0)[:, 0].tolist()
    if alone:
        sheets.append(_sheet(f"In no cluster: {len(alone)}", alone, tracklets, read_frames))
    return sheets


def _sheet(title: str, rows: list[int], tracklets: Sequence, read_frames: ReadFrames) -> ClusterSheet:
    cameras = [tracklets[row].camera for row in rows]
    shown = [tracklets[rows[place]] for place in _spread(len(rows), MEMBERS)]
    items = [(_middle(tracklet, read_frames), _label(tracklet)) for tracklet in shown]
    return ClusterSheet(title, len(rows), None if None in cameras else len(set(cameras)), items)


def _groups(labels: Tensor | None) -> list[list[int]]:
    """Rows of each cluster of two or more, the largest first."""
    if labels is None:
        return []
    labels = labels.cpu()
    groups = [torch.nonzero(labels == label)[:, 0].tolist() for label in labels.unique().tolist() if label >= 0]
    return sorted((rows for rows in groups if len(rows) > 1), key=len, reverse=True)


def _spread(length: int, most: int) -> list[int]:
    return np.linspace(0, length - 1, min(most, length)).round().astype(int).tolist()


def _elsewhere(tracklet: Any, query: Any) -> bool:
    return query.camera is None or tracklet.camera is None or tracklet.camera != query.camera


def _path(tracklet: Any, tracklets: Sequence) -> str:
    """The end of the path by which a search knows it: its folder; its file, where the folder has several tracklets."""
    folder = os.path.dirname(tracklet.name)
    alone = sum(os.path.dirname(other.name) == folder for other in tracklets) == 1
    return "/".join((folder if alone and not tracklet.video else tracklet.name).split("/")[-2:])


def _label(tracklet: Any) -> str:
    return "unknown camera" if tracklet.camera is None else f"camera {tracklet.camera}"


def _middle(tracklet: Any, read_frames: ReadFrames) -> np.ndarray:
    return read_frames(tracklet, np.array([len(tracklet) // 2]))[0]
