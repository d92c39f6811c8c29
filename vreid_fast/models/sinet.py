"""SINet, its two halves and the plain C2D that they stand on.

Bai et al., "Salient-to-Broad Transition for Video Person Re-identification", CVPR 2022.
"""

from __future__ import annotations

from torch import Tensor, nn

from vreid_fast.errors import InputError

from .integration_distribution import IntegrationDistribution
from .network import NetworkOutput, VideoNetwork
from .salient_to_broad import GROUP, SalientToBroad
from .trunk import Bottleneck, ResNetTrunk

INTEGRATION = ((2, 1), (2, 3))
"""(stage, block) that an integration-distribution module stands behind."""
BROADENING = {(3, 1): 1, (3, 3): 2, (3, 5): 3}
"""(stage, block) that a salient-to-broad module stands behind, and the frames of its first part."""


class SINet(VideoNetwork):
    """A `VideoNetwork` over a ResNet-50 with the authors' plug-ins, stem and biases, and a projection.

    One training forward updates the neck's running statistics twice, first with the clips (B rows), then with
    the frames (B*T rows), as SINet does. The fork of it that the paper's authors train passes the neck three
    times, with frames, clips and frames: its outputs are the same, its running statistics are not.

    `projected` of the output, in training, are the frames after the neck and a 1x1 layer: see `info_nce`.

    Args:
        integrate: with the integration-distribution modules; their weights fix T and the size of frames.
        broaden: with the salient-to-broad modules; they take T = 4, or T = 8 as two groups of 4.
        identities: number of people in the source.
        frames: T.
        size: (H, W) of the frames, pixels.

    Raises:
        InputError: T or a size that the modules cannot take.
    """

    def __init__(self, integrate: bool, broaden: bool, identities: int, frames: int, size: tuple[int, int]):
        if broaden:
            _check_broadening(frames, size)
        plugins: dict[tuple[int, int], nn.Module] = {}
        if integrate:
            plugins |= {place: IntegrationDistribution(512, frames, _map_size(size, 2)) for place in INTEGRATION}
        if broaden:
            plugins |= {place: SalientToBroad(1024, first) for place, first in BROADENING.items()}
        trunk = ResNetTrunk(Bottleneck, (3, 4, 6, 3), bias=True, stem_padding=0, plugins=plugins)
        super().__init__(trunk, identities, frames)
        self.size = size
        self._fixed_frames, self._fixed_size = integrate or broaden, integrate
        self.projection = nn.Linear(self.width, self.width)

    def pool(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """See `VideoNetwork.pool`; InputError for clips of another T or size than the weights are made for."""
        if clips.dim() == 5:
            frames, size = clips.shape[1], tuple(clips.shape[3:])
            if (self._fixed_frames and frames != self.frames) or (self._fixed_size and size != self.size):
                raise InputError(
                    f"this network is built for clips of {self.frames} frames of {self.size[0]} x {self.size[1]} "
                    f"pixels, got {frames} frames of {size[0]} x {size[1]}; give such clips, or build and train it "
                    f"with --frames {frames} --height {size[0]} --width {size[1]}"
                )
        return super().pool(clips)

    def forward(self, clips: Tensor) -> NetworkOutput:
        output = super().forward(clips)
        return output._replace(projected=self.projection(output.frames)) if self.training else output


def sinet(identities: int, frames: int, size: tuple[int, int]) -> SINet:
    """Both kinds of modules."""
    return SINet(True, True, identities, frames, size)


def sbnet(identities: int, frames: int, size: tuple[int, int]) -> SINet:
    """The salient-to-broad modules alone."""
    return SINet(False, True, identities, frames, size)


def idnet(identities: int, frames: int, size: tuple[int, int]) -> SINet:
    """The integration-distribution modules alone."""
    return SINet(True, False, identities, frames, size)


def c2d(identities: int, frames: int, size: tuple[int, int]) -> SINet:
    """Neither; takes any T and size."""
    return SINet(False, False, identities, frames, size)


def _check_broadening(frames: int, size: tuple[int, int]) -> None:
    if frames not in (GROUP, 2 * GROUP):
        raise InputError(
            f"--frames {frames}: a network with salient-to-broad modules takes clips of {GROUP} or {2 * GROUP} "
            f"frames; set --frames {GROUP}, or take --network idnet, c2d or another"
        )
    maps = _map_size(size, 3)
    if min(maps) < 3:
        raise InputError(
            f"frames of {size[0]} x {size[1]} pixels give a salient-to-broad module maps of {maps[0]} x {maps[1]}, "
            "wanted at least 3 x 3; set --height 256 --width 128 (at least 48 each)"
        )


def _map_size(size: tuple[int, int], stage: int) -> tuple[int, int]:
    """(h, w) of the maps behind stage 2 or 3, of frames of `size`."""

    def shrink(pixels: int) -> int:
        pixels = (pixels - 1) // 2 + 1  # the stem's convolution
        pixels = (pixels - 3) // 2 + 1  # its pooling, without padding
        for _ in range(stage - 1):
            pixels = (pixels - 1) // 2 + 1
        return pixels

    return shrink(size[0]), shrink(size[1])
