"""The loss of a network that scores pairs.

Liao and Shao, "Graph Sampling Based Deep Metric Learning for Generalizable Person Re-Identification", CVPR 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def score_triplet(scores: Tensor, labels: Tensor, margin: float = 16.0) -> Tensor:
    """Each clip's least score with another of its person against its largest with another person's.

    max(0, largest - least + margin), mean over the clips that have both; 0 where none has.

    Args:
        scores: (B, B) of all pairs of a batch, higher is more alike.
        labels: (B,) identities.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    same = labels[:, None] == labels
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    both = positive.any(1) & ~same.all(1)
    least = scores.masked_fill(~positive, torch.inf).amin(1)
    largest = scores.masked_fill(same, -torch.inf).amax(1)
    # What has not both is taken out before the hinge, whose gradient there would be NaN.
    gaps = torch.where(both, largest - least, -torch.inf)
    return F.relu(gaps + margin).sum() / both.sum().clamp_min(1)
