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
    accumulate = torch.float64 if torch.float64 in (clips.dtype, weight1.dtype) else torch.float32
    means = _cast(clips, accumulate)
    if clips.dim() == 3:
        means = mean_over_frames(means, lengths)[1]
    index = groups.contiguous()  # which F.embedding would do in its forward and again in its backward
    if padded:
        present = (index >= 0) & (index < clips.shape[0])
        index = torch.where(present, index, 0)
        sizes = present.sum(1, keepdim=True).clamp(min=1)

    def mean(members: Tensor) -> Tensor:
        """(J, S, ...) -> (J, ...), over the slots that hold a clip."""
        if padded:
            return torch.where(present[..., None], members, 0.0).sum(1, dtype=accumulate) / sizes
        return members.mean(1, dtype=accumulate)

    # On a CPU the gradient of F.embedding is the soonest of all ways to index.
    combined = _cast(mean(F.embedding(index, means)), clips.dtype)
    both = torch.arange(2, device=domains.device)  # source, target
    shares = mean(torch.take(domains, index)[..., None] == both)

    features = _cast(combined, accumulate)
    # The reversal: a way of length 0 from features to features, of which the gradient is its weight, -strength.
    features = torch.lerp(features.detach(), features, _cast(-strength, accumulate))
    hidden = F.linear(features, _cast(weight1, accumulate), _cast(bias1, accumulate)).relu()
    if dropout:
        unit = torch.arange(hidden.shape[1], device=clips.device)
        group = torch.arange(hidden.shape[0], device=clips.device)[:, None]
        kept = random_bits(seed, group, unit) >= dropped_below(dropout)
        hidden = torch.where(kept, hidden / (1 - dropout), 0.0)
    predictions = F.linear(hidden, _cast(weight2, accumulate), _cast(bias2, accumulate)).softmax(1)
    loss = torch.ops.aten.mse_loss(predictions, shares)  # F.mse_loss would broadcast first
    return CombinedRegression(loss, predictions, combined)


def dropped_below(dropout: float) -> int:
    """Random bits below this drop a unit."""
    return int(dropout * 2**32)


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """tensor.to(dtype), sooner where there is nothing to do."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)
