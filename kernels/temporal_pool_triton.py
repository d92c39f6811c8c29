"""Triton kernels of temporal_pool: the forward reads the maps once, the backward writes their gradient once.

One launch each, also where only one of the two outputs has a gradient (a gradient that is not contiguous is
copied first).
"""

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from .outputs import empty_maps
from .sizes import next_power_of_2

# Added to what orders floats as integers, modulo 2 ** 32: NaNs with a sign, the least of all, come out on top, where
# the others are, and -infinity is the least.
TURN = tl.constexpr(0x7F800000 - (1 << 31))


@triton.jit
def keys_of(value, position, TAG: tl.constexpr):
    """Integers in the order of `value`, NaN last; of equal values the first position has the greatest.

    The lowest TAG bits, which values of half precision leave free in float32, count positions down.
    """
    last: tl.constexpr = (1 << TAG) - 1
    bits = value.to(tl.float32).to(tl.int32, bitcast=True)
    sign = bits >> 31
    ordered = ((bits & (0x7FFFFFFF if TAG == 32 else 0x7FFFFFFF - last)) ^ sign) - sign  # -0 is 0
    if TAG == 32:
        return ((ordered + TURN).to(tl.int64) << 32) + (last - position.to(tl.int64))
    else:
        return ordered + (TURN + last - position)


@triton.jit
def read_keys(key, TAG: tl.constexpr):
    """(value, position) of keys_of."""
    last: tl.constexpr = (1 << TAG) - 1
    position = (last - (key & last)).to(tl.int32)
    ordered = ((key >> 32).to(tl.int32) if TAG == 32 else key & (-1 - last)) - TURN
    sign = ordered >> 31
    bits = ((ordered ^ sign) - sign) | (sign & -0x80000000)
    return bits.to(tl.float32, bitcast=True), position


@triton.jit
def temporal_pool_fwd_kernel(
    maps, lengths, frame_features, clip_features, index,
    frames, channels, positions, stride_map, stride_channel, stride_position,
    MAXIMUM: tl.constexpr, RAGGED: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
    TAG: tl.constexpr,
):  # fmt: skip
    """One program pools BLOCK_C channels of all frames of one clip."""
    slabs = tl.cdiv(channels, BLOCK_C)
    clip = (tl.program_id(0) // slabs).to(tl.int64)
    channel = ((tl.program_id(0) % slabs) * BLOCK_C + tl.arange(0, BLOCK_C)).to(tl.int64)
    inside = channel < channels
    lane = tl.arange(0, BLOCK_P)
    along = lane[:, None].to(tl.int64) * stride_position
    valid = frames
    if RAGGED:
        valid = tl.minimum(tl.maximum(tl.load(lengths + clip).to(tl.int32), 0), frames)
    total = tl.zeros([BLOCK_C], tl.float32)
    for t in range(valid):
        row = clip * frames + t
        tile = maps + row * stride_map + along + channel[None, :] * stride_channel
        if MAXIMUM:
            best = tl.full([BLOCK_C], -1 << (63 if TAG == 32 else 31), tl.int64 if TAG == 32 else tl.int32)
            for first in range(0, positions, BLOCK_P):
                mask = (first + lane < positions)[:, None] & inside[None, :]
                value = tl.load(tile + first * stride_position, mask=mask, other=float("-inf"))
                best = tl.maximum(best, tl.max(keys_of(value, first + lane[:, None], TAG), axis=0))
            feature, position = read_keys(best, TAG)
            tl.store(index + row * channels + channel, position, mask=inside)
        else:
            sums = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
            for first in tl.range(0, positions, BLOCK_P, num_stages=4):
                mask = (first + lane < positions)[:, None] & inside[None, :]
                sums += tl.load(tile + first * stride_position, mask=mask, other=0.0).to(tl.float32)
            feature = tl.sum(sums, axis=0) / positions
        total += feature
        tl.store(frame_features + row * channels + channel, feature, mask=inside)
    for t in range(valid, frames):
        row = clip * frames + t
        tl.store(frame_features + row * channels + channel, tl.zeros([BLOCK_C], tl.float32), mask=inside)
        if MAXIMUM:
            tl.store(index + row * channels + channel, tl.zeros([BLOCK_C], tl.int32), mask=inside)
    tl.store(clip_features + clip * channels + channel, total / tl.maximum(valid, 1), mask=inside)


@triton.jit
def temporal_pool_bwd_kernel(
    grad_frames, grad_clips, lengths, index, grad_maps,
    frames, channels, positions, stride_map, stride_channel, stride_position,
    MAXIMUM: tl.constexpr, RAGGED: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """One program writes BLOCK_C channels of one frame's map."""
    slabs = tl.cdiv(channels, BLOCK_C)
    row = (tl.program_id(0) // slabs).to(tl.int64)
    clip = row // frames
    channel = ((tl.program_id(0) % slabs) * BLOCK_C + tl.arange(0, BLOCK_C)).to(tl.int64)
    inside = channel < channels
    lane = tl.arange(0, BLOCK_P)
    along = lane[:, None].to(tl.int64) * stride_position
    valid = frames
    if RAGGED:
        valid = tl.minimum(tl.maximum(tl.load(lengths + clip).to(tl.int32), 0), frames)
    grad = tl.zeros([BLOCK_C], tl.float32)
    if grad_frames is not None:
        grad += tl.load(grad_frames + row * channels + channel, mask=inside, other=0.0).to(tl.float32)
    if grad_clips is not None:
        of_clip = tl.load(grad_clips + clip * channels + channel, mask=inside, other=0.0).to(tl.float32)
        grad += of_clip / tl.maximum(valid, 1)
    grad = tl.where(row % frames < valid, grad, 0.0)
    if MAXIMUM:
        position = tl.load(index + row * channels + channel, mask=inside, other=-1)
    else:
        grad = grad / positions
    tile = grad_maps + row * stride_map + along + channel[None, :] * stride_channel
    for first in range(0, positions, BLOCK_P):
        mask = (first + lane < positions)[:, None] & inside[None, :]
        if MAXIMUM:
            value = tl.where(first + lane[:, None] == position[None, :], grad[None, :], 0.0)
        else:
            value = tl.broadcast_to(grad[None, :], [BLOCK_P, BLOCK_C])
        tl.store(tile + first * stride_position, value, mask=mask)


# Of a float32 that holds a value of this type: room for its position.
FREE_BITS = {torch.bfloat16: 16, torch.float16: 13}
MAX_TILE = 4096  # values; all loads of a tile are under way at once


@cache
def blocks(channels: int, positions: int, channels_last: bool, size: int = 2048) -> dict[str, int]:
    """Launch options: a tile of at most `size` elements, long in the axis that is contiguous in memory.

    maxnreg: left to itself, the assembler spills to fit one more block on a multiprocessor.
    """
    long, short = (channels, positions) if channels_last else (positions, channels)
    limit = 256 if positions == 1 else 64 if channels_last else 128
    long = min(next_power_of_2(long), limit)
    short = min(next_power_of_2(short), size // long)
    block_c, block_p = (long, short) if channels_last else (short, long)
    return {"BLOCK_P": block_p, "BLOCK_C": block_c, "num_warps": 4, "maxnreg": 128}


def forward(maps, frames, lengths, maximum) -> tuple[Tensor, Tensor, Tensor]:
    """See temporal_pool.py; any strides in which rows and columns of a map collapse into one axis."""
    rows, channels, height, width = maps.shape
    if height > 1 and width > 1 and maps.stride(2) != width * maps.stride(3):
        maps = maps.contiguous()
    clips, positions = rows // frames, height * width
    lengths = None if lengths is None else lengths.contiguous()
    frame_features = maps.new_empty(clips, frames, channels)
    clip_features = maps.new_empty(clips, channels)
    index = maps.new_empty((rows if maximum else 0, channels), dtype=torch.int32)
    if rows == 0:
        return frame_features, clip_features, index
    # With one column the stride of a row is the step between positions.
    strides = maps.stride(0), maps.stride(1), maps.stride(3 if width > 1 else 2)
    tag = FREE_BITS.get(maps.dtype, 32)
    if positions > (1 << tag) - MAX_TILE:
        tag = 32
    last = strides[1] == 1
    size = MAX_TILE if maximum else 2048
    if maximum and (channels if last else positions) % 16:
        size = 1024  # rows that are not aligned are read value by value, which takes more registers
    tile = blocks(channels, positions, last, size)
    grid = (clips * -(-channels // tile["BLOCK_C"]),)
    temporal_pool_fwd_kernel[grid](
        maps, lengths, frame_features, clip_features, index, frames, channels, positions, *strides,
        MAXIMUM=maximum, RAGGED=lengths is not None, TAG=tag, **tile,
    )  # fmt: skip
    return frame_features, clip_features, index


def backward(grad_frames, grad_clips, lengths, index, frames, height, width, channels_last, maximum) -> Tensor:
    """See temporal_pool.py."""
    grad_maps = empty_maps(grad_frames, grad_clips, frames, height, width, channels_last)
    if grad_maps.shape[0] == 0:
        return grad_maps
    lengths, grad_frames, grad_clips = (
        None if tensor is None else tensor.contiguous() for tensor in (lengths, grad_frames, grad_clips)
    )
    (rows, channels), positions = grad_maps.shape[:2], height * width
    strides = channels * positions, *((1, channels) if channels_last else (positions, 1))
    tile = blocks(channels, positions, channels_last)
    grid = (rows * -(-channels // tile["BLOCK_C"]),)
    temporal_pool_bwd_kernel[grid](
        grad_frames, grad_clips, lengths, index, grad_maps,
        frames, channels, positions, *strides, MAXIMUM=maximum, RAGGED=lengths is not None, **tile,
    )  # fmt: skip
    return grad_maps
