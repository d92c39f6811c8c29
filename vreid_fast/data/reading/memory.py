"""Host memory for batches, used again: fresh pages cost several times what it takes to fill them."""

from __future__ import annotations

import mmap
import weakref
from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor


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


def _fresh(size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
