"""Means of the members of each cluster, without atomics: each cluster's samples are read in a run."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .sizes import cdiv


@triton.jit
def kmeans_means_kernel(
    x, order, starts, running, centroids, samples, clusters, width, restarts,
    BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One program averages BLOCK_D features of one cluster of one problem.

    order (P, N): the samples sorted by cluster; starts (P, K + 1): where each cluster begins in it.
    """
    slabs = tl.cdiv(width, BLOCK_D)
    row = (tl.program_id(0) // slabs).to(tl.int64)
    problem = row // clusters
    if running is not None:  # noqa: SIM102, it is looked at first and alone
        if tl.load(running + problem) == 0:
            return
    start = tl.load(starts + row + problem)
    stop = tl.load(starts + row + problem + 1)
    feature = (tl.program_id(0) % slabs) * BLOCK_D + tl.arange(0, BLOCK_D)
    x += (problem // restarts) * samples * width
    total = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    for first in range(start, stop, BLOCK_N):
        at = first + tl.arange(0, BLOCK_N)
        sample = tl.load(order + problem * samples + at, mask=at < stop, other=0)
        mask = (at < stop)[:, None] & (feature < width)[None, :]
        total += tl.load(x + sample[:, None] * width + feature[None, :], mask=mask, other=0.0).to(tl.float32)
    mean = tl.sum(total, axis=0) / tl.maximum(stop - start, 1).to(tl.float32)
    tl.store(centroids + row * width + feature, mean, mask=feature < width)


def means(x, members, clusters, centroids=None, running=None) -> Tensor:
    """(P, K, D) float32 means of the samples x (B, N, D) by members (P, N), P a multiple of B.

    With flags `running` (P,) int32, the rows of `centroids` whose flag is 0 are left as they are.
    """
    (shared, samples, width), problems = x.shape, len(members)
    if centroids is None:
        centroids = x.new_empty((problems, clusters, width), dtype=torch.float32)
    if not problems:
        return centroids
    ordered, order = members.sort(dim=1, stable=True)
    bounds = torch.arange(clusters + 1, device=x.device).repeat(problems, 1)
    starts = torch.searchsorted(ordered, bounds)
    kmeans_means_kernel[(problems * clusters * cdiv(width, 128),)](
        x, order, starts, running, centroids, samples, clusters, width, problems // shared,
        BLOCK_N=16, BLOCK_D=128,
    )  # fmt: skip
    return centroids
