"""The video network: a trunk over frames, pooling over space and time, a neck, a classifier."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vreid_fast.kernels import temporal_pool

from .heads import make_classifier, make_neck


class NetworkOutput(NamedTuple):
    frames: Tensor
    """(B, T, D) features of single frames, after the neck."""
    clip: Tensor
    """(B, D) features of clips, after the neck: f of eq. 4."""
    logits: Tensor
    """(B, identities) of the classifier."""
    projected: Tensor | None = None
    """(B, T, D) for `info_nce`, of networks that have a projection, in training."""


class VideoNetwork(nn.Module):
    """Clips (B, T, 3, H, W) -> features of frames and clips, and identity logits.

    Frame features are the maximum over space, clip features their mean over time; both pass the same
    batch-norm neck, so one training forward updates the neck's running statistics twice, first with
    clips and then with frames (SINet does the same). At test both give one vector:
    the neck is affine, so the mean of its frames is its clip.

    Args:
        trunk: frames (N, 3, H, W) -> maps (N, D, h, w), with its D in `width`.
        identities: number of people in the source.
        frames: T that the network is built for; this class takes any T.
    """

    def __init__(self, trunk: nn.Module, identities: int, frames: int):
        super().__init__()
        self.trunk = trunk
        self.frames = frames
        self.width: int = trunk.width
        self.neck = make_neck(self.width)
        self.classifier = make_classifier(self.width, identities)

    def pool(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Clips (B, T, 3, H, W) -> features before the neck, of frames (B, T, D) and clips (B, D).

        Raises:
            ValueError: `clips` is not (B, T, 3, H, W).
        """
        if clips.dim() != 5 or clips.shape[2] != 3:
            raise ValueError(f"clips must be (B, T, 3, H, W), got {tuple(clips.shape)}")
        frames = clips.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return temporal_pool(self.trunk(frames), frames=clips.shape[1], spatial="max")

    def forward(self, clips: Tensor) -> NetworkOutput:
        frames, clip = self.pool(clips)
        clip = self.neck(clip)
        frames = self.neck(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        return NetworkOutput(frames, clip, self.classifier(clip))

    def embed(self, clips: Tensor) -> Tensor:
        """Clips (B, T, 3, H, W) -> the vectors (B, D) that are compared at test."""
        return self.neck(self.pool(clips)[1])
