"""Triton kernels of greedy k-means++ for many samples: two launches a centroid, one reading of the samples.

The candidates drawn for a centroid are measured against all samples together, tile by tile; a run's next draw
first finds its tile by the tiles' sums and then the sample in it.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .counter_random import random_bits
from .counter_random_triton import uniform
from .least_triton import least
from .sizes import cdiv, next_power_of_2

# Samples of a tile, and tiles that the draw looks at together.
TILE, TILES = 64, 256


@triton.jit(do_not_specialize=["cluster"])
def kmeans_candidates_kernel(
    x, middle, norms, picked, best, distances, labels, candidates, sums, cluster, samples, width, restarts, trials,
    BLOCK_R: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One program: BLOCK_N samples of one run, BLOCK_R >= trials.

    First the best candidate of centroid `cluster` - 1 is made that centroid: labels and distances (P, N). Then
    candidates (P, trials, N) become the squared distances to the nearest centroid, had a picked sample become
    `cluster`, and sums (P, trials, tiles) their sums. norms (B, N): squared distances to middle (B, D).
    """
    tiles = tl.cdiv(samples, BLOCK_N)
    problem = (tl.program_id(0) // tiles).to(tl.int64)
    tile = tl.program_id(0) % tiles
    sample = tile * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = sample < samples
    at_sample = problem * samples + sample
    so_far = tl.load(distances + at_sample, mask=inside, other=0.0)
    if cluster > 0:
        chosen = problem * trials + tl.load(best + problem)
        nearer = tl.load(candidates + chosen * samples + sample, mask=inside, other=0.0)
        tl.store(labels + at_sample, tl.full([BLOCK_N], cluster - 1, tl.int64), mask=inside & (nearer < so_far))
        tl.store(distances + at_sample, nearer, mask=inside)
        so_far = nearer
    # The candidates read here are overwritten below, by other threads.
    tl.debug_barrier()

    x += (problem // restarts) * samples * width
    middle += (problem // restarts) * width
    norms += (problem // restarts) * samples
    trial = tl.arange(0, BLOCK_R)
    pick = tl.load(picked + problem * trials + trial, mask=trial < trials, other=0)
    inner = tl.zeros([BLOCK_N, BLOCK_R], tl.float32)
    for start in range(0, width, BLOCK_D):
        at = start + tl.arange(0, BLOCK_D)
        known = at < width
        shift = tl.load(middle + at, mask=known, other=0.0)
        row = x + sample.to(tl.int64)[:, None] * width + at[None, :]
        a = tl.load(row, mask=inside[:, None] & known[None, :], other=0.0).to(tl.float32) - shift[None, :]
        column = x + pick[None, :] * width + at[:, None]
        b = tl.load(column, mask=known[:, None], other=0.0).to(tl.float32) - shift[:, None]
        inner = tl.dot(a, b, inner, input_precision="tf32x3")
    norm = tl.load(norms + sample, mask=inside, other=0.0)
    distance = tl.maximum(norm[:, None] + tl.load(norms + pick)[None, :] - 2 * inner, 0.0)
    distance = tl.where(inside[:, None], tl.minimum(distance, so_far[:, None]), 0.0)
    candidate = problem * trials + trial
    mask = inside[:, None] & (trial < trials)[None, :]
    tl.store(candidates + candidate[None, :] * samples + sample[:, None], distance, mask=mask)
    tl.store(sums + candidate * tiles + tile, tl.sum(distance, axis=0), mask=trial < trials)


@triton.jit(do_not_specialize=["cluster"])
def kmeans_draw_kernel(
    seed, candidates, sums, best, picked, cluster, samples, tiles, trials,
    BLOCK_R: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_T: tl.constexpr,
):  # fmt: skip
    """One program a run: the best candidate of centroid `cluster`, and the samples picked for the next.

    BLOCK_N: samples of a tile.
    """
    problem = tl.program_id(0).to(tl.int64)
    trial = tl.arange(0, BLOCK_R)
    total = tl.zeros([BLOCK_R, BLOCK_T], tl.float32)
    for first in range(0, tiles, BLOCK_T):
        tile = first + tl.arange(0, BLOCK_T)
        of_trial = sums + (problem * trials + trial)[:, None] * tiles + tile[None, :]
        total += tl.load(of_trial, mask=(trial < trials)[:, None] & (tile < tiles)[None, :], other=0.0)
    left = tl.where(trial < trials, tl.sum(total, axis=1), float("inf"))
    smallest, chosen = least(left, 0)
    tl.store(best + problem, chosen.to(tl.int64))
    chosen = problem * trials + chosen

    share = uniform(tl.load(seed), problem, (cluster + 1) * trials + trial) * smallest
    # Tiles that end before the share, and what they hold; then the same for the samples of the next tile.
    below = tl.zeros([BLOCK_R], tl.int32)
    held = tl.zeros([BLOCK_R], tl.float32)
    cumulated = 0.0
    for first in range(0, tiles, BLOCK_T):
        tile = first + tl.arange(0, BLOCK_T)
        sum = tl.load(sums + chosen * tiles + tile, mask=tile < tiles, other=0.0)
        end = cumulated + tl.cumsum(sum, axis=0)
        before = (end[None, :] <= share[:, None]) & (tile < tiles - 1)[None, :]
        below += tl.sum(before.to(tl.int32), axis=1)
        held += tl.sum(tl.where(before, sum[None, :], 0.0), axis=1)
        cumulated += tl.sum(sum, axis=0)
    sample = below[:, None] * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    distance = tl.load(candidates + chosen * samples + sample, mask=sample < samples, other=0.0)
    before = (held[:, None] + tl.cumsum(distance, axis=1) <= share[:, None]) & (sample < samples)
    sample = below * BLOCK_N + tl.sum(before.to(tl.int32), axis=1)
    tl.store(picked + problem * trials + trial, tl.minimum(sample, samples - 1).to(tl.int64), mask=trial < trials)


def seed_runs(x, middle, norms, clusters, restarts, seed, trials) -> tuple[Tensor, Tensor]:
    """Greedy k-means++ as in kmeans_reference.py: labels and squared distances (P, N) of x (B, N, D).

    norms (B, N): squared distances of the samples to middle (B, 1, D). trials: candidates for each centroid.
    """
    batch, samples, width = x.shape
    problems = batch * restarts
    labels = torch.zeros(problems, samples, dtype=torch.int64, device=x.device)
    distances = torch.full((problems, samples), torch.inf, device=x.device)
    if not problems:
        return labels, distances
    run = torch.arange(problems, device=x.device)
    picked = (random_bits(seed, run, torch.zeros_like(run)) * samples) >> 32
    picked = picked[:, None].repeat(1, trials)
    tiles, held = cdiv(samples, TILE), max(16, next_power_of_2(trials))
    best = torch.zeros_like(run)
    candidates = torch.empty(problems, trials, samples, dtype=torch.float32, device=x.device)
    sums = torch.empty(problems, trials, tiles, dtype=torch.float32, device=x.device)
    for cluster in range(clusters):
        kmeans_candidates_kernel[(problems * tiles,)](
            x, middle, norms, picked, best, distances, labels, candidates, sums, cluster, samples, width, restarts,
            trials, BLOCK_R=held, BLOCK_N=TILE, BLOCK_D=64, num_stages=3, maxnreg=255,
        )  # fmt: skip
        kmeans_draw_kernel[(problems,)](
            seed, candidates, sums, best, picked, cluster, samples, tiles, trials,
            BLOCK_R=held, BLOCK_N=TILE, BLOCK_T=TILES, maxnreg=255,
        )  # fmt: skip
    nearer = candidates[run, best]
    return torch.where(nearer < distances, clusters - 1, labels), nearer
