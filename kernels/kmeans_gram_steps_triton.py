"""The steps of kmeans_gram_triton.py: what a program does for one run, and what programs ask of a problem.

Labels, members and distances are (N,) in registers, N padded to BLOCK_N by label -1 and distance 0; `i` is
arange(0, BLOCK_N).
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
def middle(x, samples, width, at):
    """Of features `at`, a number among those of the samples: the median of three medians of three samples.

    As middle_of of kmeans_reference.py: one far outlier would move a mean away from all others.
    """
    return _median(
        _median(_row(x, 0, samples, width, at), _row(x, 3, samples, width, at), _row(x, 6, samples, width, at)),
        _median(_row(x, 1, samples, width, at), _row(x, 4, samples, width, at), _row(x, 7, samples, width, at)),
        _median(_row(x, 2, samples, width, at), _row(x, 5, samples, width, at), _row(x, 8, samples, width, at)),
    )


@triton.jit
def add_parts(gram, total, samples, PARTS: tl.constexpr, BLOCK: tl.constexpr):
    """total (N, N) becomes the sum of gram (PARTS, N, N)."""
    numbers = samples * samples
    for start in range(0, numbers, BLOCK):
        at = start + tl.arange(0, BLOCK)
        mask = at < numbers
        value = tl.load(gram + at, mask=mask, other=0.0)
        for part in tl.static_range(1, PARTS):
            value += tl.load(gram + part * numbers + at, mask=mask, other=0.0)
        tl.store(total + at, value, mask=mask)
    tl.debug_barrier()


@triton.jit
def _to_samples(gram, squares, picked, samples, i):
    """Squared distances of all samples to the `picked` ones: (N,) for one, (TRIALS, N) for (TRIALS, 1)."""
    inner = tl.load(gram + picked * samples + i, mask=i < samples, other=0.0)
    distance = tl.maximum(squares - 2 * inner + tl.load(gram + picked * samples + picked), 0.0)
    return tl.where(i < samples, distance, 0.0)


@triton.jit
def seeded(gram, seed, run, samples, clusters, trials, i, TRIALS: tl.constexpr):
    """Greedy k-means++ as in kmeans_reference.py, TRIALS >= trials: labels and squared distances (N,)."""
    squares = tl.load(gram + i * samples + i, mask=i < samples, other=0.0)
    zero = tl.full((), 0, tl.int32)
    first = ((random_bits(seed, run, zero).to(tl.int64) * samples) >> 32).to(tl.int32)
    distance = _to_samples(gram, squares, first, samples, i)
    label = tl.where(i < samples, 0, -1)
    trial = tl.arange(0, TRIALS)
    for cluster in range(1, clusters):
        cumulated = tl.cumsum(distance, axis=0)
        share = uniform(seed, run, zero + cluster * trials + trial) * tl.max(cumulated, axis=0)
        below = (cumulated[None, :] <= share[:, None]) & (i < samples)[None, :]
        picked = tl.minimum(tl.sum(below.to(tl.int32), axis=1), samples - 1)
        candidates = tl.minimum(_to_samples(gram, squares, picked[:, None], samples, i[None, :]), distance[None, :])
        _, taken = least(tl.where(trial < trials, tl.sum(candidates, axis=1), float("inf")), 0)
        nearer = tl.sum(tl.where((trial == taken)[:, None], candidates, 0.0), axis=0)
        label = tl.where(nearer < distance, cluster, label)
        distance = nearer
    return label, distance


@triton.jit
def _find_empty(member, clusters, BLOCK_K: tl.constexpr):
    """How many clusters have no member, and the lowest of them."""
    empty = tl.full((), 0, tl.int32)
    lowest = empty + clusters
    for first in range(0, clusters, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        own = k[:, None] == member[None, :]
        missing = (tl.sum(own.to(tl.int32), axis=1) == 0) & (k < clusters)
        empty += tl.sum(missing.to(tl.int32), axis=0)
        lowest = tl.minimum(lowest, tl.min(tl.where(missing, k, clusters), axis=0))
    return empty, lowest


@triton.jit
def fill_empty(member, distance, i, clusters, BLOCK_K: tl.constexpr):
    """`member` with the farthest samples moved, one each, into the empty clusters."""
    distance = tl.where(distance == distance, distance, 0.0)
    empty, lowest = _find_empty(member, clusters, BLOCK_K)
    for _ in range(empty):
        size = tl.zeros_like(member)
        for first in range(0, clusters, BLOCK_K):
            k = first + tl.arange(0, BLOCK_K)
            own = (k[:, None] == member[None, :]).to(tl.int32)
            size += tl.sum(own * tl.sum(own, axis=1)[:, None], axis=0)
        farthest = tl.argmax(tl.where(size > 1, distance, -1.0), axis=0)
        member = tl.where(i == farthest, lowest, member)
        empty, lowest = _find_empty(member, clusters, BLOCK_K)
    return member


@triton.jit
def nearest(
    gram, member, members, samples, clusters, i,
    TYPE: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_J: tl.constexpr,
):  # fmt: skip
    """Labels and squared distances (N,) to the nearest mean of the members, which are also written to `members`."""
    inside = i < samples
    if BLOCK_J < BLOCK_N:
        tl.debug_barrier()
    tl.store(members + i, member, mask=inside)
    if BLOCK_J < BLOCK_N:
        tl.debug_barrier()
    best = tl.full([BLOCK_N], float("inf"), tl.float32)
    nearest = tl.zeros([BLOCK_N], tl.int32)
    for first in range(0, clusters, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        inner = tl.zeros([BLOCK_K, BLOCK_N], tl.float32)
        for start in range(0, samples, BLOCK_J):
            j = start + tl.arange(0, BLOCK_J)
            of_j = member if BLOCK_J == BLOCK_N else tl.load(members + j, mask=j < samples, other=-1)
            at = j[:, None] * samples + i[None, :]  # below 512 * 512
            tile = tl.load(gram + at, mask=(j < samples)[:, None] & inside[None, :], other=0.0)
            inner = dot_of_bits((k[:, None] == of_j[None, :]).to(TYPE), tile, inner, TYPE)
        own = k[:, None] == member[None, :]
        share = 1.0 / tl.maximum(tl.sum(own.to(tl.float32), axis=1), 1.0)
        square = tl.sum(tl.where(own, inner, 0.0), axis=1) * share * share
        score = tl.where((k < clusters)[:, None], square[:, None] - (2 * share)[:, None] * inner, float("inf"))
        # NaN is never the least: such samples keep label 0.
        score, index = least(score, 0)
        nearest = tl.where(score < best, first + index, nearest)
        best = tl.where(score < best, score, best)
    # Here, not kept: one more row of numbers over all iterations would spill for 512 samples.
    squares = tl.load(gram + i * samples + i, mask=inside, other=0.0)
    distance = tl.maximum(best + squares, 0.0, propagate_nan=tl.PropagateNan.ALL)
    return tl.where(inside, nearest, -1), tl.where(inside, distance, 0.0)


@triton.jit
def best_run(inertia, restarts, BLOCK: tl.constexpr):
    """Which of `restarts` has the least inertia; the lowest of equals."""
    best = tl.full((), float("inf"), tl.float32)
    taken = tl.full((), 0, tl.int32)
    for first in range(0, restarts, BLOCK):
        run = first + tl.arange(0, BLOCK)
        value, index = least(tl.load(inertia + run, mask=run < restarts, other=float("inf")), 0)
        taken = tl.where(value < best, first + index, taken)
        best = tl.minimum(best, value)
    return taken
