"""PSTA: three stages of aggregation, each of which halves the frames, with a head behind each.

Wang et al., "Pyramid Spatial-Temporal Aggregation for Video-based Person Re-Identification", ICCV 2021.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vreid_fast.kernels import FusedBatchNorm

from .aggregation import Aggregation
from .heads import make_classifier, make_neck
from .network import NetworkOutput, VideoNetwork
from .trunk import map_size, resnet50_trunk

STAGES = 3
SHORTEST = 2**STAGES


class PSTA(VideoNetwork):
    """Clips of 8 frames, or a multiple: 8 maps of half a ResNet-50's channels become 4, 2 and 1.

    A stream of each stage has its neck, its classifier and its losses: the mean of what this stage and those before it
    show. The last is compared at test. The shortest pieces with features of their own are pairs of frames: `frames` of
    the output are (B, T / 2, D), what the first stage makes of each pair, behind the first neck, which they do not
    move.

    Args:
        identities: number of people in the source.
        frames: T.
        size: (H, W) of the frames, pixels, which the weights fix.
        trunk: full or narrow.

    Raises:
        InputError: a T that is no multiple of 8.
    """

    authors: ClassVar[dict[str, str]] = {
        "trunk.": "base.",
        "reduce": "down_channel",
        **{f"stages.{stage}": f"layer{stage + 1}" for stage in range(STAGES)},
        "neck": "bottleneck",
    }
    frames_move_neck = False
    fixed = ("size",)
    multiple = SHORTEST

    def __init__(
        self, identities: int, frames: int = SHORTEST, size: tuple[int, int] = (256, 128), trunk: str = "full"
    ):
        self.check_frames(frames)
        super().__init__(resnet50_trunk(trunk), identities, frames, size)
        maps = map_size(size, 4)
        reduce = nn.Conv2d(self.trunk.width, self.width, 1, bias=False)
        nn.init.kaiming_normal_(reduce.weight, mode="fan_out", nonlinearity="relu")
        self.reduce = nn.Sequential(reduce, FusedBatchNorm(self.width), nn.ReLU(inplace=True))
        self.stages = nn.ModuleList(Aggregation(self.width, maps, self.width // 4) for _ in range(STAGES))

    def _make_heads(self) -> None:
        self.width = self.frame_width = self.trunk.width // 2
        self.neck = nn.ModuleList(make_neck(self.width) for _ in range(STAGES))
        for neck in self.neck:
            neck.bias.requires_grad_(False)
        self.classifier = nn.ModuleList(make_classifier(self.width, self.identities) for _ in range(STAGES))

    def pool(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Clips (B, T, 3, H, W) -> features before the necks, of pairs of frames (B, T / 2, D) and of the streams
        (B, 3, D)."""
        maps = self.reduce(self.maps(clips))
        frames = clips.shape[1]
        means: list[Tensor] = []
        for stage in self.stages:
            maps = stage(maps, frames)
            frames //= 2
            means.append(maps.mean((2, 3)).unflatten(0, (-1, frames)))
        of_stages = torch.stack([mean.mean(1) for mean in means], 1)
        counts = torch.arange(1, STAGES + 1, device=maps.device)[:, None]
        return means[0], of_stages.cumsum(1) / counts

    def forward(self, clips: Tensor) -> NetworkOutput:
        frames, raw = self.pool(clips)
        streams = self._pass_streams(raw)
        return NetworkOutput(self._pass_frames(self.neck[0], frames), *streams[-1], streams)

    def describe(self, clips: Tensor) -> Tensor:
        return self.neck[-1](self.pool(clips)[1][:, -1])


psta = PSTA
