"""Triton kernels of combined_regression between clips and combined clips, and the launchers.

Forward, 3 launches: gather and mean, over frames and groups; first layer with bias, ReLU and dropout; second
layer with softmax and loss (a single program, which adds the losses in one order). Backward, 4 launches:
everything between the loss and the first layer's output; that layer's two plain matrix products by cuBLAS;
and the scatter to clips and frames, which sums without atomics, so that its result does not depend on the
order in which programs run. What comes on top: a copy of each argument that is not contiguous (clips and
frames may have any strides), and where clips and weight1 differ in type a conversion of each of them and
back (the weight's gradient).
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .combined_regression_head_triton import (
    combined_regression_head_bwd_kernel,
    combined_regression_head_kernel,
    combined_regression_hidden_kernel,
)
from .combined_regression_reference import dropped_below
from .dot_triton import operand_type, precision
from .sizes import cdiv


@triton.jit
def combined_regression_mean_kernel(
    clips, lengths, domains, groups, combined, tallies,
    samples, frames, width, rows, slots, stride_sample, stride_frame, stride_feature,
    BLOCK_J: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One program averages BLOCK_D features of BLOCK_J groups, walking over all clips BLOCK_N at a time.

    Members are picked by tl.gather, not by a product with the membership matrix: 0 * NaN would carry the NaN
    of one clip into groups that do not hold it.
    """
    feature = (tl.program_id(0) * BLOCK_D + tl.arange(0, BLOCK_D)).to(tl.int64)
    row = (tl.program_id(1) * BLOCK_J + tl.arange(0, BLOCK_J)).to(tl.int64)
    size = tl.zeros([BLOCK_J], tl.float32)
    of_source = tl.zeros([BLOCK_J], tl.float32)
    of_target = tl.zeros([BLOCK_J], tl.float32)
    for slot in range(slots):
        member = tl.load(groups + row * slots + slot, mask=row < rows, other=-1)
        present = (member >= 0) & (member < samples)
        domain = tl.load(domains + member, mask=present, other=-1)
        size += present.to(tl.float32)
        of_source += (domain == 0).to(tl.float32)
        of_target += (domain == 1).to(tl.float32)
    size = tl.maximum(size, 1.0)

    total = tl.zeros([BLOCK_J, BLOCK_D], tl.float32)
    for first in range(0, samples, BLOCK_N):
        sample = (first + tl.arange(0, BLOCK_N)).to(tl.int64)
        valid = tl.zeros([BLOCK_N], tl.int32) + frames
        if lengths is not None:
            length = tl.load(lengths + sample, mask=sample < samples, other=0).to(tl.int32)
            valid = tl.minimum(tl.maximum(length, 0), frames)
        valid = tl.where(sample < samples, valid, 0)
        tile = clips + sample[:, None] * stride_sample + feature[None, :] * stride_feature
        mean = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
        for t in tl.range(0, frames, num_stages=4):
            mask = (t < valid)[:, None] & (feature < width)[None, :]
            mean += tl.load(tile, mask=mask, other=0.0).to(tl.float32)
            tile += stride_frame
        mean /= tl.maximum(valid, 1)[:, None]
        for slot in range(slots):
            member = tl.load(groups + row * slots + slot, mask=row < rows, other=-1) - first
            here = (member >= 0) & (member < BLOCK_N)
            index = tl.broadcast_to(tl.where(here, member, 0).to(tl.int32)[:, None], [BLOCK_J, BLOCK_D])
            total += tl.where(here[:, None], tl.gather(mean, index, 0), 0.0)

    mask = (row < rows)[:, None] & (feature < width)[None, :]
    tl.store(combined + row[:, None] * width + feature[None, :], total / size[:, None], mask=mask)
    if tl.program_id(0) == 0:
        tl.store(tallies + 3 * row, of_source / size, mask=row < rows)
        tl.store(tallies + 3 * row + 1, of_target / size, mask=row < rows)
        tl.store(tallies + 3 * row + 2, size, mask=row < rows)


@triton.jit
def combined_regression_scatter_kernel(
    grad_features, grad_combined, groups, tallies, strength, lengths, grad_clips,
    samples, frames, width, rows, slots,
    BLOCK_N: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One program sums BLOCK_D features of BLOCK_N clips over the groups that hold them, and writes all frames."""
    sample = (tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)).to(tl.int64)
    feature = (tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)).to(tl.int64)
    reversal = -tl.load(strength).to(tl.float32)
    total = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    for first in range(0, rows, BLOCK_J):
        row = (first + tl.arange(0, BLOCK_J)).to(tl.int64)
        times = tl.zeros([BLOCK_N, BLOCK_J], tl.float32)
        for slot in range(slots):
            member = tl.load(groups + row * slots + slot, mask=row < rows, other=-1)
            times += (sample[:, None] == member[None, :]).to(tl.float32)
        at = row[:, None] * width + feature[None, :]
        mask = (row < rows)[:, None] & (feature < width)[None, :]
        grad = reversal * tl.load(grad_features + at, mask=mask, other=0.0).to(tl.float32)
        if grad_combined is not None:
            grad += tl.load(grad_combined + at, mask=mask, other=0.0).to(tl.float32)
        grad /= tl.load(tallies + 3 * row + 2, mask=row < rows, other=1.0)[:, None]
        total = tl.dot(times, grad, total, input_precision="ieee")
    valid = tl.zeros([BLOCK_N], tl.int32) + frames
    if lengths is not None:
        length = tl.load(lengths + sample, mask=sample < samples, other=0).to(tl.int32)
        valid = tl.minimum(tl.maximum(length, 0), frames)
    total /= tl.maximum(valid, 1)[:, None]
    mask = (sample < samples)[:, None] & (feature < width)[None, :]
    for t in range(frames):
        at = (sample * frames + t)[:, None] * width + feature[None, :]
        tl.store(grad_clips + at, tl.where((t < valid)[:, None], total, 0.0), mask=mask)


def forward(
    clips, domains, groups, weight1, bias1, weight2, bias2, dropout, seed, lengths
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See combined_regression.py."""
    groups, domains = groups.contiguous(), domains.contiguous()
    weight1, weight2 = weight1.contiguous(), weight2.contiguous()
    samples, frames, width, strides = _layout(clips)
    (rows, slots), units = groups.shape, weight1.shape[0]
    parts = cdiv(units, 16)

    def float32(*shape):
        return clips.new_empty(shape, dtype=torch.float32)

    combined, tallies, hidden = clips.new_empty(rows, width), float32(rows, 3), float32(rows, units)
    margins, predictions, loss = float32(parts, rows), float32(rows, 2), float32()
    block_j = 32 if rows <= 32 else 64
    combined_regression_mean_kernel[(cdiv(width, 16), cdiv(rows, block_j))](
        clips, None if lengths is None else lengths.contiguous(), domains, groups, combined, tallies,
        samples, frames, width, rows, slots, *strides, BLOCK_J=block_j, BLOCK_N=64, BLOCK_D=16, maxnreg=128,
    )  # fmt: skip
    operands = operand_type(combined, weight1)
    combined_regression_hidden_kernel[(cdiv(rows, 16), parts)](
        combined, weight1, bias1.contiguous(), weight2, hidden, margins, seed, rows, units, width,
        dropped_below(dropout), 1 / (1 - dropout), DROPOUT=dropout > 0,
        TYPE=operands, PRECISION=precision(),
        BLOCK_J=16, BLOCK_H=16, BLOCK_D=64 if operands == tl.float32 else 128, num_warps=4, num_stages=4,
    )  # fmt: skip
    combined_regression_head_kernel[(1,)](
        margins, bias2.contiguous(), tallies, predictions, loss, rows, parts, BLOCK_J=64, BLOCK_P=32, maxnreg=128
    )
    return loss, predictions, combined, hidden, tallies


def backward(
    grad_loss, grad_predictions, grad_combined, clips, groups, weight1, bias1, weight2, bias2, strength,
    dropout, lengths, predictions, combined, hidden, tallies,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """See combined_regression.py."""
    samples, frames, width, _ = _layout(clips)
    rows, units = hidden.shape
    groups = groups.contiguous()
    lengths, grad_predictions, grad_combined = (
        None if tensor is None else tensor.contiguous() for tensor in (lengths, grad_predictions, grad_combined)
    )
    dtype = torch.promote_types(combined.dtype, weight1.dtype)
    grad_hidden = hidden.new_empty(rows, units, dtype=dtype)
    grad_bias1, grad_weight2, grad_bias2, grad_clips = (
        like.new_empty(like.shape) for like in (bias1, weight2, bias2, clips)
    )
    combined_regression_head_bwd_kernel[(cdiv(units, 16),)](
        grad_loss, grad_predictions, predictions, tallies, hidden, weight2.contiguous(),
        grad_hidden, grad_bias1, grad_weight2, grad_bias2, rows, units, 1 / (1 - dropout),
        BLOCK_J=64, BLOCK_H=16,
    )  # fmt: skip
    # Where the dtypes are equal, `to` passes its tensor on.
    grad_weight1 = (grad_hidden.T @ combined.to(dtype)).to(weight1.dtype)
    grad_features = grad_hidden @ weight1.to(dtype)
    combined_regression_scatter_kernel[(cdiv(samples, 16), cdiv(width, 64))](
        grad_features, grad_combined, groups, tallies, strength, lengths, grad_clips,
        samples, frames, width, rows, groups.shape[1], BLOCK_N=16, BLOCK_J=32, BLOCK_D=64, maxnreg=128,
    )  # fmt: skip
    return grad_clips, grad_weight1, grad_bias1, grad_weight2, grad_bias2


def _layout(clips):
    """N, T (1 for clips), D, and their strides."""
    if clips.dim() == 2:
        return clips.shape[0], 1, clips.shape[1], (clips.stride(0), 0, clips.stride(1))
    return *clips.shape, clips.stride()
