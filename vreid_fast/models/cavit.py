"""CAViT: a vision transformer over three grids of patches, in which each frame looks at the next one.

Wu et al., "CAViT: Contextual Alignment Vision Transformer for Video Object Re-identification", ECCV 2022.
"""

from __future__ import annotations

import copy
import math
import re
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vreid_fast.errors import InputError
from vreid_fast.kernels.gather_clips import IMAGENET_MEAN, IMAGENET_STD

from .heads import CircleClassifier, make_neck
from .network import NetworkOutput, VideoNetwork
from .over_time import OverTime
from .stochastic_depth import StochasticDepth
from .vision_transformer import EPS, Branch, CrossBlock, grid_size

GRIDS = (((16, 16), (12, 12)), ((32, 16), (28, 12)), ((16, 32), (12, 28)))
"""(rows, columns) of a patch and its stride, pixels."""
WIDTHS = {"full": (768, 12, 10), "narrow": (96, 3, 2)}
"""Width, heads and blocks: a ViT-B/16 without its last two blocks, or what two CPU cores train from scratch."""
PARTS = {
    "positions": "pos_embed{}", "patches": "patch_embed{}.proj", "changes": "pos_embed{}_flow.proj",
    "blocks": "blocks{}",
}  # fmt: skip
"""Of a branch, as the authors name them, with the number of the branch from the second on."""
PLAIN = {"positions": "pos_embed", "patches": "patch_embed.proj", "changes": "patch_embed.proj"}
"""Of a branch, as timm names them in a vision transformer."""
DEPTH, DROP = 12, 0.1
"""The last of 12 blocks would be left out this often, see `StochasticDepth`."""
HALF = 127.5
"""Its frames are (pixel - 127.5) / 127.5."""


class CrossTransformer(nn.Module, OverTime):
    """Frames (B*T, 3, H, W) from -1 to 1 -> tokens (B*T, N, C) of all grids, behind one layer norm."""

    plain: ClassVar[str] = "timm's ViT-B/16"
    """What other weights than its own it starts from."""

    def __init__(self, width: int, heads: int, depth: int, size: tuple[int, int]):
        super().__init__()
        _check_size(size)
        self.width = width
        blocks = nn.ModuleList(CrossBlock(width, heads) for _ in range(depth))
        self.branches = nn.ModuleList(Branch(copy.deepcopy(blocks), width, *grid, size) for grid in GRIDS)
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.chance = StochasticDepth(depth, DROP, of=DEPTH)
        self.recompute = False
        """Whether blocks keep only their tokens in training, and compute the rest again: less memory, more time."""

    def forward(self, images: Tensor) -> Tensor:
        changed = self._changed(images)
        rows = images.shape[0]  # not len, which torch.export takes for a constant
        tokens = [branch(images, changed, self.frames, self.chance(rows), self.recompute) for branch in self.branches]
        return self.norm(torch.cat(tokens, 1))

    def plain_names(self) -> dict[str, str]:
        """Names of a vision transformer in timm by ours: each branch takes all of it but its last blocks."""
        names = {}
        for ours in self.state_dict():
            if found := re.match(r"branches\.\d\.(?:blocks\.(\d+)\.)?(.*)", ours):
                parts = CrossBlock.authors if found[1] else PLAIN
                part = next((part for part in parts if found[2].startswith(part)), "")
                block = f"blocks.{found[1]}." if found[1] else ""
                names[ours] = block + parts.get(part, "") + found[2].removeprefix(part)
        return names

    def from_plain(self, name: str, value: Tensor) -> Tensor:
        """Positions (1, [1 +] h * w, C) of a square grid, without the class token, and kernels (C, 3, h, w) in our
        size, bilinear; anything else as it is."""
        own = self.state_dict()[name]
        if not value.dtype.is_floating_point or value.dim() != own.dim():
            return value
        if name.endswith("positions"):
            side = math.isqrt(value.shape[1])
            if value.shape[1] not in (side**2, side**2 + 1) or value.shape[1] == own.shape[1]:
                return value
            grid = self.branches[int(name.split(".")[1])].grid
            square = value[:, -(side**2) :].transpose(1, 2).unflatten(2, (side, side))
            return _resize(square, grid).flatten(2).transpose(1, 2)
        return _resize(value, own.shape[2:]) if own.dim() == 4 else value

    def _changed(self, images: Tensor) -> Tensor:
        """How much less there is of each colour at each place than in the frame before, as parts of the frame's sum."""
        clips = images.unflatten(0, (-1, self.frames))
        less = F.pad(clips[:, :-1] - clips[:, 1:], (0, 0, 0, 0, 0, 0, 1, 0))
        return F.softmax(less.flatten(3), dim=-1).view(images.shape)


class CAViT(VideoNetwork):
    """Clips of any T, of the size it was built for. Tokens of each grid are of their own, by position and by what
    changed since the frame before; a frame's feature is the mean over all of them, a clip's that over its frames.

    Frames alone pass the neck, in training too; a clip is their mean behind it. The classifier is a circle softmax.

    Args:
        identities: number of people in the source.
        frames: T.
        size: (H, W) of the frames, pixels, which the position embeddings fix.
        trunk: full or narrow, see `WIDTHS`.
        width, heads, depth: in place of those of `trunk`: C, a multiple of the heads; of the attention; blocks.

    Raises:
        InputError: a size that the largest patches do not fit into.
    """

    authors: ClassVar[dict[str, str]] = {
        **{
            f"trunk.branches.{at}.{ours}": f"backbone.{theirs.format(number)}"
            for at, number in enumerate(("", "2", "3"))
            for ours, theirs in PARTS.items()
        },
        "trunk.": "backbone.",
        "neck.": "heads.bottleneck.0.",
        "classifier.": "heads.",
    }
    fixed = ("size",)

    def __init__(
        self,
        identities: int,
        frames: int = 8,
        size: tuple[int, int] = (256, 128),
        trunk: str = "full",
        *,
        width: int | None = None,
        heads: int | None = None,
        depth: int | None = None,
    ):
        usual = WIDTHS[trunk]
        built = CrossTransformer(width or usual[0], heads or usual[1], depth or usual[2], size)
        super().__init__(built, identities, frames, size)
        mean, scale = (torch.tensor(of_colours).view(3, 1, 1) for of_colours in (IMAGENET_MEAN, IMAGENET_STD))
        self.register_buffer("factor", scale / HALF, persistent=False)
        self.register_buffer("shift", mean / HALF - 1, persistent=False)

    def _make_heads(self) -> None:
        self.neck = make_neck(self.width)
        self.neck.bias.requires_grad_(False)
        self.classifier = CircleClassifier(self.width, self.identities)

    def maps(self, clips: Tensor) -> Tensor:
        """Clips (B, T, 3, H, W), normalised as for the other networks -> tokens (B*T, N, C); raises as theirs."""
        return super().maps(clips * self.factor + self.shift)

    def pool(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        frames = self.maps(clips).mean(1).unflatten(0, (-1, clips.shape[1]))
        return frames, frames.mean(1)

    def forward(self, clips: Tensor) -> NetworkOutput:
        frames, _ = self.pool(clips)
        frames = self.neck(frames.flatten(0, 1)).view_as(frames)
        clip = frames.mean(1)
        return NetworkOutput(frames, clip, self.classifier(clip))

    def with_margin(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.classifier.with_margin(logits, labels)


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    wide = torch.promote_types(maps.dtype, torch.float32)
    return F.interpolate(maps.to(wide), tuple(size), mode="bilinear", align_corners=False)


def _check_size(size: tuple[int, int]) -> None:
    if min(min(grid_size(size, *grid)) for grid in GRIDS) < 1:
        raise InputError(
            f"network cavit: frames of {size[0]} x {size[1]} pixels, wanted at least 32 x 32, which hold a patch of "
            "each grid; set --height 256 --width 128, or others"
        )
