"""QAConv: it has no vectors; two images are compared by the places of their maps.

Liao and Shao, "Interpretable and Generalizable Person Re-identification with Query-Adaptive Convolution and Temporal
Lifting", ECCV 2020; with the trunk of Pan et al., "Two at Once: Enhancing Learning and Generalization Capacities via
IBN-Net", ECCV 2018.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vreid_fast.errors import InputError
from vreid_fast.kernels.gather_clips import IMAGENET_MEAN, IMAGENET_STD

from .matcher import Matcher
from .network import NetworkOutput, VideoNetwork
from .trunk import Bottleneck, Maps, ResNetTrunk, map_size, resnet50_trunk

CHANNELS_OUT = 128
"""Of the maps that are compared."""


class ShortTrunk(ResNetTrunk):
    """A `ResNetTrunk` without its last stage.

    Args:
        instance: whether instance norms stand in place of the stem's norm and behind the last sum of the first two
            stages (IBN-b).
    """

    def __init__(self, *arguments, channels: tuple[int, int, int, int], instance: bool = False, **options):
        super().__init__(*arguments, channels=channels, **options)
        del self.layer4
        self.width = 4 * channels[2]
        if instance:
            self.bn1 = StemInstanceNorm(channels[0], affine=True)
            for stage, width in ((self.layer1, channels[0]), (self.layer2, channels[1])):
                stage[-1] = InstanceBottleneck(4 * width, width, 1)

    def last_stage(self, x: Tensor, past: Tensor) -> Tensor:
        return x


class StemInstanceNorm(nn.InstanceNorm2d):
    def forward(self, x: Tensor, relu: bool) -> Tensor:
        x = super().forward(x)
        return F.relu(x, inplace=True) if relu else x


class InstanceBottleneck(Bottleneck):
    """A `Bottleneck` whose sum passes an instance norm."""

    def __init__(self, channels_in: int, channels: int, stride: int):
        super().__init__(channels_in, channels, stride)
        for convolution in (self.conv1, self.conv2, self.conv3):
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        self.IN = nn.InstanceNorm2d(4 * channels, affine=True)  # its name in files of such trunks

    def forward(self, x: Tensor, past: Tensor | None = None) -> Maps:
        y = self.bn1(self.conv1(x), relu=True)
        y = self.bn2(self.conv2(y), relu=True)
        y = F.relu(self.IN(self.bn3(self.conv3(y), add=x if past is None else past)), inplace=True)
        return y if past is None else (y, y)


class QAConv(VideoNetwork):
    """Clips of one frame or more -> maps of unit vectors (B, 128, h, w), and scores of pairs of these.

    A clip's map is the mean of its frames' ones, of length 1 at each place again; so is a tracklet's. The batch norms
    of the trunk stay as they are in training, as its authors have it.

    Args:
        instance: with instance norms in the trunk (IBN-b).
        identities: number of people in the source; there is no classifier of them.
        frames: T.
        size: (H, W) of the frames, pixels, which the matcher's weights fix.
        trunk: full or narrow.
    """

    authors: ClassVar[dict[str, str]] = {"trunk.": "base.", "reduce.": "neck_conv."}
    containers = ("model", "criterion")
    unused = ("base.layer4.", "base.fc.")
    fixed = ("size",)
    compares_pairs = True

    def __init__(
        self,
        instance: bool,
        identities: int,
        frames: int = 1,
        size: tuple[int, int] = (384, 128),
        trunk: str = "full",
    ):
        super().__init__(resnet50_trunk(trunk, ShortTrunk, instance=instance), identities, frames, size)
        self.map_size = map_size(size, 3)
        self.reduce = nn.Conv2d(self.trunk.width, CHANNELS_OUT, 3, padding=1)
        self.matcher = Matcher(self.map_size)
        self.compare_frames(0)
        self.frame_width = CHANNELS_OUT
        # Frames come by ImageNet's mean and deviation; its own are from 0 to 1.
        mean, scale = (torch.tensor(of_colours).view(3, 1, 1) / 255 for of_colours in (IMAGENET_MEAN, IMAGENET_STD))
        self.register_buffer("shift", mean, persistent=False)
        self.register_buffer("factor", scale, persistent=False)
        self.train()  # where a network begins, but for the trunk

    def _make_heads(self) -> None:
        """None: nothing is classified."""

    def train(self, mode: bool = True) -> QAConv:
        super().train(mode)
        self.trunk.eval()
        return self

    def maps(self, clips: Tensor) -> Tensor:
        """Clips (B, T, 3, H, W) -> maps (B, 128, h, w) of length 1 at each place; raises as in other networks."""
        return F.normalize(self._frame_maps(clips).mean(1), dim=1)

    def pair_score(self, query_maps: Tensor, gallery_maps: Tensor) -> Tensor:
        """Maps (Q, 128, h, w) and (G, 128, h, w) -> how alike they are, (Q, G); see `Matcher`."""
        return self.matcher(query_maps, gallery_maps)

    def forward(self, clips: Tensor) -> NetworkOutput:
        maps = self.maps(clips)
        pooled = maps.mean((2, 3))
        return NetworkOutput(pooled[:, None], pooled, pooled[:, :0], maps=maps)

    def compare_frames(self, frames: int) -> None:
        """From now on tracklets stand for so many maps at test, of one clip of as many frames each, and their score is
        the mean over all pairs of these; 0 = for one, the mean of all."""
        self.kept = frames
        self.width = max(1, frames) * CHANNELS_OUT * self.map_size[0] * self.map_size[1]

    def describe(self, clips: Tensor) -> Tensor:
        maps = self._frame_maps(clips)
        return (maps if self.kept else maps.mean(1)).flatten(1)

    def finish(self, means: Tensor) -> Tensor:
        """Maps, flattened to (N, 128 h w), or K of them, to length 1 at each place."""
        return F.normalize(self.unflatten(means), dim=1).reshape(means.shape)

    def compare(self, query: Tensor, gallery: Tensor) -> Tensor:
        scores = self.pair_score(self.unflatten(query), self.unflatten(gallery))
        maps = max(1, self.kept)
        return scores.view(len(query), maps, len(gallery), maps).mean((1, 3))

    def drawn(self, vectors: Tensor) -> Tensor:
        """The mean over places, by which nothing is compared."""
        return self.unflatten(vectors).mean((2, 3)).unflatten(0, (len(vectors), -1)).mean(1)

    def unflatten(self, vectors: Tensor) -> Tensor:
        """(N, 128 h w) -> maps (N, 128, h, w); of K maps each (N K, 128, h, w)."""
        return vectors.reshape(-1, CHANNELS_OUT, *self.map_size)

    def embed(self, clips: Tensor) -> Tensor:
        raise InputError(NO_VECTORS)

    def _frame_maps(self, clips: Tensor) -> Tensor:
        """(B, T, 128, h, w), of length 1 at each place."""
        maps = self.reduce(super().maps(clips * self.factor + self.shift))
        return F.normalize(maps, dim=1).unflatten(0, clips.shape[:2])


NO_VECTORS = (
    "network qaconv compares pairs of tracklets and has no vectors of single ones; python -m vreid_fast.evaluate "
    "scores it, or take another --network"
)
qaconv = partial(QAConv, False)
qaconv_ibnb = partial(QAConv, True)
