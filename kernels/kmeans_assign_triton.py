"""Triton kernels of kmeans_assign for many clusters: a matrix product whose epilogue keeps the smallest entry of each
row, and the distances to the centroids so found.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .dot_triton import operand_type, precision
from .kmeans_assign_few_triton import FEW, assign_few, squared_distances
from .least_triton import least


@triton.jit
def kmeans_assign_kernel(
    x, columns, rest, bias, norms, labels, distances, running, moved,
    samples, clusters, width, restarts,
    SPLIT: tl.constexpr, TRACKED: tl.constexpr, TYPE: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One program labels BLOCK_N samples of one problem by the least bias - 2 x.column; `restarts` problems in
    turn share their samples.

    SPLIT: the columns are columns + rest, two halves of float32 ones. TRACKED: problems whose flag `running` is 0
    are left as they are, `moved` becomes 1 where a label changes, and `distances` becomes that least value plus
    `norms` (B, N).
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
            a = tl.load(row + at[None, :], mask=inside[:, None] & (at < width)[None, :], other=0.0).to(TYPE)
            mask = (at < width)[:, None] & known[None, :]
            b = tl.load(columns + column + at[:, None], mask=mask, other=0.0).to(TYPE)
            inner = tl.dot(a, b, inner, input_precision=PRECISION)
            if SPLIT:
                b = tl.load(rest + column + at[:, None], mask=mask, other=0.0).to(TYPE)
                inner = tl.dot(a, b, inner, input_precision=PRECISION)
        offset = tl.load(bias + problem * clusters + cluster, mask=known, other=float("inf"))
        # NaN is never the least: such centroids are nobody's nearest, and such samples keep label 0.
        score, index = least(offset[None, :] - 2 * inner, 1)
        label = tl.where(score < best, first + index, label)
        best = tl.where(score < best, score, best)
    at = problem * samples + sample
    if TRACKED:
        before = tl.load(labels + at, mask=inside, other=0)
        if tl.sum(((before != label) & inside).to(tl.int32)) > 0:
            tl.store(moved + problem, 1)
        norm = tl.load(norms + (problem // restarts) * samples + sample, mask=inside, other=0.0)
        distance = tl.maximum(norm + best, 0.0, propagate_nan=tl.PropagateNan.ALL)
        tl.store(distances + at, distance, mask=inside)
    tl.store(labels + at, label, mask=inside)


@triton.jit
def kmeans_distances_kernel(
    x, centroids, labels, distances, samples, clusters, width, restarts,
    BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One program takes the squared distances of BLOCK_N samples to the centroids that `labels` names."""
    tiles = tl.cdiv(samples, BLOCK_N)
    problem = (tl.program_id(0) // tiles).to(tl.int64)
    sample = (tl.program_id(0) % tiles) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = sample < samples
    at = problem * samples + sample
    row = x + ((problem // restarts) * samples + sample)[:, None] * width
    chosen = centroids + (problem * clusters + tl.load(labels + at, mask=inside, other=0))[:, None] * width
    tl.store(distances + at, squared_distances(row, chosen, inside, width, BLOCK_N, BLOCK_D), mask=inside)


def blocks(samples: int, clusters: int, width: int, operands: tl.dtype, products: str) -> dict[str, int]:
    """Launch options of kmeans_assign_kernel."""
    block_n, block_k, block_d, stages = 128, 128, 64, 4
    if operands == tl.float32:
        # Three products in float32's stead: a wider tile would not fit the registers.
        block_k, block_d, stages = (64 if products == "tf32x3" else 128), 32, 3
    if width % 16:
        block_d //= 2  # rows that are not aligned pass through the registers on their way to shared memory
    block_n = min(block_n, max(16, triton.next_power_of_2(samples)))
    block_k = min(block_k, max(16, triton.next_power_of_2(clusters)))
    warps = 8 if block_n * block_k >= 4096 else 4
    # maxnreg, here and below: left to itself, the assembler spills to fit one more block on a multiprocessor.
    options = {"num_warps": warps, "num_stages": stages, "maxnreg": 255}
    return {"BLOCK_N": block_n, "BLOCK_K": block_k, "BLOCK_D": block_d, **options}


def rank(x, centroids, labels, lloyd=None) -> None:
    """labels (P, N) become those of x (B, N, D) by the nearest centroid (P, K, D), P a multiple of B.

    lloyd: (middle (P, 1, D), norms (B, N), distances (P, N), running (P,), moved (P,)) of an iteration: with 0/1
    flags int32, see the kernel; also squared distances are found, given those of the samples to `middle`. For any m,
    |x - c|^2 - |x - m|^2 = |c - m|^2 + 2 m.(c - m) - 2 x.(c - m), which are small numbers with m in the middle of the
    data. Float32 centroids of half-precision samples are two halves, not one: rounded to 8 bits they lead Lloyd's
    iterations elsewhere, on data of low rank to an inertia up to 0.4 % off.
    """
    (shared, samples, width), (problems, clusters, _) = x.shape, centroids.shape
    if 0 in (problems, samples):
        return
    middle, norms, distances, running, moved = lloyd or (None,) * 5
    split = x.dtype != torch.float32 and centroids.dtype != x.dtype
    exact = centroids.float() if middle is None else centroids - middle
    columns = exact.to(x.dtype)
    rest = (exact - columns).to(x.dtype) if split else None
    bias = exact.square().sum(2)
    if middle is not None:
        bias += 2 * (middle * exact).sum(2)
    operands = operand_type(x)
    tile = blocks(samples, clusters, width, operands, precision())
    kmeans_assign_kernel[(problems * triton.cdiv(samples, tile["BLOCK_N"]),)](
        x, columns, rest, bias, norms, labels, distances, running, moved,
        samples, clusters, width, problems // shared,
        SPLIT=split, TRACKED=lloyd is not None, TYPE=operands, PRECISION=precision(), **tile,
    )  # fmt: skip


def distances_to(x, centroids, labels) -> Tensor:
    """Squared distances (P, N) float32 of x (B, N, D) to their centroids (P, K, D) by labels (P, N)."""
    (shared, samples, width), (problems, clusters, _) = x.shape, centroids.shape
    distances = torch.empty(problems, samples, dtype=torch.float32, device=x.device)
    if 0 not in distances.shape:
        kmeans_distances_kernel[(problems * triton.cdiv(samples, 8),)](
            x, centroids, labels, distances, samples, clusters, width, problems // shared,
            BLOCK_N=8, BLOCK_D=256, maxnreg=128,
        )  # fmt: skip
    return distances


def assign(x, centroids) -> tuple[Tensor, Tensor]:
    """See kmeans_assign.py."""
    x, centroids = x.contiguous(), centroids.contiguous()
    if centroids.shape[1] <= FEW:
        return assign_few(x, centroids)
    labels = torch.empty(x.shape[:2], dtype=torch.int64, device=x.device)
    rank(x, centroids, labels)
    return labels, distances_to(x, centroids, labels)


def assign_about(middle, x, centroids) -> tuple[Tensor, Tensor]:
    """`assign`, of samples x (B, N, D) that may lie far from zero and close to `middle` (B, 1, D)."""
    labels = torch.zeros(x.shape[:2], dtype=torch.int64, device=x.device)
    norms = distances_to(x, middle, labels)
    distances, running = torch.empty_like(norms), torch.ones(len(x), dtype=torch.int32, device=x.device)
    rank(x, centroids.float(), labels, (middle, norms, distances, running, running))
    return labels, distances
