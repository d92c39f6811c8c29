"""Clusters of unlabelled tracklets, without a number of clusters: who shares enough neighbours is one person."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .neighbours import common_neighbours, nearest, pairs_to_compare

if TYPE_CHECKING:
    from scipy.sparse import csr_array

LISTED, CUT = 2, 0.75
"""Neighbours listed of each camera where nothing else is said; where clusters are cut apart."""


def expansion_of(listed: int) -> int:
    """How many of the neighbours listed describe a tracklet too."""
    return listed // 2


def cluster(
    features: Tensor, cameras: Tensor | None, listed: int = LISTED, cut: float = CUT, apart: np.ndarray | None = None
) -> Tensor:
    """Clusters of tracklets by average linkage of the Jaccard distances of their neighbours.

    The order of the tracklets does not matter: they are taken in one that follows from their numbers. Tracklets of
    one camera whose features are the same count as one, and are in one cluster.

    Args:
        features: (N, D), on any device.
        cameras: (N,) int64; None = they are not known, and count as one.
        listed: neighbours of each camera in the list of a tracklet, at least 1.
        cut: mean distance at which two clusters are two people, of 0 (the same neighbours) to 1 (none in common).
        apart: (P, 2) int64 pairs of tracklets that are two people, as `overlapping` finds them: they are at a distance
            of 2. So two clusters still meet where nearly all else says that they are one person, as where a detector
            saw somebody twice. None = none is known.

    Returns:
        (N,) int64 on the CPU, numbered in the order of the tracklets; -1 of those that are in none, being alone.
    """
    return Listing(features, cameras, listed, apart).clusters(listed, [cut])[0]


class Listing:
    """The nearest tracklets of each, from which clusters by shorter lists and other cuts are found too.

    Args:
        features, cameras, apart: as of `cluster`.
        most: neighbours of each camera that are listed.
    """

    def __init__(self, features: Tensor, cameras: Tensor | None, most: int, apart: np.ndarray | None = None):
        known = torch.zeros(len(features), dtype=torch.int64) if cameras is None else cameras.cpu()
        first, self.same = _distinct(features.cpu().numpy(), known.numpy())
        self.apart = np.zeros((0, 2), np.int64)
        if apart is not None:
            self.apart = np.unique(np.sort(self.same[apart], axis=1), axis=0)
            self.apart = self.apart[self.apart[:, 0] < self.apart[:, 1]]  # but for those that count as one
        others = max(len(first) - 1, 1)
        chosen = features[torch.from_numpy(first).to(features.device)]
        self.lists = nearest(chosen, known[first], min(most, others), apart=self.apart)

    def clusters(self, listed: int, cuts: Sequence[float]) -> list[Tensor]:
        """Labels as of `cluster`, for each cut."""
        shared = with_strangers(common_neighbours(self.lists, listed, expansion_of(listed)), self.apart)
        return [torch.from_numpy(_numbered(found[self.same])) for found in average_linkage(shared, cuts)]

    def pairs(self, listed: int) -> int:
        """What `clusters` has to compare, see `pairs_to_compare`."""
        return pairs_to_compare(self.lists, listed, expansion_of(listed))


def with_strangers(similarities: csr_array, apart: np.ndarray) -> csr_array:
    """The similarities (N, N), above the diagonal, with -1 at pairs (P, 2) of two people, the lower number first."""
    from scipy.sparse import coo_array

    if not len(apart):
        return similarities
    theirs = coo_array((np.ones(len(apart)), tuple(apart.T)), shape=similarities.shape).tocsr()
    return (similarities - similarities.multiply(theirs) - theirs).tocsr()


def _distinct(features: np.ndarray, cameras: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of different pairs of features and camera, in an order of their own, and which of these each row is."""
    keys = [
        hashlib.blake2b(row.tobytes(), digest_size=16, key=int(camera).to_bytes(8, "little", signed=True)).digest()
        for row, camera in zip(features + 0.0, cameras, strict=True)  # -0 is 0
    ]
    _, first, same = np.unique(np.array(keys), return_index=True, return_inverse=True)
    return first, same


def average_linkage(similarities: csr_array, cuts: Sequence[float]) -> list[np.ndarray]:
    """Labels (N,) of agglomerative clustering by average linkage, for each cut: a mean distance that ends it.

    In each round all pairs of clusters that are each other's nearest are merged. With average linkage this gives the
    same clusters as one merge after the other (Sumengen et al., 2021), and all that is kept are pairs of clusters
    that have anything in common.

    Args:
        similarities: (N, N) sparse, above the diagonal: 1 - distance; what is not there is at a distance of 1.
        cuts: rising, above 0, at most 1; one goes on where the one before ended.
    """
    from scipy.sparse import coo_array, triu

    found: list[np.ndarray] = []
    labels = np.arange(similarities.shape[0])
    sizes = np.ones(len(labels))
    sums = similarities
    while len(found) < len(cuts):
        both = (sums + sums.T).tocsr()  # the same numbers on both sides of the diagonal
        both.sort_indices()
        rows = np.repeat(np.arange(len(sizes)), np.diff(both.indptr))
        closest = _first_of_largest(both.data / (sizes[rows] * sizes[both.indices]), both, 1 - cuts[len(found)])
        joined = np.flatnonzero((closest > np.arange(len(sizes))) & (closest[closest] == np.arange(len(sizes))))
        if not len(joined):
            found.append(labels)
            continue
        root = np.arange(len(sizes))
        root[closest[joined]] = joined
        kept, merged = np.unique(root, return_inverse=True)
        whole = coo_array((sums.data, (merged[sums.tocoo().row], merged[sums.tocoo().col])), shape=(len(kept),) * 2)
        sums = (triu(whole, k=1) + triu(whole.T, k=1)).tocsr()
        sizes = np.bincount(merged, weights=sizes)
        labels = merged[labels]
    return found


def _first_of_largest(scores: np.ndarray, matrix: csr_array, least: float) -> np.ndarray:
    """(N,) the column of the largest score of each row, the first of equal ones; -1 where none is above `least`.

    The first, so that among equal pairs one stands before all others, whichever side it is seen from.
    """
    counts = np.diff(matrix.indptr)
    filled = np.flatnonzero(counts)
    found = np.full(len(counts), -1)
    if len(filled):
        largest = np.maximum.reduceat(scores, matrix.indptr[filled])
        hits = np.flatnonzero((scores == np.repeat(largest, counts[filled])) & (scores > least))
        rows, first = np.unique(np.repeat(filled, counts[filled])[hits], return_index=True)
        found[rows] = matrix.indices[hits[first]]
    return found


def _numbered(labels: np.ndarray) -> np.ndarray:
    """The labels numbered from 0 in the order in which they come first; -1 of those that occur once."""
    _, first, place, counts = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    first = np.where(counts > 1, first, len(labels))
    number = np.where(counts > 1, first.argsort(kind="stable").argsort(kind="stable"), -1)
    return number[place]
