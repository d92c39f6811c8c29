"""Triton kernel that makes centroids the columns of a matrix product, with what kmeans_assign_kernel adds to it.

A column may be two numbers, the centroid rounded to what tensor cores multiply and what that rounds off. They are
taken apart here, once, not in the product, where each program would do so again.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from .sizes import next_power_of_2


class Columns(NamedTuple):
    rounded: Tensor
    """(P, K, D): the centroids less `middle`, rounded."""
    rest: Tensor | None
    """(P, K, D): what was rounded off, in the same type; None: it is left away."""
    bias: Tensor
    """(P, K) float32: the squared length of each, in which also `middle` counts."""


@triton.jit
def rounded_tf32(value):
    """float32 to the nearest number of 10 bits of mantissa; tensor cores would cut the others off."""
    return ((value.to(tl.int32, bitcast=True) + 0x1000) & -0x2000).to(tl.float32, bitcast=True)


@triton.jit
def kmeans_columns_kernel(
    centroids, middle, rounded, rest, bias, clusters, width, padded, BLOCK_D: tl.constexpr
):  # fmt: skip
    """One program makes one centroid of one problem a column, less its problem's `middle` (P, 1, D) if given."""
    at_column = tl.program_id(0).to(tl.int64)
    problem = at_column // clusters
    total = tl.zeros([BLOCK_D], tl.float32)
    for start in range(0, padded, BLOCK_D):
        at = start + tl.arange(0, BLOCK_D)
        exact = tl.load(centroids + at_column * width + at, mask=at < width, other=0.0).to(tl.float32)
        if middle is not None:
            shift = tl.load(middle + problem * width + at, mask=at < width, other=0.0)
            exact -= shift
            total += exact * (exact + 2 * shift)
        else:
            total += exact * exact
        if rounded.dtype.element_ty == tl.float32:
            near = rounded_tf32(exact)
        else:
            near = exact.to(rounded.dtype.element_ty)
        tl.store(rounded + at_column * padded + at, near, mask=at < padded)
        if rest is not None:
            tl.store(rest + at_column * padded + at, exact - near.to(tl.float32), mask=at < padded)
    tl.store(bias + at_column, tl.sum(total, axis=0))


def columns_of(centroids, middle, dtype: torch.dtype, padded: int, split: bool) -> Columns:
    """Of centroids (P, K, D), with zeros behind them up to `padded` features.

    middle: (P, 1, D) float32 or None, a point that is taken from samples and centroids in thought. For any m,
    |x - c|^2 - |x - m|^2 = |c - m|^2 + 2 m.(c - m) - 2 x.(c - m), which are small numbers with m in the middle of the
    data. split: whether there is a `rest`.
    """
    problems, clusters, width = centroids.shape
    rounded = torch.empty(problems, clusters, padded, dtype=dtype, device=centroids.device)
    rest = torch.empty_like(rounded) if split else None
    bias = torch.empty(problems, clusters, dtype=torch.float32, device=centroids.device)
    kmeans_columns_kernel[(problems * clusters,)](
        centroids, middle, rounded, rest, bias, clusters, width, padded,
        BLOCK_D=min(1024, max(16, next_power_of_2(padded))),
    )  # fmt: skip
    return Columns(rounded, rest, bias)
