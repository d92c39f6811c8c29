"""Triton k-means for few samples: seeding and all of Lloyd's iterations in one launch.

k-means sees the samples through their inner products alone. These N x N numbers are computed once; runs then
hold labels and distances in registers and never look at the D features. Up to 64 samples and 16 restarts the
one launch does all, from the samples to the centroids of the best run.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .kmeans_assign_triton import assign_about
from .kmeans_distances_triton import distances_to
from .kmeans_gram_steps_triton import any_empty, fill_empty, finish, nearest, products, seeded
from .kmeans_means_triton import means
from .kmeans_reference import middle_of
from .least_triton import least


@triton.jit
def kmeans_products_kernel(
    x, middle, gram, samples, width, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr
):  # fmt: skip
    """One program computes a BLOCK_N x BLOCK_N tile of the inner products of x - middle, (B, N, N)."""
    tiles = tl.cdiv(samples, BLOCK_N)
    problem = (tl.program_id(0) // (tiles * tiles)).to(tl.int64)
    tile = tl.program_id(0) % (tiles * tiles)
    i = (tile // tiles) * BLOCK_N + tl.arange(0, BLOCK_N)
    j = (tile % tiles) * BLOCK_N + tl.arange(0, BLOCK_N)
    feature = tl.arange(0, BLOCK_D)
    row = x + (problem * samples + i)[:, None] * width
    column = x + (problem * samples + j)[None, :] * width
    inner = tl.zeros([BLOCK_N, BLOCK_N], tl.float32)
    for start in range(0, width, BLOCK_D):
        at = start + feature
        known = at < width
        shift = tl.load(middle + problem * width + at, mask=known, other=0.0)
        a = tl.load(row + at[None, :], mask=(i < samples)[:, None] & known[None, :], other=0.0)
        b = tl.load(column + at[:, None], mask=(j < samples)[None, :] & known[:, None], other=0.0)
        a, b = a.to(tl.float32) - shift[None, :], b.to(tl.float32) - shift[:, None]
        inner = tl.dot(a, b, inner, input_precision="tf32x3")
    mask = (i < samples)[:, None] & (j < samples)[None, :]
    tl.store(gram + (problem * samples + i)[:, None] * samples + j[None, :], inner, mask=mask)


@triton.jit
def kmeans_gram_kernel(
    x, gram, seed, labels, distances, members, centroids, inertia, counts,
    samples, clusters, width, restarts, iterations, trials,
    WHOLE: tl.constexpr, SEEDED: tl.constexpr, TRIALS: tl.constexpr, TYPE: tl.constexpr, RUNS: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One program is RUNS restarts of one problem, in step.

    With WHOLE these are all: the inner products are computed here and the best run's labels (B, N), centroids,
    inertia and counts written. Otherwise RUNS is 1, `gram` (B, N, N) is given, and labels and members (P, N)
    and the inertia (P,) of every run are written. Without SEEDED, `labels` and `distances` (P, N) hold those of
    the initial centroids. `members` is scratch for RUNS rows a program.
    """
    groups = tl.cdiv(restarts, RUNS)
    problem = (tl.program_id(0) // groups).to(tl.int64)
    run = (tl.program_id(0) % groups) * RUNS + tl.arange(0, RUNS)
    stream = problem * restarts + run
    gram += problem * samples * samples
    x += problem * samples * width
    i = tl.arange(0, BLOCK_N)
    inside = i < samples
    if WHOLE:
        products(x, gram, samples, width, i, BLOCK_N, BLOCK_D)
        tl.debug_barrier()
    squares = tl.load(gram + i * samples + i, mask=inside, other=0.0)
    at = stream[:, None] * samples + i[None, :]
    exists = (run < restarts)[:, None] & inside[None, :]
    if SEEDED:
        label, distance = seeded(gram, squares, tl.load(seed), stream, samples, clusters, trials, i, TRIALS)
    else:
        label = tl.load(labels + at, mask=exists, other=0).to(tl.int32)
        distance = tl.load(distances + at, mask=exists, other=0.0)
    members += tl.program_id(0).to(tl.int64) * RUNS * samples
    own = tl.arange(0, RUNS)[:, None] * samples
    member = label
    active = run < restarts
    step = 0
    while (step < iterations) & (tl.max(active.to(tl.int32), axis=0) > 0):
        filled = label
        if WHOLE:
            if any_empty(label, inside, clusters):
                filled = fill_empty(label, distance, inside, i, clusters, RUNS, BLOCK_K)
        else:
            filled = fill_empty(label, distance, inside, i, clusters, RUNS, BLOCK_K)
        member = tl.where(active[:, None], filled, member)
        tl.store(members + own + i[None, :], member, mask=inside[None, :])
        tl.debug_barrier()
        before = label
        label, distance = nearest(
            gram, squares, member, members, samples, clusters, i, TYPE, RUNS, BLOCK_N, BLOCK_K, BLOCK_J
        )
        moved = tl.sum(((label != before) & inside[None, :]).to(tl.int32), axis=1)
        active = active & (moved > 0)
        step += 1
        tl.debug_barrier()
    left = tl.sum(distance, axis=1)
    if WHOLE:
        _, taken = least(tl.where(run < restarts, left, float("inf")), 0)
        best = run == taken
        label = tl.sum(tl.where(best[:, None], label, 0), axis=0)
        member = tl.sum(tl.where(best[:, None], member, 0), axis=0)
        finish(
            x, label, member, labels + problem * samples, centroids + problem * clusters * width,
            inertia + problem, counts + problem * clusters, samples, clusters, width, i,
            TYPE, BLOCK_N, BLOCK_D,
        )  # fmt: skip
    else:
        tl.store(labels + at, label.to(tl.int64), mask=exists)
        tl.store(inertia + stream, left, mask=run < restarts)


def fits(samples: int) -> bool:
    """Whether the state of a run fits one program's registers."""
    return samples <= 512


def fits_one_program(samples: int, restarts: int) -> bool:
    """Whether the state of all runs does."""
    return samples <= 64 and restarts <= 16


def kmeans_gram(x, clusters, restarts, iterations, init, seed, candidates) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """labels (B, N), centroids (B, K, D), inertia (B,), counts (B, K) of x (B, N, D) and init (B, K, D) or None."""
    x = x.contiguous()
    batch, samples, width = x.shape
    whole = fits_one_program(samples, restarts)
    runs = triton.next_power_of_2(restarts) if whole else 1
    programs = batch if whole else batch * restarts

    def empty(*shape, dtype=torch.float32):
        return torch.empty(shape, dtype=dtype, device=x.device)

    labels, distances = empty(programs, samples, dtype=torch.int64), None
    if init is not None:
        labels, distances = assign_about(middle_of(x), x, init)
    gram, inertia = empty(batch, samples, samples), empty(programs)
    members = empty(programs * runs, samples, dtype=torch.int32)
    counts = empty(batch, clusters, dtype=torch.int64)
    centroids = empty(batch, clusters, width) if whole else None
    if whole:
        # Larger tiles would spill.
        tile = {"BLOCK_K": max(2, 16 // runs), "BLOCK_J": 64, "num_warps": 8}
    else:
        _products_of_all(x, gram)
        tile = {"BLOCK_K": 16, "BLOCK_J": 16, "num_warps": 8}
    if programs:
        kmeans_gram_kernel[(programs,)](
            x, gram, seed, labels, distances, members, centroids, inertia, counts,
            samples, clusters, width, restarts, iterations, candidates,
            WHOLE=whole, SEEDED=init is None, TRIALS=triton.next_power_of_2(candidates),
            TYPE=tl.float32 if triton.knobs.runtime.interpret else tl.bfloat16, RUNS=runs,
            BLOCK_N=max(16, triton.next_power_of_2(samples)), BLOCK_D=32, num_stages=1, maxnreg=255, **tile,
        )  # fmt: skip
    if centroids is not None:
        return labels, centroids, inertia, counts
    best = inertia.view(batch, restarts).argmin(1)[:, None, None].expand(-1, 1, samples)
    labels = labels.view(batch, restarts, samples).gather(1, best)[:, 0]
    members = members.view(batch, restarts, samples).gather(1, best)[:, 0]
    centroids = means(x, members, clusters)
    counts.zero_().scatter_add_(1, labels, torch.ones_like(labels))
    return labels, centroids, distances_to(x, centroids, labels).sum(1), counts


def _products_of_all(x, gram):
    """gram (B, N, N) becomes the inner products of x (B, N, D) less its middle."""
    batch, samples, width = x.shape
    block = 16 if samples <= 128 else 32
    if batch:
        kmeans_products_kernel[(batch * triton.cdiv(samples, block) ** 2,)](
            x, middle_of(x), gram, samples, width, BLOCK_N=block, BLOCK_D=64, maxnreg=255
        )
