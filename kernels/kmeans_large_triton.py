"""Triton k-means for many samples: no host synchronisation, no N x K matrix, no atomics.

A run that has converged is skipped by all later launches through a flag on the device, so that the number
of launches does not depend on the data.
"""

import torch
import triton
import triton.language as tl

from .counter_random import random_bits
from .counter_random_triton import uniform
from .kmeans_assign_triton import assign, distances_to, rank
from .kmeans_means_triton import means
from .kmeans_reference import seeding_trials


@triton.jit
def kmeans_candidates_kernel(
    x, picked, distances, candidates, sums, samples, width, restarts,
    TRIALS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One program: squared distances of BLOCK_N samples, had one picked sample become a centroid.

    picked (P, TRIALS), distances (P, N) so far, candidates (P, TRIALS, N), sums (P, TRIALS, tiles).
    """
    tiles = tl.cdiv(samples, BLOCK_N)
    candidate = (tl.program_id(0) // tiles).to(tl.int64)
    problem = candidate // TRIALS
    sample = (tl.program_id(0) % tiles) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = sample < samples
    x += (problem // restarts) * samples * width
    row = x + sample.to(tl.int64)[:, None] * width
    centre = x + tl.load(picked + candidate) * width
    distance = tl.zeros([BLOCK_N], tl.float32)
    for start in range(0, width, BLOCK_D):
        at = start + tl.arange(0, BLOCK_D)
        known = at < width
        value = tl.load(row + at[None, :], mask=inside[:, None] & known[None, :], other=0.0).to(tl.float32)
        value -= tl.load(centre + at, mask=known, other=0.0).to(tl.float32)[None, :]
        distance += tl.sum(tl.where(inside[:, None], value * value, 0.0), axis=1)
    so_far = tl.load(distances + problem * samples + sample, mask=inside, other=0.0)
    distance = tl.minimum(distance, so_far)
    tl.store(candidates + candidate * samples + sample, distance, mask=inside)
    tl.store(sums + tl.program_id(0), tl.sum(distance, axis=0))


@triton.jit(do_not_specialize=["cluster"])
def kmeans_draw_kernel(
    seed, candidates, sums, distances, labels, picked, cluster, samples, tiles,
    TRIALS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_T: tl.constexpr,
):  # fmt: skip
    """One program a run: the best candidate becomes centroid `cluster`; candidates for the next are drawn."""
    problem = tl.program_id(0).to(tl.int64)
    best = tl.full((), 0, tl.int64)
    least = float("inf")
    for trial in range(TRIALS):
        total = tl.zeros([BLOCK_T], tl.float32)
        for first in range(0, tiles, BLOCK_T):
            at = first + tl.arange(0, BLOCK_T)
            total += tl.load(sums + (problem * TRIALS + trial) * tiles + at, mask=at < tiles, other=0.0)
        left = tl.sum(total, axis=0)
        best = tl.where(left < least, trial, best)
        least = tl.where(left < least, left, least)
    candidates += (problem * TRIALS + best) * samples
    total = 0.0
    for first in range(0, samples, BLOCK_N):
        at = first + tl.arange(0, BLOCK_N)
        so_far = tl.load(distances + problem * samples + at, mask=at < samples, other=0.0)
        nearer = tl.load(candidates + at, mask=at < samples, other=0.0)
        label = tl.load(labels + problem * samples + at, mask=at < samples, other=0)
        tl.store(labels + problem * samples + at, tl.where(nearer < so_far, cluster, label), mask=at < samples)
        tl.store(distances + problem * samples + at, nearer, mask=at < samples)
        total += tl.max(tl.cumsum(nearer, axis=0), axis=0)
    for trial in range(TRIALS):
        column = tl.full((), trial, tl.int32) + (cluster + 1) * TRIALS
        share = uniform(tl.load(seed), problem, column) * total
        below = tl.full((), 0, tl.int64)
        cumulated = 0.0
        for first in range(0, samples, BLOCK_N):
            at = first + tl.arange(0, BLOCK_N)
            nearer = tl.load(candidates + at, mask=at < samples, other=0.0)
            here = tl.cumsum(nearer, axis=0)
            below += tl.sum(((cumulated + here <= share) & (at < samples)).to(tl.int64), axis=0)
            cumulated += tl.max(here, axis=0)
        tl.store(picked + problem * TRIALS + trial, tl.minimum(below, samples - 1))


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


def kmeans_large(x, clusters, restarts, iterations, init, seed):
    """labels (B, N), centroids (B, K, D), inertia (B,), counts (B, K) of x (B, N, D) and init (B, K, D) or None."""
    x = x.contiguous()
    batch, samples, width = x.shape
    problems = batch * restarts
    if init is None:
        labels, distances = _seed(x, clusters, restarts, seed)
    else:
        labels, distances = assign(x, init)
    centroids = torch.empty(problems, clusters, width, dtype=torch.float32, device=x.device)
    middle = x.mean(1, keepdim=True, dtype=torch.float32)
    norms = distances_to(x, middle, torch.zeros(batch, samples, dtype=torch.int64, device=x.device))
    middle = middle.repeat_interleave(restarts, 0)
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
            BLOCK_N=1024, BLOCK_K=triton.next_power_of_2(clusters), num_warps=8,
        )  # fmt: skip
        means(x, members, clusters, centroids, running[step])
        rank(x, centroids, labels, (middle, norms, distances, running[step], running[step + 1]))
    distances = distances_to(x, centroids, labels)
    inertia = distances.view(batch, restarts, samples).sum(2)
    best = inertia.argmin(1) + torch.arange(batch, device=x.device) * restarts
    labels = labels[best]
    counts = torch.zeros(batch, clusters, dtype=torch.int64, device=x.device)
    counts.scatter_add_(1, labels, torch.ones_like(labels))
    return labels, centroids[best], inertia.flatten()[best], counts


def _seed(x, clusters, restarts, seed):
    """Greedy k-means++ as in kmeans_reference.py: labels and squared distances (P, N)."""
    batch, samples, width = x.shape
    problems, trials = batch * restarts, seeding_trials(clusters)
    labels = torch.zeros(problems, samples, dtype=torch.int64, device=x.device)
    distances = torch.full((problems, samples), torch.inf, device=x.device)
    if not problems:
        return labels, distances
    run = torch.arange(problems, device=x.device)
    picked = (random_bits(seed, run, torch.zeros_like(run)) * samples) >> 32
    picked = picked[:, None].repeat(1, trials)
    tiles = triton.cdiv(samples, 32)
    candidates = x.new_empty((problems, trials, samples), dtype=torch.float32)
    sums = x.new_empty((problems, trials, tiles), dtype=torch.float32)
    for cluster in range(clusters):
        kmeans_candidates_kernel[(problems * trials * tiles,)](
            x, picked, distances, candidates, sums, samples, width, restarts,
            TRIALS=trials, BLOCK_N=32, BLOCK_D=128,
        )  # fmt: skip
        kmeans_draw_kernel[(problems,)](
            seed, candidates, sums, distances, labels, picked, cluster, samples, tiles,
            TRIALS=trials, BLOCK_N=1024, BLOCK_T=256, maxnreg=128,
        )  # fmt: skip
    return labels, distances
