"""Batch norm of a training step with the addition and the ReLU behind it: two reads of the maps, one write.

The definition is in batch_norm_reference.py; the Triton kernels are in batch_norm_triton.py and
batch_norm_backward_triton.py.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .batch_norm_checks import choose
from .batch_norm_reference import batch_norm_reference, moments_of_groups, unbiased
from .registration import register


class BatchStatistics(NamedTuple):
    """Of each of G groups, in float32 or better; 0 for a group without samples."""

    mean: Tensor
    """(G, C)."""
    var: Tensor
    """(G, C), unbiased, as running statistics keep it."""
    values: Tensor
    """(G,) numbers that went into them, a channel."""


def batch_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    residual: Tensor | None = None,
    relu: bool = False,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    batches: Tensor | None = None,
    groups: Tensor | None = None,
    group_count: int = 1,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    backend: str | None = None,
) -> Tensor:
    """relu(normalised x * weight + bias + residual), (N, C, H, W) of x's dtype, with statistics of x itself.

    Statistics are taken in float32 or better without cancellation, and one NaN stays in its channel (of its
    group). Differentiable in x, weight, bias and residual. Running statistics change in place.

    Args:
        x: (N, C, H, W).
        weight, bias: (C,); None: 1 and 0.
        residual: (N, C, H, W), is added before the ReLU.
        relu: whether there is a ReLU.
        running_mean, running_var: (C,), averages of mean and unbiased variance; or (R, C), of the first R groups.
            Of (C,) it is the first group. Those of a group without samples stay.
        batches: int64, counts what the running statistics are of: 0-d, or (R,) for (R, C).
        groups: (N,) integers. Sample n of group g >= 0 is one of those that make the statistics of g, and is
            normalised by them. -1 - g: it is normalised by the statistics of g, but takes no part in them.
        group_count: G, the number of groups.
        momentum: share of the new in running statistics; None = the average over all `batches`, without a look at
            them on the host.
        eps: is added to the variance.
        backend: "reference", "triton" or None for the best present. "triton" wants channels_last maps and a residual
            of x's dtype; None takes the reference for others, and for float64.

    Raises:
        ValueError: a wrong shape or layout; on the CPU also a group that is not there (a GPU is not waited for: there
            such a sample takes no part, and is normalised by the first or last group).
        TypeError: a dtype that the backend does not take.
    """
    arguments = (
        x, weight, bias, residual, running_mean, running_var, batches, groups, group_count, momentum, eps, relu,
    )  # fmt: skip
    if choose(backend, *arguments[:-2]) == "reference":
        return batch_norm_reference(*arguments)
    return forward_op(*arguments)[0]


def batch_statistics(
    x: Tensor, groups: Tensor | None = None, group_count: int = 1, *, backend: str | None = None
) -> BatchStatistics:
    """The statistics alone, in one read of the maps; without gradient. Arguments and errors as of batch_norm."""
    if choose(backend, x, groups=groups, group_count=group_count) == "reference":
        everyone = torch.zeros(len(x), dtype=torch.int64, device=x.device) if groups is None else groups
        mean, var, count = moments_of_groups(x.detach(), everyone, group_count)
    else:
        mean, var, counts = _statistics_op(x, groups, group_count).unbind()
        count = counts[:, 0]
    return BatchStatistics(mean, unbiased(var, count), count)


def _forward(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, batches: Tensor | None, groups: Tensor | None, group_count: int,
    momentum: float | None, eps: float, relu: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The result, and statistics (3, G, C) float32: mean, mean squared deviation, number of values."""
    from .batch_norm_triton import forward

    for changed in (running_mean, running_var, batches):
        if changed is not None and not changed.is_inference():
            torch.autograd.graph.increment_version(changed)  # a kernel's writing is not seen by autograd
    return forward(
        x, weight, bias, residual, running_mean, running_var, batches, groups, group_count, momentum, eps, relu
    )  # fmt: skip


def _forward_fake(x, weight, bias, residual, running_mean, running_var, batches, groups, group_count, *_):
    return torch.empty_like(x), x.new_empty((3, group_count, x.shape[1]), dtype=torch.float32)


def _statistics(x: Tensor, groups: Tensor | None, group_count: int) -> Tensor:
    """As of the forward."""
    from .batch_norm_triton import statistics_of

    return statistics_of(x, groups, group_count)


def _statistics_fake(x, groups, group_count):
    return x.new_empty((3, group_count, x.shape[1]), dtype=torch.float32)


def _backward(
    grad: Tensor, again: Tensor | None, x: Tensor, out: Tensor | None, weight: Tensor | None, bias: Tensor | None,
    statistics: Tensor, groups: Tensor | None, eps: float, relu: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of x, weight, bias and residual. `out`: of a ReLU behind a residual; else the last is (0,).

    The gradient of the result is grad, or with `out` grad + again.
    """
    from .batch_norm_backward_triton import backward

    return backward(grad, again, x, out, weight, bias, statistics, groups, eps, relu)


def _backward_fake(grad, again, x, out, weight, bias, statistics, groups, eps, relu):
    of_weight, of_bias = (
        x.new_empty(x.shape[1], dtype=torch.float32 if parameter is None else parameter.dtype)
        for parameter in (weight, bias)
    )
    return torch.empty_like(x), of_weight, of_bias, x.new_empty(0) if out is None else torch.empty_like(x)


def _save(ctx, inputs, output):
    ctx.mark_non_differentiable(output[1])
    save_inputs(ctx, inputs, *output)


def save_inputs(ctx, inputs: tuple, out: Tensor, statistics: Tensor) -> None:
    """What `differentiate` needs of a forward."""
    x, weight, bias, residual, *_, groups, _, _, ctx.eps, ctx.relu = inputs
    # Without a residual the ReLU's mask follows from x, whose reading is cheaper than that of the result beside it.
    masked = out if ctx.relu and residual is not None else None
    ctx.save_for_backward(x, masked, weight, bias, statistics, groups)


def differentiate(ctx, grad: Tensor | None, again: Tensor | None = None) -> tuple[Tensor | None, ...]:
    """Gradients of the inputs, of the result's one: grad + again, `again` only of a ReLU behind a residual."""
    if grad is None:
        return (None,) * 12
    x, out, weight, bias, statistics, groups = ctx.saved_tensors
    of_x, of_weight, of_bias, of_residual = _backward_op(
        grad, again, x, out, weight, bias, statistics, groups, ctx.eps, ctx.relu
    )  # fmt: skip
    return (
        of_x,
        None if weight is None else of_weight,
        None if bias is None else of_bias,
        None if not ctx.needs_input_grad[3] else grad if out is None else of_residual,
        *(None,) * 8,
    )


forward_op = register(
    "batch_norm(Tensor x, Tensor? weight, Tensor? bias, Tensor? residual, Tensor(a!)? running_mean, "
    "Tensor(b!)? running_var, Tensor(c!)? batches, Tensor? groups, SymInt group_count, float? momentum, float eps, "
    "bool relu) -> (Tensor, Tensor)",
    _forward,
    _forward_fake,
    _save,
    lambda ctx, grad, _: differentiate(ctx, grad),
)
_statistics_op = register(
    "batch_norm_statistics(Tensor x, Tensor? groups, SymInt group_count) -> Tensor", _statistics, _statistics_fake
)
_backward_op = register(
    "batch_norm_backward(Tensor grad, Tensor? again, Tensor x, Tensor? out, Tensor? weight, Tensor? bias, "
    "Tensor statistics, Tensor? groups, float eps, bool relu) -> (Tensor, Tensor, Tensor, Tensor)",
    _backward,
    _backward_fake,
)
