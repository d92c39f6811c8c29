"""What the cost model looks at: launches at the sizes of the benchmarks, and the fewest bytes that they have to move.

A case runs the launchers themselves, on meta tensors to see what they launch, and at a small size on the CPU, where
Triton's interpreter counts the bytes that are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Make = Callable[..., Tensor]
"""A tensor of a shape, and a dtype (bfloat16), on the device of the run; integers are zeros."""


class Case(NamedTuple):
    op: str
    name: str
    """Of the row in results/, where there is one."""
    provider: str
    launch: Callable
    """launch(make, *sizes)."""
    fewest: Callable[..., int]
    """Bytes (*sizes): what goes in is read once and what comes out written once, but for what the definition asks."""
    flops: Callable[..., int]
    sizes: tuple
    small: tuple
    """Sizes that the interpreter can run in seconds; () = it is not asked."""
    why: str = ""
    """The measured time is another."""


def temporal_pool(make: Make, clips: int, frames: int, width: int, maximum: bool, channels_last: bool) -> None:
    from vreid_fast.kernels.temporal_pool_triton import backward, forward

    maps = make(clips * frames, width, 16, 8)
    maps = rows_of(maps) if channels_last else maps
    features, pooled, index = forward(maps, frames, None, maximum)
    backward(features, pooled, None, index, frames, 16, 8, channels_last, maximum)


def gather_clips(make: Make, clips: int, frames: int, height: int, width: int) -> None:
    from vreid_fast.kernels.gather_clips_triton import gather

    images, rows = make(clips * frames, height, width, 3, dtype=torch.uint8), make(clips, frames, dtype=torch.int64)
    out = make(clips, frames, height, width, 3).permute(0, 1, 4, 2, 3)
    gather(out, images, rows, make(clips, 7, dtype=torch.int32), [1.0] * 3, [2.0] * 3)


def combined_regression(make: Make, clips: int, frames: int, width: int, hidden: int) -> None:
    from vreid_fast.kernels.combined_regression_triton import backward, forward

    features = make(clips, frames, width)
    groups, domains, seed = make(clips, 4, dtype=torch.int64), make(clips, dtype=torch.int64), make(dtype=torch.int64)
    head = [make(*shape) for shape in ((hidden, width), (hidden,), (2, hidden), (2,))]
    found = forward(features, domains, groups, *head, 0.5, seed, None)
    strength = make(dtype=torch.float32)
    backward(found[0], None, None, features, groups, *head, strength, 0.5, None, *found[1:])


def kmeans_assign(
    make: Make, samples: int, width: int, clusters: int, dtype: torch.dtype, distances: bool = True
) -> None:
    from vreid_fast.kernels import kmeans_assign_few_triton, kmeans_assign_triton

    kmeans_assign_few_triton.multiprocessors = kmeans_assign_triton.multiprocessors = lambda device: 132
    x, centroids = make(1, samples, width, dtype=dtype), make(1, clusters, width, dtype=dtype)
    kmeans_assign_triton.assign(x, centroids, distances)


def split_assign(make: Make, samples: int, width: int, clusters: int) -> None:
    """Of half-precision samples to float32 centroids, as in k-means."""
    from vreid_fast.kernels.kmeans_assign_triton import assign

    assign(make(1, samples, width), make(1, clusters, width, dtype=torch.float32))


def batch_norm(
    make: Make, samples: int, channels: int, height: int, width: int, residual: bool, twice: bool = False
) -> None:
    from vreid_fast.kernels import batch_norm_triton
    from vreid_fast.kernels.batch_norm_backward_triton import backward

    def processors(device: torch.device) -> int:
        return 132 if device.type == "meta" else 1

    batch_norm_triton.multiprocessors = processors
    x = rows_of(make(samples, channels, height, width))
    added = torch.empty_like(x).zero_() if residual else None
    weight, bias, mean, var = (make(channels, dtype=torch.float32) for _ in range(4))
    counter = make(dtype=torch.int64)
    out, statistics = batch_norm_triton.forward(
        x, weight, bias, added, mean, var, counter, None, 1, 0.1, 1e-5, True
    )  # fmt: skip
    again = torch.empty_like(x).zero_() if twice else None
    backward(out, again, x, out if residual else None, weight, bias, statistics, None, 1e-5, True)


def rows_of(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)


def _norm(samples: int, channels: int, height: int, width: int, residual: bool, twice: bool = False) -> Case:
    ending = "add, ReLU" if residual else "ReLU"
    ending += ", given out twice" if twice else ""
    return Case(
        "batch_norm", f"{samples}x{channels}x{height}x{width} {ending} bfloat16", "vreid_fast", batch_norm,
        # Twice over the maps in either direction, over the residual or the mask that it makes necessary, and once over
        # a second gradient.
        lambda n, c, h, w, more, twice: ((11 if more else 8) + twice) * 2 * n * c * h * w,
        lambda *_: 0, (samples, channels, height, width, residual, twice), (4, 64, 16, 32, residual, twice),
    )  # fmt: skip


def _assigned(samples: int, width: int, clusters: int, dtype: torch.dtype, distances: bool = True) -> Case:
    ending = "" if distances else ", labels alone"
    return Case(
        "kmeans_assign", f"{samples}x{width}/{clusters} {str(dtype).removeprefix('torch.')}{ending}", "vreid_fast",
        kmeans_assign, lambda n, d, k, kind, both: (n + k) * d * kind.itemsize + (12 if both else 8) * n,
        # One tile of clusters, or two where one would be another kernel's: for more of them caches have what is read.
        lambda n, d, k, *_: 2 * n * d * k, (samples, width, clusters, dtype, distances),
        (256, 128, 32 if clusters <= 128 else 144, dtype, distances),
        "measured as a call of its own, not a graph, "
        + ("before it was one launch" if clusters <= 128 else "before it had tensor descriptors and parts"),
    )  # fmt: skip


def _pooled(clips: int, maximum: bool = True, channels_last: bool = True) -> Case:
    ending = ("" if maximum else " mean") + ("" if channels_last else " NCHW")
    return Case(
        "temporal_pool", f"B{clips} T8 D2048 16x8 bfloat16{ending}", "vreid_fast, CUDA graph", temporal_pool,
        lambda b, t, d, *_: 2 * 2 * (b * t * d * 128 + b * t * d + b * d), lambda *_: 0,
        (clips, 8, 2048, maximum, channels_last), (2, 4, 256, maximum, channels_last),
        "measured before it was rewritten for fewer instructions",
    )  # fmt: skip


CASES = (
    _pooled(32), _pooled(64), _pooled(32, maximum=False), _pooled(32, channels_last=False),
    _pooled(32, maximum=False, channels_last=False),
    Case(
        "gather_clips", "B32 T8 256x128 bfloat16 channels_last", "vreid_fast", gather_clips,
        lambda b, t, h, w: 9 * b * t * h * w, lambda *_: 0, (32, 8, 256, 128), (2, 2, 64, 64),
        "measured before it was rewritten, as a call of its own, not a graph",
    ),
    Case(
        "combined_regression", "frames B32 T8 J32 S4 D2048 hidden 256 bfloat16", "vreid_fast, CUDA graph",
        combined_regression,
        # Frames and the first layer's weight: in, and their gradients out.
        lambda b, t, d, h: 2 * 2 * (b * t * d + h * d), lambda b, t, d, h: 3 * 2 * b * d * h, (32, 8, 2048, 256), (),
    ),
    _assigned(4096, 2048, 128, torch.bfloat16), _assigned(4096, 2048, 128, torch.bfloat16, False),
    _assigned(40000, 2048, 1000, torch.bfloat16), _assigned(40000, 2048, 1000, torch.bfloat16, False),
    _assigned(40000, 2048, 1000, torch.float32),
    _norm(256, 64, 128, 64, False), _norm(256, 256, 64, 32, True), _norm(256, 256, 64, 32, True, True),
    _norm(256, 512, 16, 8, False),
    _norm(256, 2048, 16, 8, True),
)  # fmt: skip
ODD = {
    "width 2047": lambda make: (
        kmeans_assign(make, 40000, 2047, 1000, torch.bfloat16), kmeans_assign(make, 40000, 2047, 1000, torch.float32),
        split_assign(make, 40000, 2047, 1000), combined_regression(make, 32, 8, 2047, 256),
        temporal_pool(make, 32, 8, 2047, True, True), batch_norm(make, 64, 2047, 16, 8, True),
    ),
}  # fmt: skip
"""Launches whose resources alone are looked at: rows that are not aligned."""
