"""ResNet trunks over single frames, with torchvision's parameter names.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016. The last stage keeps stride 1, so that
a 256 x 128 frame gives a 16 x 8 map (Luo et al., "Bag of Tricks and a Strong Baseline", CVPRW 2019).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import ClassVar

from torch import Tensor, nn

from vreid_fast.kernels import FusedBatchNorm

CHANNELS = {"full": (64, 128, 256, 512), "narrow": (16, 32, 64, 128)}
"""Channels of the stages of a ResNet-50 by its width; narrow is a quarter, which two CPU cores train from scratch."""

Maps = Tensor | tuple[Tensor, Tensor]
"""What a block makes of x, (N, C, h, w): maps; and of (x, past), which is x twice, maps twice. `past` goes past the
block. The batch norm that x came from then adds the gradients of both, see FusedBatchNorm."""


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, channels_in: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = FusedBatchNorm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = FusedBatchNorm(channels)
        self.downsample = _shortcut(channels_in, channels, stride)

    def forward(self, x: Tensor, past: Tensor | None = None) -> Maps:
        twice = past is not None
        past = past if twice else x
        shortcut = past if self.downsample is None else self.downsample(past)
        x = self.bn1(self.conv1(x), relu=True)
        return self.bn2(self.conv2(x), add=shortcut, relu=True, twice=twice)


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, channels_in: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.bn1 = FusedBatchNorm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = FusedBatchNorm(channels)
        self.conv3 = nn.Conv2d(channels, channels * 4, 1, bias=False)
        self.bn3 = FusedBatchNorm(channels * 4)
        self.downsample = _shortcut(channels_in, channels * 4, stride)

    def forward(self, x: Tensor, past: Tensor | None = None) -> Maps:
        twice = past is not None
        past = past if twice else x
        shortcut = past if self.downsample is None else self.downsample(past)
        x = self.bn1(self.conv1(x), relu=True)
        x = self.bn2(self.conv2(x), relu=True)
        return self.bn3(self.conv3(x), add=shortcut, relu=True, twice=twice)


def _shortcut(channels_in: int, channels_out: int, stride: int) -> nn.Module | None:
    if stride == 1 and channels_in == channels_out:
        return None
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), FusedBatchNorm(channels_out))


class ResNetTrunk(nn.Module):
    """Frames (N, 3, H, W) -> feature maps (N, D, h, w).

    Args:
        block: BasicBlock or Bottleneck.
        blocks: number of blocks in each of the four stages.
        channels: channels of each stage, before the block's expansion.
        strides: stride of each stage.
        stem: channels of the first convolution.
        small_stem: a 3x3 convolution in place of the 7x7 one and no max pooling, for frames of 64 x 32 pixels.
        stem_padding: of the max pooling in the stem; 0 as SINet has it.
        plugins: (stage from 1, block from 0) -> a module that its maps pass behind that block.
        wraps: (stage, block) -> what makes another module of that block's second convolution, with its weight.
    """

    copies: ClassVar[dict[str, str]] = {}
    """Parts that start as copies of others: of weights of a plain ResNet they take what those take."""
    plain: ClassVar[str] = "the torchvision ResNet of the same depth"
    """What other weights than its own it starts from."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: tuple[int, int, int, int],
        channels: tuple[int, int, int, int] = (64, 128, 256, 512),
        strides: tuple[int, int, int, int] = (1, 2, 2, 1),
        stem: int = 64,
        small_stem: bool = False,
        stem_padding: int = 1,
        plugins: Mapping[tuple[int, int], nn.Module] | None = None,
        wraps: Mapping[tuple[int, int], Callable[[nn.Conv2d], nn.Module]] | None = None,
    ):
        super().__init__()
        size = 3 if small_stem else 7
        self.conv1 = nn.Conv2d(3, stem, size, stride=2, padding=size // 2, bias=False)
        self.bn1 = FusedBatchNorm(stem)
        self.maxpool = nn.Identity() if small_stem else nn.MaxPool2d(3, stride=2, padding=stem_padding)
        width = stem
        for stage, (count, out, stride) in enumerate(zip(blocks, channels, strides, strict=True), start=1):
            layers = []
            for position in range(count):
                layers.append(block(width, out, stride if position == 0 else 1))
                width = out * block.expansion
            setattr(self, f"layer{stage}", nn.Sequential(*layers))
        self.width = width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        # Apart from the stages, whose blocks keep torchvision's numbers, and with the weights they start with.
        self.plugins = nn.ModuleDict({_key(*place): plugin for place, plugin in (plugins or {}).items()})
        for (stage, position), wrap in (wraps or {}).items():
            wrapped = getattr(self, f"layer{stage}")[position]
            wrapped.conv2 = wrap(wrapped.conv2)

    def forward(self, frames: Tensor) -> Tensor:
        x = past = self.maxpool(self.bn1(self.conv1(frames), relu=True))
        for stage in range(1, 4):
            x, past = self._stage(stage, x, past)
        return self.last_stage(x, past)

    def plain_names(self) -> dict[str, str]:
        """Of tensors that are named otherwise in a plain ResNet, the names there by ours."""
        parts = self.copies.items()
        return {
            name: theirs + name.removeprefix(ours)
            for name in self.state_dict()
            for ours, theirs in parts
            if name.startswith(ours)
        }

    def from_plain(self, name: str, value: Tensor) -> Tensor:
        """A tensor of a plain ResNet as the one of this name here."""
        return value

    def last_stage(self, x: Tensor, past: Tensor) -> Tensor:
        """Maps of the last stage, of the stage before it twice."""
        return self._stage(4, x, past)[0]

    def _stage(self, stage: int, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        for position, block in enumerate(getattr(self, f"layer{stage}")):
            x, past = block(x, past)
            if _key(stage, position) in self.plugins:
                x = past = self.plugins[_key(stage, position)](x)
        return x, past


def resnet50_trunk(width: str = "full", kind: type[ResNetTrunk] = ResNetTrunk, **options) -> ResNetTrunk:
    """The trunk of a ResNet-50, `width` as in `CHANNELS`; `kind` and `options` are those of `ResNetTrunk`."""
    channels = CHANNELS[width]
    return kind(Bottleneck, (3, 4, 6, 3), channels=channels, stem=channels[0], **options)


def map_size(size: tuple[int, int], stage: int, stem_padding: int = 1) -> tuple[int, int]:
    """(h, w) of the maps behind stage 1, 2, 3 or 4 of `resnet50_trunk`, of frames of `size` = (H, W) pixels."""

    def shrink(pixels: int) -> int:
        pixels = (pixels - 1) // 2 + 1  # the stem's convolution
        pixels = (pixels - 3 + 2 * stem_padding) // 2 + 1  # its pooling
        for _ in range(min(stage, 3) - 1):
            pixels = (pixels - 1) // 2 + 1
        return pixels

    return shrink(size[0]), shrink(size[1])


def added_part(name: str) -> str | None:
    """The plug-in, wrapped convolution or other part that a tensor of a trunk is of and that no plain ResNet has; None
    for what one has."""
    found = re.match(r"plugins\.\w+|erasing|layer\d\.\d\.conv2(?=\.(?!(weight|bias)$))", name)
    return found and found[0]


def _key(stage: int, position: int) -> str:
    return f"layer{stage}_{position}"
