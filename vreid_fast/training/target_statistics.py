"""Batch-norm statistics of the unlabelled target, of all of it or of each of its cameras; its vectors under them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from vreid_fast.data.batches import Batches
from vreid_fast.data.tracklets import all_known
from vreid_fast.device import Precision
from vreid_fast.errors import Diverged
from vreid_fast.evaluation.embed import Protocol, embed
from vreid_fast.models import CameraStatistics, VideoNetwork, camera_statistics, recompute_statistics
from vreid_fast.models.batch_norm import Statistics, batch_norm_statistics
from vreid_fast.models.state import not_finite


def adopt_target_statistics(network: VideoNetwork, batches: Batches, precision: Precision, steps: int = 0) -> None:
    """Recompute a network's batch-norm statistics on the unlabelled target, in place.

    Args:
        steps: target batches; 0 = one pass, at most 200.

    Raises:
        Diverged: they are not finite.
    """
    with batches.statistics(steps) as loader, precision.cast():
        recompute_statistics(network, (batch.clips for (batch,) in loader))
    _check(batch_norm_statistics(network), "the target")


def measure_cameras(network: VideoNetwork, batches: Batches, precision: Precision) -> CameraStatistics:
    """Batch-norm statistics of a network for each camera of the target, which all are known; Diverged where they are
    not finite."""
    cameras = all_known(tracklet.camera for tracklet in batches.domains.target_tracklets)
    assert cameras is not None, "build.choose_statistics asks for cameras where all are known"
    with batches.by_camera() as loader, precision.cast():
        found = camera_statistics(network, ((cameras[int(batch.tracklets[0])], batch.clips) for (batch,) in loader))
    for camera, statistics in found.items():
        _check(statistics, f"camera {camera} of the target")
    return found


def _check(statistics: Statistics, of: str) -> None:
    name = not_finite(statistics.items())
    if name:
        raise Diverged(f"batch-norm statistics of {of} are not finite ({name})")


def embed_target(
    network: VideoNetwork,
    halves: Sequence[int | None] = (None,),
    *,
    batches: Batches,
    protocol: Protocol,
    precision: Precision,
    per_camera: bool,
) -> list[Tensor]:
    """The vectors (N, D) of the unlabelled target as at test, float32 on the CPU: for each of `halves` those of that
    half of each tracklet, None = of the whole.

    With batch-norm statistics measured on it: of each camera, or of the whole, which the network then keeps.
    """
    statistics = measure_cameras(network, batches, precision) if per_camera else None
    if not per_camera:
        adopt_target_statistics(network, batches, precision)
    tracklets = batches.domains.target_tracklets
    return [embed(network, tracklets, protocol, precision, statistics, half=half) for half in halves]
