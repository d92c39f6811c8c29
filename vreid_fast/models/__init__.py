"""Networks by name, and the domain heads."""

from __future__ import annotations

from .batch_norm import (
    CameraStatistics,
    DomainNorms,
    Statistics,
    camera_statistics,
    recompute_statistics,
    using_statistics,
)
from .convert import convert
from .domain import DomainHeads, reversal_strength
from .network import NetworkOutput, VideoNetwork
from .registry import MATCHING, NETWORKS, PROJECTING, build
from .weights import load_trunk_weights, load_weights

__all__ = [
    "MATCHING",
    "NETWORKS",
    "PROJECTING",
    "CameraStatistics",
    "DomainHeads",
    "DomainNorms",
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
