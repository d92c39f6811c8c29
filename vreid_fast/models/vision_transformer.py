"""The parts of a vision transformer over clips: patches of frames, and blocks in which a frame sees the next one.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021; over two frames as CAViT has it, see `cavit`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

EPS = 1e-6  # of the layer norms
EXPANSION = 4


def grid_size(size: tuple[int, int], patch: tuple[int, int], stride: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of patches in a frame of `size` = (H, W) pixels; not above zero where none fits."""
    rows, columns = ((pixels - side) // step + 1 for pixels, side, step in zip(size, patch, stride, strict=True))
    return rows, columns


class CrossBlock(nn.Module):
    """A pre-norm block: attention of a frame's tokens over its own and those of the next frame, then two layers.

    Keys and values of a frame serve it and the one before: they are projected once and rolled over time.

    Args:
        width: C.
        heads: of the attention, a divisor of C.
    """

    authors: ClassVar[dict[str, str]] = {"qkv": "attn.qkv", "proj": "attn.proj", "fc": "mlp.fc"}

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.qkv = _linear(width, 3 * width)
        self.proj = _linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.fc1 = _linear(width, EXPANSION * width)
        self.fc2 = _linear(EXPANSION * width, width)

    def forward(self, tokens: Tensor, frames: int, kept: Tensor | None = None) -> Tensor:
        """Tokens (B*T, N, C) -> the same.

        Args:
            frames: T; the next frame of the last is the first.
            kept: (2, B*T, 1, 1) factors of what the two halves add to each frame; None = 1.
        """
        query, key, value = self.project(tokens)
        return self.update(tokens, query, _with_next(key, frames), _with_next(value, frames), kept)

    def project(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (..., N, C) -> queries, keys and values (..., heads, N, C / heads)."""
        query, key, value = self.qkv(self.norm1(tokens)).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        return query.transpose(-2, -3), key.transpose(-2, -3), value.transpose(-2, -3)

    def update(self, tokens: Tensor, query: Tensor, key: Tensor, value: Tensor, kept: Tensor | None = None) -> Tensor:
        """Tokens, with what their queries find among keys and values, and what two layers make of it."""
        seen = F.scaled_dot_product_attention(query, key, value).transpose(-2, -3).flatten(-2)
        tokens = _add(tokens, self.proj(seen), None if kept is None else kept[0])
        thought = self.fc2(F.gelu(self.fc1(self.norm2(tokens))))
        return _add(tokens, thought, None if kept is None else kept[1])


class Branch(nn.Module):
    """One grid of overlapping patches: frames -> tokens, by position and by what changed, then blocks.

    Args:
        blocks: of this grid alone.
        width: C.
        patch: (rows, columns) of a patch, pixels.
        stride: from one to the next.
        size: (H, W) of the frames.
    """

    def __init__(
        self, blocks: nn.ModuleList, width: int, patch: tuple[int, int], stride: tuple[int, int], size: tuple[int, int]
    ):
        super().__init__()
        self.grid = grid_size(size, patch, stride)
        self.positions = nn.Parameter(torch.empty(1, self.grid[0] * self.grid[1], width))
        nn.init.trunc_normal_(self.positions, std=0.02)
        self.patches = nn.Conv2d(3, width, patch, stride)
        self.changes = nn.Conv2d(3, width, patch, stride)
        self.changes.load_state_dict(self.patches.state_dict())
        self.blocks = blocks

    def forward(
        self, images: Tensor, changed: Tensor, frames: int, kept: Tensor | None = None, recompute: bool = False
    ) -> Tensor:
        """Images and where they changed, both (B*T, 3, H, W) -> tokens (B*T, N, C).

        Args:
            frames: T.
            kept: (blocks, 2, B*T, 1, 1), see `CrossBlock`.
            recompute: forget what is inside a block, and compute it again in the backward pass.
        """
        tokens = _tokens(self.patches(images)) + self.positions + F.softmax(_tokens(self.changes(changed)), dim=-1)
        for at, block in enumerate(self.blocks):
            of_block = None if kept is None else kept[at]
            if recompute and torch.is_grad_enabled():
                # Nothing random is drawn inside.
                tokens = checkpoint(block, tokens, frames, of_block, use_reentrant=False, preserve_rng_state=False)
            else:
                tokens = block(tokens, frames, of_block)
        return tokens


def _tokens(maps: Tensor) -> Tensor:
    """(N, C, h, w) -> (N, h * w, C)."""
    return maps.flatten(2).transpose(1, 2)


def _with_next(of_frames: Tensor, frames: int) -> Tensor:
    """(B*T, heads, N, d) -> (B*T, heads, 2 N, d): those of each frame, then those of the next."""
    following = of_frames.unflatten(0, (-1, frames)).roll(-1, 1).flatten(0, 1)
    return torch.cat([of_frames, following], dim=2)


def _add(tokens: Tensor, update: Tensor, factor: Tensor | None) -> Tensor:
    return tokens + (update if factor is None else factor * update)


def _linear(width: int, out: int) -> nn.Linear:
    layer = nn.Linear(width, out)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer
