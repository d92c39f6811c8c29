"""batch_norm in plain torch: the definition that the other backends match.

The batch as a whole is torch's own `F.batch_norm`; groups of it are written out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def batch_norm_reference(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    batches: Tensor | None = None,
    groups: Tensor | None = None,
    group_count: int = 1,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    relu: bool = False,
) -> Tensor:
    """Any device, layout and float type, see batch_norm; differentiable as often as one likes."""
    if groups is None:
        out = _as_a_whole(x, weight, bias, running_mean, running_var, batches, momentum, eps)
    else:
        out = _by_groups(
            x, weight, bias, running_mean, running_var, batches, groups, group_count, momentum, eps
        )  # fmt: skip
    if residual is not None:
        out = out + residual
    return torch.relu_(out) if relu else out


def moments_of_groups(x: Tensor, groups: Tensor, group_count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (G, C), variance (G, C) and number of values (G,), in float32 or better; a group without samples has 0."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    # What takes no part goes to a row of its own. A sum by a matrix of 0 and 1 would carry NaN into other groups.
    row = torch.where((groups >= 0) & (groups < group_count), groups, group_count)
    zeros = wide.new_zeros(group_count + 1, x.shape[1])

    def mean_over_groups(values: Tensor) -> Tensor:
        return zeros.index_add(0, row, values.sum((2, 3))) / count.clamp(min=1)[:, None]

    size = wide.new_full((len(x),), x.shape[2] * x.shape[3])
    count = wide.new_zeros(group_count + 1).index_add(0, row, size)
    mean = mean_over_groups(wide)
    var = mean_over_groups((wide - mean[row][:, :, None, None]).square())
    return mean[:-1], var[:-1], count[:-1]


def unbiased(var: Tensor, count: Tensor) -> Tensor:
    """The variance (G, C) that running statistics keep, of the mean squared deviation from the mean."""
    return var * (count / (count - 1).clamp(min=1))[:, None]


def normalising_group(groups: Tensor, group_count: int) -> Tensor:
    """(N,) the group whose statistics normalise each sample: g for g, and for -1 - g."""
    return torch.where(groups < 0, -1 - groups, groups).clamp(0, group_count - 1)


def _as_a_whole(x, weight, bias, running_mean, running_var, batches, momentum, eps):
    if batches is not None:
        batches.add_(1)
    if momentum is not None or running_mean is None:
        return F.batch_norm(
            x, running_mean, running_var, weight, bias, True, 0.0 if momentum is None else momentum, eps
        )
    # At momentum 1 these become the statistics of this batch; a momentum of 1 / batches is a number of the device.
    mean, var = torch.zeros_like(running_mean), torch.zeros_like(running_var)
    out = F.batch_norm(x, mean, var, weight, bias, True, 1.0, eps)
    share = 1 / batches
    for running, of_batch in ((running_mean, mean), (running_var, var)):
        running.lerp_(of_batch, share.to(running.dtype))
    return out


def _by_groups(x, weight, bias, running_mean, running_var, batches, groups, group_count, momentum, eps):
    mean, var, count = moments_of_groups(x, groups, group_count)
    group = normalising_group(groups, group_count)
    scale = (var + eps).rsqrt()
    if weight is not None:
        scale = scale * weight
    out = (x - mean[group][:, :, None, None]) * scale[group][:, :, None, None]
    if bias is not None:
        out = out + bias[:, None, None]
    if running_mean is not None:
        tracked = 1 if running_mean.dim() == 1 else len(running_mean)
        seen = count[:tracked] > 0
        share = momentum
        if batches is not None:
            batches.view(-1).add_(seen)
            share = 1 / batches.view(-1, 1).clamp(min=1) if momentum is None else momentum
        spread = unbiased(var, count)
        for running, of_batch in ((running_mean, mean), (running_var, spread)):
            rows = running.view(tracked, -1)
            new = (1 - share) * rows + share * of_batch[:tracked].detach()
            rows.copy_(torch.where(seen[:, None], new, rows))
    return out.to(x.dtype)
