"""The network that clothes-based adversarial learning was published on: a C2D ResNet-50 with one head.

Gu et al., "Clothes-Changing Person Re-identification with RGB Modality Only", CVPR 2022. Its loss is in
`losses/clothes.py`, and goes with any network.
"""

from __future__ import annotations

from typing import ClassVar

from .network import VideoNetwork
from .trunk import resnet50_trunk


class CAL(VideoNetwork):
    """A `VideoNetwork` over a ResNet-50; takes any T. In training clips alone update the neck's running statistics.

    Args:
        identities: number of people in the source.
        frames: T.
        size: (H, W) of the frames, pixels.
        trunk: full or narrow.
    """

    authors: ClassVar[dict[str, str]] = {"trunk.": "", "neck.": "bn."}
    containers = ("model_state_dict", "classifier_state_dict")
    frames_move_neck = False

    def __init__(self, identities: int, frames: int = 8, size: tuple[int, int] = (256, 128), trunk: str = "full"):
        super().__init__(resnet50_trunk(trunk), identities, frames, size)
