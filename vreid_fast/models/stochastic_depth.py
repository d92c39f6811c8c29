"""Stochastic depth: in training, blocks are left out at random (Huang et al., ECCV 2016)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vreid_fast import ranks


class StochasticDepth(nn.Module):
    """Which halves of which blocks are left out, of which rows of a batch; all are there at test.

    Rows of the whole batch are drawn for, by each rank and for each micro-batch alike, and those of their own taken.

    Args:
        blocks: their number.
        rate: how often the last one of `of` blocks would be left out; the first never is.
        of: blocks that the rate is spread over, at least 2.
    """

    def __init__(self, blocks: int, rate: float, of: int):
        super().__init__()
        self.register_buffer("keep", 1 - torch.linspace(0, rate, of)[:blocks].view(-1, 1, 1, 1, 1), persistent=False)
        self.active = True
        self.place = 0, 1
        """Of the micro-batch whose rows come, see `within_micro_batch`: its number, and how many there are."""

    def forward(self, rows: int) -> Tensor | None:
        """Factors (blocks, 2, rows, 1, 1): 0, or what makes up for those that are left out; None = all 1."""
        if not (self.training and self.active):
            return None
        number, micro = self.place
        whole = ranks.whole(rows)
        drawn = torch.rand(len(self.keep), 2, micro * whole, 1, 1, device=self.keep.device)
        first = number * whole + ranks.part(range(whole))[0]
        return (drawn[:, :, first : first + rows] < self.keep) / self.keep


def settle(network: nn.Module) -> None:
    """Leave nothing out of a network any more, in training mode neither."""
    for module in network.modules():
        if isinstance(module, StochasticDepth):
            module.active = False


@contextmanager
def within_micro_batch(networks: Iterable[nn.Module], number: int, micro: int) -> Iterator[None]:
    """Within, rows are those of the micro-batch of this number out of `micro`."""
    depths = [module for network in networks for module in network.modules() if isinstance(module, StochasticDepth)]
    for depth in depths:
        depth.place = number, micro
    try:
        yield
    finally:
        for depth in depths:
            depth.place = 0, 1


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
