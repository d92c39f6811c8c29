"""The decoder that needs no DALI: PIL decodes images, PyAV videos, torch resizes, all on the CPU."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from .decoder import Decoder, Wanted
from .images import read_frames
from .memory import HostMemory


class TorchDecoder(Decoder):
    """See `Decoder`; frames go to a GPU from pinned memory."""

    name = "torch (PIL)"

    def __init__(self, reading):
        super().__init__(reading)
        self._memory = HostMemory()

    def read(self, wanted: Wanted) -> Wanted:
        return wanted

    def decode(self, encoded: Wanted) -> tuple[Tensor, np.ndarray]:
        clips = self.each(lambda row: [resize(torch.tensor(frame), self._size) for frame in read_frames(*row)], encoded)
        frames = [frame for clip in clips for frame in clip]
        shape, numbers = (len(frames), *self._size, 3), np.arange(len(frames))
        if self._device.type == "cuda":
            pinned = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
            return torch.stack(frames, out=pinned).to(self._device, non_blocking=True), numbers
        return torch.stack(frames, out=self._memory.empty(shape, torch.uint8)), numbers


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(h, w, 3) uint8 to (H, W, 3) uint8 with DALI's antialiased linear filter."""
    if image.shape[:2] == size:
        return image
    rows, columns = (resize_matrix(old, new) for old, new in zip(image.shape[:2], size))
    resized = rows @ image.permute(2, 0, 1).float() @ columns.T
    return resized.round_().to(torch.uint8).permute(1, 2, 0)


@lru_cache(maxsize=1024)
def resize_matrix(length: int, wanted: int) -> Tensor:
    """(wanted, length) weights of the triangle filter, as wide as a pixel of the coarser grid on each side.

    Beyond the ends the first and last pixel repeat, as in DALI; PIL shortens the filter there instead.
    """
    scale = length / wanted
    reach = max(scale, 1.0)
    centres = (np.arange(wanted) + 0.5) * scale - 0.5
    pixels = np.floor(centres)[:, None] + np.arange(-np.ceil(reach), np.ceil(reach) + 1)
    weights = np.maximum(0, 1 - np.abs(pixels - centres[:, None]) / reach)
    matrix = np.zeros((wanted, length))
    inside = pixels.clip(0, length - 1).astype(int)
    np.add.at(matrix, (np.arange(wanted)[:, None], inside), weights / weights.sum(axis=1, keepdims=True))
    return torch.from_numpy(matrix).float()
