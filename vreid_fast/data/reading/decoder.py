"""What turns frames of tracklets into pixels: the interface of `dali` and `torch_decoder`.

Both give the same pixels: images are decoded by `images.decode`, and resized by the same filter (linear, wide enough to
average when an image shrinks).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vreid_fast.errors import InputError

from ..tracklets import Tracklet
from .bad_frames import BadFrames

Wanted = Sequence[tuple[Tracklet, np.ndarray]]
"""Frame numbers of tracklets."""


@dataclass(frozen=True)
class ReadingOptions:
    """How clips are read.

    Raises:
        InputError: an unknown backend, threads below 1.
    """

    size: tuple[int, int]
    """(H, W) of the network's input, pixels."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where the batches are wanted."""
    dtype: torch.dtype = torch.float32
    channels_last: bool = False
    """Whether the colours are innermost in memory."""
    backend: str | None = None
    """"dali", "torch", or None = DALI where it is installed."""
    threads: int = 1
    """CPU threads that read and decode."""
    bad_frames: BadFrames = field(default_factory=BadFrames)
    idle: list[Decoder] = field(default_factory=list, init=False, repr=False, compare=False)
    """Decoders that no loader has at the moment. The next loader takes one, with the pipelines that it has built and
    the files that it has looked at."""

    def __post_init__(self):
        if self.backend not in (None, "dali", "torch"):
            raise InputError(f"--loader {self.backend}: wanted auto, dali or torch")
        if self.threads < 1:
            raise InputError(f"--loader_threads {self.threads}: wanted at least 1")


class Decoder(ABC):
    """Reads and decodes; `read` and `decode` may work at the same time, each on one thread.

    Raises, from both methods:
        BadFrame: a frame that is missing or cannot be decoded.
    """

    name: str
    """What decodes, and where: `DALI 2.4.0 (cpu)`."""

    def __init__(self, reading: ReadingOptions):
        self._size, self._device, self._threads = reading.size, reading.device, reading.threads
        self._pool = self._threads_at_rest()

    @cached_property
    def stream(self) -> torch.cuda.Stream | None:
        """Of a GPU; one for all its loaders, as memory that was used on another stream would be of no use to the next
        loader."""
        return torch.cuda.Stream(self._device) if self._device.type == "cuda" else None

    @abstractmethod
    def read(self, wanted: Wanted) -> Any:
        """What can be done before decoding."""

    @abstractmethod
    def decode(self, encoded) -> tuple[Tensor, np.ndarray]:
        """Pixels (n, H, W, 3) uint8 on the device, and the row (n,) of each frame that `read` was asked for."""

    def notes(self, tracklets: Iterable[Tracklet]) -> tuple[str, ...]:
        """What a user should be told about how these are decoded."""
        return ()

    def each(self, function: Callable, items: Iterable) -> list:
        """`function` of each item, in order, on as many threads as there are."""
        return list((self._pool.map if self._pool else map)(function, items))

    def rest(self) -> None:
        """Let the threads go until it is used again."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
            self._pool = self._threads_at_rest()

    def _threads_at_rest(self) -> ThreadPoolExecutor | None:
        return ThreadPoolExecutor(self._threads, "frames") if self._threads > 1 else None
