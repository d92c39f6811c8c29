"""Batch norm of a training step with the addition and the ReLU behind it: two reads of the maps, one write.

The definition is in batch_norm_reference.py; the Triton kernels are in batch_norm_triton.py and
batch_norm_backward_triton.py.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .backends import choose_for
from .batch_norm_reference import batch_norm_reference, moments_of_groups, unbiased
from .registration import register, register_derivative


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
    _check(x, weight, bias, residual, running_mean, running_var, batches, groups, group_count, momentum)
    if backend is None and not _fits(x, residual):
        backend = "reference"
    arguments = (
        x, weight, bias, residual, running_mean, running_var, batches, groups, group_count, momentum, eps, relu,
    )  # fmt: skip
    if choose_for("batch_norm", backend, x) == "reference":
        return batch_norm_reference(*arguments)
    _check_layout(x, residual)
    return _forward_op(*arguments)[0]


def batch_statistics(
    x: Tensor, groups: Tensor | None = None, group_count: int = 1, *, backend: str | None = None
) -> BatchStatistics:
    """The statistics alone, in one read of the maps; without gradient. Arguments and errors as of batch_norm."""
    _check(x, None, None, None, None, None, None, groups, group_count, 0.1)
    if backend is None and not _fits(x, None):
        backend = "reference"
    if choose_for("batch_norm", backend, x) == "reference":
        everyone = torch.zeros(len(x), dtype=torch.int64, device=x.device) if groups is None else groups
        mean, var, count = moments_of_groups(x.detach(), everyone, group_count)
    else:
        _check_layout(x, None)
        mean, var, counts = _statistics_op(x, groups, group_count).unbind()
        count = counts[:, 0]
    return BatchStatistics(mean, unbiased(var, count), count)


def _fits(x: Tensor, residual: Tensor | None) -> bool:
    """Whether the fast backends take these maps."""
    return _in_rows(x) and (residual is None or (residual.dtype == x.dtype and _in_rows(residual)))


def _in_rows(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def _check_layout(x: Tensor, residual: Tensor | None) -> None:
    for name, maps in (("x", x), ("residual", residual)):
        if maps is not None and not _in_rows(maps):
            raise ValueError(
                f"batch_norm: {name} must be channels_last on backend 'triton', got strides {maps.stride()}; "
                "convert it, or use backend='reference'"
            )
    if residual is not None and residual.dtype != x.dtype:
        raise TypeError(
            f"batch_norm: residual must be {x.dtype} as x is on backend 'triton', got {residual.dtype}; "
            "use backend='reference'"
        )


def _check(x, weight, bias, residual, running_mean, running_var, batches, groups, group_count, momentum) -> None:
    """Raises what batch_norm does on every backend."""
    if x.dim() != 4 or 0 in x.shape[1:]:
        raise ValueError(f"batch_norm: x must be (N, C, H, W), got {tuple(x.shape)}; add axes of 1")
    if not x.is_floating_point():
        raise TypeError(f"batch_norm: x must be of a float type, got {x.dtype}; convert it")
    samples, channels = x.shape[:2]
    if group_count < 1 or (groups is None and group_count != 1):
        raise ValueError(f"batch_norm: group_count must be at least 1, and 1 without groups, got {group_count}")
    if groups is None and samples * x.shape[2] * x.shape[3] == 1:
        raise ValueError(f"batch_norm: x must have more than one value a channel, got {tuple(x.shape)}")
    if (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm: running_mean and running_var go together; give both or neither")
    tracked: tuple[int, ...] = ()
    if running_mean is not None and running_mean.dim() == 2 and groups is not None:
        tracked = tuple(running_mean.shape[:1])
        if not 1 <= tracked[0] <= group_count:
            raise ValueError(f"batch_norm: running_mean must have 1 to {group_count} rows, got {tracked[0]}")
    if momentum is None and running_mean is not None and batches is None:
        raise ValueError("batch_norm: momentum None averages over all batches; give batches, which counts them")
    for name, tensor, shape in (
        ("weight", weight, (channels,)),
        ("bias", bias, (channels,)),
        ("residual", residual, x.shape),
        ("running_mean", running_mean, (*tracked, channels)),
        ("running_var", running_var, (*tracked, channels)),
        ("batches", batches, tracked),
        ("groups", groups, (samples,)),
    ):
        if tensor is None:
            continue
        if tensor.shape != shape:
            raise ValueError(
                f"batch_norm: {name} must be {tuple(shape)}, got {tuple(tensor.shape)}; check it against x"
            )
        if tensor.device != x.device:
            raise ValueError(f"batch_norm: {name} must be on {x.device} as x is, got {tensor.device}; move it")
        if tensor.is_floating_point() != (name not in ("batches", "groups")) or tensor.dtype == torch.bool:
            kind = "integers" if name in ("batches", "groups") else "floats"
            raise TypeError(f"batch_norm: {name} must be {kind}, got {tensor.dtype}; convert it")
    if groups is None or groups.device.type != "cpu" or torch.compiler.is_compiling():
        return
    known = torch.where(groups < 0, -1 - groups, groups)
    without = set(known.tolist()) - set(groups.tolist())
    if without or (known >= group_count).any():
        raise ValueError(
            f"batch_norm: groups must hold 0..{group_count - 1}, or -1 - g of a group g that has samples, got "
            f"{groups.tolist()}"
        )


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
    grad: Tensor, x: Tensor, out: Tensor | None, weight: Tensor | None, bias: Tensor | None, statistics: Tensor,
    groups: Tensor | None, eps: float, relu: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of x, weight, bias and residual. `out`: of a ReLU behind a residual; else the last is (0,)."""
    from .batch_norm_backward_triton import backward

    return backward(grad, x, out, weight, bias, statistics, groups, eps, relu)


def _backward_fake(grad, x, out, weight, bias, statistics, groups, eps, relu):
    of_weight, of_bias = (
        x.new_empty(x.shape[1], dtype=torch.float32 if parameter is None else parameter.dtype)
        for parameter in (weight, bias)
    )
    return torch.empty_like(x), of_weight, of_bias, x.new_empty(0) if out is None else torch.empty_like(x)


def _save(ctx, inputs, output):
    x, weight, bias, residual, *_, groups, _, _, ctx.eps, ctx.relu = inputs
    out, statistics = output
    ctx.mark_non_differentiable(statistics)
    # Without a residual the ReLU's mask follows from x, whose reading is cheaper than that of the result beside it.
    masked = out if ctx.relu and residual is not None else None
    ctx.save_for_backward(x, masked, weight, bias, statistics, groups)


def _differentiate(ctx, grad, _):
    if grad is None:
        return (None,) * 12
    x, out, weight, bias, statistics, groups = ctx.saved_tensors
    of_x, of_weight, of_bias, of_residual = _backward_op(
        grad, x, out, weight, bias, statistics, groups, ctx.eps, ctx.relu
    )  # fmt: skip
    return (
        of_x,
        None if weight is None else of_weight,
        None if bias is None else of_bias,
        None if not ctx.needs_input_grad[3] else grad if out is None else of_residual,
        *(None,) * 8,
    )


_forward_op = register(
    "batch_norm(Tensor x, Tensor? weight, Tensor? bias, Tensor? residual, Tensor(a!)? running_mean, "
    "Tensor(b!)? running_var, Tensor(c!)? batches, Tensor? groups, SymInt group_count, float? momentum, float eps, "
    "bool relu) -> (Tensor, Tensor)",
    _forward,
    _forward_fake,
)
_statistics_op = register(
    "batch_norm_statistics(Tensor x, Tensor? groups, SymInt group_count) -> Tensor", _statistics, _statistics_fake
)
_backward_op = register(
    "batch_norm_backward(Tensor grad, Tensor x, Tensor? out, Tensor? weight, Tensor? bias, Tensor statistics, "
    "Tensor? groups, float eps, bool relu) -> (Tensor, Tensor, Tensor, Tensor)",
    _backward,
    _backward_fake,
)
register_derivative(_forward_op, _save, _differentiate)
