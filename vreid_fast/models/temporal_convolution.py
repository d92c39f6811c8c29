"""Convolutions of three frames, in place of the second one of a ResNet's block; with or without AP3D's alignment.

Gu et al., "Appearance-Preserving 3D Convolution for Video-based Person Re-identification", ECCV 2020; P3D after Qiu et
al., ICCV 2017, I3D after Carreira and Zisserman, CVPR 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .appearance import AppearancePreserving
from .over_time import OverTime, to_clips, to_maps


class TemporalConvolution(OverTime, nn.Conv2d):
    """Maps (B*T, C, h, w) -> (B*T, C', h', w'): a spatial convolution that it takes over, and frames before and after.

    `weight` stays the spatial kernel under its own name, so that weights of a plain ResNet go in as they are; at the
    start the module is that convolution exactly. What is seen beyond the ends of a clip is zero. All is 2-D: kernels
    over time are three spatial ones, whose answers are shifted and added.

    Args:
        convolution: without bias; its weight is taken over, not copied.
        kind: "full", a 3 x k x k kernel (I3D); else a k x k kernel and a temporal one of 3, "serial" (P3D-A),
            "parallel" (P3D-B) or "residual" (P3D-C).
        align: whether frames before and after are first registered to the one between, see `AppearancePreserving`.
    """

    def __init__(self, convolution: nn.Conv2d, kind: str, align: bool = False):
        inside, outside = convolution.in_channels, convolution.out_channels
        kernel, stride, padding = convolution.kernel_size, convolution.stride, convolution.padding
        super().__init__(inside, outside, kernel, stride, padding, bias=False, device="meta")  # nothing is drawn
        self.weight = convolution.weight
        self.kind = kind
        seen = outside if kind in ("serial", "residual") else inside
        shape = self.weight.shape if kind == "full" else (outside, seen, 1, 1)
        self.before, self.after = (nn.Parameter(torch.zeros(shape)) for _ in range(2))
        if kind != "full":
            now = torch.eye(outside)[..., None, None] if kind == "serial" else torch.zeros(shape)
            self.now = nn.Parameter(now)
        self.align = AppearancePreserving(seen) if align else None

    @property
    def authors(self) -> dict[str, str]:
        """Names of AP3D's authors by ours; taps of one kernel share its name."""
        whole = self.kind == "full"
        taps = dict.fromkeys(("before", "now", "after"), "conv3d.weight" if whole else "temporal_conv3d.weight")
        return {**taps, "weight": "conv3d.weight" if whole else "spatial_conv3d.weight", "align.": "APM."}

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "full":
            return self._add_others(super().forward(x), x, self.stride, self.padding)
        if self.kind == "parallel":
            return super().forward(x) + self._temporal(x, self.stride)
        x = super().forward(x)
        temporal = self._temporal(x)
        return temporal if self.kind == "serial" else x + temporal

    def _temporal(self, x: Tensor, stride: tuple[int, ...] = (1, 1)) -> Tensor:
        return self._add_others(F.conv2d(x, self.now, stride=stride), x, stride, (0, 0))

    def _add_others(self, answers: Tensor, x: Tensor, stride: tuple[int, ...], padding) -> Tensor:
        """`answers` of the frames themselves, to which those of the frames before and after in `x` are added."""
        if self.frames == 1:
            return answers
        clips = to_clips(x, self.frames)
        before, after = (clips[:, :-1], clips[:, 1:]) if self.align is None else self.align(clips)
        found = answers.unflatten(0, (-1, self.frames))
        for part, others, weight in ((found[:, 1:], before, self.before), (found[:, :-1], after, self.after)):
            answer = F.conv2d(to_maps(others), weight, stride=stride, padding=padding)
            part += answer.unflatten(0, (-1, self.frames - 1))
        return answers
