"""AP3D and what its authors compare it with: a C2D, an I3D and non-local ResNet-50 with one head.

Gu et al., "Appearance-Preserving 3D Convolution for Video-based Person Re-identification", ECCV 2020.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from vreid_fast.errors import InputError

from .network import VideoNetwork
from .non_local import NonLocal
from .temporal_convolution import TemporalConvolution
from .trunk import CHANNELS, map_size, resnet50_trunk

CONVOLUTIONS = ((2, 0), (2, 2), (3, 0), (3, 2), (3, 4))
"""(stage, block) whose second convolution sees frames before and after."""
NON_LOCAL = ((2, 1), (2, 3), (3, 1), (3, 3), (3, 5))
"""(stage, block) that a non-local block stands behind."""


class AP3D(VideoNetwork):
    """A `VideoNetwork` over a ResNet-50; takes any T. In training clips alone update the neck's running statistics.

    Args:
        kind: of the temporal convolutions, see `TemporalConvolution`; None = there are none.
        align: whether these see frames that were registered to each other.
        non_local: with non-local blocks.
        identities: number of people in the source.
        frames: T.
        size: (H, W) of the frames, pixels.
        trunk: full or narrow.

    Raises:
        InputError: a size that leaves non-local blocks too little.
    """

    authors: ClassVar[dict[str, str]] = {"trunk.": "", "neck.": "bn."}
    frames_move_neck = False

    def __init__(
        self,
        kind: str | None,
        align: bool,
        non_local: bool,
        identities: int,
        frames: int = 4,
        size: tuple[int, int] = (256, 128),
        trunk: str = "full",
    ):
        plugins = {}
        if non_local:
            maps = map_size(size, 3)
            if min(maps) < 2:
                raise InputError(
                    f"frames of {size[0]} x {size[1]} pixels give a non-local block maps of {maps[0]} x {maps[1]}, "
                    "wanted at least 2 x 2; set --height 256 --width 128 (at least 32 each)"
                )
            plugins = {place: NonLocal(4 * CHANNELS[trunk][place[0] - 1]) for place in NON_LOCAL}
        wraps = dict.fromkeys(CONVOLUTIONS, partial(TemporalConvolution, kind=kind, align=align)) if kind else {}
        super().__init__(resnet50_trunk(trunk, plugins=plugins, wraps=wraps), identities, frames, size)


ap3d_c2d = partial(AP3D, None, False, False)
ap3d_i3d = partial(AP3D, "full", False, False)
ap3d_nl = partial(AP3D, None, False, True)
ap3d = partial(AP3D, "residual", True, False)
ap3dnl = partial(AP3D, "residual", True, True)
