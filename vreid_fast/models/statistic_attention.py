"""The statistic attention block of SINet's repository: every place of a clip asks which statistics of it it resembles.

Bai et al., "SANet: Statistic Attention Network for Video-based Person Re-identification", IEEE TCSVT 2022.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vreid_fast.kernels import FusedBatchNorm

from .over_time import OverTime, to_clips, to_maps

HIGHER = (4, 5, 6)
"""Moments beside mean and deviation, each over that power of the deviation."""


class StatisticAttention(OverTime, nn.Module):
    """Maps (B*T, C, h, w) -> the same shape, ReLU(x + a mixture of the clip's statistics at each place).

    The statistics are over all T h w places, channel by channel of C / 4: mean, deviation and three higher moments.
    The last normalisation starts at zero, and the block as the identity on maps behind a ReLU.

    Args:
        channels: C.
    """

    authors: ClassVar[dict[str, str]] = {
        "squeeze": "down_channel", "expand": "up_channel.0", "expand_norm": "up_channel.1",
    }  # fmt: skip

    def __init__(self, channels: int):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 4, 1)
        self.expand = nn.Conv2d(channels // 4, channels, 1)
        self.expand_norm = FusedBatchNorm(channels)
        for layer in (self.squeeze, self.expand):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.expand_norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = to_clips(self.squeeze(x), self.frames)
        places = squeezed.flatten(1, 3)  # (B, N, C / 4)
        statistics = F.normalize(_moments(places), dim=2).to(places.dtype)  # (B, 5, C / 4)
        shares = torch.softmax(places @ statistics.transpose(1, 2), 2).to(places.dtype)
        mixed = (shares @ statistics).view(squeezed.shape)
        return self.expand_norm(self.expand(to_maps(mixed)), add=x, relu=True)


def _moments(places: Tensor) -> Tensor:
    """(B, N, C) -> (B, 5, C), in float32 or better: sixth powers leave the range of half precision."""
    places = places.to(torch.promote_types(places.dtype, torch.float32))
    mean = places.mean(1, keepdim=True)
    centred = places - mean
    deviation = centred.square().mean(1, keepdim=True).clamp_min(1e-12).sqrt()
    scaled = centred / deviation
    return torch.cat([mean, deviation, *(scaled.pow(power).mean(1, keepdim=True) for power in HIGHER)], 1)
