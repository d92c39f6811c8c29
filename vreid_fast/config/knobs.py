"""Every knob of a run, in groups, and the same without groups: command lines and YAML files are flat.

A knob says by `fixed`, `free` or `same_data` whether a resume may change it. Each function takes the groups that it
uses.
"""
# ruff: noqa: RUF009, as the groups are frozen, which ruff does not see from here

from __future__ import annotations

from dataclasses import dataclass

from .flat import FlatForm
from .groups import (
    AdversarialKnobs,
    BatchKnobs,
    ClipKnobs,
    ClothesKnobs,
    ClusterKnobs,
    ConsistencyKnobs,
    DataKnobs,
    DeviceKnobs,
    IdentityKnobs,
    LoadingKnobs,
    NetworkKnobs,
    OptimiserKnobs,
    ProxyKnobs,
    RunKnobs,
    ScheduleKnobs,
    StageKnobs,
    TestKnobs,
    TransportKnobs,
)


@dataclass(frozen=True)
class Config(FlatForm):
    """All knobs of a run."""

    data: DataKnobs = DataKnobs()
    clip: ClipKnobs = ClipKnobs()
    batch: BatchKnobs = BatchKnobs()
    loading: LoadingKnobs = LoadingKnobs()
    network: NetworkKnobs = NetworkKnobs()
    identity: IdentityKnobs = IdentityKnobs()
    clothes: ClothesKnobs = ClothesKnobs()
    adversarial: AdversarialKnobs = AdversarialKnobs()
    consistency: ConsistencyKnobs = ConsistencyKnobs()
    clusters: ClusterKnobs = ClusterKnobs()
    proxies: ProxyKnobs = ProxyKnobs()
    transport: TransportKnobs = TransportKnobs()
    optimiser: OptimiserKnobs = OptimiserKnobs()
    schedule: ScheduleKnobs = ScheduleKnobs()
    stages: StageKnobs = StageKnobs()
    device: DeviceKnobs = DeviceKnobs()
    test: TestKnobs = TestKnobs()
    run: RunKnobs = RunKnobs()
