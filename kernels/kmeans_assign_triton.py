"""Triton kernel of kmeans_assign for many clusters: a matrix product whose epilogue keeps the least of each row.

kmeans_columns_triton.py prepares the centroids; kmeans_distances_triton.py makes labels and distances of what is found.
"""

from functools import cache

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from .card import copies_tiles, multiprocessors
from .dot_triton import operand_type, precision
from .kmeans_assign_few_triton import FEW, assign_few
from .kmeans_columns_triton import columns_of, rounded_tf32
from .kmeans_distances_triton import Ranked, distances_to, nearest_of, relabel
from .sizes import cdiv, next_power_of_2

# The epilogue of a tile of clusters, as part of the time of the tile; estimated.
_EPILOGUE = 0.1


@triton.jit
def _tile(
    matrix, row, start, rows, width, DESCRIBED: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr
):  # fmt: skip
    """(BLOCK, BLOCK_D) of a matrix; what lies beyond `rows` rows may be anything."""
    if DESCRIBED:
        tile = matrix.load([row, start])
    else:
        at, feature = tl.arange(0, BLOCK)[:, None], start + tl.arange(0, BLOCK_D)[None, :]
        place = matrix + (row.to(tl.int64) + at) * width + feature
        tile = tl.load(place, mask=(at < rows) & (feature < width), other=0.0)
    return tile


@triton.jit
def kmeans_assign_kernel(
    x, columns, rest, bias, scores, nearest, running,
    samples, clusters, width, restarts, length, parts, stride,
    EXACT: tl.constexpr, TYPE: tl.constexpr, DESCRIBED: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One program ranks `length` tiles of clusters for BLOCK_N samples of one problem, by bias - 2 x.column.

    x (B * N, D), columns and rest (P * K, D); `restarts` problems in turn share their samples. DESCRIBED: they are
    tensor descriptors, not pointers. With `rest` a column is column + rest. EXACT: float32 products, of three that
    tensor cores do with 11 bits. With `running`, problems whose flag is 0 are passed over.
    """
    tiles = tl.cdiv(samples, BLOCK_N)
    part = tl.program_id(0) % parts
    problem = tl.program_id(0) // parts // tiles
    if running is not None:  # noqa: SIM102, it is looked at first and alone
        if tl.load(running + problem) == 0:
            return
    first_sample = (tl.program_id(0) // parts % tiles) * BLOCK_N
    row = (problem // restarts) * samples + first_sample
    best = tl.full([BLOCK_N], float("inf"), tl.float32)
    label = tl.zeros([BLOCK_N], tl.int32)
    for first in range(part * length * BLOCK_K, tl.minimum((part + 1) * length * BLOCK_K, clusters), BLOCK_K):
        column = problem * clusters + first
        inner = tl.zeros([BLOCK_N, BLOCK_K], tl.float32)
        for start in range(0, width, BLOCK_D):
            a = _tile(x, row, start, samples - first_sample, width, DESCRIBED, BLOCK_N, BLOCK_D).to(TYPE)
            b = _tile(columns, column, start, clusters - first, width, DESCRIBED, BLOCK_K, BLOCK_D).to(TYPE).T
            if EXACT:
                rounded = rounded_tf32(a)
                inner = tl.dot(a - rounded, b, inner, input_precision="tf32")
                a = rounded
            if rest is not None:
                c = _tile(rest, column, start, clusters - first, width, DESCRIBED, BLOCK_K, BLOCK_D).to(TYPE).T
                inner = tl.dot(a, c, inner, input_precision="tf32")
            inner = tl.dot(a, b, inner, input_precision="tf32")
        cluster = first + tl.arange(0, BLOCK_K)
        known = cluster < clusters
        offset = tl.load(bias + problem.to(tl.int64) * clusters + cluster, mask=known, other=float("inf"))
        # NaN is never the least: such centroids are nobody's nearest, and such samples keep label 0. The least and
        # then where it is: both at once, as in `least`, takes more registers than a tile of this size leaves.
        values = offset[None, :] - 2 * inner
        values = tl.where(values == values, values, float("inf"))
        score = tl.min(values, axis=1)
        index = tl.min(tl.where(values == score[:, None], cluster[None, :], clusters), axis=1)
        label = tl.where(score < best, index, label)
        best = tl.where(score < best, score, best)
    sample = first_sample + tl.arange(0, BLOCK_N)
    at = part.to(tl.int64) * stride + problem.to(tl.int64) * samples + sample
    tl.store(scores + at, best, mask=sample < samples)
    tl.store(nearest + at, label, mask=sample < samples)


@cache
def blocks(samples: int, clusters: int, dtype: torch.dtype, split: bool, described: bool) -> dict[str, int]:
    """Launch options of kmeans_assign_kernel."""
    # Two kinds of columns, or one twice as wide: the products of a tile are the same.
    block_k, block_d = 128 if split else 256, 128 // dtype.itemsize
    if not described:
        # Such cards multiply from registers, and the smallest have 99 KB of shared memory.
        block_k, block_d = (64, block_d // 2) if split else (128, block_d)
    block_k = min(block_k, max(16, next_power_of_2(clusters)))
    block_n = min(128, max(16, next_power_of_2(samples)))
    warps = 8 if block_n * block_k >= 4096 else 4
    # maxnreg: left to itself, the assembler spills to fit one more block on a multiprocessor.
    options = {"num_warps": warps, "num_stages": 4, "maxnreg": 255}
    return {"BLOCK_N": block_n, "BLOCK_K": block_k, "BLOCK_D": block_d, **options}


@cache
def part_length(programs: int, tiles: int, processors: int) -> int:
    """Tiles of clusters for each program, so that `programs` row tiles times the parts are done soonest.

    Every multiprocessor has one program at a time, and they come in waves: 313 programs of 4 tiles are 3 waves on 132
    multiprocessors, in which 12 tiles pass; as 626 of 2 tiles they are 5 waves and 10 tiles.
    """

    def time(length: int) -> float:
        return cdiv(programs * cdiv(tiles, length), processors) * (length + _EPILOGUE)

    return min(range(cdiv(tiles, 16), tiles + 1), key=time)


def aligned(x) -> Tensor:
    """x (B, N, D) as kernels take it, with zeros at the ends of its rows.

    Tensor descriptors want rows that begin at multiples of 16 bytes. Without them the compiler wants a multiple of 16
    numbers, to read several at a time.
    """
    missing = -x.shape[2] % (16 // x.element_size() if copies_tiles(x.device) else 16)
    if missing:
        return F.pad(x, (0, missing))
    return x if x.data_ptr() % 16 == 0 else x.clone()


def rank(rows, centroids, middle=None, running=None) -> Ranked:
    """Of `aligned` samples (B, N, D) and centroids (P, K, D), P a multiple of B.

    middle: see columns_of. running: (P,) int32 flags; problems whose flag is 0 are passed over.

    Float32 centroids of half-precision samples are two halves, not one: rounded to 8 bits they lead Lloyd's
    iterations elsewhere, on data of low rank to an inertia up to 0.4 % off.
    """
    (shared, samples, width), (problems, clusters, _) = rows.shape, centroids.shape
    exact = rows.dtype == torch.float32 and precision() == "tf32x3"
    split = exact or (rows.dtype != torch.float32 and centroids.dtype != rows.dtype)
    described = copies_tiles(rows.device)
    tile = blocks(samples, clusters, rows.dtype, split, described)
    programs, tiles = problems * cdiv(samples, tile["BLOCK_N"]), cdiv(clusters, tile["BLOCK_K"])
    length = part_length(programs, tiles, multiprocessors(rows.device))
    parts = cdiv(tiles, length)
    scores = torch.empty(parts, problems, samples, dtype=torch.float32, device=rows.device)
    nearest = torch.empty_like(scores, dtype=torch.int32)
    if not scores.numel():
        return Ranked(scores, nearest)
    columns, rest, bias = columns_of(centroids, middle, rows.dtype, width, split)

    def matrix(tensor, block: int):
        shape = [block, tile["BLOCK_D"]]
        return TensorDescriptor.from_tensor(tensor.view(-1, width), shape) if described else tensor

    kmeans_assign_kernel[(programs * parts,)](
        matrix(rows, tile["BLOCK_N"]), matrix(columns, tile["BLOCK_K"]),
        matrix(rest, tile["BLOCK_K"]) if split else None, bias, scores, nearest, running,
        samples, clusters, width, problems // shared, length, parts, problems * samples,
        EXACT=exact, TYPE=operand_type(rows), DESCRIBED=described, **tile,
    )  # fmt: skip
    return Ranked(scores, nearest)


def assign(x, centroids, distances: bool = True) -> tuple[Tensor, Tensor]:
    """See kmeans_assign.py."""
    x, centroids = x.contiguous(), centroids.contiguous()
    if centroids.shape[1] <= FEW:
        return assign_few(x, centroids, distances)
    return nearest_of(x, centroids, rank(aligned(x), centroids), distances)


def assign_about(middle, x, centroids) -> tuple[Tensor, Tensor]:
    """`assign`, of samples x (B, N, D) that may lie far from zero and close to `middle` (B, 1, D)."""
    labels = torch.zeros(x.shape[:2], dtype=torch.int64, device=x.device)
    norms = distances_to(x, middle, labels)
    distances, running = torch.empty_like(norms), torch.ones(len(x), dtype=torch.int32, device=x.device)
    relabel(rank(aligned(x), centroids.float().contiguous(), middle), norms, labels, distances, running, running)
    return labels, distances
