"""Clothes-based adversarial learning: features that do not tell what somebody wears.

Gu et al., "Clothes-Changing Person Re-identification with RGB Modality Only", CVPR 2022. A classifier learns to tell
clothes by the features; the features learn to make all clothes of their own person equally likely.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def clothes_cross_entropy(cosines: Tensor, clothes: Tensor, scale: float = 16.0) -> Tensor:
    """What the classifier of clothes minimises.

    Args:
        cosines: (B, C) of features and classes of clothes.
        clothes: (B,) int64, the class that each wears.
        scale: of the cosines in the softmax.
    """
    return F.cross_entropy(scale * cosines, clothes)


def clothes_adversarial_loss(
    cosines: Tensor,
    clothes: Tensor,
    owners: Tensor,
    scale: float = 16.0,
    epsilon: float = 0.1,
    known: Tensor | None = None,
) -> Tensor:
    """What the features minimise: each of a person's clothes stands against the clothes of all others alone.

    Where every person has one kind of clothes, this is a softmax over scaled cosines.

    Args:
        cosines: (B, C) of features and classes of clothes.
        clothes: (B,) int64, the class that each wears.
        owners: (C,) the person that each class of clothes is of.
        scale: of the cosines.
        epsilon: part of the weight that is spread evenly over all clothes of the person; the rest is on those worn.
        known: (C,) bool, classes that there is something to compare with; None = all.
    """
    own = owners[clothes].unsqueeze(1) == owners  # (B, C)
    others = ~own
    if known is not None:
        own, others = own & known, others & known
    scores = scale * cosines
    of_others = scores.masked_fill(~others, -torch.inf).logsumexp(1, keepdim=True)
    log_likelihood = scores - torch.logaddexp(of_others, scores)
    weights = own.to(scores.dtype) * epsilon
    weights = weights / own.sum(1, keepdim=True)
    weights = weights.scatter_add(1, clothes.unsqueeze(1), torch.full_like(weights[:, :1], 1 - epsilon))
    return -(weights * log_likelihood).sum(1).mean()


def clothes_cosines(features: Tensor, directions: Tensor) -> Tensor:
    """(B, C) cosines of features (B, D) and classes of clothes (C, D)."""
    return F.normalize(features, dim=1) @ F.normalize(directions, dim=1).T


class ClothesClassifier(nn.Module):
    """A learned direction in D = `width` features for each of C = `clothes` classes: (C, D) `directions`."""

    def __init__(self, clothes: int, width: int):
        super().__init__()
        self.directions = nn.Parameter(F.normalize(torch.randn(clothes, width), dim=1))


class ClothesMemory(nn.Module):
    """The same from features that were seen, in place of what is learned.

    Until each class was seen, a class is its newest feature. From then on it moves towards each feature of it, one
    after the other as they stand in the batch.

    Args:
        clothes: C.
        width: D.
        momentum: what is left of a class when a feature of it comes.
    """

    directions: Tensor
    known: Tensor

    def __init__(self, clothes: int, width: int, momentum: float = 0.0):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("directions", torch.zeros(clothes, width))
        self.register_buffer("known", torch.zeros(clothes, dtype=torch.bool))

    @torch.no_grad()
    def follow(self, features: Tensor, clothes: Tensor) -> None:
        """Take in features (B, D) of clothes (B,), in place and without a look at any number."""
        momentum = torch.where(self.known.all(), self.momentum, 0.0)
        same = clothes.unsqueeze(1) == clothes
        later = same.triu(1).sum(1)  # (B,) of one class that follow in the batch
        of_class = torch.arange(len(self.known), device=clothes.device).unsqueeze(1) == clothes  # (C, B)
        parts = of_class * ((1 - momentum) * momentum**later)
        stay = momentum ** of_class.sum(1, keepdim=True)
        self.directions.copy_(stay * self.directions + parts.to(features.dtype) @ features)
        self.known.logical_or_(of_class.any(1))
