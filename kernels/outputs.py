"""Uninitialised tensors in the shape and layout of an op's result, for every backend to write into."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def empty_clips(shape: Sequence[int], dtype: torch.dtype, channels_last: bool, device: torch.device) -> Tensor:
    """Clips (B, T, 3, H, W) to write into, for shape (B, T, H, W)."""
    clips, frames, height, width = shape
    if channels_last:
        return torch.empty(clips, frames, height, width, 3, dtype=dtype, device=device).permute(0, 1, 4, 2, 3)
    return torch.empty(clips, frames, 3, height, width, dtype=dtype, device=device)


def empty_maps(
    grad_frames: Tensor | None,
    grad_clips: Tensor | None,
    frames: int,
    height: int,
    width: int,
    channels_last: bool,
) -> Tensor:
    """The gradient (B*T, D, H, W) of feature maps, of the type of whichever gradient is there."""
    known = grad_clips if grad_frames is None else grad_frames
    assert known is not None, "one of the two gradients is there"
    layout = torch.channels_last if channels_last else torch.contiguous_format
    size = known.shape[0] * frames, known.shape[-1], height, width
    return torch.empty(size, dtype=known.dtype, device=known.device, memory_format=layout)
