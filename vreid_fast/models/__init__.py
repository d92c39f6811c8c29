"""Networks by name, and the domain heads."""

from __future__ import annotations

from vreid_fast.errors import InputError

from .batch_norm import Statistics, camera_statistics, recompute_statistics, using_statistics
from .convert import convert
from .domain import DomainHeads, reversal_strength
from .network import NetworkOutput, VideoNetwork
from .resnet import resnet18, resnet50
from .sinet import c2d, idnet, sbnet, sinet
from .small import small
from .weights import load_trunk_weights, load_weights

NETWORKS = {
    "small": small, "resnet18": resnet18, "resnet50": resnet50,
    "sinet": sinet, "sbnet": sbnet, "idnet": idnet, "c2d": c2d,
}  # fmt: skip
PROJECTING = ("sinet", "sbnet", "idnet", "c2d")
"""Networks whose output has `projected` in training."""


def build(name: str, *, identities: int, frames: int, size: tuple[int, int] = (256, 128)) -> VideoNetwork:
    """The network `name` for `identities` people and clips of `frames` = T frames of `size` = (H, W) pixels.

    `network(clips)` gives frames (B, T, D), clip (B, D) and logits (B, identities);
    `network.embed(clips)` the vectors (B, D) that are compared at test.
    sinet and idnet have weights for one T and size, and sbnet is built for one T; the others take any.

    Raises:
        InputError: no such network, with the names there are; T or a size that it cannot take.
    """
    if name not in NETWORKS:
        raise InputError(f"--network {name}: unknown; the networks are {', '.join(NETWORKS)}")
    return NETWORKS[name](identities, frames, tuple(size))


__all__ = [
    "NETWORKS",
    "PROJECTING",
    "DomainHeads",
    "NetworkOutput",
    "Statistics",
    "VideoNetwork",
    "build",
    "camera_statistics",
    "convert",
    "load_trunk_weights",
    "load_weights",
    "recompute_statistics",
    "reversal_strength",
    "using_statistics",
]
