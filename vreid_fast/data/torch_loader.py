"""The loader that needs no DALI: PIL decodes images, PyAV videos, torch does the rest, all on the CPU."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .augment import MEAN, STD, Augmentation
from .images import read_frames
from .loader import Batch, Loader
from .plans import ClipRequest


class TorchLoader(Loader):
    """See `Loader`; batches go to a GPU from pinned memory."""

    name = "torch (PIL)"

    def __next__(self) -> Batch:
        *views, tracklets = (tensor.to(self._device, non_blocking=True) for tensor in next(self._ahead))
        return Batch(tuple(views), tracklets)

    def _prepare(self, step: int) -> list[Tensor]:
        requests = self._plan[step]
        clips = self._each(self._clip, requests)
        tensors = [torch.stack(view) for view in zip(*clips)]
        tensors.append(torch.tensor([request.tracklet for request in requests]))
        return [tensor.pin_memory() for tensor in tensors] if self._device.type == "cuda" else tensors

    def _clip(self, request: ClipRequest) -> list[Tensor]:
        frames = read_frames(self._tracklets[request.tracklet], request.frames)
        clip = normalise(torch.stack([resize(torch.tensor(frame), self._size) for frame in frames]))
        return [augmented(clip, augmentation) for augmentation in request.views]


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(h, w, 3) uint8 to (3, H, W) uint8 with DALI's antialiased linear filter."""
    channels = image.permute(2, 0, 1)
    if channels.shape[1:] == size:
        return channels
    rows, columns = (resize_matrix(old, new) for old, new in zip(channels.shape[1:], size))
    return (rows @ channels.float() @ columns.T).round_().to(torch.uint8)


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


def normalise(clip: Tensor) -> Tensor:
    """(T, 3, H, W) uint8 to float32."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (clip - mean) / std


def augmented(clip: Tensor, augmentation: Augmentation) -> Tensor:
    """A copy of a normalised clip (T, 3, H, W) with an augmentation applied to all frames."""
    height, width = clip.shape[-2:]
    top, left = augmentation.crop
    clip = clip.flip(-1) if augmentation.flip else clip
    clip = F.pad(clip, [augmentation.pad] * 4)[..., top : top + height, left : left + width].clone()
    top, left, tall, wide = augmentation.erase
    clip[..., top : top + tall, left : left + wide] = 0
    return clip
