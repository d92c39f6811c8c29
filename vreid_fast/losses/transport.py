"""Labels by optimal transport: pseudo-labels of which each class has as many as the others.

Zheng et al., "Group-aware Label Transfer for Domain Adaptive Person Re-identification" (GLT), CVPR 2021; the plan is
that of Sinkhorn and Knopp, in the log domain.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

CHECKED = 10
"""Iterations between two looks at the marginals."""


@torch.no_grad()
def transport_plan(scores: Tensor, power: float = 25.0, tolerance: float = 1e-3, most: int = 1000) -> Tensor:
    """How the mass of N samples goes to K classes, as their scores say and with uniform marginals.

    Args:
        scores: (N, K) logits; likelihoods are their softmax.
        power: of the likelihoods. The higher it is, the more a sample goes to one class.
        tolerance: largest part by which a class may miss its mass.
        most: iterations, where it is not reached before.

    Returns:
        (N, K), non-negative. Each row sums to 1/N, each column to 1/K within `tolerance`.

    Raises:
        ValueError: `scores` that are not (N, K), or not finite.
    """
    if scores.dim() != 2 or not scores.numel():
        raise ValueError(f"scores must be (N, K), got {tuple(scores.shape)}")
    if not scores.isfinite().all():
        raise ValueError("scores must be finite")
    samples, classes = scores.shape
    log = power * scores.log_softmax(1)
    of_class, of_sample = log.new_zeros(classes), log.new_zeros(samples, 1)
    for iteration in range(1, most + 1):
        of_sample = -math.log(samples) - (log + of_class).logsumexp(1, keepdim=True)
        # With the rows right, the mass of a class says how far its column is off.
        mass = (log + of_class + of_sample).logsumexp(0)
        if iteration == most or (
            iteration % CHECKED == 0 and float((mass.exp() * classes - 1).abs().max()) < tolerance
        ):
            break
        of_class = of_class - math.log(classes) - mass
    return (log + of_class + of_sample).exp()
