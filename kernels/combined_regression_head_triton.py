"""Triton kernels of combined_regression's head: combined clips to predictions and loss, and the way back."""

import triton
import triton.language as tl

from .counter_random_triton import random_bits


@triton.jit
def combined_regression_hidden_kernel(
    combined, weight1, bias1, weight2, hidden, margins, seed, rows, units, width, dropped_below, scale,
    DROPOUT: tl.constexpr, TYPE: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_J: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One program computes BLOCK_J x BLOCK_H of dropout(relu(combined weight1^T + bias1)), (J, hidden).

    margins: (hidden / BLOCK_H, J), what these units add to the logit of the source over that of the target.
    """
    row = tl.program_id(0) * BLOCK_J + tl.arange(0, BLOCK_J)
    unit = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    feature = tl.arange(0, BLOCK_D)
    row_start = combined + row.to(tl.int64)[:, None] * width
    unit_start = weight1 + unit.to(tl.int64)[None, :] * width
    total = tl.zeros([BLOCK_J, BLOCK_H], tl.float32)
    for first in range(0, width, BLOCK_D):
        at = first + feature
        a = tl.load(row_start + at[None, :], mask=(row < rows)[:, None] & (at < width)[None, :], other=0.0)
        b = tl.load(unit_start + at[:, None], mask=(unit < units)[None, :] & (at < width)[:, None], other=0.0)
        total = tl.dot(a.to(TYPE), b.to(TYPE), total, input_precision=PRECISION)
    total += tl.load(bias1 + unit, mask=unit < units, other=0.0).to(tl.float32)[None, :]
    total = tl.maximum(total, 0.0, propagate_nan=tl.PropagateNan.ALL)
    if DROPOUT:
        bits = random_bits(tl.load(seed), row[:, None], unit[None, :])
        total = tl.where(bits.to(tl.int64) >= dropped_below, total * scale, 0.0)
    mask = (row < rows)[:, None] & (unit < units)[None, :]
    tl.store(hidden + row.to(tl.int64)[:, None] * units + unit[None, :], total, mask=mask)
    of_source = tl.load(weight2 + unit, mask=unit < units, other=0.0).to(tl.float32)
    of_target = tl.load(weight2 + units + unit, mask=unit < units, other=0.0).to(tl.float32)
    margin = tl.sum(total * (of_source - of_target)[None, :], axis=1)
    tl.store(margins + tl.program_id(1).to(tl.int64) * rows + row, margin, mask=row < rows)


@triton.jit
def combined_regression_head_kernel(
    margins, bias2, tallies, predictions, loss, rows, parts, BLOCK_J: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """The only program adds the margins' parts and takes all rows through the softmax to the mean error."""
    total = tl.zeros([BLOCK_J], tl.float32)
    bias = tl.load(bias2).to(tl.float32) - tl.load(bias2 + 1).to(tl.float32)
    for first in range(0, rows, BLOCK_J):
        row = (first + tl.arange(0, BLOCK_J)).to(tl.int64)
        inside = row < rows
        margin = tl.zeros([BLOCK_J], tl.float32) + bias
        for first_part in range(0, parts, BLOCK_P):
            part = (first_part + tl.arange(0, BLOCK_P)).to(tl.int64)
            mask = (part < parts)[:, None] & inside[None, :]
            margin += tl.sum(tl.load(margins + part[:, None] * rows + row[None, :], mask=mask, other=0.0), axis=0)
        source, target = tl.sigmoid(margin), tl.sigmoid(-margin)
        tl.store(predictions + 2 * row, source, mask=inside)
        tl.store(predictions + 2 * row + 1, target, mask=inside)
        wrong_source = source - tl.load(tallies + 3 * row, mask=inside, other=0.0)
        wrong_target = target - tl.load(tallies + 3 * row + 1, mask=inside, other=0.0)
        total += tl.where(inside, wrong_source * wrong_source + wrong_target * wrong_target, 0.0)
    tl.store(loss, tl.sum(total) / (2 * rows))


@triton.jit
def combined_regression_head_bwd_kernel(
    grad_loss, grad_predictions, predictions, tallies, hidden, weight2,
    grad_hidden, grad_bias1, grad_weight2, grad_bias2, rows, units, scale,
    BLOCK_J: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """One program takes the gradient of the loss to BLOCK_H hidden units of all rows."""
    unit = tl.program_id(0) * BLOCK_H + tl.arange(0, BLOCK_H)
    known = unit < units
    of_source = tl.load(weight2 + unit, mask=known, other=0.0).to(tl.float32)
    of_target = tl.load(weight2 + units + unit, mask=known, other=0.0).to(tl.float32)
    per_row = 0.0
    if grad_loss is not None:
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
        grad_source = per_row * (source - tl.load(tallies + 3 * row, mask=inside, other=0.0))
        grad_target = per_row * (target - tl.load(tallies + 3 * row + 1, mask=inside, other=0.0))
        if grad_predictions is not None:
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
