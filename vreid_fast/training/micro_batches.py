"""A batch in micro-batches, for one whose graph is too large for the memory: `--accumulate N`.

What the network says of each micro-batch is computed without its graph, and the losses of all of it. In the backward
pass each is computed again, with a graph, and takes its part of the gradient; one graph is there at a time. This is
what `torch.utils.checkpoint` does with each, so all that asks for gradients stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vreid_fast import ranks
from vreid_fast.models.running_statistics import MovingOnce
from vreid_fast.models.stochastic_depth import within_micro_batch

Output = TypeVar("Output")


class MicroBatches:
    """Forwards of batches in `count` micro-batches, each alone in its batch norm.

    Running statistics move once, by the mean of theirs. Chance is that of the whole batch.
    """

    def __init__(self, count: int):
        self.count = count

    def __call__(self, forward: Callable[[Tensor], Output], clips: Tensor, *networks: nn.Module) -> Output:
        """What `forward` gives of the whole batch, with gradient.

        Args:
            forward: clips (B, ...) -> a tensor (B, ...), or a tuple of such.
            clips: (B / ranks, ...) of this rank, a slice of each micro-batch after the other.
            networks: those that `forward` runs.

        Raises:
            ValueError: clips that do not divide by them.
        """
        if self.count == 1:
            return ranks.gather(forward(clips))
        if len(clips) % self.count:
            raise ValueError(f"{len(clips)} clips do not divide into {self.count} micro-batches")
        moving = MovingOnce(networks)
        parts = []
        for number, part in enumerate(clips.chunk(self.count)):
            with moving.part(), _same_chance(clips.device, again=number + 1 < self.count):
                parts.append(self._one(forward, part, moving, networks, number))
        moving.end()
        return ranks.gather(_joined(parts), self.count)

    def _one(
        self,
        forward: Callable[[Tensor], Output],
        part: Tensor,
        moving: MovingOnce,
        networks: Sequence[nn.Module],
        number: int,
    ) -> Output:
        def place() -> AbstractContextManager:
            return within_micro_batch(networks, number, self.count)

        return checkpoint(
            forward, part, use_reentrant=False, context_fn=lambda: (place(), _Each(lambda: (moving.still(), place())))
        )


class _Each(AbstractContextManager):
    """Contexts that are made anew each time they are entered: a graph may be asked for several times."""

    def __init__(self, make: Callable[[], Sequence[AbstractContextManager]]):
        self._make, self._stack = make, ExitStack()

    def __enter__(self) -> None:
        for context in self._make():
            self._stack.enter_context(context)

    def __exit__(self, *error: object) -> None:
        self._stack.close()


def _same_chance(device: torch.device, again: bool) -> AbstractContextManager:
    """Around the forward of a micro-batch: the next one draws the same random numbers where `again`."""
    devices = [device] if device.type == "cuda" else []
    return torch.random.fork_rng(devices) if again else nullcontext()


def _joined(parts: Sequence[Output]) -> Output:
    """Tensors, or tuples of such, as one."""
    one = parts[0]
    if one is None:
        return one
    if isinstance(one, Tensor):
        return torch.cat(parts)  # type: ignore[return-value, arg-type]
    fields = [_joined(alike) for alike in zip(*parts, strict=True)]  # type: ignore[call-overload]
    return type(one)(*fields) if hasattr(one, "_fields") else tuple(fields)  # type: ignore[return-value]
