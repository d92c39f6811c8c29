"""Triton k-means for many samples: no host synchronisation, no N x K matrix, no atomic sums of floats.

A run that has converged is skipped by all later launches through a flag on the device, so that the number
of launches does not depend on the data.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .kmeans_assign_triton import aligned, assign_about, rank
from .kmeans_distances_triton import distances_to, relabel
from .kmeans_means_triton import means
from .kmeans_reference import middle_of
from .kmeans_seed_triton import seed_runs
from .sizes import next_power_of_2


@triton.jit
def kmeans_fill_kernel(
    distances, counts, members, running, samples, clusters,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """One program a run: the farthest samples of members (P, N) move into the empty clusters."""
    problem = tl.program_id(0).to(tl.int64)
    if tl.load(running + problem) == 0:
        return
    distances += problem * samples
    members += problem * samples
    counts += problem * clusters
    k = tl.arange(0, BLOCK_K)
    count = tl.load(counts + k, mask=k < clusters, other=1)
    empty = tl.sum((count == 0).to(tl.int32), axis=0)
    while empty > 0:
        tl.debug_barrier()
        farthest = tl.full((), 0, tl.int32)
        most = -1.0
        for first in range(0, samples, BLOCK_N):
            at = first + tl.arange(0, BLOCK_N)
            size = tl.load(counts + tl.load(members + at, mask=at < samples, other=0))
            distance = tl.load(distances + at, mask=at < samples, other=0.0)
            distance = tl.where(distance == distance, distance, 0.0)
            movable = (size > 1) & (at < samples)
            value, index = tl.max(tl.where(movable, distance, -1.0), axis=0, return_indices=True)
            farthest = tl.where(value > most, first + index, farthest)
            most = tl.maximum(most, value)
        target = tl.min(tl.where(count == 0, k, clusters), axis=0)
        source = tl.load(members + farthest)
        tl.debug_barrier()
        count = tl.where(k == target, 1, count - (k == source).to(count.dtype))
        tl.store(counts + k, count, mask=k < clusters)
        tl.store(members + farthest, target.to(tl.int64))
        empty -= 1


def kmeans_samples(x, clusters, restarts, iterations, init, seed, candidates) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """labels (B, N), centroids (B, K, D), inertia (B,), counts (B, K) of x (B, N, D) and init (B, K, D) or None."""
    x = x.contiguous()
    batch, samples, width = x.shape
    problems = batch * restarts
    middle = middle_of(x)
    norms = distances_to(x, middle, torch.zeros(batch, samples, dtype=torch.int64, device=x.device))
    if init is None:
        labels, distances = seed_runs(x, middle, norms, clusters, restarts, seed, candidates)
    else:
        labels, distances = assign_about(middle, x, init)
    centroids = torch.empty(problems, clusters, width, dtype=torch.float32, device=x.device)
    middle, rows = middle.repeat_interleave(restarts, 0), aligned(x)
    # running[t, p]: whether run p still takes part in iteration t.
    running = torch.zeros(iterations + 1, problems, dtype=torch.int32, device=x.device)
    running[0] = 1
    # Narrow numbers are sorted sooner.
    members = torch.empty_like(labels, dtype=torch.int16 if clusters <= 2**15 else torch.int32)
    ones = torch.ones_like(labels, dtype=torch.int32)
    for step in range(iterations if problems else 0):
        members.copy_(labels)
        counts = torch.zeros(problems, clusters, dtype=torch.int32, device=x.device)
        counts.scatter_add_(1, labels, ones)
        kmeans_fill_kernel[(problems,)](
            distances, counts, members, running[step], samples, clusters,
            BLOCK_N=1024, BLOCK_K=next_power_of_2(clusters), num_warps=8,
        )  # fmt: skip
        means(x, members, clusters, centroids, running[step])
        ranked = rank(rows, centroids, middle, running[step])
        relabel(ranked, norms, labels, distances, running[step], running[step + 1])
    distances = distances_to(x, centroids, labels)
    inertia = distances.view(batch, restarts, samples).sum(2)
    best = inertia.argmin(1) + torch.arange(batch, device=x.device) * restarts
    labels = labels[best]
    counts = torch.zeros(batch, clusters, dtype=torch.int64, device=x.device)
    counts.scatter_add_(1, labels, torch.ones_like(labels))
    return labels, centroids[best], inertia.flatten()[best], counts
