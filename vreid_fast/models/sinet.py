"""SINet, its two halves, the network of statistic attention and the plain C2D that they all stand on.

Bai et al., "Salient-to-Broad Transition for Video Person Re-identification", CVPR 2022.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from torch import Tensor, nn

from vreid_fast.errors import InputError

from .integration_distribution import IntegrationDistribution
from .network import NetworkOutput, VideoNetwork
from .salient_to_broad import GROUP, SalientToBroad
from .statistic_attention import StatisticAttention
from .trunk import CHANNELS, map_size, resnet50_trunk

INTEGRATION = ((2, 1), (2, 3))
"""(stage, block) that an integration-distribution module stands behind, or a statistic attention block."""
BROADENING = {(3, 1): 1, (3, 3): 2, (3, 5): 3}
"""(stage, block) that a salient-to-broad module stands behind, and the frames of its first part."""


class SINet(VideoNetwork):
    """A `VideoNetwork` over a ResNet-50 with the authors' plug-ins and stem, and a projection.

    One training forward updates the neck's running statistics twice, first with the clips (B rows), then with
    the frames (B*T rows), as SINet does. The fork of it that the paper's authors train passes the neck three
    times, with frames, clips and frames: its outputs are the same, its running statistics are not.

    `projected` of the output, in training, are the frames after the neck and a 1x1 layer: see `info_nce`.

    Args:
        middle: what stands behind blocks of the second stage: "integrate", the integration-distribution modules, whose
            weights fix T and the size of frames; "attend", statistic attention; or None.
        broaden: with the salient-to-broad modules; they take T = 4, or T = 8 as two groups of 4.
        identities: number of people in the source.
        frames: T.
        size: (H, W) of the frames, pixels.
        trunk: full or narrow.

    Raises:
        InputError: T or a size that the modules cannot take.
    """

    authors: ClassVar[dict[str, str]] = {"trunk.": "", "neck.": "bn."}

    def __init__(
        self,
        middle: str | None,
        broaden: bool,
        identities: int,
        frames: int = 4,
        size: tuple[int, int] = (256, 128),
        trunk: str = "full",
    ):
        if broaden:
            _check_broadening(frames, size)
        channels = [4 * of_stage for of_stage in CHANNELS[trunk]]
        plugins: dict[tuple[int, int], nn.Module] = {}
        if middle == "integrate":
            maps = map_size(size, 2, stem_padding=0)
            plugins |= {place: IntegrationDistribution(channels[1], frames, maps) for place in INTEGRATION}
        if middle == "attend":
            plugins |= {place: StatisticAttention(channels[1]) for place in INTEGRATION}
        if broaden:
            plugins |= {place: SalientToBroad(channels[2], first) for place, first in BROADENING.items()}
        super().__init__(resnet50_trunk(trunk, stem_padding=0, plugins=plugins), identities, frames, size)
        self.fixed = ("frames",) * (broaden or middle == "integrate") + ("size",) * (middle == "integrate")
        self.projection = nn.Linear(self.width, self.width)

    def forward(self, clips: Tensor) -> NetworkOutput:
        output = super().forward(clips)
        return output._replace(projected=self.projection(output.frames)) if self.training else output


sinet = partial(SINet, "integrate", True)
sbnet = partial(SINet, None, True)
idnet = partial(SINet, "integrate", False)
sanet = partial(SINet, "attend", False)
c2d = partial(SINet, None, False)


def _check_broadening(frames: int, size: tuple[int, int]) -> None:
    if frames not in (GROUP, 2 * GROUP):
        raise InputError(
            f"--frames {frames}: a network with salient-to-broad modules takes clips of {GROUP} or {2 * GROUP} "
            f"frames; set --frames {GROUP}, or take --network idnet, c2d or another"
        )
    maps = map_size(size, 3, stem_padding=0)
    if min(maps) < 3:
        raise InputError(
            f"frames of {size[0]} x {size[1]} pixels give a salient-to-broad module maps of {maps[0]} x {maps[1]}, "
            "wanted at least 3 x 3; set --height 256 --width 128 (at least 48 each)"
        )
