"""Host memory: for batches, used again, as fresh pages cost several times what it takes to fill them; and of all ranks
of a machine together."""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

from vreid_fast import ranks


class HostMemory:
    """Tensors on the CPU whose memory comes back when the last view of them is gone."""

    def __init__(self):
        self._free: dict[int, list[mmap.mmap]] = {}

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A tensor with arbitrary content."""
        size = prod(shape) * dtype.itemsize
        if not size:
            return torch.empty(tuple(shape), dtype=dtype)
        free = self._free.setdefault(size, [])
        memory = free.pop() if free else _fresh(size)
        # The tensor's storage holds this array; when it lets go, nothing looks at the memory any more.
        array = np.frombuffer(memory, dtype=np.uint8)
        weakref.finalize(array, free.append, memory).atexit = False
        return torch.from_numpy(array).view(dtype).view(tuple(shape))


def shared_memory(size: int) -> np.ndarray:
    """Zeros (size,) uint8 that all ranks of this machine see, and write, as one. All must ask for them.

    Pages that nothing was written to take no memory. It has no name, and is free when the last rank has ended, however
    that ended.
    """
    own = os.memfd_create("vreid_fast")
    try:
        os.ftruncate(own, max(1, size))
        process, number = ranks.of_first_here((os.getpid(), own))
        with open(f"/proc/{process}/fd/{number}", "r+b", buffering=0) as file:
            memory = mmap.mmap(file.fileno(), max(1, size))
        ranks.of_all(None)  # have opened it
    finally:
        os.close(own)
    return np.frombuffer(memory, dtype=np.uint8, count=size)


def _fresh(size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
