"""k-reciprocal re-ranking (Zhong et al., CVPR 2017) without a matrix of everything against everything."""

import numpy as np
import torch

from .distance import as_pair

_BLOCK = 1024  # rows of distances held at once: 400 MB for 100,000 features


def rerank(query_features, gallery_features, k1: int = 20, k2: int = 6, share: float = 0.3) -> torch.Tensor:
    """Distances of queries to the gallery by the neighbours that they have in common.

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
    if k1 < 1 or k2 < 1 or not 0 <= share <= 1:
        raise ValueError(f"rerank: k1 and k2 must be at least 1 and share in 0..1, got {k1}, {k2} and {share}")
    query, gallery = as_pair("rerank", query_features, gallery_features)
    if not len(query) or not len(gallery):
        return torch.zeros(len(query), len(gallery))
    features = torch.cat([query, gallery])
    near, largest = _neighbours(features, max(k1 + 1, k2))
    rows = _averaged(_weights(features, near, largest, k1), near[:, :k2])
    jaccard = _jaccard(rows, len(query))
    for start in range(0, len(query), _BLOCK):
        plain = _relative(features, slice(start, min(start + _BLOCK, len(query))))[:, len(query) :]
        block = jaccard[start : start + _BLOCK]
        block *= 1 - share
        block += share * plain.cpu().numpy()
    return torch.from_numpy(jaccard)


def _squared(features: torch.Tensor, rows: slice) -> torch.Tensor:
    return torch.cdist(features[rows], features, compute_mode="donot_use_mm_for_euclid_dist").square_()


def _relative(features: torch.Tensor, rows: slice) -> torch.Tensor:
    """Squared distances over the largest of their row, as the definition has them."""
    squared = _squared(features, rows)
    return (squared / squared.amax(1, keepdim=True).clamp_min(torch.finfo(squared.dtype).tiny)).float()


def _neighbours(features: torch.Tensor, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, count) nearest rows of every row, itself among them, and (N,) largest squared distances."""
    count, near, largest = min(count, len(features)), [], []
    for start in range(0, len(features), _BLOCK):
        squared = _squared(features, slice(start, start + _BLOCK))
        near.append(squared.topk(count, largest=False).indices.cpu().numpy())
        largest.append(squared.amax(1).cpu().numpy())
    return np.concatenate(near), np.concatenate(largest)


def _weights(features, near, largest, k1: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Columns and weights of each row: its mutual neighbours, and theirs where most of those are mutual too."""
    mutual = [_mutual(near[:, : k1 + 1], row) for row in range(len(near))]
    close = [_mutual(near[:, : round(k1 / 2) + 1], row) for row in range(len(near))]
    rows = []
    for row, own in enumerate(mutual):
        more = [close[other] for other in own if np.isin(close[other], own).sum() > 2 / 3 * len(close[other])]
        columns = np.unique(np.concatenate([own, *more]))
        picked = features[torch.from_numpy(columns).to(features.device)]
        squared = (picked - features[row]).square().sum(1).cpu().numpy()
        weights = np.exp(-squared / max(largest[row], np.finfo(squared.dtype).tiny))
        rows.append((columns, weights / weights.sum()))
    return rows


def _mutual(near: np.ndarray, row: int) -> np.ndarray:
    return near[row][(near[near[row]] == row).any(1)]


def _averaged(rows: list, near: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    averaged = []
    for others in near:
        columns, places = np.unique(np.concatenate([rows[other][0] for other in others]), return_inverse=True)
        weights = np.bincount(places, np.concatenate([rows[other][1] for other in others]))
        averaged.append((columns, weights / len(others)))
    return averaged


def _jaccard(rows: list, queries: int) -> np.ndarray:
    """(Q, G) Jaccard distances: only what shares a column with a query is looked at."""
    columns = np.concatenate([row[0] for row in rows[queries:]])
    owners = np.repeat(np.arange(len(rows) - queries), [len(row[0]) for row in rows[queries:]])
    weights = np.concatenate([row[1] for row in rows[queries:]])
    order = np.argsort(columns, kind="stable")
    owners, weights = owners[order], weights[order]
    begins = np.searchsorted(columns[order], np.arange(len(rows) + 1))
    result = np.empty((queries, len(rows) - queries), np.float32)
    for query, (own, own_weights) in enumerate(rows[:queries]):
        shared = np.zeros(len(rows) - queries)
        for column, weight in zip(own, own_weights, strict=True):
            which = slice(begins[column], begins[column + 1])
            shared[owners[which]] += np.minimum(weight, weights[which])
        result[query] = 1 - shared / (2 - shared)
    return result
