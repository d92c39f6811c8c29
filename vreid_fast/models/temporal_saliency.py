"""The two modules of TCLNet: what frames see of each other, and erasing in one what another shows.

Hou et al., "Temporal Complementary Learning for Video Person Re-Identification", ECCV 2020.
"""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .over_time import OverTime, to_clips

SHARPNESS = 5.0
ROWS = 3
"""Rows of a map that are erased, the full width of each."""
PAIR = 2


class SaliencyBoosting(OverTime, nn.Module):
    """Maps (B*T, C, h, w) -> the same shape, x + one vector a frame, gathered from the other frames of its clip.

    A frame asks with its mean, and places of other frames answer by cosine of their 2 x 2 neighbourhood. The last
    normalisation starts at zero, and the module as the identity.

    Args:
        channels: C.
    """

    authors: ClassVar[dict[str, str]] = {"expand": "W.0", "expand_norm": "W.1"}

    def __init__(self, channels: int):
        super().__init__()
        self.expand, self.expand_norm = _make_answer(channels)

    def forward(self, x: Tensor) -> Tensor:
        frames, (height, width) = self.frames, x.shape[2:]
        around = F.avg_pool2d(x, 2, stride=1, padding=1)[:, :, :height, :width]
        memory = to_clips(F.normalize(around, dim=1), frames).flatten(1, 3)  # (B, T h w, C)
        query = F.normalize(x.mean((2, 3)), dim=1).unflatten(0, (-1, frames))
        owner = torch.arange(frames, device=x.device)
        others = owner[:, None] != owner.repeat_interleave(height * width)  # (T, T h w)
        places = to_clips(x, frames).flatten(1, 3)
        # With a dimension of heads, which ONNX wants.
        query, memory, places = query[:, None], memory[:, None], places[:, None]
        found = F.scaled_dot_product_attention(query, memory, places, attn_mask=others, scale=SHARPNESS)[:, 0]
        return x + self.expand_norm(self.expand(found.flatten(0, 1)[..., None, None]))


class SaliencyErasing(nn.Module):
    """The last blocks of a ResNet over pairs of frames; in a pair's second frame rows are erased that look like its
    first.

    Both frames pass shared blocks and then one of their own. Three rows of the second frame's map, in which it answers
    most strongly to what its first frame showed, are set to zero before; a vector of what was kept, weighted by these
    answers, is the way of their gradient, for which rows to erase is no function to learn from.

    In training each frame of each pair passes the normalisations alone, as with its authors; at test pairs go together.

    Args:
        channels: C of the maps that come in.
        last: the block that the first frames' one is, and that the second frames' starts as a copy of.
    """

    authors: ClassVar[dict[str, str]] = {
        "second": "branch.1", "reduce": "conv_reduce", "expand": "conv_erase.0", "expand_norm": "conv_erase.1",
    }  # fmt: skip

    def __init__(self, channels: int, last: nn.Module):
        super().__init__()
        self.second = copy.deepcopy(last)
        self.reduce = nn.Conv2d(2 * channels, channels, 1, bias=False)
        nn.init.kaiming_normal_(self.reduce.weight, mode="fan_out", nonlinearity="relu")
        self.expand, self.expand_norm = _make_answer(channels)

    def forward(self, x: Tensor, shared: nn.Module, first: nn.Module) -> Tensor:
        """Maps (B*T, C, h, w) of clips of whole pairs -> (B*T, 2 C, h, w).

        Args:
            shared, first: the blocks of all frames, and the one of the first frames.
        """
        pairs = x.unflatten(0, (-1, 2, PAIR))  # (B, 2 pairs, 2 frames, C, h, w)
        groups = pairs.unbind(1) if self.training else (pairs.flatten(0, 1),)
        found = [torch.stack(self._pair(*group.unbind(1), shared, first), 1) for group in groups]
        return (torch.stack(found, 1) if self.training else found[0]).reshape(-1, *found[0].shape[2:])

    def _pair(self, one: Tensor, other: Tensor, shared: nn.Module, first: nn.Module) -> tuple[Tensor, Tensor]:
        seen = first(shared(self.erase(one, None, None)))
        answers = self.correlate(seen.detach(), other)
        kept = keep_rows(answers)
        return seen, self.second(shared(self.erase(other, answers, kept)))

    def correlate(self, seen: Tensor, other: Tensor) -> Tensor:
        """(N, h, w): how strongly each place of `other` (N, C, h, w) answers to the mean of `seen` (N, 2 C, h', w')."""
        asked = self.reduce(seen.mean((2, 3), keepdim=True))
        return (asked * other).sum(1) / other.shape[1] ** 0.5

    def erase(self, x: Tensor, answers: Tensor | None, kept: Tensor | None) -> Tensor:
        """Maps (N, C, h, w) with the rows that are not `kept` (N, h) set to zero, and of the others' mean, weighted by
        the softmax of `answers` (N, h, w), a vector added everywhere; None = all rows, alike."""
        if answers is None or kept is None:
            summary = x.mean((2, 3), keepdim=True)
        else:
            hidden = ~kept[:, :, None].expand_as(answers)
            shares = torch.softmax(answers.masked_fill(hidden, -torch.inf).flatten(1), 1).view_as(answers)[:, None]
            summary = (x * shares.to(x.dtype)).sum((2, 3), keepdim=True)
            x = x * kept[:, None, :, None]
        return x + self.expand_norm(self.expand(summary))


def row_scores(answers: Tensor) -> Tensor:
    """(N, h, w) -> (N, h): the mean over the width, summed over each row and its neighbours."""
    return F.avg_pool1d(answers.mean(2), ROWS, stride=1, padding=ROWS // 2) * ROWS


def keep_rows(answers: Tensor) -> Tensor:
    """(N, h, w) -> (N, h), False on the row of the highest score and its neighbours."""
    scores = row_scores(answers)
    rows = torch.arange(scores.shape[1], device=scores.device)
    return (rows - scores.argmax(1, keepdim=True)).abs() > ROWS // 2


def _make_answer(channels: int) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """What makes an answer of a gathered vector, zero at the start."""
    expand, norm = nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels)
    nn.init.kaiming_normal_(expand.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(expand.bias)
    nn.init.zeros_(norm.weight)
    return expand, norm
