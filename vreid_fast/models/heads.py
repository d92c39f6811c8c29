"""What stands on the pooled features: the batch-norm neck and the identity classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def make_neck(width: int) -> nn.BatchNorm1d:
    """The batch-norm neck over D = `width` features; scale ~ N(1, 0.02) and a learned shift, as SINet has it."""
    neck = nn.BatchNorm1d(width)
    nn.init.normal_(neck.weight, 1.0, 0.02)
    return neck


def make_classifier(width: int, identities: int) -> nn.Linear:
    """The identity classifier of eq. 4: (B, D) -> (B, identities)."""
    classifier = nn.Linear(width, identities)
    nn.init.normal_(classifier.weight, std=0.001)
    nn.init.zeros_(classifier.bias)
    return classifier


class CircleClassifier(nn.Module):
    """Cosines to a direction for each identity: features (B, D) -> logits (B, identities), s times the cosines.

    The losses of training are of `with_margin` (Sun et al., "Circle Loss", CVPR 2020): the cosine c of the right
    identity has weight 1 + m - c and goes above 1 - m, those of the others have weight c + m and go below m.

    Args:
        width: D.
        identities: number of people in the source.
        scale: s.
        margin: m.
    """

    def __init__(self, width: int, identities: int, scale: float = 64.0, margin: float = 0.3):
        super().__init__()
        self.scale, self.margin = scale, margin
        self.weight = nn.Parameter(torch.empty(identities, width))
        nn.init.normal_(self.weight, std=0.01)

    def forward(self, features: Tensor) -> Tensor:
        # 64 times a cosine of bfloat16 would be wrong by a quarter.
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(self.weight.dtype)
            return self.scale * F.linear(F.normalize(features, dim=1), F.normalize(self.weight, dim=1))

    def with_margin(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (B, identities) of `forward`, labels (B,) -> those whose cross-entropy is the circle softmax's."""
        cosines, margin = logits / self.scale, self.margin
        weights = cosines.detach()
        right = labels[:, None] == torch.arange(logits.shape[1], device=logits.device)
        own = F.relu(1 + margin - weights) * (cosines - (1 - margin))
        others = F.relu(weights + margin) * (cosines - margin)
        return self.scale * torch.where(right, own, others)
