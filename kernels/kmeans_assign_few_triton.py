"""Triton kernel of kmeans_assign for few clusters: labels and distances in one launch.

All clusters fit one tile, so a program knows the labels of its samples when it has read them, and takes their
distances while the samples are still in the cache.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .card import multiprocessors
from .dot_triton import operand_type, precision
from .kmeans_distances_triton import squared_distances
from .least_triton import least
from .sizes import cdiv, next_power_of_2

FEW = 128
"""Clusters of a tile."""


@triton.jit
def kmeans_assign_few_kernel(
    x, centroids, labels, distances, samples, clusters, width,
    SPLIT: tl.constexpr, TYPE: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One program labels BLOCK_N samples of one problem by the least |c|^2 - 2 x.c, and takes their squared distances,
    if `distances` are wanted.

    BLOCK_K >= clusters. SPLIT: the centroids are taken as two numbers of TYPE, which hold what one rounds off.
    """
    tiles = tl.cdiv(samples, BLOCK_N)
    problem = (tl.program_id(0) // tiles).to(tl.int64)
    sample = (tl.program_id(0) % tiles) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = sample < samples
    row = x + (problem * samples + sample)[:, None] * width
    cluster = tl.arange(0, BLOCK_K)
    known = cluster < clusters
    centroids += problem * clusters * width
    inner = tl.zeros([BLOCK_N, BLOCK_K], tl.float32)
    squares = tl.zeros([BLOCK_D, BLOCK_K], tl.float32)
    for start in range(0, width, BLOCK_D):
        at = start + tl.arange(0, BLOCK_D)
        a = tl.load(row + at[None, :], mask=inside[:, None] & (at < width)[None, :], other=0.0).to(TYPE)
        column = centroids + cluster[None, :] * width + at[:, None]
        c = tl.load(column, mask=(at < width)[:, None] & known[None, :], other=0.0)
        exact = c.to(tl.float32)
        squares += exact * exact
        b = c.to(TYPE)
        inner = tl.dot(a, b, inner, input_precision=PRECISION)
        if SPLIT:
            inner = tl.dot(a, (exact - b.to(tl.float32)).to(TYPE), inner, input_precision=PRECISION)
    score = tl.sum(squares, axis=0)[None, :] - 2 * inner
    # NaN is never the least: such centroids are nobody's nearest, and such samples have label 0.
    _, label = least(tl.where(known[None, :], score, float("inf")), 1)
    at = problem * samples + sample
    tl.store(labels + at, label.to(tl.int64), mask=inside)
    if distances is not None:
        chosen = centroids + label[:, None] * width
        tl.store(distances + at, squared_distances(row, chosen, inside, width, BLOCK_N, BLOCK_D), mask=inside)


def assign_few(x, centroids, distances: bool) -> tuple[Tensor, Tensor]:
    """Labels int64 and squared distances (B, N), or (B, 0), of x (B, N, D) and at most FEW centroids (B, K, D)."""
    (problems, samples, width), clusters = x.shape, centroids.shape[1]
    labels = torch.empty(problems, samples, dtype=torch.int64, device=x.device)
    squares = torch.empty(problems, samples if distances else 0, dtype=torch.float32, device=x.device)
    if labels.numel():
        block = 64 if problems * cdiv(samples, 64) >= multiprocessors(x.device) else 32
        split = x.dtype != torch.float32 and centroids.dtype != x.dtype
        block_d = 64 if x.dtype == centroids.dtype != torch.float32 else 32
        if width % 16:
            block_d //= 2  # rows that are not aligned pass through the registers on their way to shared memory
        kmeans_assign_few_kernel[(problems * cdiv(samples, block),)](
            x, centroids, labels, squares if distances else None, samples, clusters, width,
            SPLIT=split, TYPE=operand_type(x), PRECISION=precision(),
            BLOCK_N=block, BLOCK_K=max(16, next_power_of_2(clusters)), BLOCK_D=block_d,
            num_warps=8, num_stages=3 if x.dtype == torch.float32 else 4, maxnreg=255,
        )  # fmt: skip
    return labels, squares
