"""Nearest centroid of each sample.

The C++ is in csrc/kmeans_assign.cpp, the Triton kernel in kmeans_assign_triton.py.
"""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor

from .backends import choose_for, load_extension
from .registration import register

# Elements of the largest intermediate of the reference: 16 MB in float32.
_CHUNK = 2**22


@overload
def kmeans_assign(
    x: Tensor, centroids: Tensor, *, distances: Literal[True] = True, backend: str | None = None
) -> tuple[Tensor, Tensor]: ...


@overload
def kmeans_assign(
    x: Tensor, centroids: Tensor, *, distances: bool, backend: str | None = None
) -> tuple[Tensor, Tensor | None]: ...


def kmeans_assign(
    x: Tensor, centroids: Tensor, *, distances: bool = True, backend: str | None = None
) -> tuple[Tensor, Tensor | None]:
    """The nearest centroid of each sample by Euclidean distance; no gradient.

    Centroids are ranked by |c|^2 - 2 x.c in float32 or better (of equals the lowest index wins), and the
    distance to the winner is then taken directly, so that it is accurate near zero. The N x K matrix of
    distances is never held whole. A sample with NaN gets a label in range and distance NaN. A centroid with NaN
    or infinity, or whose square overflows, is nobody's nearest; where there are no others, label 0 is given.

    Args:
        x: (N, D) samples, or (B, N, D) for B problems at once.
        centroids: (K, D) or (B, K, D), of any float type.
        distances: False = labels alone, which on a GPU saves another read of the samples.
        backend: "reference", "triton", "cpp" or None for the best present (float64: "reference").

    Returns:
        labels (N,) or (B, N) int64; squared distances of the same shape, float32 (float64 for float64), or None.

    Raises:
        ValueError: shapes or devices that do not match, or no centroid.
        TypeError: a dtype that the backend does not take.
    """
    if x.dim() not in (2, 3) or centroids.dim() != x.dim() or not x.is_floating_point():
        raise ValueError(
            "kmeans_assign: x and centroids must be floats (N, D) and (K, D), or (B, N, D) and (B, K, D), got "
            f"{tuple(x.shape)} {x.dtype} and {tuple(centroids.shape)}; add or drop the axis of problems"
        )
    if x.shape[:-2] != centroids.shape[:-2] or x.shape[-1] != centroids.shape[-1] or 0 in centroids.shape[-2:]:
        raise ValueError(
            f"kmeans_assign: centroids must be (K, D) with K >= 1 and D = {x.shape[-1]} for x "
            f"{tuple(x.shape)}, got {tuple(centroids.shape)}; give both the same problems and features"
        )
    if not centroids.is_floating_point() or centroids.device != x.device:
        raise ValueError(
            f"kmeans_assign: centroids must be floats on {x.device} as x is, got {centroids.dtype} on "
            f"{centroids.device}; convert or move them"
        )
    backend = choose_for("kmeans_assign", backend, x)
    problems = (x, centroids) if x.dim() == 3 else (x[None], centroids[None])
    labels, squares = _op(*(tensor.detach() for tensor in problems), distances, backend)
    if x.dim() == 2:
        labels, squares = labels[0], squares[0]
    return labels, squares if distances else None


def kmeans_assign_reference(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`kmeans_assign` in plain torch for x (B, N, D) and centroids (B, K, D), with distances."""
    accumulate = torch.promote_types(x.dtype, torch.float32)
    centroids = centroids.to(accumulate)
    squares = centroids.square().sum(-1)
    unusable = ~squares.isfinite()
    squares = squares.masked_fill(unusable, torch.inf)[:, None]
    ranked = centroids.masked_fill(unusable[..., None], 0.0).mT
    rows = max(1, _CHUNK // (max(1, len(x)) * max(centroids.shape[1:])))
    labels = x.new_empty(x.shape[:2], dtype=torch.int64)
    distances = x.new_empty(x.shape[:2], dtype=accumulate)
    # Index of a problem's first centroid among those of all problems.
    offsets = torch.arange(len(x), device=x.device)[:, None] * centroids.shape[1]
    for first in range(0, x.shape[1], rows):
        chunk = x[:, first : first + rows].to(accumulate)
        nearest = torch.baddbmm(squares, chunk, ranked, alpha=-2).min(-1).indices
        chosen = centroids.flatten(0, 1).index_select(0, (nearest + offsets).flatten())
        labels[:, first : first + rows] = nearest
        distances[:, first : first + rows] = (chunk - chosen.view_as(chunk)).square().sum(-1)
    return labels, distances


def _run(x: Tensor, centroids: Tensor, distances: bool, backend: str) -> tuple[Tensor, Tensor]:
    """labels (B, N) int64 and squared distances (B, N), without `distances` (B, 0), of x (B, N, D) to (B, K, D)."""
    if backend == "triton":
        from .kmeans_assign_triton import assign

        return assign(x, centroids, distances)
    if backend == "reference":
        labels, squares = kmeans_assign_reference(x, centroids)
    else:
        load_extension()
        labels, squares = torch.ops.vreid_fast.kmeans_assign_cpu(x, centroids)
    return labels, squares if distances else squares.new_empty(len(x), 0)


def _fake(x, centroids, distances, backend):
    accumulate = torch.promote_types(x.dtype, torch.float32) if backend == "reference" else torch.float32
    problems, samples, _ = x.shape
    return (
        x.new_empty((problems, samples), dtype=torch.int64),
        x.new_empty((problems, samples if distances else 0), dtype=accumulate),
    )


_op = register(
    "kmeans_assign(Tensor x, Tensor centroids, bool distances, str backend) -> (Tensor, Tensor)", _run, _fake
)
