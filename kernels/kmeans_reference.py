"""K-means in plain torch, all problems and restarts at once: the definition of the op `kmeans`.

k-means sees the samples only through inner products. With fewer samples than features they are computed
once (the Gram matrix) and every iteration works on N x N numbers; otherwise on the samples themselves.
Shapes: B problems, R restarts, N samples, K clusters, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .counter_random import random_bits, uniform


def kmeans_reference(
    x: Tensor, clusters: int, restarts: int, iterations: int, init: Tensor | None, seed: Tensor, candidates: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """labels (B, N), centroids (B, K, D), inertia (B,), counts (B, K) of x (B, N, D) and init (B, K, D) or None."""
    accumulate = torch.promote_types(x.dtype, torch.float32)
    x = x.to(accumulate)
    middle = middle_of(x)
    products = _Products(x - middle)
    if init is None:
        labels, distances = _seed(products, clusters, restarts, seed, candidates)
    else:
        labels, distances = _nearest(products.samples, init.to(accumulate) - middle)
    members = labels
    active = torch.ones(labels.shape[:2] + (1,), dtype=torch.bool, device=x.device)
    for _ in range(iterations):
        members = torch.where(active, _fill_empty(labels, distances, clusters), members)
        before, (labels, distances) = labels, products.nearest(members, clusters)
        active = (labels != before).any(-1, keepdim=True)
        if not active.any():
            break
    best = distances.sum(-1).argmin(-1)[:, None, None].expand(-1, 1, x.shape[1])
    labels, members = labels.gather(1, best)[:, 0], members.gather(1, best)[:, 0]
    membership = _one_hot(members, clusters, accumulate)
    centroids = membership.mT @ x / membership.sum(1)[..., None]
    own = centroids.gather(1, labels[..., None].expand_as(x))
    counts = torch.zeros(centroids.shape[:2], dtype=torch.int64, device=x.device)
    counts.scatter_add_(1, labels, torch.ones_like(labels))
    return labels, centroids, (x - own).square().sum((1, 2)), counts


def middle_of(x: Tensor) -> Tensor:
    """(B, 1, D) in float32 or better: a point among the samples (B, N, D), to be taken from them.

    Distances do not see a shift; without it they would be small differences of large numbers. It is the median of
    a few samples, since one far outlier would move a mean away from all others.
    """
    few = x[:, :: max(1, x.shape[1] // 8)].to(torch.promote_types(x.dtype, torch.float32))
    # Not torch.median, which is not deterministic on a GPU.
    return few.sort(1).values[:, (few.shape[1] - 1) // 2, None].contiguous()


class _Products:
    """Distances of the samples (B, N, D) to each other and to means of them."""

    def __init__(self, samples: Tensor):
        self.samples = samples
        self.gram = samples @ samples.mT if samples.shape[1] <= samples.shape[2] else None
        if self.gram is None:
            self.squares = samples.square().sum(-1)
        else:
            self.squares = self.gram.diagonal(dim1=1, dim2=2)

    def to_samples(self, picked: Tensor) -> Tensor:
        """Squared distances (B, R, N) of all samples to the samples `picked` (B, R)."""
        if self.gram is None:
            rows = self.samples.gather(1, picked[..., None].expand(-1, -1, self.samples.shape[2]))
            inner = rows @ self.samples.mT
        else:
            inner = self.gram.gather(1, picked[..., None].expand(-1, -1, self.gram.shape[2]))
        squares = self.squares[:, None] + self.squares.gather(1, picked)[..., None]
        return (squares - 2 * inner).clamp(min=0)

    def nearest(self, members: Tensor, clusters: int) -> tuple[Tensor, Tensor]:
        """Labels and squared distances (B, R, N) to the nearest mean of the members (B, R, N)."""
        problems, restarts, samples = members.shape
        membership = _one_hot(members, clusters, self.samples.dtype).permute(0, 2, 1, 3)
        weights = membership / membership.sum(1, keepdim=True)
        weights = weights.reshape(problems, samples, restarts * clusters)
        if self.gram is None:
            means = weights.mT @ self.samples
            inner = self.samples @ means.mT
            squares = means.square().sum(-1)
        else:
            inner = self.gram @ weights
            squares = (weights * inner).sum(1)
        scores = torch.sub(squares[:, None], inner, alpha=2).view(problems, samples, restarts, clusters)
        score, label = scores.min(-1)
        return label.mT, (score + self.squares[..., None]).clamp(min=0).mT


def _seed(products: _Products, clusters: int, restarts: int, seed: Tensor, candidates: int) -> tuple[Tensor, Tensor]:
    """Greedy k-means++: labels and squared distances (B, R, N) of the samples to K of them.

    For each centroid some `candidates` are drawn with probability proportional to the squared distance to the
    nearest centroid so far (the first sample whose cumulated distance exceeds a uniform share of the
    total); the one that leaves the least sum of distances is taken.
    """
    problems, samples = products.squares.shape
    run = torch.arange(problems * restarts, device=seed.device).view(problems, restarts, 1)
    drawn = uniform(seed, run, torch.arange(clusters * candidates, device=seed.device))
    drawn = drawn.view(problems, restarts, clusters, candidates)
    picked = (random_bits(seed, run, torch.zeros_like(run)) * samples) >> 32
    distances = products.to_samples(picked[..., 0])
    labels = torch.zeros_like(distances, dtype=torch.int64)
    for cluster in range(1, clusters):
        cumulated = distances.cumsum(-1)
        shares = drawn[:, :, cluster] * cumulated[..., -1:]
        picked = torch.searchsorted(cumulated, shares, right=True).clamp(max=samples - 1)
        left = products.to_samples(picked.flatten(1)).view(*picked.shape, samples)
        left = torch.minimum(left, distances[:, :, None])
        best = left.sum(-1).argmin(-1)[..., None, None].expand(-1, -1, 1, samples)
        nearer = left.gather(2, best)[:, :, 0]
        labels = torch.where(nearer < distances, cluster, labels)
        distances = nearer
    return labels, distances


def _nearest(samples: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Labels and squared distances (B, 1, N) of samples (B, N, D) to given centroids (B, K, D)."""
    scores = centroids.square().sum(-1)[:, None] - 2 * samples @ centroids.mT
    score, label = scores.min(-1)
    distances = (score + samples.square().sum(-1)).clamp(min=0)
    return label[:, None], distances[:, None]


def _fill_empty(labels: Tensor, distances: Tensor, clusters: int) -> Tensor:
    """Labels (B, R, N) of which the farthest samples were moved, one each, into the empty clusters."""
    counts = labels.new_zeros(*labels.shape[:-1], clusters).scatter_add_(-1, labels, torch.ones_like(labels))
    empty = counts == 0
    if not empty.any():
        return labels
    order = distances.argsort(dim=-1, descending=True, stable=True)
    ordered = labels.gather(-1, order)
    # The nearest sample of each cluster stays: the last of the cluster in this order.
    place = torch.arange(labels.shape[-1], device=labels.device).expand_as(labels)
    last = torch.zeros_like(counts).scatter_reduce_(-1, ordered, place, "amax")
    movable = place != last.gather(-1, ordered)
    turn = movable.cumsum(-1) - 1
    targets = empty.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
    target = targets.gather(-1, turn.clamp(0, clusters - 1))
    moves = movable & (turn < empty.sum(-1, keepdim=True))
    return labels.scatter(-1, order, torch.where(moves, target, ordered))


def _one_hot(labels: Tensor, clusters: int, dtype: torch.dtype) -> Tensor:
    """(..., N) labels -> (..., N, K)."""
    return (labels[..., None] == torch.arange(clusters, device=labels.device)).to(dtype)
