"""combined_regression in plain torch: the definition that the other backends match."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .counter_random import random_bits
from .temporal_pool import mean_over_frames


class CombinedRegression(NamedTuple):
    """loss: 0-d; predictions: (J, 2) shares of source and target; combined: (J, D). All differentiable."""

    loss: Tensor
    predictions: Tensor
    combined: Tensor


def combined_regression_reference(
    clips: Tensor,
    domains: Tensor,
    groups: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    strength: Tensor,
    dropout: float,
    seed: Tensor,
    lengths: Tensor | None = None,
    padded: bool = True,
) -> CombinedRegression:
    """Any device and float type, see combined_regression; `strength` and `seed` are 0-d tensors.

    padded: False where all of `groups` is known to be in 0..N-1. The result is the same, sooner.
    """
    accumulate = torch.promote_types(torch.promote_types(clips.dtype, weight1.dtype), torch.float32)
    means = clips.to(accumulate)
    if clips.dim() == 3:
        means = mean_over_frames(means, lengths)[1]
    index = groups
    sizes: int | Tensor = groups.shape[1]
    present: Tensor | None = None
    if padded:
        present = (groups >= 0) & (groups < clips.shape[0])
        index = torch.where(present, groups, 0)
        sizes = present.sum(1, keepdim=True).clamp(min=1)

    def mean_of(rows: Tensor) -> Tensor:
        members = F.embedding(index, rows)  # on a CPU its gradient is the soonest of all ways to index
        if present is not None:
            members = torch.where(present[..., None], members, 0.0)
        return members.sum(1) / sizes

    combined = mean_of(means).to(clips.dtype)
    both = torch.arange(2, device=domains.device)  # source, target
    shares = mean_of((domains[:, None] == both).to(accumulate))

    features = combined.to(accumulate)
    # The value of features with the gradient -strength: the bracket is zero with gradient -1.
    features = torch.addcmul(features, strength.detach() + 1, features.detach() - features)
    hidden = F.relu(F.linear(features, weight1.to(accumulate), bias1.to(accumulate)))
    if dropout:
        unit = torch.arange(hidden.shape[1], device=clips.device)
        group = torch.arange(hidden.shape[0], device=clips.device)[:, None]
        kept = random_bits(seed, group, unit) >= dropped_below(dropout)
        hidden = torch.where(kept, hidden / (1 - dropout), 0.0)
    predictions = F.linear(hidden, weight2.to(accumulate), bias2.to(accumulate)).softmax(1)
    return CombinedRegression(F.mse_loss(predictions, shares), predictions, combined)


def dropped_below(dropout: float) -> int:
    """Random bits below this drop a unit."""
    return int(dropout * 2**32)
