"""A batch-norm layer that takes the addition and the ReLU behind it along, see batch_norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .batch_norm import batch_norm


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

    def forward(self, x: Tensor, add: Tensor | None = None, relu: bool = False) -> Tensor:
        """x (N, C, H, W) -> relu(normalised x + add), of the same shape.

        Args:
            add: (N, C, H, W).
            relu: whether there is a ReLU.
        """
        if self.training:
            return batch_norm(
                x, self.weight, self.bias, residual=add, relu=relu, running_mean=self.running_mean,
                running_var=self.running_var, batches=self.num_batches_tracked, momentum=self.momentum, eps=self.eps,
                backend=self.backend,
            )  # fmt: skip
        out = super().forward(x)
        if add is not None:
            out = out + add
        return torch.relu_(out) if relu else out
