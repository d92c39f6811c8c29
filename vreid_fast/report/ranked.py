"""Ranked lists: a few queries, each with the gallery clips that a network put first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vreid_fast.metrics import Labels, rank_queries, relevance

_QUERY_FRAMES = 4


@dataclass(frozen=True)
class RankedItem:
    """A gallery clip in a ranked list: a frame (H, W, 3) uint8, who it is, how far, whether it matches (None =
    nobody knows)."""

    image: np.ndarray
    label: str
    distance: float
    hit: bool | None


@dataclass(frozen=True)
class RankedQuery:
    """A query, some of its frames (each (H, W, 3) uint8), and its nearest gallery clips without junk."""

    query_images: list[np.ndarray]
    query_label: str
    gallery: list[RankedItem]
    average_precision: float | None
    """None where nobody knows what matches."""
    matches: int | None = None
    """How many matches the whole gallery holds, where known."""


def pick_ranked(
    distances,
    query: Sequence,
    gallery: Sequence,
    *,
    read_frames: Callable[[Any, np.ndarray], Sequence[np.ndarray]],
    count: int = 8,
    depth: int = 10,
    protocol: str = "market",
) -> list[RankedQuery]:
    """Ranked lists of queries spread evenly from the best to the worst average precision.

    No cherries: of N matched queries in order of average precision those at places 0, N/(count-1), ...,
    N-1 are taken. A gallery item of the query's own person and camera is junk and left out, as in the scores.

    Args:
        distances: (Q, G) tensor or array.
        query, gallery: Q and G tracklets (anything with a length, identity, camera and clothes).
        read_frames: (tracklet, frame indices) -> that many images (H, W, 3) uint8.
        count: ranked lists wanted; fewer when fewer queries have a match.
        depth: gallery clips in each.
    """
    distances = torch.as_tensor(distances).detach().cpu()
    labels = [_labels("query", query), _labels("gallery", gallery)]
    if any(side.cameras is None for side in labels):
        labels = [side._replace(cameras=None) for side in labels]
    query_labels, gallery_labels = labels
    average_precision, _ = rank_queries(distances.__getitem__, query_labels, gallery_labels, protocol)
    order = average_precision.argsort(descending=True, stable=True)  # NaN, no match, sorts first
    order = order[~average_precision[order].isnan()]
    places = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)

    ranked = []
    for q in order[places].tolist():
        good, junk = relevance(query_labels.rows(slice(q, q + 1)), gallery_labels, protocol)
        good, junk = good[0], junk[0]
        kept = min(depth, int((~junk).sum()))
        first = distances[q].masked_fill(junk, torch.inf).argsort(stable=True)[:kept]
        items = [
            RankedItem(
                image=read_frames(gallery[g], np.array([len(gallery[g]) // 2]))[0],
                label=describe(gallery[g]),
                distance=float(distances[q, g]),
                hit=bool(good[g]),
            )
            for g in first.tolist()
        ]
        images = query_frames(query[q], read_frames)
        score, matches = float(average_precision[q]), int(good.sum())
        ranked.append(RankedQuery(images, describe(query[q]), items, score, matches))
    return ranked


def query_frames(tracklet: Any, read_frames: Callable[[Any, np.ndarray], Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Up to four frames of a tracklet, evenly spaced."""
    spaced = np.unique((np.arange(_QUERY_FRAMES) * 2 + 1) * len(tracklet) // (2 * _QUERY_FRAMES))
    return list(read_frames(tracklet, spaced))


def describe(tracklet) -> str:
    """``person 12, camera 1``, as far as both are known."""
    who = "unknown person" if tracklet.identity is None else f"person {tracklet.identity}"
    return who if tracklet.camera is None else f"{who}, camera {tracklet.camera}"


def _labels(side: str, tracklets: Sequence) -> Labels:
    """Labels of tracklets: an unknown identity is -1, and one unknown camera or clothes makes all unknown."""

    def column(name: str) -> list[int] | None:
        values = [getattr(tracklet, name) for tracklet in tracklets]
        return None if any(value is None for value in values) else values

    identities = [-1 if tracklet.identity is None else tracklet.identity for tracklet in tracklets]
    return Labels.of(side, len(tracklets), "cpu", identities, column("camera"), column("clothes"))
