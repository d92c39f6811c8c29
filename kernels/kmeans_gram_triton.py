"""Triton k-means for few samples: seeding and all of Lloyd's iterations in one launch.

k-means sees the samples through their inner products alone. These N x N numbers are computed once; each
run is then one program that holds labels and distances in registers and never looks at the D features.
"""

import torch
import triton
import triton.language as tl

from .counter_random_triton import random_bits, uniform
from .kmeans_assign_triton import assign
from .kmeans_means_triton import means
from .kmeans_reference import seeding_trials


@triton.jit
def kmeans_products_kernel(
    x, middle, gram, samples, width, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr
):  # fmt: skip
    """One program computes a BLOCK_N x BLOCK_N tile of the inner products of x - middle, (B, N, N)."""
    tiles = tl.cdiv(samples, BLOCK_N)
    problem = (tl.program_id(0) // (tiles * tiles)).to(tl.int64)
    tile = tl.program_id(0) % (tiles * tiles)
    i = (tile // tiles) * BLOCK_N + tl.arange(0, BLOCK_N)
    j = (tile % tiles) * BLOCK_N + tl.arange(0, BLOCK_N)
    feature = tl.arange(0, BLOCK_D)
    row = x + (problem * samples + i)[:, None] * width
    column = x + (problem * samples + j)[None, :] * width
    inner = tl.zeros([BLOCK_N, BLOCK_N], tl.float32)
    for start in range(0, width, BLOCK_D):
        at = start + feature
        known = at < width
        shift = tl.load(middle + problem * width + at, mask=known, other=0.0)
        a = tl.load(row + at[None, :], mask=(i < samples)[:, None] & known[None, :], other=0.0)
        b = tl.load(column + at[:, None], mask=(j < samples)[None, :] & known[:, None], other=0.0)
        a, b = a.to(tl.float32) - shift[None, :], b.to(tl.float32) - shift[:, None]
        inner = tl.dot(a, b, inner, input_precision="ieee")
    mask = (i < samples)[:, None] & (j < samples)[None, :]
    tl.store(gram + (problem * samples + i)[:, None] * samples + j[None, :], inner, mask=mask)


@triton.jit
def _to_sample(gram, squares, picked, samples, i):
    """Squared distances of the samples i to sample `picked`."""
    row = tl.load(gram + picked * samples + i, mask=i < samples, other=0.0)
    square = tl.load(gram + picked * samples + picked)
    return tl.where(i < samples, tl.maximum(squares - 2 * row + square, 0.0), 0.0)


@triton.jit
def _seed(gram, squares, seed, problem, samples, clusters, i, TRIALS: tl.constexpr):
    """Greedy k-means++ as in kmeans_reference.py: labels and squared distances."""
    zero = tl.full((), 0, tl.int32)
    picked = (random_bits(seed, problem, zero).to(tl.int64) * samples) >> 32
    distance = _to_sample(gram, squares, picked, samples, i)
    label = tl.zeros_like(i)
    for cluster in range(1, clusters):
        cumulated = tl.cumsum(distance, axis=0)
        total = tl.max(cumulated, axis=0)
        nearer = distance
        least = float("inf")
        for trial in range(TRIALS):
            share = uniform(seed, problem, zero + cluster * TRIALS + trial) * total
            picked = tl.sum(((cumulated <= share) & (i < samples)).to(tl.int64), axis=0)
            candidate = _to_sample(gram, squares, tl.minimum(picked, samples - 1), samples, i)
            candidate = tl.minimum(candidate, distance)
            left = tl.sum(candidate, axis=0)
            nearer = tl.where(left < least, candidate, nearer)
            least = tl.where(left < least, left, least)
        label = tl.where(nearer < distance, cluster, label)
        distance = nearer
    return label, distance


@triton.jit
def _find_empty(member, inside, clusters, BLOCK_K: tl.constexpr):
    """How many clusters have no member, and the lowest of them."""
    empty = tl.full((), 0, tl.int32)
    lowest = empty + clusters
    for first in range(0, clusters, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        own = (k[:, None] == member[None, :]) & inside[None, :]
        missing = (tl.sum(own.to(tl.int32), axis=1) == 0) & (k < clusters)
        empty += tl.sum(missing.to(tl.int32), axis=0)
        lowest = tl.minimum(lowest, tl.min(tl.where(missing, k, clusters), axis=0))
    return empty, lowest


@triton.jit
def _fill_empty(member, distance, inside, i, clusters, BLOCK_K: tl.constexpr):
    """`member` with the farthest samples moved, one each, into the empty clusters."""
    distance = tl.where(distance == distance, distance, 0.0)
    empty, lowest = _find_empty(member, inside, clusters, BLOCK_K)
    while empty > 0:
        size = tl.zeros_like(member)
        for first in range(0, clusters, BLOCK_K):
            k = first + tl.arange(0, BLOCK_K)
            own = ((k[:, None] == member[None, :]) & inside[None, :]).to(tl.int32)
            size += tl.sum(own * tl.sum(own, axis=1)[:, None], axis=0)
        farthest = tl.argmax(tl.where(inside & (size > 1), distance, -1.0), axis=0)
        member = tl.where(i == farthest, lowest, member)
        empty, lowest = _find_empty(member, inside, clusters, BLOCK_K)
    return member


@triton.jit
def kmeans_gram_kernel(
    gram, seed, labels, distances, members, inertia, samples, clusters, restarts, iterations,
    SEEDED: tl.constexpr, TRIALS: tl.constexpr, TYPE: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_J: tl.constexpr,
):  # fmt: skip
    """One program is one run: (P, N) labels, the members that define the centroids, and (P,) inertia.

    Without SEEDED, `labels` and `distances` (P, N) hold those of the initial centroids.
    """
    problem = tl.program_id(0)
    base = problem.to(tl.int64) * samples
    gram += (problem // restarts).to(tl.int64) * samples * samples
    i = tl.arange(0, BLOCK_N)
    inside = i < samples
    squares = tl.load(gram + i.to(tl.int64) * samples + i, mask=inside, other=0.0)
    if SEEDED:
        label, distance = _seed(gram, squares, tl.load(seed), problem, samples, clusters, i, TRIALS)
    else:
        label = tl.load(labels + base + i, mask=inside, other=0).to(tl.int32)
        distance = tl.load(distances + base + i, mask=inside, other=0.0)
    step = 0
    moving = 1
    while (step < iterations) & (moving > 0):
        member = _fill_empty(label, distance, inside, i, clusters, BLOCK_K)
        tl.store(members + base + i, member.to(tl.int64), mask=inside)
        tl.debug_barrier()
        best = tl.full([BLOCK_N], float("inf"), tl.float32)
        nearest = tl.zeros([BLOCK_N], tl.int32)
        for first in range(0, clusters, BLOCK_K):
            k = first + tl.arange(0, BLOCK_K)
            sums = tl.zeros([BLOCK_K, BLOCK_N], tl.float32)
            for start in range(0, samples, BLOCK_J):
                j = start + tl.arange(0, BLOCK_J)
                of_j = tl.load(members + base + j, mask=j < samples, other=-1).to(tl.int32)
                hot = (k[:, None] == of_j[None, :]).to(TYPE)
                at = j[:, None] * samples + i[None, :]  # below 512 * 512
                rest = tl.load(gram + at, mask=(j < samples)[:, None] & inside[None, :], other=0.0)
                # Three bfloat16 hold all 24 bits of a float32, so that the products with 0 and 1 are exact.
                for _ in tl.static_range(3):
                    part = rest.to(TYPE)
                    sums = tl.dot(hot, part, sums, input_precision="ieee")
                    rest -= part.to(tl.float32)
            own = (k[:, None] == member[None, :]) & inside[None, :]
            share = 1.0 / tl.maximum(tl.sum(own.to(tl.float32), axis=1), 1.0)
            inner = sums * share[:, None]
            square = tl.sum(tl.where(own, inner, 0.0), axis=1) * share
            score = tl.where((k < clusters)[:, None], square[:, None] - 2 * inner, float("inf"))
            # NaN compares as not smaller: such samples keep label 0.
            score, index = tl.min(score, axis=0, return_indices=True)
            nearest = tl.where(score < best, first + index, nearest)
            best = tl.where(score < best, score, best)
        distance = tl.maximum(best + squares, 0.0, propagate_nan=tl.PropagateNan.ALL)
        distance = tl.where(inside, distance, 0.0)
        moving = tl.sum(((nearest != label) & inside).to(tl.int32), axis=0)
        label = nearest
        step += 1
        tl.debug_barrier()
    tl.store(labels + base + i, label.to(tl.int64), mask=inside)
    tl.store(inertia + problem, tl.sum(distance, axis=0))


def fits(samples: int) -> bool:
    """Whether the state of a run fits one program's registers."""
    return samples <= 512


def kmeans_gram(x, clusters, restarts, iterations, init, seed):
    """See kmeans_reference.kmeans_reference."""
    x = x.contiguous()
    batch, samples, width = x.shape
    problems = batch * restarts
    if init is None:
        labels = x.new_empty((problems, samples), dtype=torch.int64)
        distances = None
    else:
        labels, distances = assign(x, init.float())
    members, inertia = torch.empty_like(labels), x.new_empty(problems, dtype=torch.float32)
    gram = x.new_empty((batch, samples, samples), dtype=torch.float32)
    if problems:
        block = 16 if samples <= 128 else 32
        kmeans_products_kernel[(batch * triton.cdiv(samples, block) ** 2,)](
            x, x.mean(1, dtype=torch.float32), gram, samples, width, BLOCK_N=block, BLOCK_D=64
        )
        block_n = max(16, triton.next_power_of_2(samples))
        kmeans_gram_kernel[(problems,)](
            gram, seed, labels, distances, members, inertia, samples, clusters, restarts, iterations,
            SEEDED=init is None, TRIALS=seeding_trials(clusters),
            TYPE=tl.float32 if triton.knobs.runtime.interpret else tl.bfloat16,
            BLOCK_N=block_n, BLOCK_K=16, BLOCK_J=min(block_n, 64 if block_n <= 64 else 16),
            num_warps=4 if block_n <= 64 else 8, num_stages=1, maxnreg=255,  # fewer would spill
        )  # fmt: skip
    best = inertia.view(batch, restarts).argmin(1)[:, None, None].expand(-1, 1, samples)
    labels = labels.view(batch, restarts, samples).gather(1, best)[:, 0]
    members = members.view(batch, restarts, samples).gather(1, best)[:, 0]
    centroids = means(x, members, clusters)
    own = centroids.gather(1, labels[..., None].expand(-1, -1, width))
    return labels, centroids, (x - own).square().sum((1, 2))
