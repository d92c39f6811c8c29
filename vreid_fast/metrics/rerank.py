"""k-reciprocal re-ranking (Zhong et al., CVPR 2017) without a matrix of everything against everything."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .distance import as_features, as_pair, full_precision, inner_products

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SAFE = 1e12
"""Numbers up to it, and down to its inverse, can be squared and added up in float32."""
_BLOCK = 2048  # rows whose distances to as many others are held at once: 16 MB, and its transpose


class _Distances(NamedTuple):
    near: np.ndarray
    """(N, k) int64 rows at the smallest distances of each row, itself first."""
    largest: np.ndarray
    """(N,) largest squared distance of each."""
    plain: np.ndarray
    """(Q, G) float32 squared distances of the queries to the gallery."""


@torch.no_grad()
def rerank(query_features, gallery_features, k1: int = 20, k2: int = 6, share: float = 0.3) -> Tensor:
    """Distances of queries to the gallery by the neighbours that they have in common.

    Beyond the result it takes a copy of the features and what grows with N = Q + G, times some hundred bytes.

    Args:
        query_features: (Q, D) tensor or array of any float type, compared by squared Euclidean distance as they are.
        gallery_features: (G, D), likewise.
        k1: neighbours that must be mutual to count.
        k2: neighbours over which the weights are averaged; 1 averages nothing.
        share: of the plain distance in the result, 0 to 1; the paper's lambda.

    Returns:
        (Q, G) float32 on the CPU, in [0, 1]: no distances of the features, only good for ranking.

    Raises:
        ValueError: features that are not two finite float matrices of one width, or a k or share out of range.
    """
    _check_knobs("rerank", k1, k2, share)
    query, gallery = as_pair("rerank", query_features, gallery_features)
    if not len(query) or not len(gallery):
        return torch.zeros(len(query), len(gallery))
    with full_precision(query.device.type):
        return _reranked(_OfFeatures(torch.cat([query, gallery])), len(query), k1, k2, share)


@torch.no_grad()
def rerank_distances(
    query_gallery, query_query, gallery_gallery, k1: int = 20, k2: int = 6, share: float = 0.3
) -> Tensor:
    """As `rerank`, of what has no features to compute distances of, as networks that score pairs.

    Args:
        query_gallery: (Q, G) tensor or array of distances, 0 or more; of features it would be squared ones.
        query_query, gallery_gallery: (Q, Q) and (G, G), the same both ways; their diagonals are not read.
        k1, k2, share: as of `rerank`.

    Returns:
        (Q, G) float32 on the CPU, in [0, 1].

    Raises:
        ValueError: matrices that do not fit each other, or are not finite or below 0; a k or share out of range.
    """
    _check_knobs("rerank_distances", k1, k2, share)
    given = {"query_gallery": query_gallery, "query_query": query_query, "gallery_gallery": gallery_gallery}
    between, own, others = (as_features("rerank_distances", name, values) for name, values in given.items())
    queries, items = between.shape
    for name, found, size in (("query_query", own, queries), ("gallery_gallery", others, items)):
        if found.shape != (size, size):
            raise ValueError(
                f"rerank_distances: {name} must be {(size, size)}, got {tuple(found.shape)}; query_gallery is "
                f"{(queries, items)}"
            )
    if not queries or not items:
        return torch.zeros(queries, items)
    whole = torch.cat([torch.cat([own, between], 1), torch.cat([between.T, others], 1)]).fill_diagonal_(0)
    if whole.min() < 0:
        raise ValueError(f"rerank_distances: distances must be 0 or more, got {float(whole.min()):.3g}; add to them")
    return _reranked(_OfDistances(whole), queries, k1, k2, share)


def _check_knobs(function: str, k1: int, k2: int, share: float) -> None:
    if k1 < 1 or k2 < 1 or not 0 <= share <= 1:
        raise ValueError(f"{function}: k1 and k2 must be at least 1 and share in 0..1, got {k1}, {k2} and {share}")


class _OfFeatures:
    """Squared distances of N rows of features."""

    def __init__(self, features: Tensor):
        largest = features.abs().max()
        if largest > 0 and not 1 / SAFE < largest < SAFE:  # squares would be beyond the dtype; only their ratios count
            features.div_(largest)
        self.features = features.sub_(features.mean(0))  # distances stay, and their products lose fewer digits
        self.squares = self.features.square().sum(1)

    def __len__(self) -> int:
        return len(self.features)

    def block(self, rows: slice, columns: slice) -> Tensor:
        products = inner_products(self.features[rows], self.features[columns]).mul_(-2)
        return products.add_(self.squares[rows, None]).add_(self.squares[columns]).clamp_(min=0)

    def at(self, rows: np.ndarray, pattern: csr_array) -> np.ndarray:
        """Those at the entries of a sparse pattern, whose rows are `rows`."""
        begins, columns = (torch.from_numpy(part.astype(np.int64)) for part in (pattern.indptr, pattern.indices))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse", UserWarning)  # said to be young, in each process once
            places = torch.sparse_csr_tensor(begins, columns, torch.zeros(len(columns)), pattern.shape)
            places = places.to(self.features.device, self.features.dtype)
            products = torch.sparse.sampled_addmm(places, self.features, self.features.T, beta=0).values().cpu().numpy()
        squares = self.squares.cpu().numpy()
        return np.maximum(squares[rows] + squares[pattern.indices] - 2 * products, 0)


class _OfDistances:
    """Distances (N, N) that are there."""

    def __init__(self, distances: Tensor):
        self.distances = distances

    def __len__(self) -> int:
        return len(self.distances)

    def block(self, rows: slice, columns: slice) -> Tensor:
        return self.distances[rows, columns].clone()

    def at(self, rows: np.ndarray, pattern: csr_array) -> np.ndarray:
        return self.distances[torch.from_numpy(rows), torch.from_numpy(pattern.indices.astype(np.int64))].cpu().numpy()


def _reranked(known: _OfFeatures | _OfDistances, queries: int, k1: int, k2: int, share: float) -> Tensor:
    near, largest, plain = _distances(known, queries, max(k1 + 1, k2))
    weights = _weights(known, _expanded(near, k1), largest)
    weights = _pattern(near[:, :k2]) @ weights
    weights.data /= min(k2, near.shape[1])
    plain *= (share / largest[:queries, None]).astype(np.float32)
    _add_jaccard(plain, weights[:queries], weights[queries:], 1 - share)
    return torch.from_numpy(plain)


def _distances(known: _OfFeatures | _OfDistances, queries: int, count: int) -> _Distances:
    """Block by block; each serves its rows and, turned over, its columns."""
    total = len(known)
    count = min(count, total)
    some = known.block(slice(0, 1), slice(0, 1))
    least = some.new_full((total, count), torch.inf)
    near = torch.zeros(total, count, dtype=torch.int64, device=some.device)
    largest = some.new_zeros(total)
    plain = np.empty((queries, total - queries), np.float32)

    def keep(rows: slice, block: Tensor, first: int) -> None:
        found, columns = block.topk(min(count, block.shape[1]), largest=False)
        found, columns = torch.cat([least[rows], found], 1), torch.cat([near[rows], columns + first], 1)
        least[rows], places = found.topk(count, largest=False)
        near[rows] = columns.gather(1, places)
        torch.maximum(largest[rows], block.amax(1), out=largest[rows])

    blocks = [slice(start, min(start + _BLOCK, total)) for start in range(0, total, _BLOCK)]
    for number, rows in enumerate(blocks):
        for columns in blocks[number:]:
            block = known.block(rows, columns)
            asked, others = max(queries - rows.start, 0), max(queries, columns.start)
            if asked and others < columns.stop:
                part = block[:asked, others - columns.start :].cpu().numpy()
                plain[rows.start : rows.stop][:asked, others - queries : columns.stop - queries] = part
            if rows == columns:
                block.fill_diagonal_(-1)  # each is the first of its own neighbours, whatever equals it
            else:
                keep(columns, block.T.contiguous(), rows.start)
            keep(rows, block, columns.start)
    tiny = torch.finfo(largest.dtype).tiny  # all are equal
    return _Distances(near.cpu().numpy(), largest.clamp_(min=tiny).cpu().numpy(), plain)


def _pattern(near: np.ndarray) -> csr_array:
    """(N, N) ones where a row names a column."""
    from scipy.sparse import csr_array

    count, width = near.shape
    begins = np.arange(0, count * width + 1, width)
    matrix = csr_array((np.ones(near.size), near.flatten(), begins), (count, count))
    matrix.sort_indices()
    return matrix


def _expanded(near: np.ndarray, k1: int) -> csr_array:
    """(N, N) above 0 at mutual neighbours of each row, and at theirs where most of those are its own too."""

    def mutual(k: int) -> csr_array:
        chosen = _pattern(near[:, : k + 1])
        return chosen.multiply(chosen.T).tocsr()

    own, close = mutual(k1), mutual(round(k1 / 2))
    shared = (own @ close.T).multiply(own).tocoo()  # at the neighbours themselves: all but those of none are there
    most = shared.data > 2 / 3 * close.sum(1)[shared.col]
    shared.data = most.astype(np.float64)
    shared.eliminate_zeros()
    return own + shared.tocsr() @ close


def _weights(known: _OfFeatures | _OfDistances, chosen: csr_array, largest: np.ndarray) -> csr_array:
    """(N, N) weights of the columns chosen for each row, by their distances; a row's sum is 1."""
    chosen.sort_indices()
    rows = np.repeat(np.arange(len(largest)), np.diff(chosen.indptr))
    squared = known.at(rows, chosen)
    squared[rows == chosen.indices] = 0
    chosen.data = np.exp(-squared / largest[rows]).astype(np.float64)
    chosen.data /= chosen.sum(1)[rows]
    return chosen


def _add_jaccard(result: np.ndarray, query: csr_array, gallery: csr_array, share: float) -> None:
    """Add `share` of the Jaccard distances (Q, G): only what shares a column with a query is looked at."""
    gallery = gallery.tocsc()
    for row, (begin, end) in enumerate(zip(query.indptr, query.indptr[1:], strict=False)):
        found = gallery[:, query.indices[begin:end]]
        least = np.minimum(found.data, np.repeat(query.data[begin:end], np.diff(found.indptr)))
        shared = np.bincount(found.indices, least, len(result[row]))
        result[row] += share * (1 - shared / (2 - shared))
