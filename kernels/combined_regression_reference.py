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
) -> CombinedRegression:
    """Any device and float type, see combined_regression; `strength` and `seed` are 0-d tensors."""
    accumulate = torch.promote_types(torch.promote_types(clips.dtype, weight1.dtype), torch.float32)
    present = (groups >= 0) & (groups < clips.shape[0])
    index = torch.where(present, groups, 0)
    sizes = present.sum(1, keepdim=True).clamp(min=1)
    means = clips.to(accumulate)
    if clips.dim() == 3:
        means = mean_over_frames(means, lengths)[1]
    members = means.index_select(0, index.flatten()).unflatten(0, groups.shape)
    combined = (torch.where(present[..., None], members, 0.0).sum(1) / sizes).to(clips.dtype)
    of_domain = domains[index][..., None] == torch.arange(2, device=domains.device)
    shares = (of_domain & present[..., None]).sum(1).to(accumulate) / sizes

    features = combined.to(accumulate)
    # The value of features with the gradient -strength: the bracket is zero with gradient -1.
    features = features + (strength.detach() + 1) * (features.detach() - features)
    hidden = F.relu(F.linear(features, weight1.to(accumulate), bias1.to(accumulate)))
    if dropout:
        unit = torch.arange(hidden.shape[1], device=clips.device)
        group = torch.arange(hidden.shape[0], device=clips.device)[:, None]
        kept = random_bits(seed, group, unit) >= dropped_below(dropout)
        hidden = torch.where(kept, hidden / (1 - dropout), 0.0)
    predictions = F.linear(hidden, weight2.to(accumulate), bias2.to(accumulate)).softmax(1)
    return CombinedRegression((predictions - shares).square().mean(), predictions, combined)


def dropped_below(dropout: float) -> int:
    """Random bits below this drop a unit."""
    return int(dropout * 2**32)
