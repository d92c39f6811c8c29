"""K-means with k-means++ seeding and restarts, without touching any global random state.

The definition is in kmeans_reference.py. It has two forms: "gram", for few samples, works on their inner
products (on a GPU in kmeans_gram_triton.py: all iterations in one launch), "samples" on themselves
(kmeans_samples_triton.py). On the CPU both are C++ (kmeans_cpp.py).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .backends import choose_for
from .counter_random import as_seed
from .kmeans_cpp import kmeans_cpp
from .kmeans_reference import kmeans_reference
from .registration import register

# What the kernels hold at once.
MOST_CANDIDATES = 64


class KMeans(NamedTuple):
    """Of the best restart; with a leading B for batched problems.

    labels: (N,) int64, for each sample the nearest of `centroids`.
    centroids: (K, D) float32 (float64 for float64).
    inertia: () sum of squared distances of the samples to their centroids.
    counts: (K,) int64 samples of each label.
    """

    labels: Tensor
    centroids: Tensor
    inertia: Tensor
    counts: Tensor


def kmeans(
    x: Tensor,
    clusters: int,
    *,
    restarts: int = 10,
    iterations: int = 25,
    init: str | Tensor = "k-means++",
    seed: int | Tensor = 0,
    candidates: int | None = None,
    backend: str | None = None,
) -> KMeans:
    """Lloyd's k-means; of `restarts` runs the one of least inertia. No gradient.

    A run assigns the samples to the initial centroids, then repeats up to `iterations` times: centroids
    become the means of their samples, and samples are assigned again; it stops when no label changes.
    The rules, as scikit-learn's where it states them:

    - A sample at equal distance of several centroids goes to the lowest index.
    - An empty cluster is re-seeded at the sample farthest from its own centroid, several at the farthest
      in turn (lowest cluster index first); a sample that is alone in its cluster is not taken.
    - Labels match the returned centroids, also when `iterations` ran out.
    - Seeding is greedy k-means++ as in scikit-learn, from numbers that are a function of (seed, problem,
      restart, centroid) alone.
    - NaN or infinite input gives labels in range and an inertia that is not finite; nothing is raised,
      since on a GPU the look would wait for the device.

    Args:
        x: (N, D) samples, or (B, N, D) for B problems at once; float16 and bfloat16 are summed in float32.
        clusters: K <= N.
        restarts: runs from different k-means++ seeds; one run when `init` is a tensor.
        iterations: at least 1.
        init: "k-means++", or initial centroids (K, D), or (B, K, D) for batched x.
        seed: int or 0-d int64 tensor.
        candidates: samples that k-means++ draws for each centroid, to take the one that leaves the least inertia;
            1 is k-means++ as published. None is scikit-learn's number, 2 + log K.
        backend: "reference", "triton", "cpp" or None for the best present (float64: "reference"). On a GPU the
            reference waits for the device in every iteration; "triton" never does.

    Raises:
        ValueError: a wrong shape, device or number, or more clusters than samples.
        TypeError: a dtype that the backend does not take.
    """
    if x.dim() not in (2, 3) or not x.is_floating_point():
        raise ValueError(
            f"kmeans: x must be floats (N, D) or (B, N, D), got {tuple(x.shape)} {x.dtype}; convert or reshape it"
        )
    samples = x.shape[-2]
    if not 1 <= clusters <= samples or x.shape[-1] == 0:
        raise ValueError(
            f"kmeans: clusters must be in 1..N, got {clusters} clusters for x {tuple(x.shape)} with "
            f"N = {samples}; pass more samples or ask for fewer clusters"
        )
    if restarts < 1 or iterations < 1:
        raise ValueError(
            f"kmeans: restarts and iterations must be at least 1, got {restarts} and {iterations}; ask for more"
        )
    if candidates is None:
        candidates = 2 + int(math.log(clusters))
    if not 1 <= candidates <= MOST_CANDIDATES:
        raise ValueError(f"kmeans: candidates must be in 1..{MOST_CANDIDATES}, got {candidates}; None is 2 + log K")
    if isinstance(init, Tensor):
        wanted = (*x.shape[:-2], clusters, x.shape[-1])
        if init.shape not in (wanted, wanted[-2:]):
            raise ValueError(
                f"kmeans: init must be {wanted} for x {tuple(x.shape)}, got {tuple(init.shape)}; "
                "give a centroid for each cluster"
            )
        if not init.is_floating_point() or init.device != x.device:
            raise ValueError(
                f"kmeans: init must be floats on {x.device} as x is, got {init.dtype} on {init.device}; "
                "convert or move it"
            )
        given = init.detach().expand(wanted)
        given = given if x.dim() == 3 else given[None]
    elif init != "k-means++":
        raise ValueError(f"kmeans: init must be 'k-means++' or a tensor of centroids, got {init!r}; choose one")
    else:
        given = None
    backend = choose_for("kmeans", backend, x)
    problems = x.detach() if x.dim() == 3 else x.detach()[None]
    seed = as_seed("kmeans", seed, x.device)
    found = _op(problems, clusters, restarts, iterations, given, seed, candidates, backend)
    return KMeans(*(found if x.dim() == 3 else (tensor[0] for tensor in found)))


def _run(
    x: Tensor, clusters: int, restarts: int, iterations: int, init: Tensor | None, seed: Tensor, candidates: int,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """labels (B, N), centroids (B, K, D), inertia (B,), counts (B, K) of x (B, N, D) and init (B, K, D)."""
    if backend == "reference":
        run = kmeans_reference
    elif backend == "cpp":
        run = kmeans_cpp
    else:
        from .kmeans_gram_triton import fits, kmeans_gram
        from .kmeans_samples_triton import kmeans_samples

        run = kmeans_gram if fits(x.shape[1]) else kmeans_samples
    return run(x, clusters, restarts if init is None else 1, iterations, init, seed, candidates)


def _fake(x, clusters, restarts, iterations, init, seed, candidates, backend):
    problems, samples, width = x.shape
    accumulate = torch.promote_types(x.dtype, torch.float32) if backend == "reference" else torch.float32
    return (
        x.new_empty((problems, samples), dtype=torch.int64),
        x.new_empty((problems, clusters, width), dtype=accumulate),
        x.new_empty((problems,), dtype=accumulate),
        x.new_empty((problems, clusters), dtype=torch.int64),
    )


_op = register(
    "kmeans(Tensor x, int clusters, int restarts, int iterations, Tensor? init, Tensor seed, int candidates, "
    "str backend) -> (Tensor, Tensor, Tensor, Tensor)",
    _run,
    _fake,
)
