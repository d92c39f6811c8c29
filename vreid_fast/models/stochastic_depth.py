"""Stochastic depth: in training, blocks are left out at random (Huang et al., ECCV 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class StochasticDepth(nn.Module):
    """Which halves of which blocks are left out, of which rows of a batch; all are there at test.

    Args:
        blocks: their number.
        rate: how often the last one of `of` blocks would be left out; the first never is.
        of: blocks that the rate is spread over, at least 2.
    """

    def __init__(self, blocks: int, rate: float, of: int):
        super().__init__()
        self.register_buffer("keep", 1 - torch.linspace(0, rate, of)[:blocks].view(-1, 1, 1, 1, 1), persistent=False)
        self.active = True

    def forward(self, rows: int) -> Tensor | None:
        """Factors (blocks, 2, rows, 1, 1): 0, or what makes up for those that are left out; None = all 1."""
        if not (self.training and self.active):
            return None
        return (torch.rand(len(self.keep), 2, rows, 1, 1, device=self.keep.device) < self.keep) / self.keep


def settle(network: nn.Module) -> None:
    """Leave nothing out of a network any more, in training mode neither."""
    for module in network.modules():
        if isinstance(module, StochasticDepth):
            module.active = False


@contextmanager
def settled(network: nn.Module) -> Iterator[None]:
    """Within, nothing is left out."""
    active = [module for module in network.modules() if isinstance(module, StochasticDepth) and module.active]
    settle(network)
    try:
        yield
    finally:
        for module in active:
            module.active = True
