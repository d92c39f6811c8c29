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
    _, of_both = torch.stack([found[inside], truth[inside]]).unique(dim=1, return_counts=True)
    both, of_found, of_truth = (
        int((counts * (counts - 1) // 2).sum())
        for counts in (of_both, *(part.unique(return_counts=True)[1] for part in (found[inside], truth)))
    )
    return PairAgreement(both / max(of_found, 1), both / max(of_truth, 1))
