"""Triton kernels of combined_regression.

Forward: gather and mean; first layer with bias, ReLU and dropout; second layer with softmax and loss.
Backward: everything between the loss and the first layer's output in one kernel, the first layer's two
plain matrix products by cuBLAS, and the scatter to the clips, which sums without atomics: its result
does not depend on the order in which programs run.
"""

import torch
import triton
import triton.language as tl

from .combined_regression import dropped_below
from .counter_random_triton import random_bits
from .dot_triton import operand_type, precision


@triton.jit
def combined_regression_mean_kernel(
    clips, domains, groups, combined, shares, sizes,
    samples, width, slots, stride_sample, stride_feature, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One program averages BLOCK_D features of one group."""
    slabs = tl.cdiv(width, BLOCK_D)
    group = (tl.program_id(0) // slabs).to(tl.int64)
    feature = ((tl.program_id(0) % slabs) * BLOCK_D + tl.arange(0, BLOCK_D)).to(tl.int64)
    total = tl.zeros([BLOCK_D], tl.float32)
    size, of_source, of_target = 0.0, 0.0, 0.0
    for slot in range(slots):
        sample = tl.load(groups + group * slots + slot)
        present = (sample >= 0) & (sample < samples)
        row = clips + sample * stride_sample + feature * stride_feature
        total += tl.load(row, mask=(feature < width) & present, other=0.0).to(tl.float32)
        domain = tl.load(domains + sample, mask=present, other=-1)
        size += present.to(tl.float32)
        of_source += (domain == 0).to(tl.float32)
        of_target += (domain == 1).to(tl.float32)
    size = tl.maximum(size, 1.0)
    tl.store(combined + group * width + feature, total / size, mask=feature < width)
    tl.store(shares + 2 * group, of_source / size)
    tl.store(shares + 2 * group + 1, of_target / size)
    tl.store(sizes + group, size)


@triton.jit
def combined_regression_hidden_kernel(
    combined, weight, bias, hidden, seed, rows, units, width, dropped_below, scale,
    DROPOUT: tl.constexpr, TYPE: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_J: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One program computes BLOCK_J x BLOCK_H of dropout(relu(combined weight^T + bias)), (J, hidden)."""
    row = tl.program_id(0) * BLOCK_J + tl.arange(0, BLOCK_J)
    unit = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    feature = tl.arange(0, BLOCK_D)
    row_start = combined + row.to(tl.int64)[:, None] * width
    unit_start = weight + unit.to(tl.int64)[None, :] * width
    total = tl.zeros([BLOCK_J, BLOCK_H], tl.float32)
    for first in range(0, width, BLOCK_D):
        at = first + feature
        a = tl.load(row_start + at[None, :], mask=(row < rows)[:, None] & (at < width)[None, :], other=0.0)
        b = tl.load(unit_start + at[:, None], mask=(unit < units)[None, :] & (at < width)[:, None], other=0.0)
        total = tl.dot(a.to(TYPE), b.to(TYPE), total, input_precision=PRECISION)
    total += tl.load(bias + unit, mask=unit < units, other=0.0).to(tl.float32)[None, :]
    total = tl.maximum(total, 0.0, propagate_nan=tl.PropagateNan.ALL)
    if DROPOUT:
        bits = random_bits(tl.load(seed), row[:, None], unit[None, :])
        total = tl.where(bits.to(tl.int64) >= dropped_below, total * scale, 0.0)
    mask = (row < rows)[:, None] & (unit < units)[None, :]
    tl.store(hidden + row.to(tl.int64)[:, None] * units + unit[None, :], total, mask=mask)


@triton.jit
def combined_regression_head_kernel(
    hidden, weight, bias, shares, predictions, losses, rows, units,
    BLOCK_J: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """One program takes BLOCK_J rows through the second layer, the softmax and the squared error."""
    row = (tl.program_id(0) * BLOCK_J + tl.arange(0, BLOCK_J)).to(tl.int64)
    inside = row < rows
    source = tl.zeros([BLOCK_J], tl.float32) + tl.load(bias).to(tl.float32)
    target = tl.zeros([BLOCK_J], tl.float32) + tl.load(bias + 1).to(tl.float32)
    for first in range(0, units, BLOCK_H):
        unit = first + tl.arange(0, BLOCK_H)
        mask = inside[:, None] & (unit < units)[None, :]
        value = tl.load(hidden + row[:, None] * units + unit[None, :], mask=mask, other=0.0)
        of_source = tl.load(weight + unit, mask=unit < units, other=0.0).to(tl.float32)
        of_target = tl.load(weight + units + unit, mask=unit < units, other=0.0).to(tl.float32)
        source += tl.sum(value * of_source[None, :], axis=1)
        target += tl.sum(value * of_target[None, :], axis=1)
    source, target = tl.sigmoid(source - target), tl.sigmoid(target - source)
    wrong_source = source - tl.load(shares + 2 * row, mask=inside, other=0.0)
    wrong_target = target - tl.load(shares + 2 * row + 1, mask=inside, other=0.0)
    tl.store(predictions + 2 * row, source, mask=inside)
    tl.store(predictions + 2 * row + 1, target, mask=inside)
    tl.store(losses + row, 0.5 * (wrong_source * wrong_source + wrong_target * wrong_target), mask=inside)


@triton.jit
def combined_regression_head_bwd_kernel(
    grad_loss, grad_predictions, predictions, shares, hidden, weight,
    grad_hidden, grad_bias1, grad_weight2, grad_bias2, rows, units, scale,
    BLOCK_J: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """One program takes the gradient of the loss to BLOCK_H hidden units of all rows."""
    unit = tl.program_id(0) * BLOCK_H + tl.arange(0, BLOCK_H)
    known = unit < units
    of_source = tl.load(weight + unit, mask=known, other=0.0).to(tl.float32)
    of_target = tl.load(weight + units + unit, mask=known, other=0.0).to(tl.float32)
    per_row = tl.load(grad_loss).to(tl.float32) / rows
    bias1 = tl.zeros([BLOCK_H], tl.float32)
    weight_source = tl.zeros([BLOCK_H], tl.float32)
    weight_target = tl.zeros([BLOCK_H], tl.float32)
    bias_source = tl.zeros([BLOCK_J], tl.float32)
    for first in range(0, rows, BLOCK_J):
        row = (first + tl.arange(0, BLOCK_J)).to(tl.int64)
        inside = row < rows
        source = tl.load(predictions + 2 * row, mask=inside, other=0.0)
        target = tl.load(predictions + 2 * row + 1, mask=inside, other=0.0)
        grad_source = per_row * (source - tl.load(shares + 2 * row, mask=inside, other=0.0))
        grad_target = per_row * (target - tl.load(shares + 2 * row + 1, mask=inside, other=0.0))
        grad_source += tl.load(grad_predictions + 2 * row, mask=inside, other=0.0).to(tl.float32)
        grad_target += tl.load(grad_predictions + 2 * row + 1, mask=inside, other=0.0).to(tl.float32)
        # Through the softmax of two logits, whose gradients are opposite.
        logit = source * target * (grad_source - grad_target)
        at = row[:, None] * units + unit[None, :]
        mask = inside[:, None] & known[None, :]
        value = tl.load(hidden + at, mask=mask, other=0.0)
        grad = tl.where(value > 0, logit[:, None] * (of_source - of_target)[None, :] * scale, 0.0)
        tl.store(grad_hidden + at, grad, mask=mask)
        bias1 += tl.sum(grad, axis=0)
        weight_source += tl.sum(logit[:, None] * value, axis=0)
        weight_target -= tl.sum(logit[:, None] * value, axis=0)
        bias_source += logit
    tl.store(grad_bias1 + unit, bias1, mask=known)
    tl.store(grad_weight2 + unit, weight_source, mask=known)
    tl.store(grad_weight2 + units + unit, weight_target, mask=known)
    if tl.program_id(0) == 0:
        tl.store(grad_bias2, tl.sum(bias_source))
        tl.store(grad_bias2 + 1, -tl.sum(bias_source))


@triton.jit
def combined_regression_scatter_kernel(
    grad_features, grad_combined, groups, sizes, strength, grad_clips, samples, width, rows, slots,
    BLOCK_N: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One program sums BLOCK_D features of BLOCK_N clips over the groups that hold them."""
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
        grad += tl.load(grad_combined + at, mask=mask, other=0.0).to(tl.float32)
        grad /= tl.load(sizes + row, mask=row < rows, other=1.0)[:, None]
        total = tl.dot(times, grad, total, input_precision="ieee")
    mask = (sample < samples)[:, None] & (feature < width)[None, :]
    tl.store(grad_clips + sample[:, None] * width + feature[None, :], total, mask=mask)


def forward(clips, domains, groups, weight1, bias1, weight2, bias2, dropout, seed):
    """See combined_regression.py."""
    groups, domains = groups.contiguous(), domains.contiguous()
    weight1, weight2 = weight1.contiguous(), weight2.contiguous()
    (samples, width), (rows, slots), units = clips.shape, groups.shape, weight1.shape[0]

    def float32(*shape):
        return clips.new_empty(shape, dtype=torch.float32)

    combined, shares, sizes = clips.new_empty(rows, width), float32(rows, 2), float32(rows)
    combined_regression_mean_kernel[(rows * triton.cdiv(width, 256),)](
        clips, domains, groups, combined, shares, sizes, samples, width, slots, *clips.stride(), BLOCK_D=256
    )
    hidden = float32(rows, units)
    operands = operand_type(combined, weight1)
    combined_regression_hidden_kernel[(triton.cdiv(rows, 16), triton.cdiv(units, 16))](
        combined, weight1, bias1.contiguous(), hidden, seed, rows, units, width,
        dropped_below(dropout), 1 / (1 - dropout), DROPOUT=dropout > 0,
        TYPE=operands, PRECISION=precision(),
        BLOCK_J=16, BLOCK_H=16, BLOCK_D=64 if operands == tl.float32 else 128, num_warps=4, num_stages=4,
    )  # fmt: skip
    predictions, losses = float32(rows, 2), float32(rows)
    combined_regression_head_kernel[(triton.cdiv(rows, 4),)](
        hidden, weight2, bias2.contiguous(), shares, predictions, losses, rows, units, BLOCK_J=4, BLOCK_H=256
    )
    return losses.mean(), predictions, combined, hidden, shares, sizes


def backward(
    grad_loss, grad_predictions, grad_combined, clips, groups, weight1, weight2, strength, dropout,
    predictions, combined, hidden, shares, sizes,
):  # fmt: skip
    """See combined_regression.py."""
    (samples, width), (rows, units) = clips.shape, hidden.shape
    groups = groups.contiguous()
    dtype = torch.promote_types(combined.dtype, weight1.dtype)
    grad_hidden = hidden.new_empty(rows, units, dtype=dtype)
    grad_bias1, grad_weight2, grad_bias2 = (
        hidden.new_empty(units),
        hidden.new_empty(2, units),
        hidden.new_empty(2),
    )
    combined_regression_head_bwd_kernel[(triton.cdiv(units, 16),)](
        grad_loss, grad_predictions.contiguous(), predictions, shares, hidden, weight2.contiguous(),
        grad_hidden, grad_bias1, grad_weight2, grad_bias2, rows, units, 1 / (1 - dropout),
        BLOCK_J=64, BLOCK_H=16,
    )  # fmt: skip
    grad_weight1 = (grad_hidden.T @ combined.to(dtype)).to(weight1.dtype)
    grad_features = grad_hidden @ weight1.to(dtype)
    grad_clips = clips.new_empty(samples, width)
    combined_regression_scatter_kernel[(triton.cdiv(samples, 16), triton.cdiv(width, 128))](
        grad_features, grad_combined.contiguous(), groups, sizes, strength, grad_clips,
        samples, width, rows, groups.shape[1], BLOCK_N=16, BLOCK_J=16, BLOCK_D=128,
        maxnreg=128,  # left to itself, the assembler spills to fit one more block on a multiprocessor
    )  # fmt: skip
    return grad_clips, grad_weight1, grad_bias1, grad_weight2, grad_bias2
