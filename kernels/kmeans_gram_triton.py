"""Triton k-means for few samples, in three launches and a sum whatever the data.

k-means sees the samples through their inner products alone. These N x N numbers are computed first, by programs
that have a part of the features each. Then a program a restart does seeding and all of Lloyd's iterations, with
labels and distances in its registers. At last programs that have some features and clusters each find the best
restart and make its centroids and inertia.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .card import multiprocessors
from .dot_triton import dot_of_bits
from .kmeans_assign_triton import assign_about
from .kmeans_gram_steps_triton import add_parts, best_run, fill_empty, middle, nearest, seeded
from .kmeans_reference import middle_of
from .sizes import cdiv, next_power_of_2

TILE = 32
"""Samples of either side of a tile of inner products, and features that it takes in at a time. Two such programs fit a
multiprocessor; larger ones would be too few, and spill where rows are not aligned."""


@triton.jit
def kmeans_products_kernel(
    x, gram, samples, width, parts, slab, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr
):  # fmt: skip
    """One program computes a BLOCK_N x BLOCK_N tile of gram (B, parts, N, N): the inner products of x - middle over
    `slab` features, a multiple of BLOCK_D.
    """
    tiles = tl.cdiv(samples, BLOCK_N)
    tile = tl.program_id(0) % (tiles * tiles)
    row = (tl.program_id(0) // (tiles * tiles)).to(tl.int64)
    part = row % parts
    i = (tile // tiles) * BLOCK_N + tl.arange(0, BLOCK_N)
    j = (tile % tiles) * BLOCK_N + tl.arange(0, BLOCK_N)
    x += (row // parts) * samples * width
    inner = tl.zeros([BLOCK_N, BLOCK_N], tl.float32)
    for start in range(part * slab, tl.minimum((part + 1) * slab, width), BLOCK_D):
        at = start + tl.arange(0, BLOCK_D)
        known = (at < width)[None, :]
        shift = middle(x, samples, width, at)[None, :]
        a = tl.load(x + i.to(tl.int64)[:, None] * width + at[None, :], mask=(i < samples)[:, None] & known, other=0.0)
        b = tl.load(x + j.to(tl.int64)[:, None] * width + at[None, :], mask=(j < samples)[:, None] & known, other=0.0)
        a, b = a.to(tl.float32) - shift, b.to(tl.float32) - shift
        inner = tl.dot(a, tl.trans(b), inner, input_precision="tf32x3")
    mask = (i < samples)[:, None] & (j < samples)[None, :]
    tl.store(gram + (row * samples + i[:, None]) * samples + j[None, :], inner, mask=mask)


@triton.jit
def kmeans_gram_kernel(
    gram, total, seed, labels, distances, found, inertia,
    samples, clusters, restarts, iterations, trials,
    PARTS: tl.constexpr, TRIALS: tl.constexpr, TYPE: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_J: tl.constexpr,
):  # fmt: skip
    """One program is one run of P = B * restarts: its members and labels `found` (P, 2, N), its inertia (P,).

    Its inner products are those of gram (B, PARTS, N, N), added in `total` (P, N, N) if there are several. If
    given, `labels` and `distances` (P, N) are of the initial centroids.
    """
    run = tl.program_id(0).to(tl.int64)
    gram += (run // restarts) * PARTS * samples * samples
    if PARTS > 1:
        total += run * samples * samples
        add_parts(gram, total, samples, PARTS, 1024)
        gram = total
    found += run * 2 * samples
    i = tl.arange(0, BLOCK_N)
    inside = i < samples
    if labels is None:
        label, distance = seeded(gram, tl.load(seed), run, samples, clusters, trials, i, TRIALS)
    else:
        label = tl.load(labels + run * samples + i, mask=inside, other=-1).to(tl.int32)
        distance = tl.load(distances + run * samples + i, mask=inside, other=0.0)
    moved = tl.full((), 1, tl.int32)
    step = 0
    while (step < iterations) & (moved > 0):
        member = fill_empty(label, distance, i, clusters, BLOCK_K)
        before = label
        label, distance = nearest(gram, member, found, samples, clusters, i, TYPE, BLOCK_N, BLOCK_K, BLOCK_J)
        tl.store(found + samples + i, label, mask=inside)
        moved = tl.sum((label != before).to(tl.int32), axis=0)
        step += 1
    tl.store(inertia + run, tl.sum(distance, axis=0))


@triton.jit
def kmeans_finish_kernel(
    x, found, inertia, labels, centroids, left, counts, samples, clusters, width, restarts,
    TYPE: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One program finishes BLOCK_D features of BLOCK_K clusters of one problem: centroids (B, K, D), and `left`
    (B, programs of a problem), what inertia the samples of these clusters have in these features.

    The best run has the least inertia (P,); its members and labels are in `found` (P, 2, N). The programs of the
    first features also count labels, and the first of all copies them, (B, N).
    """
    blocks = tl.cdiv(clusters, BLOCK_K)
    programs = blocks * tl.cdiv(width, BLOCK_D)
    problem = (tl.program_id(0) // programs).to(tl.int64)
    program = tl.program_id(0) % programs
    k = (program % blocks) * BLOCK_K + tl.arange(0, BLOCK_K)
    at = (program // blocks) * BLOCK_D + tl.arange(0, BLOCK_D)
    known = (at < width)[None, :]
    found += (problem * restarts + best_run(inertia + problem * restarts, restarts, 64)) * 2 * samples
    x += problem * samples * width
    mean = tl.zeros([BLOCK_K, BLOCK_D], tl.float32)
    size = tl.zeros([BLOCK_K], tl.float32)
    for start in range(0, samples, BLOCK_N):
        i = start + tl.arange(0, BLOCK_N)
        inside = i < samples
        tile = tl.load(x + i.to(tl.int64)[:, None] * width + at[None, :], mask=inside[:, None] & known, other=0.0)
        hot = k[:, None] == tl.load(found + i, mask=inside, other=-1)[None, :]
        # Added here: tensor cores cut sums off.
        mean += dot_of_bits(hot.to(TYPE), tile.to(tl.float32), tl.zeros([BLOCK_K, BLOCK_D], tl.float32), TYPE)
        size += tl.sum(hot.to(tl.float32), axis=1)
    mean /= tl.maximum(size, 1.0)[:, None]
    tl.store(
        centroids + (problem * clusters + k)[:, None] * width + at[None, :], mean, mask=(k < clusters)[:, None] & known
    )
    total = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    count = tl.zeros([BLOCK_K], tl.int32)
    for start in range(0, samples, BLOCK_N):
        i = start + tl.arange(0, BLOCK_N)
        inside = i < samples
        tile = tl.load(x + i.to(tl.int64)[:, None] * width + at[None, :], mask=inside[:, None] & known, other=0.0)
        label = tl.load(found + samples + i, mask=inside, other=-1)
        tl.store(labels + problem * samples + i, label.to(tl.int64), mask=inside & (program == 0))
        count += tl.sum((k[:, None] == label[None, :]).to(tl.int32), axis=1)
        own = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
        own = dot_of_bits((label[:, None] == k[None, :]).to(TYPE), mean, own, TYPE)
        mine = inside & (label // BLOCK_K == program % blocks)
        difference = tl.where(mine[:, None] & known, tile.to(tl.float32) - own, 0.0)
        total += difference * difference
    tl.store(left + tl.program_id(0), tl.sum(total))
    tl.store(counts + problem * clusters + k, count.to(tl.int64), mask=(k < clusters) & (program < blocks))


def fits(samples: int) -> bool:
    """Whether the state of a run fits one program's registers."""
    return samples <= 512


def parts_of(problems: int, samples: int, width: int, restarts: int, processors: int) -> int:
    """Parts of the features, a power of 2, so that the tiles of all problems are programs for the whole card.

    Every run adds the parts again, so that together they hold no more than 16 problems of 64 samples do; and they are
    fewer where very many runs would need memory for their sums.
    """
    programs = problems * cdiv(samples, TILE) ** 2
    most = min(2 * processors // max(1, programs), 16 * 64**2 // samples**2, 1024 // restarts, cdiv(width, TILE))
    return 2 ** (min(16, max(1, most)).bit_length() - 1)


def kmeans_gram(x, clusters, restarts, iterations, init, seed, candidates) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """labels (B, N), centroids (B, K, D), inertia (B,), counts (B, K) of x (B, N, D) and init (B, K, D) or None."""
    x = x.contiguous()
    batch, samples, width = x.shape
    runs = batch * restarts
    block = max(16, next_power_of_2(samples))
    parts = parts_of(batch, samples, width, restarts, multiprocessors(x.device))
    slabs, blocks = cdiv(width, 32), cdiv(clusters, 16)
    operands = tl.float32 if triton.knobs.runtime.interpret else tl.bfloat16

    def empty(*shape, dtype=torch.float32):
        return torch.empty(shape, dtype=dtype, device=x.device)

    given, distances = (None, None) if init is None else assign_about(middle_of(x), x, init)
    gram = empty(batch, parts, samples, samples)
    total = empty(runs, samples, samples) if parts > 1 else None
    found, inertia = empty(runs, 2, samples, dtype=torch.int32), empty(runs)
    labels, counts = empty(batch, samples, dtype=torch.int64), empty(batch, clusters, dtype=torch.int64)
    centroids, left = empty(batch, clusters, width), empty(batch, slabs * blocks)
    if batch:
        tile = TILE if width % 16 == 0 else TILE // 2  # rows that are not aligned take more registers
        kmeans_products_kernel[(batch * parts * cdiv(samples, TILE) ** 2,)](
            x, gram, samples, width, parts, cdiv(width, parts * tile) * tile,
            BLOCK_N=TILE, BLOCK_D=tile, num_warps=4, maxnreg=255,
        )  # fmt: skip
        warps = 4 if block <= 64 else 8
        kmeans_gram_kernel[(runs,)](
            gram, total, seed, given, distances, found, inertia,
            samples, clusters, restarts, iterations, candidates,
            PARTS=parts, TRIALS=next_power_of_2(candidates), TYPE=operands,
            # 32 numbers of a tile in each thread: more would spill.
            BLOCK_N=block, BLOCK_K=16, BLOCK_J=min(block, 1024 * warps // block),
            num_warps=warps, num_stages=1, maxnreg=255,
        )  # fmt: skip
        kmeans_finish_kernel[(batch * slabs * blocks,)](
            x, found, inertia, labels, centroids, left, counts, samples, clusters, width, restarts,
            TYPE=operands, BLOCK_N=min(block, 64), BLOCK_K=16, BLOCK_D=32, maxnreg=255,
        )  # fmt: skip
    return labels, centroids, left.sum(1), counts
