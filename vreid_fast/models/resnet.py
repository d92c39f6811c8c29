"""ResNet-18 and ResNet-50 run frame by frame: the plain C2D baseline of the field."""

from .network import VideoNetwork
from .trunk import BasicBlock, ResNetTrunk, resnet50_trunk


def resnet18(identities: int, frames: int = 4, size: tuple[int, int] = (256, 128)) -> VideoNetwork:
    return VideoNetwork(ResNetTrunk(BasicBlock, (2, 2, 2, 2)), identities, frames, size)


def resnet50(identities: int, frames: int = 4, size: tuple[int, int] = (256, 128), trunk: str = "full") -> VideoNetwork:
    return VideoNetwork(resnet50_trunk(trunk), identities, frames, size)
