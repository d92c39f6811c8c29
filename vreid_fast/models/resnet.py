"""ResNet-18 and ResNet-50 run frame by frame: the plain C2D baseline of the field."""

from .network import VideoNetwork
from .trunk import BasicBlock, Bottleneck, ResNetTrunk


def resnet18(identities: int, frames: int, size: tuple[int, int]) -> VideoNetwork:
    return VideoNetwork(ResNetTrunk(BasicBlock, (2, 2, 2, 2)), identities, frames)


def resnet50(identities: int, frames: int, size: tuple[int, int]) -> VideoNetwork:
    return VideoNetwork(ResNetTrunk(Bottleneck, (3, 4, 6, 3)), identities, frames)
