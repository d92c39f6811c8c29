"""The steps of kmeans_gram_triton.py: what one program does for RUNS restarts of one problem, in step.

Labels, members and distances are (RUNS, N) in registers, N padded to BLOCK_N; `i` is arange(0, BLOCK_N).
"""

import triton
import triton.language as tl

from .counter_random_triton import random_bits, uniform
from .dot_triton import dot_of_bits
from .least_triton import least


@triton.jit
def _median(a, b, c):
    return tl.maximum(tl.minimum(a, b), tl.minimum(tl.maximum(a, b), c))


@triton.jit
def _row(x, part: tl.constexpr, samples, width, at):
    sample = ((2 * part + 1) * samples) // 18
    return tl.load(x + sample * width + at, mask=at < width, other=0.0).to(tl.float32)


@triton.jit
def _middle(x, samples, width, at):
    """Of features `at`, a number among those of the samples: the median of three medians of three samples.

    As middle_of of kmeans_reference.py: one far outlier would move a mean away from all others.
    """
    return _median(
        _median(_row(x, 0, samples, width, at), _row(x, 3, samples, width, at), _row(x, 6, samples, width, at)),
        _median(_row(x, 1, samples, width, at), _row(x, 4, samples, width, at), _row(x, 7, samples, width, at)),
        _median(_row(x, 2, samples, width, at), _row(x, 5, samples, width, at), _row(x, 8, samples, width, at)),
    )


@triton.jit
def products(x, gram, samples, width, i, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr):
    """All inner products of the samples of one problem, less their middle, by one program."""
    inside = i < samples
    inner = tl.zeros([BLOCK_N, BLOCK_N], tl.float32)
    for start in tl.range(0, width, BLOCK_D, num_stages=3):
        at = start + tl.arange(0, BLOCK_D)
        mask = inside[:, None] & (at < width)[None, :]
        tile = tl.load(x + i.to(tl.int64)[:, None] * width + at[None, :], mask=mask, other=0.0).to(tl.float32)
        tile = tl.where(mask, tile - _middle(x, samples, width, at)[None, :], 0.0)
        inner = tl.dot(tile, tl.trans(tile), inner, input_precision="tf32x3")
    mask = inside[:, None] & inside[None, :]
    tl.store(gram + i[:, None] * samples + i[None, :], inner, mask=mask)


@triton.jit
def _to_samples(gram, squares, picked, samples, i):
    """Squared distances (RUNS, TRIALS, N) of all samples to the `picked` ones (RUNS, TRIALS)."""
    inside = (i < samples)[None, None, :]
    inner = tl.load(gram + picked[:, :, None] * samples + i[None, None, :], mask=inside, other=0.0)
    square = tl.load(gram + picked * samples + picked)
    distance = tl.maximum(squares[None, None, :] - 2 * inner + square[:, :, None], 0.0)
    return tl.where(inside, distance, 0.0)


@triton.jit
def seeded(gram, squares, seed, stream, samples, clusters, trials, i, TRIALS: tl.constexpr):
    """Greedy k-means++ as in kmeans_reference.py, TRIALS >= trials: labels and squared distances (RUNS, N)."""
    zero = tl.full((), 0, tl.int32)
    first = (random_bits(seed, stream, zero).to(tl.int64) * samples) >> 32
    distance = tl.sum(_to_samples(gram, squares, first[:, None], samples, i), axis=1)
    label = tl.zeros_like(distance).to(tl.int32)
    trial = tl.arange(0, TRIALS)
    for cluster in range(1, clusters):
        cumulated = tl.cumsum(distance, axis=1)
        total = tl.max(cumulated, axis=1)
        share = uniform(seed, stream[:, None], (zero + cluster * trials + trial)[None, :]) * total[:, None]
        below = (cumulated[:, None, :] <= share[:, :, None]) & (i < samples)[None, None, :]
        picked = tl.minimum(tl.sum(below.to(tl.int64), axis=2), samples - 1)
        candidates = tl.minimum(_to_samples(gram, squares, picked, samples, i), distance[:, None, :])
        left = tl.where((trial < trials)[None, :], tl.sum(candidates, axis=2), float("inf"))
        _, taken = least(left, 1)
        best = trial[None, :] == taken[:, None]
        nearer = tl.sum(tl.where(best[:, :, None], candidates, 0.0), axis=1)
        label = tl.where(nearer < distance, cluster, label)
        distance = nearer
    return label, distance


@triton.jit
def _members_of(k, member, inside):
    """(RUNS, K, N): whether a sample is a member of cluster k in a run."""
    return (k[None, :, None] == member[:, None, :]) & inside[None, None, :]


@triton.jit
def _or(a, b):
    return a | b


@triton.jit
def any_empty(label, inside, clusters):
    """Whether some cluster of some run has no member; up to 64 clusters."""
    bits = tl.where(inside[None, :], tl.full((), 1, tl.int64) << label.to(tl.int64), 0)
    bits = tl.reduce(bits, 1, _or)
    full = tl.full((), -1, tl.int64).to(tl.uint64) >> (tl.full((), 64, tl.uint64) - clusters)
    return tl.max((bits.to(tl.uint64) != full).to(tl.int32), axis=0) > 0


@triton.jit
def _find_empty(member, inside, clusters, RUNS: tl.constexpr, BLOCK_K: tl.constexpr):
    """How many clusters of each run have no member, and the lowest of them."""
    empty = tl.zeros([RUNS], tl.int32)
    lowest = empty + clusters
    for first in range(0, clusters, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        missing = tl.sum(_members_of(k, member, inside).to(tl.int32), axis=2) == 0
        missing = missing & (k < clusters)[None, :]
        empty += tl.sum(missing.to(tl.int32), axis=1)
        lowest = tl.minimum(lowest, tl.min(tl.where(missing, k[None, :], clusters), axis=1))
    return empty, lowest


@triton.jit
def fill_empty(member, distance, inside, i, clusters, RUNS: tl.constexpr, BLOCK_K: tl.constexpr):
    """`member` with the farthest samples moved, one each, into the empty clusters of their run."""
    distance = tl.where(distance == distance, distance, 0.0)
    empty, lowest = _find_empty(member, inside, clusters, RUNS, BLOCK_K)
    for _ in range(tl.max(empty, axis=0)):
        size = tl.zeros_like(member)
        for first in range(0, clusters, BLOCK_K):
            own = _members_of(first + tl.arange(0, BLOCK_K), member, inside).to(tl.int32)
            size += tl.sum(own * tl.sum(own, axis=2)[:, :, None], axis=1)
        farthest = tl.argmax(tl.where(inside[None, :] & (size > 1), distance, -1.0), axis=1)
        taken = (i[None, :] == farthest[:, None]) & (empty > 0)[:, None]
        member = tl.where(taken, lowest[:, None], member)
        empty, lowest = _find_empty(member, inside, clusters, RUNS, BLOCK_K)
    return member


@triton.jit
def nearest(
    gram, squares, member, members, samples, clusters, i,
    TYPE: tl.constexpr, RUNS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_J: tl.constexpr,
):  # fmt: skip
    """Labels and squared distances (RUNS, N) to the nearest mean of the members, which `members` has in memory."""
    inside = i < samples
    row = tl.arange(0, RUNS * BLOCK_K)
    best = tl.full([RUNS, BLOCK_N], float("inf"), tl.float32)
    nearest = tl.zeros([RUNS, BLOCK_N], tl.int32)
    for first in range(0, clusters, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        sums = tl.zeros([RUNS * BLOCK_K, BLOCK_N], tl.float32)
        for start in range(0, samples, BLOCK_J):
            j = start + tl.arange(0, BLOCK_J)
            of_j = tl.load(
                members + (row // BLOCK_K)[:, None] * samples + j[None, :], mask=j[None, :] < samples, other=-1
            )
            hot = ((first + row % BLOCK_K)[:, None] == of_j).to(TYPE)
            at = j[:, None] * samples + i[None, :]  # below 512 * 512
            tile = tl.load(gram + at, mask=(j < samples)[:, None] & inside[None, :], other=0.0)
            sums = dot_of_bits(hot, tile, sums, TYPE)
        own = _members_of(k, member, inside)
        share = 1.0 / tl.maximum(tl.sum(own.to(tl.float32), axis=2), 1.0)
        inner = tl.reshape(sums, [RUNS, BLOCK_K, BLOCK_N]) * share[:, :, None]
        square = tl.sum(tl.where(own, inner, 0.0), axis=2) * share
        score = tl.where((k < clusters)[None, :, None], square[:, :, None] - 2 * inner, float("inf"))
        # NaN is never the least: such samples keep label 0.
        score, index = least(score, 1)
        nearest = tl.where(score < best, first + index, nearest)
        best = tl.where(score < best, score, best)
    distance = tl.maximum(best + squares[None, :], 0.0, propagate_nan=tl.PropagateNan.ALL)
    return nearest, tl.where(inside[None, :], distance, 0.0)


@triton.jit
def finish(
    x, label, member, labels, centroids, inertia, counts, samples, clusters, width, i,
    TYPE: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Writes the results of the run with `label` and `member` (N,)."""
    BLOCK_K: tl.constexpr = 16
    inside = i < samples
    tl.store(labels + i, label.to(tl.int64), mask=inside)
    for first in range(0, clusters, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        count = tl.sum(((k[:, None] == label[None, :]) & inside[None, :]).to(tl.int64), axis=1)
        tl.store(counts + k, count, mask=k < clusters)
    total = tl.zeros([BLOCK_N], tl.float32)
    for start in tl.range(0, width, BLOCK_D, num_stages=3):
        at = start + tl.arange(0, BLOCK_D)
        mask = inside[:, None] & (at < width)[None, :]
        tile = tl.load(x + i.to(tl.int64)[:, None] * width + at[None, :], mask=mask, other=0.0).to(tl.float32)
        own = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
        for first in range(0, clusters, BLOCK_K):
            k = first + tl.arange(0, BLOCK_K)
            hot = (k[:, None] == member[None, :]) & inside[None, :]
            mean = dot_of_bits(hot.to(TYPE), tile, tl.zeros([BLOCK_K, BLOCK_D], tl.float32), TYPE)
            mean /= tl.maximum(tl.sum(hot.to(tl.float32), axis=1), 1.0)[:, None]
            known = (k < clusters)[:, None] & (at < width)[None, :]
            tl.store(centroids + k.to(tl.int64)[:, None] * width + at[None, :], mean, mask=known)
            own = dot_of_bits((label[:, None] == k[None, :]).to(TYPE), mean, own, TYPE)
        difference = tl.where(mask, tile - own, 0.0)
        total += tl.sum(difference * difference, axis=1)
    tl.store(inertia, tl.sum(total, axis=0))
