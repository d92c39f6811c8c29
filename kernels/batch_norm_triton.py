"""Triton kernels of batch_norm's forward, 3 launches: moments of parts of the batch, their union, and the result.

Maps are rows of channels in memory. A part is a run of rows of one sample (of all samples where there are no groups),
and the first kernel knows no groups: the second picks the parts of each. So groups cost nothing, every sum has one
order, and nothing is added by atomics. Both kernels that read the maps fill the card once; the last one walks from the
end, where the caches still hold what the first has read.
"""

from functools import cache
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from .card import multiprocessors
from .sizes import cdiv, next_power_of_2

PROGRAMS, REGISTERS = 7, 72
"""Programs of 128 threads that a multiprocessor runs at once, and what each of their threads may then have."""
TILE = 4096
"""Bytes that a program reads at a time: fewer keep the memory waiting, more do not fit its registers."""


@triton.jit
def place(channels, positions, rows, parts, BLOCK_C: tl.constexpr):
    """Of a program that reads maps: its part, the sample of it, its first row, how many, its channels, and which of
    them there are. Neighbours read neighbouring memory."""
    slabs = tl.cdiv(channels, BLOCK_C)
    part = tl.program_id(0) // slabs
    channel = (tl.program_id(0) % slabs) * BLOCK_C + tl.arange(0, BLOCK_C)
    sample, first = part // parts, (part % parts) * rows
    row = sample.to(tl.int64) * positions + first
    return part, sample, row, tl.minimum(rows, positions - first), channel, channel < channels


@triton.jit
def group_of(groups, sample, group_count):
    """The group whose statistics normalise a sample, and whether the sample is one of those that make them."""
    group = sample * 0
    member = group == 0
    if groups is not None:
        given = tl.load(groups + sample).to(tl.int32)
        member = (given >= 0) & (given < group_count)
        group = tl.minimum(tl.where(given < 0, -1 - given, given), group_count - 1)
    return group, member


@triton.jit
def scale_of(weight, statistics, group, channel, inside, channels, group_count, eps):
    """Mean of some channels, 1 / deviation, and that times the weight."""
    at = statistics + group * channels + channel
    mean = tl.load(at, mask=inside, other=0.0)
    deviation = 1.0 / tl.sqrt_rn(tl.load(at + group_count * channels, mask=inside, other=0.0) + eps)
    scale = deviation
    if weight is not None:
        scale *= tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    return mean, deviation, scale


@triton.jit
def bias_of(bias, channel, inside, BLOCK_C: tl.constexpr):
    shift = tl.zeros([BLOCK_C], tl.float32)
    if bias is not None:
        shift += tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    return shift


@triton.jit
def batch_norm_moments_kernel(
    x, moments, channels, positions, rows, parts, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr
):
    """One program: means, and sums of squared deviations from them, of BLOCK_C channels of one part.

    Sums are of differences from the mean of the first rows. It is near enough to the mean of all that next to
    nothing cancels: if some value is far from the others, so is the deviation large.
    """
    part, _, row, length, channel, inside = place(channels, positions, rows, parts, BLOCK_C)
    lane = tl.arange(0, BLOCK_R)
    at = x + row * channels
    offset = lane[:, None] * channels + channel[None, :]
    mask = (lane < length)[:, None] & inside[None, :]
    value = tl.load(at + offset, mask=mask, other=0.0).to(tl.float32)
    shift = tl.sum(value, axis=0) / tl.minimum(length, BLOCK_R)
    total = tl.where(mask, value - shift[None, :], 0.0)
    squares = total * total
    for tile in range(1, tl.cdiv(length, BLOCK_R)):
        at += BLOCK_R * channels
        mask = (tile * BLOCK_R + lane < length)[:, None] & inside[None, :]
        value = tl.load(at + offset, mask=mask, other=0.0).to(tl.float32)
        difference = tl.where(mask, value - shift[None, :], 0.0)
        total += difference
        squares += difference * difference
    total = tl.sum(total, axis=0)
    mean = total / length
    squares = tl.sum(squares, axis=0) - total * mean
    squares = tl.maximum(squares, 0.0, propagate_nan=tl.PropagateNan.ALL)
    at = moments + part.to(tl.int64) * 2 * channels + channel
    tl.store(at, shift + mean, mask=inside)
    tl.store(at + channels, squares, mask=inside)


@triton.jit
def batch_norm_union_kernel(
    moments, groups, running_mean, running_var, batches, statistics,
    channels, positions, rows, parts, all_parts, group_count, tracked, momentum,
    CUMULATIVE: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """One program unites the parts of one group (Chan et al., 1979) and moves its running statistics."""
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    group = tl.program_id(1)
    inside = channel < channels
    count = tl.zeros([BLOCK_C], tl.float32)
    mean = tl.zeros([BLOCK_C], tl.float32)
    squares = tl.zeros([BLOCK_C], tl.float32)
    for first in range(0, all_parts, BLOCK_P):
        part = first + tl.arange(0, BLOCK_P)
        there = part < all_parts
        if groups is not None:
            there = there & (tl.load(groups + part // parts, mask=there, other=-1) == group)
        size = tl.where(there, tl.minimum(rows, positions - (part % parts) * rows), 0).to(tl.float32)
        mask = there[:, None] & inside[None, :]
        at = moments + part.to(tl.int64)[:, None] * 2 * channels + channel[None, :]
        of_part = tl.load(at, mask=mask, other=0.0)
        within = tl.load(at + channels, mask=mask, other=0.0)
        added = tl.sum(size)
        of_tile = tl.sum(of_part * size[:, None], axis=0) / tl.maximum(added, 1.0)
        apart = tl.where(mask, of_part - of_tile[None, :], 0.0)
        within = tl.sum(within + size[:, None] * apart * apart, axis=0)
        apart = of_tile - mean
        share = added / tl.maximum(count + added, 1.0)
        mean += apart * share
        squares += within + apart * apart * (count * share)
        count += added
    var = squares / tl.maximum(count, 1.0)
    at = statistics + group * channels + channel
    tl.store(at, mean, mask=inside)
    tl.store(at + group_count * channels, var, mask=inside)
    tl.store(at + 2 * group_count * channels, count, mask=inside)
    if running_mean is not None:
        inside = inside & (group < tracked) & (count > 0)
        share = momentum
        if CUMULATIVE:  # the last kernel counts this batch
            share = 1.0 / (tl.load(batches + group, mask=group < tracked, other=0).to(tl.float32) + 1.0)
        at = group * channels + channel
        old = tl.load(running_mean + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(running_mean + at, (1.0 - share) * old + share * mean, mask=inside)
        old = tl.load(running_var + at, mask=inside, other=0.0).to(tl.float32)
        var = squares / tl.maximum(count - 1.0, 1.0)
        tl.store(running_var + at, (1.0 - share) * old + share * var, mask=inside)


@triton.jit
def batch_norm_kernel(
    x, residual, weight, bias, statistics, groups, batches, out,
    channels, positions, rows, parts, group_count, tracked, eps,
    RELU: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """One program normalises BLOCK_C channels of one part, adds, and cuts at zero. The first counts the batch."""
    _, sample, row, length, channel, inside = place(channels, positions, rows, parts, BLOCK_C)
    if batches is not None:
        counters = tl.where(tl.program_id(0) == 0, tracked, 0)
        for group in range(counters):
            seen = tl.load(statistics + (2 * group_count + group) * channels) > 0
            tl.store(batches + group, tl.load(batches + group) + seen.to(tl.int64))
    lane = tl.arange(0, BLOCK_R)
    group, _ = group_of(groups, sample, group_count)
    mean, _, scale = scale_of(weight, statistics, group, channel, inside, channels, group_count, eps)
    shift = bias_of(bias, channel, inside, BLOCK_C)
    tiles = tl.cdiv(length, BLOCK_R)
    start = (row + (tiles - 1) * BLOCK_R) * channels
    offset = lane[:, None] * channels + channel[None, :]
    for back in range(tiles):
        mask = ((tiles - 1 - back) * BLOCK_R + lane < length)[:, None] & inside[None, :]
        value = tl.load(x + start + offset, mask=mask, other=0.0).to(tl.float32)
        value = tl.fma(value - mean[None, :], scale[None, :], shift[None, :])
        if residual is not None:
            value += tl.load(residual + start + offset, mask=mask, other=0.0).to(tl.float32)
        if RELU:
            value = tl.maximum(value, 0.0, propagate_nan=tl.PropagateNan.ALL)
        tl.store(out + start + offset, value, mask=mask)
        start -= BLOCK_R * channels


class Parts(NamedTuple):
    """How maps are cut."""

    sizes: tuple[int, int, int]
    """Rows of a sample (without groups the whole batch counts as one), rows of a part, parts of a sample."""
    all_parts: int
    """Parts of all samples."""
    grid: tuple[int]
    """Programs that read the maps."""
    tile: dict[str, int]
    """Launch options of such a program."""
    union: dict[str, int]
    """Launch options of a program that walks over all parts of 8 channels."""


def cut(x: Tensor, groups: Tensor | None, several: bool) -> Parts:
    """Parts of maps (N, C, H, W) for as many programs as run at once. `several`: whether they read other maps too."""
    samples, channels, height, width = x.shape
    positions = height * width
    if groups is None:
        samples, positions = 1, samples * positions
    return _parts(samples, channels, positions, multiprocessors(x.device), x.element_size() * (2 if several else 1))


@cache
def _parts(samples: int, channels: int, positions: int, processors: int, size: int) -> Parts:
    """size: bytes of a number of all maps that are read."""
    block_c = min(next_power_of_2(channels), 64)
    block_r = TILE // size // block_c
    slabs = cdiv(channels, block_c)
    wanted = max(1, processors * PROGRAMS // (samples * slabs))
    rows = cdiv(cdiv(positions, wanted), block_r) * block_r
    parts = cdiv(positions, rows)
    # Channels that are no multiple of 16 are read one by one, which takes more registers.
    registers = REGISTERS if channels % 16 == 0 else 168
    options = {"BLOCK_R": block_r, "BLOCK_C": block_c, "num_warps": 4, "maxnreg": registers}
    block_p = min(max(next_power_of_2(samples * parts), 16), 1024)
    union = {"BLOCK_P": block_p, "BLOCK_C": 8, "num_warps": 8 if block_p > 256 else 4, "maxnreg": 128}
    return Parts((positions, rows, parts), samples * parts, (samples * parts * slabs,), options, union)


def forward(
    x, weight, bias, residual, running_mean, running_var, batches, groups, group_count, momentum, eps, relu
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """See batch_norm.py; x and residual channels_last."""
    out, channels = torch.empty_like(x), x.shape[1]
    weight, bias, groups = (None if tensor is None else tensor.contiguous() for tensor in (weight, bias, groups))
    running = running_mean, running_var, batches, momentum
    statistics = statistics_of(x, groups, group_count, running)
    if x.numel() == 0:
        return out, statistics
    parts = cut(x, groups, several=residual is not None)
    batch_norm_kernel[parts.grid](
        x, residual, weight, bias, statistics, groups, batches, out,
        channels, *parts.sizes, group_count, _tracked(running_mean), float(eps), RELU=relu, **parts.tile,
    )  # fmt: skip
    return out, statistics


def statistics_of(x, groups, group_count, running=(None, None, None, 0.0)) -> Tensor:
    """(3, G, C): mean, mean squared deviation, number of values.

    running: mean and variance, which follow, the counter of batches, and the momentum.
    """
    channels = x.shape[1]
    if x.numel() == 0:
        return x.new_zeros((3, group_count, channels), dtype=torch.float32)
    statistics = x.new_empty((3, group_count, channels), dtype=torch.float32)
    running_mean, running_var, batches, momentum = running
    groups = None if groups is None else groups.contiguous()
    parts = cut(x, groups, several=False)
    moments = x.new_empty((parts.all_parts, 2, channels), dtype=torch.float32)
    batch_norm_moments_kernel[parts.grid](x, moments, channels, *parts.sizes, **parts.tile)
    batch_norm_union_kernel[(cdiv(channels, 8), group_count)](
        moments, groups, running_mean, running_var, batches, statistics,
        channels, *parts.sizes, parts.all_parts, group_count, _tracked(running_mean),
        0.0 if momentum is None else float(momentum), CUMULATIVE=momentum is None, **parts.union,
    )  # fmt: skip
    return statistics


def _tracked(running_mean) -> int:
    """R, the groups that have running statistics."""
    return 1 if running_mean is None or running_mean.dim() == 1 else len(running_mean)
