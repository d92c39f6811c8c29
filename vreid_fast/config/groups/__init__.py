"""Groups of knobs: the type, default, bounds, unit and source of each stand in one place."""

from .course import DeviceKnobs, OptimiserKnobs, RunKnobs, ScheduleKnobs, StageKnobs, TestKnobs
from .input import BatchKnobs, ClipKnobs, DataKnobs, LoadingKnobs
from .source import ClothesKnobs, IdentityKnobs, NetworkKnobs
from .target import AdversarialKnobs, ClusterKnobs, ConsistencyKnobs, ProxyKnobs, TransportKnobs

__all__ = [
    "AdversarialKnobs",
    "BatchKnobs",
    "ClipKnobs",
    "ClothesKnobs",
    "ClusterKnobs",
    "ConsistencyKnobs",
    "DataKnobs",
    "DeviceKnobs",
    "IdentityKnobs",
    "LoadingKnobs",
    "NetworkKnobs",
    "OptimiserKnobs",
    "ProxyKnobs",
    "RunKnobs",
    "ScheduleKnobs",
    "StageKnobs",
    "TestKnobs",
    "TransportKnobs",
]
