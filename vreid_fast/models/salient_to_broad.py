"""The salient-to-broad module of SINet: what the first frames show best, the later ones look away from.

Bai et al., "Salient-to-Broad Transition for Video Person Re-identification", CVPR 2022.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

GROUP = 4
"""Frames that are treated together; a clip of 8 is two groups."""
SUPPRESSION = 5.0
PROPAGATION = 0.1


class SalientToBroad(nn.Module):
    """Maps (B*T, C, h, w), not negative, -> the same shape; T is 4, or 8 as two groups of 4.

    The first frames of a group give a 3x3 kernel, made for this group alone. Where it answers in the later
    frames, these are suppressed. Each part then receives a tenth of the other's mean, the later part's
    taken over what was suppressed.

    Maps come from a ReLU, so that gating channels by factors from 0 to 1 commutes with every product with
    the maps: the factors go into kernels of 9 rows, and no gated copy of the maps is made. The group's own
    convolution is a product of its kernel's 9 rows with the maps, whose answers are then shifted and added.

    Args:
        channels: C.
        first: frames of a group in the first part, 1 to 3.
        reduction: of the channels in the attention.
    """

    authors: ClassVar[dict[str, str]] = {
        "kernel": "kernel.0", "kernel_norm": "kernel.1", "squeeze": "se.1", "excite": "se.3",
    }  # fmt: skip

    def __init__(self, channels: int, first: int, reduction: int = 4):
        super().__init__()
        self.first = first
        self.kernel = nn.Linear(channels, 9)
        self.kernel_norm = nn.BatchNorm1d(9)
        self.squeeze = nn.Linear(channels, channels // reduction)
        self.excite = nn.Linear(channels // reduction, channels)
        for layer in (self.kernel, self.squeeze, self.excite):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Raises ValueError for maps that are no whole groups, or have no inner part (below 3 x 3)."""
        height, width = x.shape[2:]
        if x.shape[0] % GROUP or min(height, width) < 3:
            raise ValueError(
                f"salient-to-broad module: wanted groups of {GROUP} maps of at least 3 x 3, got {tuple(x.shape)}"
            )
        maps = x.permute(0, 2, 3, 1).unflatten(0, (-1, GROUP))  # (B, 4, h, w, C): contiguous where x is channels_last
        # Divided when they are small: the gradient of a mean is divided as a map, in single precision.
        frame_means = maps.sum((2, 3), dtype=_wide(x)) / (height * width)
        gate = self._gate(maps, frame_means.mean(1))
        first, last = (part.flatten(1, 3) for part in maps.split([self.first, GROUP - self.first], 1))

        answers = self._answers(first, last, gate, (height, width))
        kept = _suppress(answers).view(maps.shape[0], -1)  # (B, positions of the last frames), in (0, 1]
        suppressed = 1 - kept
        total = suppressed.sum(1, keepdim=True)
        # Where nothing is suppressed there is nothing to average; the authors divide 0 by 0 there.
        shares = suppressed / torch.where(total > 0, total, torch.ones_like(total))
        of_last = (shares[:, None].to(x.dtype) @ last).to(kept.dtype)  # (B, 1, C)
        of_first = frame_means[:, : self.first].mean(1, keepdim=True)

        ones = kept.new_ones(maps.shape[0], first.shape[1])
        factors = torch.cat([ones, kept], 1).view(*maps.shape[:4], 1)
        shift = torch.cat([of_last.expand(-1, self.first, -1), of_first.expand(-1, GROUP - self.first, -1)], 1)
        shift = PROPAGATION * shift[:, :, None, None]
        maps = torch.addcmul(shift.to(x.dtype), maps, factors.to(x.dtype))
        return maps.flatten(0, 1).permute(0, 3, 1, 2)

    def _gate(self, maps: Tensor, means: Tensor) -> Tensor:
        """Factors (B, C) of the channels: attention, and 0 for those that are no stronger inside than overall."""
        attention = torch.sigmoid(self.excite(torch.relu(self.squeeze(means))).to(means.dtype))
        inside = maps[:, :, 1:-1, 1:-1].mean((1, 2, 3), dtype=means.dtype)
        return attention * (inside / (means + 1e-8) > 1)

    def _answers(self, first: Tensor, last: Tensor, gate: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps (B * last frames, h, w) of the groups' own kernels over the last frames, gated both.

        Args:
            first, last: (B, positions, C).
            gate: (B, C).
        """
        rows = gate[:, None] * self.kernel.weight  # (B, 9, C)
        scores = rows.to(first.dtype) @ first.transpose(1, 2) + self.kernel.bias[:, None]
        scores = torch.relu(self.kernel_norm(scores)).to(gate.dtype)
        weights = F.normalize(F.normalize(scores, p=1, dim=1), p=1, dim=2)
        kernel = (weights.to(first.dtype) @ first).to(gate.dtype) * gate[:, None].square()
        # A softmax follows: half-precision answers would be off by more than they differ.
        with torch.autocast(first.device.type, enabled=False):
            products = kernel @ last.to(gate.dtype).transpose(1, 2)  # (B, 9, last frames * h * w)
        products = products.unflatten(2, (-1, *size)).transpose(1, 2).flatten(0, 1)
        return _Taps.apply(products) / 9


class _Taps(torch.autograd.Function):
    """(N, 9, h, w) -> (N, h, w): the answers of a 3x3 kernel, of the products with each of its taps.

    Tap (y, x) is moved by (y - 1, x - 1), and all are added; beyond an edge is what is at it. As slices and
    sums this would be some 30 operators, most of them backward. The gradient of F.pad varies on GPUs from run to run.
    """

    @staticmethod
    def forward(ctx, products: Tensor) -> Tensor:
        for axis in (2, 3):
            ends = products.narrow(axis, 0, 1), products.narrow(axis, products.shape[axis] - 1, 1)
            products = torch.cat([ends[0], products, ends[1]], axis)
        ctx.shape = products.shape
        return _moved(products).sum((1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:
        whole = grad.new_zeros(ctx.shape)
        _moved(whole).copy_(grad[:, None, None])
        for axis in (2, 3):
            last = whole.shape[axis] - 1
            for edge, beyond in ((1, 0), (last - 1, last)):
                whole.select(axis, edge).add_(whole.select(axis, beyond))
            whole = whole.narrow(axis, 1, last - 1)
        return whole


def _moved(padded: Tensor) -> Tensor:
    """(N, 9, h + 2, w + 2), contiguous -> (N, 3, 3, h, w): a view in which tap (y, x) begins at row y, column x."""
    count, _, height, width = padded.shape
    image, tap, row, column = padded.stride()
    sizes = count, 3, 3, height - 2, width - 2
    return padded.as_strided(sizes, (image, 3 * tap + row, tap + column, row, column))


def _suppress(answers: Tensor) -> Tensor:
    """Factors (N, h * w) in (0, 1] from answers (N, h, w): 1 where the answer is weak, less where it is strong."""
    shares = torch.softmax(answers.flatten(1), 1).clamp_min(1e-4)
    weakness = 1 / (shares * shares.shape[1])
    # Not `where` around the exponential: it overflows where the answer is weakest, and 0 x inf is its gradient.
    return torch.exp(-SUPPRESSION * torch.relu(1 - weakness))


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
