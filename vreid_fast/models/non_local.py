"""The non-local block: every place of a clip looks at every other.

Wang et al., "Non-local Neural Networks", CVPR 2018: embedded Gaussian, with keys and values halved by max pooling.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from vreid_fast.kernels import FusedBatchNorm

from .over_time import OverTime, to_clips, to_maps


class NonLocal(OverTime, nn.Module):
    """Maps (B*T, C, h, w), at least 2 x 2, -> the same shape, x + what the T h w places of a clip exchange.

    Its last normalisation starts at zero, and the block as the identity.

    Args:
        channels: C.
    """

    authors: ClassVar[dict[str, str]] = {
        "query": "theta", "key": "phi.0", "value": "g.0", "expand": "W.0", "expand_norm": "W.1",
    }  # fmt: skip

    def __init__(self, channels: int):
        super().__init__()
        inner = channels // 2
        self.query, self.key, self.value = (nn.Conv2d(channels, inner, 1) for _ in range(3))
        self.expand = nn.Conv2d(inner, channels, 1)
        self.expand_norm = FusedBatchNorm(channels)
        for layer in (self.query, self.key, self.value, self.expand):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.expand_norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        places = to_clips(self.query(x), self.frames)
        keys, values = (F.max_pool2d(layer(x), 2) for layer in (self.key, self.value))
        query, keys, values = (
            clips.flatten(1, 3)[:, None]
            for clips in (places, to_clips(keys, self.frames), to_clips(values, self.frames))
        )  # (B, 1, places, C / 2): one head
        found = F.scaled_dot_product_attention(query, keys, values, scale=1.0)
        return self.expand_norm(self.expand(to_maps(found.view(places.shape))), add=x)
