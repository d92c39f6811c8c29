"""Batch norm with the statistics of the whole batch, of which each rank has a slice.

torch's SyncBatchNorm wants a GPU; this is of any device, and its layers are those that were there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vreid_fast import ranks

from .matcher import Matcher

Norm = nn.modules.batchnorm._BatchNorm


class WholeBatchNorm(Norm):
    """Any batch norm of a run of several ranks; of the same state, and in evaluation the same."""

    def forward(self, x: Tensor, add: Tensor | None = None, relu: bool = False, twice: bool = False) -> Any:
        """x (N, C, ...) of this rank -> normalised, + add, ReLU, given out twice, as of `FusedBatchNorm`."""
        out = self._in_training(x) if self.training else super().forward(x)
        if add is not None:
            out = out + add
        if relu:
            out = torch.relu_(out)
        return (out, out) if twice else out

    def _in_training(self, x: Tensor) -> Tensor:
        out, mean, var, count = _WholeBatch.apply(x, self.weight, self.bias, self.eps)
        if self.running_mean is not None:
            self.num_batches_tracked.add_(1)
            share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.mul_(1 - share).add_(mean, alpha=share)
            self.running_var.mul_(1 - share).add_(var * (count / (count - 1)), alpha=share)
        return out

    def _check_input_dim(self, x: Tensor) -> None:
        """The layer that it was is built for these."""


def over_whole_batch(network: nn.Module) -> nn.Module:
    """Make the network's batch norms, in place, those of the whole batch; with one process they stay as they are, as do
    those of a `Matcher`, which is given the whole batch."""
    if ranks.several():
        for module in _of_slices(network):
            module.__class__ = WholeBatchNorm  # who holds the layer holds it still
    return network


@contextmanager
def whole_batches(network: nn.Module) -> Iterator[None]:
    """Within, the network's batch norms are those of the whole batch."""
    before = {module: module.__class__ for module in _of_slices(network)}
    over_whole_batch(network)
    try:
        yield
    finally:
        for module, kind in before.items():
            module.__class__ = kind


def _of_slices(network: nn.Module) -> list[Norm]:
    """Batch norms that each rank gives its slice."""
    after = {norm for module in network.modules() if isinstance(module, Matcher) for norm in module.modules()}
    return [module for module in network.modules() if isinstance(module, Norm) and module not in after]


def normalised(neck: Norm, rows: Tensor) -> Tensor:
    """Rows (N, C) by their own statistics, weighed as the neck's; its running statistics stay."""
    if isinstance(neck, WholeBatchNorm):
        return _WholeBatch.apply(rows, neck.weight, neck.bias, neck.eps)[0]
    return F.batch_norm(rows, None, None, neck.weight, neck.bias, training=True, eps=neck.eps)


class _WholeBatch(torch.autograd.Function):
    """x (N, C, ...), weight and bias (C,) -> the result, mean and biased variance (C,), and the values of a channel.

    The gradients of weight and bias are of this rank's slice, as those of any other weight.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple:
        # `var_mean` is twenty times as slow. The zeros are running statistics that stay, and tell the type.
        nothing = x.new_zeros(x.shape[1], dtype=torch.promote_types(x.dtype, torch.float32))
        own = torch.stack(torch.batch_norm_update_stats(x, nothing, nothing, 0.0))
        means, variances = ranks.of_each(own).unbind(1)
        mean = means.mean(0)
        var = (variances + (means - mean).square()).mean(0)  # of differences from the mean: without cancellation
        ctx.save_for_backward(x, weight, bias, mean, var)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, var)
        out = F.batch_norm(x, mean, var, weight, bias, eps=eps)
        return out, mean, var, ranks.whole(x.numel() // x.shape[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple:
        x, weight, bias, mean, var = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=_format(x))
        _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, torch.ones_like(mean), mean, var, None, None, False, ctx.eps, [False, True, True]
        )
        count = ranks.whole(x.numel() // x.shape[1])
        slope, shift = (ranks.add_up(torch.stack([of_weight, of_bias])) / count).unbind()
        factor = (var + ctx.eps).rsqrt() * (1 if weight is None else weight)
        # What the statistics take away is x normalised by them, with other weights.
        of_x = F.batch_norm(_wide(x), mean, var, -slope * factor, -shift * factor, eps=ctx.eps)
        of_x.addcmul_(_wide(gradient), factor.view(-1, *[1] * (x.dim() - 2)))
        return of_x.to(x.dtype), None if weight is None else of_weight, None if bias is None else of_bias, None


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _format(x: Tensor) -> torch.memory_format:
    rows = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if rows else torch.contiguous_format
