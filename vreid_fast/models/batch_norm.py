"""Batch-norm statistics of a domain: adaptation without training (Li et al., AdaBN, 2016)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def recompute_statistics(network: nn.Module, batches: Iterable[Tensor]) -> int:
    """Replace every running mean and variance by the average over unlabelled clips, in place.

    Args:
        network: its training forward is run; parameters stay as they are, and so does its mode.
        batches: clips (B, T, 3, H, W) on the network's device, e.g. of the target; each counts alike.

    Returns:
        The number of batches seen; with none, the old statistics stay.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta, was_training = [norm.momentum for norm in norms], network.training
    seen = 0
    network.train()
    try:
        for clips in batches:
            if seen == 0:
                for norm in norms:
                    norm.reset_running_stats()
                    norm.momentum = None  # a running average over all batches
            network(clips)
            seen += 1
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.train(was_training)
    return seen
