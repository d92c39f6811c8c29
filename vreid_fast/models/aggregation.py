"""One stage of PSTA: pairs of frames become one, each place weighed by what it shows in space and over time.

Wang et al., "Pyramid Spatial-Temporal Aggregation for Video-based Person Re-Identification", ICCV 2021.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vreid_fast.kernels import FusedBatchNorm

from .over_time import to_clips, to_maps

INSIDE = 128
"""Channels of the weighing, to which also a row of attention over all places of a map is squeezed."""


class Aggregation(nn.Module):
    """Maps (B*T, C, h, w) of a ReLU, T even, -> (B*T/2, C, h, w): each of two frames that follow each other.

    Args:
        channels: C.
        size: (h, w), which its weights fix.
        inner: channels between, of the bottleneck at its end; C / 4 with the authors.
    """

    authors: ClassVar[dict[str, str]] = {"embed": "Embeding", "time": "TRAG", "space": "SRAG", "mix": "conv_block"}

    def __init__(self, channels: int, size: tuple[int, int], inner: int):
        super().__init__()
        self.size = size
        self.embed = nn.Sequential(*_layer(channels, inner), *_layer(inner, INSIDE))
        self.time = _OverTime(channels, size[0] * size[1])
        self.space = _InSpace(channels, size[0] * size[1])
        self.mix = nn.Sequential(*_layer(channels, inner), *_layer(inner, inner, 3), *_layer(inner, channels))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Raises ValueError for an odd T = `frames`, or maps of another size."""
        if frames % 2 or tuple(x.shape[2:]) != self.size:
            raise ValueError(
                f"aggregation: built for pairs of {self.size[0]} x {self.size[1]} maps, got {frames} frames and "
                f"{tuple(x.shape)}"
            )
        embedded, means = self.embed(x), x.mean((2, 3))
        over_time = _of_pairs(x * self.time(x, embedded, means, frames)).relu().square()
        in_space = _of_pairs(x * self.space(x, embedded, means)).relu()
        return self.mix(over_time + in_space)


class _OverTime(nn.Module):
    """What a frame's places and channels count beside its partner."""

    authors: ClassVar[dict[str, str]] = {
        "ask": "gamma_temporal", "answer": "beta_temporal", "relate": "gg_temporal", "both": "tte_para",
        "gate": "te_para", "squeeze": "theta_channel.0", "channels": "channel_para",
    }  # fmt: skip

    def __init__(self, channels: int, places: int):
        super().__init__()
        inner = channels // 8
        self.ask, self.answer = _layer(channels, inner), _layer(channels, inner)
        self.relate = _layer(2 * places, INSIDE)
        self.both = _layer(2 * INSIDE, INSIDE)
        self.gate = _layer(2 * INSIDE, 1, act=False)
        self.squeeze = nn.Linear(channels, inner, bias=False)
        self.channels = _factors(2 * inner, inner, channels)

    def forward(self, x: Tensor, embedded: Tensor, means: Tensor, frames: int) -> Tensor:
        size = x.shape[2:]
        asked, answers = (to_clips(layer(x), 1).flatten(1, 3) for layer in (self.ask, self.answer))  # (N, P, C / 8)
        seen = asked @ _partners(answers).transpose(1, 2)  # of each frame's places, those of its partner
        related = torch.cat([seen, _partners(seen).transpose(1, 2)], 2)
        related = to_maps(related.unflatten(1, size)[:, None])
        pairs = torch.cat([embedded, _partners(embedded)], 1)
        if self.training:  # frame by frame of a clip, as the authors' normalisations see them
            parts = zip(*(maps.unflatten(0, (-1, frames)).unbind(1) for maps in (related, pairs)), strict=True)
            gates = torch.stack([self._weigh(*part) for part in parts], 1).flatten(0, 1)
        else:
            gates = self._weigh(related, pairs)
        squeezed = self.squeeze(means).relu()
        factors = self.channels(torch.cat([squeezed, _partners(squeezed)], 1))
        return gates * factors[..., None, None]

    def _weigh(self, related: Tensor, pairs: Tensor) -> Tensor:
        related = self.relate(related)
        return self.gate(torch.cat([self.both(pairs), related], 1)).sigmoid()


class _InSpace(nn.Module):
    """What a frame's places and channels count by themselves."""

    authors: ClassVar[dict[str, str]] = {
        "ask": "alphi_appearance", "answer": "delta_appearance", "relate": "gg_spatial", "gate": "spa_para",
        "channels": "app_channel",
    }  # fmt: skip

    def __init__(self, channels: int, places: int):
        super().__init__()
        inner = channels // 8
        self.ask, self.answer = _layer(channels, inner), _layer(channels, inner)
        self.relate = _layer(2 * places, INSIDE)
        self.gate = nn.Sequential(*_layer(2 * INSIDE, INSIDE), *_layer(INSIDE, 1, act=False))
        self.channels = _factors(channels, inner, channels)

    def forward(self, x: Tensor, embedded: Tensor, means: Tensor) -> Tensor:
        asked, answers = (to_clips(layer(x), 1).flatten(1, 3) for layer in (self.ask, self.answer))
        seen = asked @ answers.transpose(1, 2)
        related = to_maps(torch.cat([seen, seen.transpose(1, 2)], 2).unflatten(1, x.shape[2:])[:, None])
        gates = self.gate(torch.cat([embedded, self.relate(related)], 1)).sigmoid()
        return gates * self.channels(means)[..., None, None]


def _partners(frames: Tensor) -> Tensor:
    """Of frames (N, ...) that are pairs in turn: each one's partner."""
    return frames.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)


def _of_pairs(frames: Tensor) -> Tensor:
    """(N, ...) -> (N / 2, ...): the sum of each pair."""
    return frames.unflatten(0, (-1, 2)).sum(1)


def _layer(inside: int, outside: int, kernel: int = 1, act: bool = True) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU."""
    convolution = nn.Conv2d(inside, outside, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, FusedBatchNorm(outside), *([nn.ReLU(inplace=True)] if act else []))


def _factors(inside: int, inner: int, outside: int) -> nn.Sequential:
    """Factors of channels, from 0 to 1."""
    return nn.Sequential(nn.Linear(inside, inner), nn.ReLU(inplace=True), nn.Linear(inner, outside), nn.Sigmoid())
