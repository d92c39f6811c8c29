"""Running statistics of batch norms that see a batch in parts: they move once, by the mean.

A running statistic is linear in what moves it. So the mean of copies that parts of equal length have moved, all from
the same values, is what the mean of the parts' statistics moves it to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .whole_batch import Norm, WholeBatchNorm


def running_statistics(networks: Iterable[nn.Module]) -> list[Tensor]:
    """Buffers, counters among them, of the batch norms that are in training mode."""
    norms = [
        module for network in networks for module in network.modules() if isinstance(module, Norm) and module.training
    ]
    return [buffer for norm in norms for buffer in norm.buffers()]


def statistics_of_slices(networks: Iterable[nn.Module]) -> list[Tensor]:
    """Those means and variances that this process's slice of the batch alone has moved."""
    norms = [module for network in networks for module in network.modules() if isinstance(module, Norm)]
    own = [norm for norm in norms if norm.training and not isinstance(norm, WholeBatchNorm)]
    return [buffer for norm in own for buffer in norm.buffers() if buffer.is_floating_point()]


class MovingOnce:
    """Around the forwards of several parts of a batch: `with moving.part(): ...` for each, last `moving.end()`."""

    def __init__(self, networks: Iterable[nn.Module]):
        self._buffers = running_statistics(networks)
        self._before = [buffer.clone() for buffer in self._buffers]
        self._sums: list[Tensor] = []
        self._parts = 0

    @contextmanager
    def part(self) -> Iterator[None]:
        """The forward of a part, which begins from what was there before all of them."""
        self._fill(self._before)
        yield
        self._parts += 1
        if not self._sums:
            self._sums = [buffer.clone() for buffer in self._buffers]
            return
        for total, buffer in zip(self._sums, self._buffers, strict=True):
            if total.is_floating_point():  # a counter is the same after each
                total.add_(buffer)

    def end(self) -> None:
        """Have the buffers hold the mean."""
        self._fill([total / self._parts if total.is_floating_point() else total for total in self._sums])

    @contextmanager
    def still(self) -> Iterator[None]:
        """A forward that is computed again, and moves nothing."""
        before = [buffer.clone() for buffer in self._buffers]
        try:
            yield
        finally:
            self._fill(before)

    def _fill(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for buffer, value in zip(self._buffers, values, strict=True):
                buffer.copy_(value)
