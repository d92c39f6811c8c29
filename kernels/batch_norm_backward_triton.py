"""Triton kernels of batch_norm's backward, 3 launches: sums over parts of the batch, their union, gradient of x.

The ReLU's mask is not stored. With a residual it is the sign of the result, and the first kernel writes the masked
gradient, which is that of the residual and all that the last kernel needs. So it can be of two parts: see
batch_norm_twice.py. Without one the result follows from x, by the same operations as in the forward. (A float16 result
that was rounded to zero then still has a gradient.)
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .batch_norm_triton import bias_of, cut, group_of, place, scale_of
from .sizes import cdiv


@triton.jit
def batch_norm_sums_kernel(
    grad, again, x, out, weight, bias, statistics, groups, masked, sums,
    channels, positions, rows, parts, group_count, eps,
    RELU: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """One program: sums over one part of the gradient behind the ReLU, and of it times x - mean.

    again: with `out` alone, another part of the gradient.
    """
    part, sample, row, length, channel, inside = place(channels, positions, rows, parts, BLOCK_C)
    lane = tl.arange(0, BLOCK_R)
    group, _ = group_of(groups, sample, group_count)
    mean, _, scale = scale_of(weight, statistics, group, channel, inside, channels, group_count, eps)
    shift = bias_of(bias, channel, inside, BLOCK_C)
    start = row * channels
    offset = lane[:, None] * channels + channel[None, :]
    total = tl.zeros([BLOCK_R, BLOCK_C], tl.float32)
    product = tl.zeros([BLOCK_R, BLOCK_C], tl.float32)
    for tile in range(tl.cdiv(length, BLOCK_R)):
        mask = (tile * BLOCK_R + lane < length)[:, None] & inside[None, :]
        value = tl.load(grad + start + offset, mask=mask, other=0.0).to(tl.float32)
        difference = tl.load(x + start + offset, mask=mask, other=0.0).to(tl.float32) - mean[None, :]
        if out is not None:
            if again is not None:
                value += tl.load(again + start + offset, mask=mask, other=0.0).to(tl.float32)
            result = tl.load(out + start + offset, mask=mask, other=0.0).to(tl.float32)
            value = tl.where(result <= 0, 0.0, value)
            tl.store(masked + start + offset, value, mask=mask)
        elif RELU:
            value = tl.where(tl.fma(difference, scale[None, :], shift[None, :]) <= 0, 0.0, value)
        total += value
        product += value * difference
        start += BLOCK_R * channels
    at = sums + part.to(tl.int64) * 2 * channels + channel
    tl.store(at, tl.sum(total, axis=0), mask=inside)
    tl.store(at + channels, tl.sum(product, axis=0), mask=inside)


@triton.jit
def batch_norm_sums_union_kernel(
    sums, groups, statistics, means, grad_weight, grad_bias, channels, parts, all_parts, group_count, eps,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """One program adds the parts of each group, and the groups to gradients of weight and bias.

    means: (2, G, C), what every sample of a group gives up: a constant, and a multiple of x - mean.
    """
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = channel < channels
    of_weight = tl.zeros([BLOCK_C], tl.float32)
    of_bias = tl.zeros([BLOCK_C], tl.float32)
    for group in range(group_count):
        total = tl.zeros([BLOCK_C], tl.float32)
        product = tl.zeros([BLOCK_C], tl.float32)
        for first in range(0, all_parts, BLOCK_P):
            part = first + tl.arange(0, BLOCK_P)
            there = part < all_parts
            if groups is not None:
                given = tl.load(groups + part // parts, mask=there, other=0).to(tl.int32)
                given = tl.minimum(tl.where(given < 0, -1 - given, given), group_count - 1)
                there = there & (given == group)
            mask = there[:, None] & inside[None, :]
            at = sums + part.to(tl.int64)[:, None] * 2 * channels + channel[None, :]
            total += tl.sum(tl.load(at, mask=mask, other=0.0), axis=0)
            product += tl.sum(tl.load(at + channels, mask=mask, other=0.0), axis=0)
        _, deviation, _ = scale_of(None, statistics, group, channel, inside, channels, group_count, eps)
        at = group * channels + channel
        count = tl.load(statistics + 2 * group_count * channels + at, mask=inside, other=1.0)
        count = tl.maximum(count, 1.0)
        tl.store(means + at, total / count, mask=inside)
        tl.store(means + group_count * channels + at, product * deviation * deviation / count, mask=inside)
        of_bias += total
        of_weight += product * deviation
    tl.store(grad_weight + channel, of_weight, mask=inside)
    tl.store(grad_bias + channel, of_bias, mask=inside)


@triton.jit
def batch_norm_grad_kernel(
    grad, x, weight, bias, statistics, means, groups, grad_x,
    channels, positions, rows, parts, group_count, eps,
    RELU: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """One program: the gradient of BLOCK_C channels of one part, from its end."""
    _, sample, row, length, channel, inside = place(channels, positions, rows, parts, BLOCK_C)
    lane = tl.arange(0, BLOCK_R)
    group, member = group_of(groups, sample, group_count)
    mean, _, scale = scale_of(weight, statistics, group, channel, inside, channels, group_count, eps)
    shift = bias_of(bias, channel, inside, BLOCK_C)
    at = means + group * channels + channel
    constant = tl.load(at, mask=inside & member, other=0.0)
    multiple = tl.load(at + group_count * channels, mask=inside & member, other=0.0)
    tiles = tl.cdiv(length, BLOCK_R)
    start = (row + (tiles - 1) * BLOCK_R) * channels
    offset = lane[:, None] * channels + channel[None, :]
    for back in range(tiles):
        mask = ((tiles - 1 - back) * BLOCK_R + lane < length)[:, None] & inside[None, :]
        value = tl.load(grad + start + offset, mask=mask, other=0.0).to(tl.float32)
        difference = tl.load(x + start + offset, mask=mask, other=0.0).to(tl.float32) - mean[None, :]
        if RELU:
            value = tl.where(tl.fma(difference, scale[None, :], shift[None, :]) <= 0, 0.0, value)
        value = (value - constant[None, :] - difference * multiple[None, :]) * scale[None, :]
        tl.store(grad_x + start + offset, value, mask=mask)
        start -= BLOCK_R * channels


def backward(grad, again, x, out, weight, bias, statistics, groups, eps, relu) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See batch_norm.py. A gradient that is not channels_last is copied first."""
    channels, group_count = x.shape[1], statistics.shape[1]
    grad, again = (
        None if part is None else part.contiguous(memory_format=torch.channels_last) for part in (grad, again)
    )
    weight, bias, groups = (None if tensor is None else tensor.contiguous() for tensor in (weight, bias, groups))
    grad_x = torch.empty_like(x)
    masked = x.new_empty(0) if out is None else torch.empty_like(x)
    make = x.new_zeros if x.numel() == 0 else x.new_empty
    grad_weight, grad_bias = (
        make(channels, dtype=torch.float32 if parameter is None else parameter.dtype) for parameter in (weight, bias)
    )
    if x.numel() == 0:
        return grad_x, grad_weight, grad_bias, masked
    parts = cut(x, groups, several=True)
    sums = x.new_empty((parts.all_parts, 2, channels), dtype=torch.float32)
    means = x.new_empty((2, group_count, channels), dtype=torch.float32)
    eps = float(eps)  # an int would be another type to the kernels
    sizes = channels, *parts.sizes, group_count, eps
    batch_norm_sums_kernel[parts.grid](
        grad, again, x, out, weight, bias, statistics, groups, masked, sums, *sizes, RELU=relu, **parts.tile
    )
    batch_norm_sums_union_kernel[(cdiv(channels, 8),)](
        sums, groups, statistics, means, grad_weight, grad_bias,
        channels, parts.sizes[2], parts.all_parts, group_count, eps, **parts.union,
    )  # fmt: skip
    batch_norm_grad_kernel[parts.grid](
        grad if out is None else masked, x, weight, bias, statistics, means, groups, grad_x, *sizes,
        RELU=relu and out is None, **parts.tile,
    )  # fmt: skip
    return grad_x, grad_weight, grad_bias, masked
