"""Triton kernels that follow kmeans_assign_kernel: of its parts the nearest centroid, and the distance to it."""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from .sizes import cdiv, next_power_of_2


class Ranked(NamedTuple):
    """The least of each part of the clusters, of parts (T, P, N) in the order of the clusters."""

    scores: Tensor
    """float32: the squared distance, less what is the same for all clusters."""
    nearest: Tensor
    """int32: whose it is; 0 where nothing is less than infinity."""


@triton.jit
def squared_distances(row, other, inside, width, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr):
    """(BLOCK_N,) between rows, both by pointers (BLOCK_N, 1): of differences, so that they are accurate near zero."""
    total = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    for start in range(0, width, BLOCK_D):
        feature = start + tl.arange(0, BLOCK_D)[None, :]
        mask = inside[:, None] & (feature < width)
        difference = tl.load(row + feature, mask=mask, other=0.0).to(tl.float32)
        difference -= tl.load(other + feature, mask=mask, other=0.0).to(tl.float32)
        total += difference * difference
    return tl.sum(total, axis=1)


@triton.jit
def least_of_parts(scores, nearest, parts, stride, at, inside, BLOCK_N: tl.constexpr):
    """Score and label of samples `at`: of equals the first part's, whose clusters come first."""
    best = tl.full([BLOCK_N], float("inf"), tl.float32)
    label = tl.zeros([BLOCK_N], tl.int32)
    for _ in range(parts):
        score = tl.load(scores + at, mask=inside, other=float("inf"))
        index = tl.load(nearest + at, mask=inside, other=0)
        label = tl.where(score < best, index, label)
        best = tl.where(score < best, score, best)
        at += stride
    return best, label


@triton.jit
def kmeans_distances_kernel(
    x, centroids, scores, nearest, labels, distances, parts, stride, samples, clusters, width, restarts,
    BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One program takes the squared distances of BLOCK_N samples to the centroids that `labels` names.

    With scores and nearest the labels are found first, see least_of_parts; without `distances` that is all.
    """
    tiles = tl.cdiv(samples, BLOCK_N)
    problem = (tl.program_id(0) // tiles).to(tl.int64)
    sample = (tl.program_id(0) % tiles) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = sample < samples
    at = problem * samples + sample
    if scores is not None:
        _, label = least_of_parts(scores, nearest, parts, stride, at, inside, BLOCK_N)
        label = label.to(tl.int64)
        tl.store(labels + at, label, mask=inside)
    else:
        label = tl.load(labels + at, mask=inside, other=0)
    if distances is not None:
        row = x + ((problem // restarts) * samples + sample)[:, None] * width
        chosen = centroids + (problem * clusters + label)[:, None] * width
        tl.store(distances + at, squared_distances(row, chosen, inside, width, BLOCK_N, BLOCK_D), mask=inside)


@triton.jit
def kmeans_relabel_kernel(
    scores, nearest, norms, labels, distances, running, moved, parts, stride, samples, restarts,
    BLOCK_N: tl.constexpr,
):  # fmt: skip
    """One program gives BLOCK_N samples of one problem the labels (P, N) of the least part, and their distances.

    The distances are the scores plus norms (B, N). Problems whose flag `running` is 0 are left as they are; `moved`
    becomes 1 where a label changes.
    """
    tiles = tl.cdiv(samples, BLOCK_N)
    problem = (tl.program_id(0) // tiles).to(tl.int64)
    if tl.load(running + problem) == 0:
        return
    sample = (tl.program_id(0) % tiles) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = sample < samples
    at = problem * samples + sample
    best, label = least_of_parts(scores, nearest, parts, stride, at, inside, BLOCK_N)
    before = tl.load(labels + at, mask=inside, other=0)
    if tl.sum(((before != label) & inside).to(tl.int32)) > 0:
        tl.store(moved + problem, 1)
    norm = tl.load(norms + (problem // restarts) * samples + sample, mask=inside, other=0.0)
    distance = tl.maximum(norm + best, 0.0, propagate_nan=tl.PropagateNan.ALL)
    tl.store(distances + at, distance, mask=inside)
    tl.store(labels + at, label.to(tl.int64), mask=inside)


def distances_to(x, centroids, labels) -> Tensor:
    """Squared distances (P, N) float32 of x (B, N, D) to their centroids (P, K, D) by labels (P, N)."""
    return _distances(x, centroids, None, labels, True)


def nearest_of(x, centroids, ranked: Ranked, distances: bool) -> tuple[Tensor, Tensor]:
    """Labels (P, N) int64 and squared distances (P, N) float32, or (P, 0), of x (B, N, D) to centroids (P, K, D)."""
    labels = torch.empty(len(centroids), x.shape[1], dtype=torch.int64, device=x.device)
    return labels, _distances(x, centroids, ranked, labels, distances)


def _distances(x, centroids, ranked: Ranked | None, labels, wanted: bool) -> Tensor:
    (shared, samples, width), (problems, clusters, _) = x.shape, centroids.shape
    distances = torch.empty(problems, samples if wanted else 0, dtype=torch.float32, device=x.device)
    if labels.numel():
        scores, nearest = ranked or (None, None)
        block = 8 if wanted else 128
        kmeans_distances_kernel[(problems * cdiv(samples, block),)](
            x, centroids, scores, nearest, labels, distances if wanted else None,
            0 if scores is None else len(scores), labels.numel(), samples, clusters, width, problems // shared,
            BLOCK_N=block, BLOCK_D=256, maxnreg=128,
        )  # fmt: skip
    return distances


def relabel(ranked: Ranked, norms, labels, distances, running, moved) -> None:
    """`labels` and `distances` (P, N) become those of the nearest centroids, see kmeans_relabel_kernel.

    norms: (B, N) float32, squared distances of the samples to the `middle` that the scores were taken about.
    running, moved: (P,) int32 flags.
    """
    problems, samples = labels.shape
    if labels.numel():
        block = min(256, next_power_of_2(samples))
        kmeans_relabel_kernel[(problems * cdiv(samples, block),)](
            *ranked, norms, labels, distances, running, moved, len(ranked.scores), labels.numel(),
            samples, problems // len(norms), BLOCK_N=block,
        )  # fmt: skip
