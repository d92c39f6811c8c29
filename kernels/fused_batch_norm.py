"""A batch-norm layer that takes the addition and the ReLU behind it along, see batch_norm."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .batch_norm import batch_norm
from .batch_norm_twice import batch_norm_twice


class FusedBatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d`, of the same arguments and state, whose call may end in an addition and a ReLU.

    In training the batch is normalised by `batch_norm`: on a GPU by its kernels, for channels_last maps; everywhere
    else, and in evaluation, by torch's own operations, with nn.BatchNorm2d's numbers bit for bit. With momentum None
    the counter of batches is not read by the host.

    `FusedBatchNorm.backend = "reference"` switches the kernels off for all layers, or `layer.backend` for one; CUDA
    graphs that were captured before stay as they are.
    """

    backend: str | None = None
    """Of `batch_norm`, in training; None = the best present."""

    def forward(self, x: Tensor, add: Tensor | None = None, relu: bool = False, twice: bool = False) -> Any:
        """x (N, C, H, W) -> relu(normalised x + add), of the same shape; with `twice` a pair of it.

        Args:
            add: (N, C, H, W).
            relu: whether there is a ReLU.
            twice: give the result out twice, for two uses. Behind `add` and `relu` the kernels then add the gradients
                of both as they read them, which saves a pass over the maps.
        """
        if not self.training:
            out = super().forward(x)
            if add is not None:
                out = out + add
            if relu:
                out = torch.relu_(out)
        elif twice and relu and add is not None:
            return batch_norm_twice(
                x, self.weight, self.bias, add, self.running_mean, self.running_var, self.num_batches_tracked,
                self.momentum, self.eps, self.backend,
            )  # fmt: skip
        else:
            out = batch_norm(
                x, self.weight, self.bias, residual=add, relu=relu, running_mean=self.running_mean,
                running_var=self.running_var, batches=self.num_batches_tracked, momentum=self.momentum, eps=self.eps,
                backend=self.backend,
            )  # fmt: skip
        return (out, out) if twice else out
