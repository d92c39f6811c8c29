"""Networks by name, and the domain heads."""

from __future__ import annotations

from vreid_fast.errors import InputError

from .batch_norm import recompute_statistics
from .domain import DomainHeads, reversal_strength
from .network import NetworkOutput, VideoNetwork
from .resnet import resnet18, resnet50
from .small import small
from .weights import load_trunk_weights

NETWORKS = {"small": small, "resnet18": resnet18, "resnet50": resnet50}


def build(name: str, *, identities: int, frames: int) -> VideoNetwork:
    """The network `name` for `identities` people and clips of `frames` = T frames.

    `network(clips)` gives frames (B, T, D), clip (B, D) and logits (B, identities);
    `network.embed(clips)` the vectors (B, D) that are compared at test.

    Raises:
        InputError: no such network, with the names there are.
    """
    if name not in NETWORKS:
        raise InputError(f"--network {name}: unknown; the networks are {', '.join(NETWORKS)}")
    return NETWORKS[name](identities, frames)


__all__ = [
    "NETWORKS",
    "DomainHeads",
    "NetworkOutput",
    "VideoNetwork",
    "build",
    "load_trunk_weights",
    "recompute_statistics",
    "reversal_strength",
]
