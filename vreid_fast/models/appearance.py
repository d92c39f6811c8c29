"""Registration of a clip's frames to each other: the appearance-preserving module of AP3D.

Gu et al., "Appearance-Preserving 3D Convolution for Video-based Person Re-identification", ECCV 2020.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TEMPERATURE = 4.0


class AppearancePreserving(nn.Module):
    """Each frame's neighbours, moved so that what shows a part of the person stands where the frame shows it.

    Every place of a frame looks at the places of the neighbour that mean the same, by cosine in C / 16 channels, and
    takes their mean. Then it is scaled by how much the two agree; this last looks at values and teaches no other layer.

    Args:
        channels: C.
        reduction: 16 above.
        contrast: whether the scaling by agreement is there.
    """

    authors: ClassVar[dict[str, str]] = {
        "semantic": "semantic_mapping", "own": "x_mapping", "other": "n_mapping", "attend": "contrastive_att_net.0",
    }  # fmt: skip

    def __init__(self, channels: int, reduction: int = 16, contrast: bool = True):
        super().__init__()
        inner = channels // reduction
        self.semantic = nn.Linear(channels, inner, bias=False)
        self.contrast = contrast
        layers = [self.semantic]
        if contrast:
            self.own, self.other = (nn.Linear(channels, inner, bias=False) for _ in range(2))
            self.attend = nn.Linear(inner, 1, bias=False)
            layers += [self.own, self.other, self.attend]
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Clips (B, T, h, w, C), T at least 2, -> (B, T - 1, h, w, C) twice: what is before each frame but the first,
        and what is after each but the last."""
        places = clips.flatten(2, 3)  # (B, T, h w, C)
        meaning = F.normalize(self.semantic(places), dim=-1)
        # Both directions at once: (2 B, T - 1, h w, ...), of which the first half looks back.
        others = _join(places[:, :-1], places[:, 1:])
        found = F.scaled_dot_product_attention(
            _join(meaning[:, 1:], meaning[:, :-1]), _join(meaning[:, :-1], meaning[:, 1:]), others, scale=TEMPERATURE
        )
        if self.contrast:
            own = self.own(places.detach())
            agreement = _join(own[:, 1:], own[:, :-1]) * self.other(found.detach())
            found = found * torch.sigmoid(self.attend(agreement))
        before, after = found.unflatten(2, clips.shape[2:4]).unflatten(0, (2, -1)).unbind()
        return before, after


def _join(back: Tensor, ahead: Tensor) -> Tensor:
    return torch.cat([back, ahead])
