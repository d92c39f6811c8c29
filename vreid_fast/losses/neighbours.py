"""Who is near whom among unlabelled tracklets, camera by camera, and how much of it two tracklets share.

Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017, with a short list for each
camera by itself. Nothing here is N x N: the search goes through blocks, what it finds is sparse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vreid_fast.device import wide

if TYPE_CHECKING:
    from scipy.sparse import csr_array

BLOCK = 4096
"""Tracklets whose similarities to as many others are computed at once: 64 MiB."""
AT_ONCE = 2**22
"""Pairs of entries that are compared at once: some 200 MiB."""


class Lists(NamedTuple):
    """The nearest tracklets of each, for each camera."""

    rows: np.ndarray
    """(N, cameras, k) int64, the nearest first; -1 where a camera has no more."""
    cosines: np.ndarray
    """(N, cameras, k) float32, to them."""


@torch.no_grad()
def nearest(
    features: Tensor, cameras: Tensor | None, k: int, block: int = BLOCK, apart: np.ndarray | None = None
) -> Lists:
    """The k nearest of each camera to each tracklet by cosine, itself left out; the earlier one where two are as near.

    Args:
        features: (N, D), on any device.
        cameras: (N,) int64; None = they are not known, and count as one.
        block: tracklets in a block.
        apart: (P, 2) int64 pairs that are two people: neither is in the other's list. None = none is known.
    """
    count, device = len(features), features.device
    if cameras is None:
        cameras = torch.zeros(count, dtype=torch.int64)
    known, cameras, counts = cameras.cpu().unique(return_inverse=True, return_counts=True)
    places = cameras.argsort(stable=True).to(device)
    sorted_features = F.normalize(wide(features[places]), dim=1)
    cosines = torch.full((count, len(known), k), -torch.inf, device=device)
    rows = torch.full((count, len(known), k), -1, dtype=torch.int64, device=device)
    back = torch.empty_like(places).index_copy_(0, places, torch.arange(count, device=device))
    strangers = back.cpu()[_both_ways(apart)]
    ends = counts.cumsum(0).tolist()
    blocks = [
        (camera, slice(start, min(start + block, end)))
        for camera, (begin, end) in enumerate(zip([0, *ends], ends))
        for start in range(begin, end, block)
    ]

    def keep(at: slice, camera: int, scores: Tensor, start: int) -> None:
        """Take up what a block found for the rows `at`, behind what is as near and came before."""
        found, number = _largest(scores, k)
        found = torch.cat([cosines[at, camera], found], 1)
        number = torch.cat([rows[at, camera], number + start], 1)
        best, which = found.sort(dim=1, descending=True, stable=True)
        cosines[at, camera] = best[:, :k]
        rows[at, camera] = number.gather(1, which[:, :k])

    for first, (camera, here) in enumerate(blocks):
        for other, there in blocks[first:]:
            scores = sorted_features[here] @ sorted_features[there].T
            scores[_within(strangers, here, there)] = -torch.inf
            if here == there:
                scores.fill_diagonal_(-torch.inf)
            else:
                keep(there, camera, scores.T.clone(memory_format=torch.contiguous_format), here.start)
            keep(here, other, scores, there.start)
    rows = torch.where(cosines > -torch.inf, places[rows.clamp_min(0)], -1)
    return Lists(rows[back].cpu().numpy(), cosines[back].cpu().numpy())


def _both_ways(pairs: np.ndarray | None) -> Tensor:
    """(P, 2) -> (2 P, 2) int64: each pair and the same turned round."""
    found = torch.from_numpy(np.zeros((0, 2), np.int64) if pairs is None else pairs)
    return torch.cat([found, found.flip(1)])


def _within(pairs: Tensor, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
    """Those of the pairs (P, 2) that lie in a block, as places in it."""
    starts, ends = torch.tensor([rows.start, columns.start]), torch.tensor([rows.stop, columns.stop])
    one, other = (pairs[((pairs >= starts) & (pairs < ends)).all(1)] - starts).unbind(1)
    return one, other


def _largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(n, k) the k largest of each row and where they are, the first of equal ones first, as `max` has them and `topk`
    does not; `scores` is spoiled."""
    found = []
    for _ in range(min(k, scores.shape[1])):
        value, place = scores.max(1, keepdim=True)
        scores.scatter_(1, place, -torch.inf)
        found.append((value, place))
    values, places = zip(*found, strict=True)
    return torch.cat(values, 1), torch.cat(places, 1)


def mutual(lists: Lists, k: int) -> csr_array:
    """(N, N) sparse: exp(-|f - g|^2) of tracklets that stand in each other's first k; 1 of a tracklet and itself."""
    from scipy.sparse import coo_array, eye_array

    count = len(lists.rows)
    columns, cosines = (part[:, :, :k].reshape(count, -1) for part in lists)
    rows = np.repeat(np.arange(count), columns.shape[1])
    there = columns.ravel() >= 0
    weights = np.exp(2 * cosines.ravel()[there].astype(np.float64) - 2)
    listed = coo_array((weights, (rows[there], columns.ravel()[there])), shape=(count, count)).tocsr()
    both = listed.multiply((listed > 0).T)
    return (both + eye_array(count, format="csr")).tocsr()


def common_neighbours(lists: Lists, k: int, expansion: int) -> csr_array:
    """(N, N) sparse, above the diagonal: 1 - the Jaccard distance of tracklets that share a neighbour.

    A tracklet is described by its mutual neighbours in lists of k, as parts that sum to 1; with an expansion above 0,
    by the mean over itself and its mutual neighbours in lists of that size.
    """
    shared = _least_of_both(_described(lists, k, expansion))
    shared.data /= 2 - shared.data
    return shared


def pairs_to_compare(lists: Lists, k: int, expansion: int) -> int:
    """How many times `common_neighbours` finds a neighbour that two tracklets share: its time, and what it returns at
    most."""
    counts = np.bincount(_described(lists, k, expansion).indices).astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def _described(lists: Lists, k: int, expansion: int) -> csr_array:
    """(N, N) sparse: the parts that describe each tracklet."""
    weights = _rows_to_one(mutual(lists, k))
    if expansion:
        near = mutual(lists, expansion)
        near.data[:] = 1
        weights = (_rows_to_one(near) @ weights).tocsr()
    return weights


def _rows_to_one(matrix: csr_array) -> csr_array:
    matrix.data /= np.repeat(matrix.sum(axis=1), np.diff(matrix.indptr))
    return matrix


def _least_of_both(weights: csr_array) -> csr_array:
    """(N, N) sparse: of rows i < j the sum over columns of the smaller of their two entries, where there is any."""
    from scipy.sparse import coo_array, vstack

    count = len(weights.indptr) - 1
    by_column = weights.tocsc()
    starts = by_column.indptr.astype(np.int64)
    sharing = np.diff(starts)[weights.indices]  # of each entry: rows that have that column too
    row = np.repeat(np.arange(count), np.diff(weights.indptr))
    pairs = np.concatenate([[0], np.cumsum(sharing)])[weights.indptr]  # up to each row
    parts, first = [], 0
    while first < count:
        last = max(first + 1, int(np.searchsorted(pairs, pairs[first] + AT_ONCE, side="right")) - 1)
        entries = slice(weights.indptr[first], weights.indptr[last])
        many = sharing[entries]
        begun = np.repeat(starts[weights.indices[entries]] - np.cumsum(many) + many, many)
        places = begun + np.arange(many.sum())
        one, other = np.repeat(row[entries], many), by_column.indices[places]
        least = np.minimum(np.repeat(weights.data[entries], many), by_column.data[places])
        above = other > one
        found = coo_array((least[above], (one[above] - first, other[above])), shape=(last - first, count))
        parts.append(found.tocsr())
        first = last
    return vstack(parts, format="csr")
