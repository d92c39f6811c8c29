"""How far two partitions of the same items agree, counted over pairs of items."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class PairAgreement(NamedTuple):
    """Fractions; 0 where there is nothing to take them of."""

    precision: float
    """Of the pairs that share a cluster, those that belong together."""
    recall: float
    """Of the pairs that belong together, those that share a cluster."""


def pair_agreement(found: Tensor, truth: Tensor) -> PairAgreement:
    """Clusters against what is true, or against other clusters.

    Args:
        found: (N,) integers, clusters; below 0 = in none, so in no pair.
        truth: (N,) integers, what belongs together; below 0 = unknown, and left out of all pairs.
    """
    known = truth >= 0
    found, truth = found[known], truth[known]
    inside = found >= 0
    both = _pairs(torch.stack([found[inside], truth[inside]]))
    return PairAgreement(both / max(_pairs(found[inside]), 1), both / max(_pairs(truth), 1))


def adjusted_rand(one: Tensor, other: Tensor) -> float:
    """How far two partitions agree beyond chance: 1 = they are the same, 0 = as much as by chance; 0 where chance
    alone decides, as where both are one heap or no pair at all.

    Hubert and Arabie, "Comparing partitions", 1985.

    Args:
        one, other: (N,) integers, clusters; below 0 = in none, so in no pair.
    """
    both = _pairs(torch.stack([one, other])[:, (one >= 0) & (other >= 0)])
    of_one, of_other = _pairs(one[one >= 0]), _pairs(other[other >= 0])
    chance = of_one * of_other / max(len(one) * (len(one) - 1) // 2, 1)
    most = (of_one + of_other) / 2
    return (both - chance) / (most - chance) if most > chance else 0.0


def _pairs(labels: Tensor) -> int:
    """Pairs of columns of the labels (N,) or (2, N) that are the same."""
    counts = labels.unique(dim=-1, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())
