"""Batch-norm statistics of the unlabelled target, of all of it or of each of its cameras; its vectors under them."""

from __future__ import annotations

from torch import Tensor

from vreid_fast.data.batches import Batches
from vreid_fast.data.tracklets import all_known
from vreid_fast.device import Precision
from vreid_fast.evaluation.embed import Protocol, embed
from vreid_fast.models import CameraStatistics, VideoNetwork, camera_statistics, recompute_statistics


def adopt_target_statistics(network: VideoNetwork, batches: Batches, precision: Precision, steps: int = 0) -> None:
    """Recompute a network's batch-norm statistics on the unlabelled target, in place.

    Args:
        steps: target batches; 0 = one pass, at most 200.
    """
    with batches.statistics(steps) as loader, precision.cast():
        recompute_statistics(network, (batch.clips for (batch,) in loader))


def measure_cameras(network: VideoNetwork, batches: Batches, precision: Precision) -> CameraStatistics:
    """Batch-norm statistics of a network for each camera of the target, which all are known."""
    cameras = all_known(tracklet.camera for tracklet in batches.domains.target_tracklets)
    assert cameras is not None, "build.choose_statistics asks for cameras where all are known"
    with batches.by_camera() as loader, precision.cast():
        return camera_statistics(network, ((cameras[int(batch.tracklets[0])], batch.clips) for (batch,) in loader))


def embed_target(
    network: VideoNetwork, batches: Batches, protocol: Protocol, precision: Precision, per_camera: bool
) -> Tensor:
    """The vectors (N, D) of the unlabelled target as at test, float32 on the CPU.

    With batch-norm statistics measured on it: of each camera, or of the whole, which the network then keeps.
    """
    statistics = measure_cameras(network, batches, precision) if per_camera else None
    if not per_camera:
        adopt_target_statistics(network, batches, precision)
    return embed(network, batches.domains.target_tracklets, protocol, precision, statistics)
