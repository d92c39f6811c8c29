"""Modules that look across the frames of a clip, inside trunks that see frames alone."""

from __future__ import annotations

from torch import Tensor


class OverTime:
    """A module of a trunk that has to know which frames are one clip's: `VideoNetwork` sets T before each forward."""

    frames: int = 1
    """T of the clips that are going through."""


def to_clips(maps: Tensor, frames: int) -> Tensor:
    """Maps (B*T, C, h, w) -> (B, T, h, w, C), a view where they are channels_last."""
    return maps.permute(0, 2, 3, 1).unflatten(0, (-1, frames))


def to_maps(clips: Tensor) -> Tensor:
    """(B, T, h, w, C) -> maps (B*T, C, h, w), channels_last."""
    return clips.flatten(0, 1).permute(0, 3, 1, 2)
