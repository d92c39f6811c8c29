"""K-means on the CPU in C++ (csrc/kmeans.cpp), which has the two forms of kmeans_reference.py."""

from __future__ import annotations

import torch
from torch import Tensor

from .backends import load_extension

# Bytes of the largest matrix of inner products.
_MEMORY = 2**26


def fits(samples: int, width: int, clusters: int, restarts: int) -> bool:
    """Whether to work on the inner products of the samples, held in memory, rather than on the samples.

    The costs of N products a sample and of their sums in each restart, against those of K products a sample in each
    iteration; the factors are measured, for a usual number of iterations.
    """
    on_gram = samples * (width + 50 * restarts)
    on_samples = 45 * restarts * (clusters * width + 1000)
    return 4 * samples**2 <= _MEMORY and on_gram <= on_samples


def kmeans_cpp(
    x: Tensor, clusters: int, restarts: int, iterations: int, init: Tensor | None, seed: Tensor, candidates: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """labels (B, N), centroids (B, K, D), inertia (B,), counts (B, K) of x (B, N, D) and init (B, K, D) or None."""
    load_extension()
    _, samples, width = x.shape
    on_gram = fits(samples, width, clusters, restarts)
    return torch.ops.vreid_fast.kmeans_cpu(x, clusters, restarts, iterations, init, seed, candidates, on_gram)
