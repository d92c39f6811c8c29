"""Batch norm, addition and ReLU at the end of a residual block, given out twice: to the next block and past it.

Autograd adds the gradients of two uses in a pass of its own, two reads of the maps and a write. Those of two outputs
both come to the backward, which adds them as it reads them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .batch_norm import differentiate, forward_op, save_inputs
from .batch_norm_checks import choose
from .batch_norm_reference import batch_norm_reference


def batch_norm_twice(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    batches: Tensor | None,
    momentum: float | None,
    eps: float,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """`batch_norm` with residual and ReLU; the result and itself once more, of the same memory, for a second use."""
    arguments = x, weight, bias, residual, running_mean, running_var, batches, None, 1, momentum, eps, True
    if choose(backend, *arguments[:-2]) == "reference":
        out = batch_norm_reference(*arguments)
        return out, out
    return _Twice.apply(*arguments)


class _Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *inputs):
        out, statistics = forward_op(*inputs)
        ctx.set_materialize_grads(False)
        save_inputs(ctx, inputs, out, statistics)
        return out, out.view_as(out)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, again):
        return differentiate(ctx, *((again,) if grad is None else (grad, again)))
