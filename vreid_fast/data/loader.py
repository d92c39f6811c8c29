"""Batches of clips on the device, read ahead of need. DALI where it is installed, else PIL and torch.

Both loaders give the same clips: the same frames, the same filter (linear, wide enough to average when an
image shrinks), the same augmentation. See `plans` for what is loaded and `augment` for what is done to it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from vreid_fast.errors import InputError

from .plans import ClipRequest, TestPlan, TrainPlan
from .tracklets import Tracklet

__all__ = ["Batch", "ClipRequest", "Loader", "TestPlan", "TrainPlan", "make_loader"]

Result = TypeVar("Result")


@dataclass(frozen=True)
class Batch:
    views: tuple[Tensor, ...]
    """Each (B, T, 3, H, W) float32: RGB, minus ImageNet's mean, over its standard deviation."""
    tracklets: Tensor
    """(B,) int64 indices of the tracklets."""

    @property
    def clips(self) -> Tensor:
        """The first view."""
        return self.views[0]


class Loader(ABC, Iterator[Batch]):
    """An iterator over the batches of a plan, in order. Close it, or use it in a `with`.

    Raises on iteration:
        InputError: an image or video that is missing or cannot be decoded, with its tracklet.
    """

    name: str
    """What decodes, and where: `DALI 2.4.0 (cpu)`."""
    notes: tuple[str, ...] = ()
    """What a user should be told."""

    def __init__(
        self,
        tracklets: Sequence[Tracklet],
        plan: Sequence[list[ClipRequest]],
        *,
        size: tuple[int, int],
        device: torch.device,
        threads: int,
        start: int,
    ):
        self._tracklets, self._plan, self._size, self._device = tracklets, plan, size, device
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "clips") if threads > 1 else None
        self._ahead = Ahead(self._prepare, range(start, len(plan)))

    @abstractmethod
    def _prepare(self, step: int):
        """What can be done for a step in the background thread."""

    def _each(self, function: Callable, items: Iterable) -> list:
        """`function` of each item, in order, on as many threads as the loader has."""
        return list((self._pool.map if self._pool else map)(function, items))

    def close(self) -> None:
        """Stop reading ahead; waits for the batch that is being read."""
        self._ahead.close()
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_) -> None:
        self.close()


class Ahead(Iterator[Result], Generic[Result]):
    """`make(step)` of each step, in order, made by a background thread two steps ahead of need.

    What `make` raises is raised where its result would have come.
    """

    def __init__(self, make: Callable[[int], Result], steps: Iterable[int], depth: int = 2):
        self._make, self._steps = make, iter(steps)
        self._thread = ThreadPoolExecutor(1, "loader")
        self._waiting: deque[Future[Result]] = deque()
        for _ in range(depth):
            self._order()

    def _order(self) -> None:
        for step in self._steps:
            self._waiting.append(self._thread.submit(self._make, step))
            break

    def __next__(self) -> Result:
        if not self._waiting:
            raise StopIteration
        result = self._waiting.popleft().result()
        self._order()
        return result

    def close(self) -> None:
        self._steps = iter(())
        self._thread.shutdown(cancel_futures=True)
        self._waiting.clear()


def make_loader(
    tracklets: Sequence[Tracklet],
    plan: Sequence[list[ClipRequest]],
    *,
    size: tuple[int, int],
    device: str | torch.device = "cpu",
    backend: str | None = None,
    threads: int = 1,
    start: int = 0,
) -> Loader:
    """A loader of a plan's batches from step `start` on.

    Args:
        size: (H, W) of the network's input, pixels.
        device: where the batches are wanted.
        backend: "dali", "torch", or None = DALI where it is installed.
        threads: CPU threads that read and decode.

    Raises:
        InputError: an unknown or absent backend, threads below 1.
    """
    if backend not in (None, "dali", "torch"):
        raise InputError(f"--loader {backend}: wanted auto, dali or torch")
    if threads < 1:
        raise InputError(f"--loader_threads {threads}: wanted at least 1")
    options = {"size": size, "device": torch.device(device), "threads": threads, "start": start}
    if backend != "torch":
        try:
            from .dali import DaliLoader

            return DaliLoader(tracklets, plan, **options)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] != "nvidia":
                raise
            if backend == "dali":
                raise InputError(
                    "--loader dali: not installed; pip install nvidia-dali-cuda130 or use --loader torch"
                ) from error
    from .torch_loader import TorchLoader

    return TorchLoader(tracklets, plan, **options)
