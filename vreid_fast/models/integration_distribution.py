"""The integration-distribution module of SINet: every place of a clip hears of every other.

Bai et al., "Salient-to-Broad Transition for Video Person Re-identification", CVPR 2022.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vreid_fast.kernels import FusedBatchNorm


class IntegrationDistribution(nn.Module):
    """Maps (B*T, C, h, w) -> the same shape, ReLU(x + what the N = T h w positions exchange).

    Channels are squeezed to C / 16; the N positions of each are then integrated to N / 16 values and
    distributed again, two matrix products that all channels share. Their weights fix T, h and w. The last
    layer starts at zero, and the module as the identity on maps behind a ReLU.

    Args:
        channels: C.
        frames: T.
        size: (h, w) of the maps.
        reduction: 16 above, for channels and positions.
    """

    authors: ClassVar[dict[str, str]] = {
        "squeeze": "chl_reduction.0", "squeeze_norm": "chl_reduction.1", "integrate": "thw_reduction.0",
        "integrate_norm": "thw_reduction.1", "distribute": "thw_expansion.0", "expand": "chl_expansion.0",
    }  # fmt: skip

    def __init__(self, channels: int, frames: int, size: tuple[int, int], reduction: int = 16):
        super().__init__()
        self.frames, self.size = frames, size
        positions, inner = frames * size[0] * size[1], channels // reduction
        integrated = max(1, positions // reduction)
        self.squeeze = nn.Conv2d(channels, inner, 1)
        self.squeeze_norm = FusedBatchNorm(inner)
        self.integrate = nn.Linear(positions, integrated)
        self.integrate_norm = nn.BatchNorm1d(integrated)
        self.distribute = nn.Linear(integrated, positions)
        self.expand = nn.Conv2d(inner, channels, 1)
        for layer in (self.squeeze, self.integrate, self.distribute):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.expand.weight)
        nn.init.zeros_(self.expand.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Raises ValueError for maps of another size or a number of them that is no multiple of T."""
        if x.shape[0] % self.frames or x.shape[2:] != self.size:
            raise ValueError(
                f"integration-distribution module: built for {self.frames} frames of {self.size[0]} x {self.size[1]} "
                f"maps, got {tuple(x.shape)}"
            )
        squeezed = self.squeeze_norm(self.squeeze(x))
        # One row for a clip and channel, its positions in the order (T, h, w): (B * C / 16, N).
        rows = squeezed.unflatten(0, (-1, self.frames)).transpose(1, 2).flatten(2).flatten(0, 1)
        mixed = rows + self.distribute(self.integrate_norm(self.integrate(rows)))
        mixed = mixed.view(-1, squeezed.shape[1], self.frames, *self.size).transpose(1, 2).flatten(0, 1)
        return torch.relu(x + self.expand(mixed.contiguous(memory_format=torch.channels_last)))
