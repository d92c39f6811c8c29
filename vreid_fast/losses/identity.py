"""Losses on the labelled source: cross-entropy and the batch-hard triplet loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Eq. 5: logits (B, identities), labels (B,) -> mean over the batch.

    Args:
        smoothing: part of the right answer that is spread evenly over all identities (Szegedy et al., CVPR 2016).
    """
    return F.cross_entropy(_wide(logits), labels, label_smoothing=smoothing)


def batch_hard_triplet(features: Tensor, labels: Tensor, margin: float = 0.3, distance: str = "euclidean") -> Tensor:
    """Eq. 6: each clip against its farthest positive and its nearest negative of the batch.

    max(0, d(anchor, positive) - d(anchor, negative) + margin), mean over the anchors that have a
    negative (Hermans et al., "In Defense of the Triplet Loss", 2017). The anchor counts among its positives.

    Args:
        features: (B, D), not normalised.
        labels: (B,) identities.
        distance: "euclidean" as the paper has it, or "cosine" (negative cosine similarity) as its code has it.

    Raises:
        ValueError: another distance.
    """
    positive, negative = _hardest(features, labels, distance)
    # Without a negative the hinge is max(0, -inf) = 0, with no gradient.
    return F.relu(positive - negative + margin).mean()


def soft_triplet(features: Tensor, labels: Tensor, distance: str = "euclidean") -> Tensor:
    """The same with a soft margin: log(1 + exp(d(anchor, positive) - d(anchor, negative))); raises likewise."""
    positive, negative = _hardest(features, labels, distance)
    return F.softplus(positive - negative).mean()


def _hardest(features: Tensor, labels: Tensor, distance: str) -> tuple[Tensor, Tensor]:
    """(B,) distances of each clip to its farthest positive, and to its nearest negative, or infinity."""
    features = _wide(features)
    if distance == "cosine":
        features = F.normalize(features, dim=1)
        distances = -features @ features.T
    elif distance == "euclidean":
        squares = features.square().sum(1)
        squared = squares[:, None] + squares[None] - 2 * features @ features.T
        # The root's gradient at zero is infinite; an anchor is at zero from itself.
        distances = squared.clamp_min(1e-12).sqrt()
    else:
        raise ValueError(f"distance must be euclidean or cosine, got {distance!r}")
    same = labels[:, None] == labels[None]
    return distances.masked_fill(~same, -torch.inf).amax(1), distances.masked_fill(same, torch.inf).amin(1)


def _wide(values: Tensor) -> Tensor:
    """In float32 or better."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
