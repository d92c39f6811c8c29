"""K-means on the CPU in C++ (csrc/kmeans.cpp), which has the two forms of kmeans_reference.py."""

from __future__ import annotations

import torch
from torch import Tensor

from .backends import load_extension

# Bytes of the largest matrix of inner products.
_MEMORY = 2**26


def fits(samples: int, width: int, clusters: int, restarts: int) -> bool:
    """Whether the inner products of the samples are to be held, and worked on."""
    return 4 * samples**2 <= _MEMORY


def kmeans_cpp(
    x: Tensor, clusters: int, restarts: int, iterations: int, init: Tensor | None, seed: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """labels (B, N), centroids (B, K, D), inertia (B,), counts (B, K) of x (B, N, D) and init (B, K, D) or None."""
    load_extension()
    on_products = fits(*x.shape[1:], clusters, restarts if init is None else 1)
    return torch.ops.vreid_fast.kmeans_cpu(x, clusters, restarts, iterations, init, seed, on_products)
