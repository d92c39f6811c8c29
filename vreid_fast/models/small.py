"""A narrow ResNet for frames of 64 x 32 pixels, which two CPU cores train from scratch in minutes."""

from .network import VideoNetwork
from .trunk import BasicBlock, ResNetTrunk


def small(identities: int, frames: int = 4, size: tuple[int, int] = (64, 32)) -> VideoNetwork:
    trunk = ResNetTrunk(BasicBlock, (1, 1, 1, 1), channels=(32, 64, 128, 256), stem=16, small_stem=True)
    return VideoNetwork(trunk, identities, frames, size)
