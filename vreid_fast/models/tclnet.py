"""TCLNet: two streams, in the second of which is erased what the first has shown.

Hou et al., "Temporal Complementary Learning for Video Person Re-Identification", ECCV 2020.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vreid_fast.errors import InputError
from vreid_fast.kernels import temporal_pool

from .heads import make_classifier, make_neck
from .network import NetworkOutput, VideoNetwork
from .temporal_saliency import PAIR, ROWS, SaliencyBoosting, SaliencyErasing
from .trunk import CHANNELS, ResNetTrunk, map_size, resnet50_trunk

FRAMES = 2 * PAIR
BOOSTING = (2, 3)
"""(stage, block) that temporal saliency boosting stands behind."""


class ErasingTrunk(ResNetTrunk):
    """A `ResNetTrunk` whose last stage erases, see `SaliencyErasing`; frames (B*4, 3, H, W) -> maps (B*4, D, h, w)."""

    copies: ClassVar[dict[str, str]] = {"erasing.second.": "layer4.2."}

    def __init__(self, *arguments, channels: tuple[int, int, int, int], **options):
        super().__init__(*arguments, channels=channels, **options)
        self.erasing = SaliencyErasing(4 * channels[2], self.layer4[2])

    def last_stage(self, x: Tensor, past: Tensor) -> Tensor:
        return self.erasing(x, self.layer4[:2], self.layer4[2])


class TCLNet(VideoNetwork):
    """Clips of 4 frames, as two pairs: the first frames of both make one stream, the second frames the other.

    Each stream has its neck, its classifier and its losses. What is compared at test are both streams' vectors, 2 D in
    all: each is the mean over a tracklet's clips, then its neck, then of length 1. Frame features (B, 4, D) pass the
    neck of their stream, and do not move it.

    Args:
        identities: number of people in the source.
        frames: 4.
        size: (H, W) of the frames, pixels.
        trunk: full or narrow.

    Raises:
        InputError: another T, or a size that leaves too few rows to erase some.
    """

    authors: ClassVar[dict[str, str]] = {
        "trunk.": "",
        "trunk.layer4.": "TSE_Module.layer4.",
        "trunk.layer4.2.": "TSE_Module.branch.0.",
        "trunk.erasing.": "TSE_Module.",
        "neck.": "bn.",
    }
    frames_move_neck = False
    fixed = ("frames",)

    def __init__(self, identities: int, frames: int = FRAMES, size: tuple[int, int] = (256, 128), trunk: str = "full"):
        if frames != FRAMES:
            raise InputError(f"--frames {frames}: network tclnet takes clips of {FRAMES} frames; set --frames {FRAMES}")
        maps = map_size(size, 3)
        if maps[0] <= ROWS:
            raise InputError(
                f"frames of {size[0]} x {size[1]} pixels give network tclnet maps of {maps[0]} x {maps[1]}, wanted "
                f"more than {ROWS} rows, of which it erases as many; set --height 256 (at least 49)"
            )
        plugins = {BOOSTING: SaliencyBoosting(4 * CHANNELS[trunk][BOOSTING[0] - 1])}
        super().__init__(resnet50_trunk(trunk, ErasingTrunk, plugins=plugins), identities, frames, size)
        self.width = 2 * self.frame_width

    def _make_heads(self) -> None:
        self.neck = nn.ModuleList(make_neck(self.frame_width) for _ in range(PAIR))
        self.classifier = nn.ModuleList(make_classifier(self.frame_width, self.identities) for _ in range(PAIR))

    def pool(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Clips (B, 4, 3, H, W) -> features before the necks, of frames (B, 4, D) and of the streams (B, 2, D)."""
        frames, _ = temporal_pool(self.maps(clips), frames=FRAMES, spatial="max")
        return frames, frames.unflatten(1, (-1, PAIR)).mean(1)

    def forward(self, clips: Tensor) -> NetworkOutput:
        frames, raw = self.pool(clips)
        streams = self._pass_streams(raw)
        passed = [self._pass_frames(neck, frames[:, of::PAIR]) for of, neck in enumerate(self.neck)]
        return NetworkOutput(
            torch.stack(passed, 2).flatten(1, 2),
            torch.cat([stream.clip for stream in streams], 1),
            streams[-1].logits,
            streams,
        )

    def describe(self, clips: Tensor) -> Tensor:
        raw = self.pool(clips)[1]
        return torch.cat([neck(of_stream) for neck, of_stream in zip(self.neck, raw.unbind(1), strict=True)], 1)

    def finish(self, means: Tensor) -> Tensor:
        """Each stream's half of (N, 2 D) to length 1."""
        return F.normalize(means.unflatten(1, (PAIR, -1)), dim=2).flatten(1)


tclnet = TCLNet
