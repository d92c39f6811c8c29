"""What stands on the pooled features: the batch-norm neck and the identity classifier."""

from __future__ import annotations

from torch import nn


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
