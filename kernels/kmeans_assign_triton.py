"""Triton kernel of kmeans_assign: a matrix product whose epilogue keeps the smallest entry of each row."""

import torch
import triton
import triton.language as tl

from .dot_triton import operand_type, precision


@triton.jit
def kmeans_assign_kernel(
    x, centroids, high, low, squares, labels, distances, running, moved,
    samples, clusters, width, restarts,
    TRACKED: tl.constexpr, SPLIT: tl.constexpr, TYPE: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One program labels BLOCK_N samples of one problem; `restarts` problems in turn share their samples.

    The products are taken with `high` (and `low`: the centroids as a sum of two halves). TRACKED: problems
    whose flag `running` is 0 are left as they are, and `moved` becomes 1 where a label changes.
    """
    tiles = tl.cdiv(samples, BLOCK_N)
    problem = (tl.program_id(0) // tiles).to(tl.int64)
    if TRACKED:  # noqa: SIM102, a constexpr is looked at first and alone
        if tl.load(running + problem) == 0:
            return
    sample = (tl.program_id(0) % tiles) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = sample < samples
    row = x + ((problem // restarts) * samples + sample)[:, None] * width
    feature = tl.arange(0, BLOCK_D)
    best = tl.full([BLOCK_N], float("inf"), tl.float32)
    label = tl.zeros([BLOCK_N], tl.int32)
    for first in range(0, clusters, BLOCK_K):
        cluster = first + tl.arange(0, BLOCK_K)
        known = cluster < clusters
        column = (problem * clusters + cluster)[None, :] * width
        inner = tl.zeros([BLOCK_N, BLOCK_K], tl.float32)
        for start in range(0, width, BLOCK_D):
            at = start + feature
            mask = (at < width)[:, None] & known[None, :]
            a = tl.load(row + at[None, :], mask=inside[:, None] & (at < width)[None, :], other=0.0).to(TYPE)
            b = tl.load(high + column + at[:, None], mask=mask, other=0.0).to(TYPE)
            inner = tl.dot(a, b, inner, input_precision=PRECISION)
            if SPLIT:
                b = tl.load(low + column + at[:, None], mask=mask, other=0.0).to(TYPE)
                inner = tl.dot(a, b, inner, input_precision=PRECISION)
        square = tl.load(squares + problem * clusters + cluster, mask=known, other=float("inf"))
        # NaN compares as not smaller: such samples keep label 0.
        score, index = tl.min(square[None, :] - 2 * inner, axis=1, return_indices=True)
        label = tl.where(score < best, first + index, label)
        best = tl.where(score < best, score, best)

    distance = tl.zeros([BLOCK_N], tl.float32)
    chosen = centroids + (problem * clusters + label)[:, None] * width
    # Narrow tiles: their 64-bit addresses would not fit the registers otherwise.
    for start in range(0, width, 32):
        at = start + tl.arange(0, 32)[None, :]
        mask = inside[:, None] & (at < width)
        a = tl.load(row + at, mask=mask, other=0.0).to(tl.float32)
        difference = a - tl.load(chosen + at, mask=mask, other=0.0).to(tl.float32)
        distance += tl.sum(difference * difference, axis=1)
    at = problem * samples + sample
    if TRACKED:
        before = tl.load(labels + at, mask=inside, other=0)
        if tl.sum(((before != label) & inside).to(tl.int32)) > 0:
            tl.store(moved + problem, 1)
    tl.store(labels + at, label, mask=inside)
    tl.store(distances + at, distance, mask=inside)


def blocks(samples: int, clusters: int, operands: tl.dtype, products: str, split: bool) -> dict[str, int]:
    """Launch options; the tiles of exact float32, which runs on the ordinary cores, are smaller."""
    if operands == tl.float32 and products == "ieee":
        # Left to itself, the assembler spills to fit one more block on a multiprocessor.
        block_n, block_k, block_d, options = 64, 64, 16, {"num_stages": 2, "maxnreg": 128}
    elif operands == tl.float32 or split:
        block_n, block_k, block_d, options = 128, 128, 32, {"num_stages": 3}
    else:
        block_n, block_k, block_d, options = 128, 128, 64, {"num_stages": 3}
    block_n = min(block_n, max(16, triton.next_power_of_2(samples)))
    block_k = min(block_k, max(16, triton.next_power_of_2(clusters)))
    warps = 8 if block_n * block_k >= 4096 else 4
    return {"BLOCK_N": block_n, "BLOCK_K": block_k, "BLOCK_D": block_d, "num_warps": warps, **options}


def assign_into(labels, distances, x, centroids, running=None, moved=None):
    """Labels and squared distances (P, N) of x (B, N, D) to centroids (P, K, D), P a multiple of B.

    With 0/1 flags `running` and `moved` (P,) int32: see the kernel.
    """
    (shared, samples, width), (problems, clusters, _) = x.shape, centroids.shape
    if 0 in (problems, samples):
        return
    high = low = centroids
    half = x.dtype != torch.float32
    split = half and centroids.dtype == torch.float32
    if split:
        high = centroids.to(x.dtype)
        low = (centroids - high).to(x.dtype)
    operands = operand_type(x, high)
    tile = blocks(samples, clusters, operands, precision(), split)
    kmeans_assign_kernel[(problems * triton.cdiv(samples, tile["BLOCK_N"]),)](
        x, centroids, high, low, centroids.float().square().sum(-1), labels, distances, running, moved,
        samples, clusters, width, problems // shared,
        TRACKED=running is not None, SPLIT=split, TYPE=operands, PRECISION=precision(), **tile,
    )  # fmt: skip


def assign(x, centroids):
    """See kmeans_assign.py."""
    labels = x.new_empty(x.shape[:2], dtype=torch.int64)
    distances = x.new_empty(x.shape[:2], dtype=torch.float32)
    if centroids.dtype != x.dtype:
        centroids = centroids.float()
    assign_into(labels, distances, x.contiguous(), centroids.contiguous())
    return labels, distances
