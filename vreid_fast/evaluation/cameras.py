"""Which batch-norm statistics serve the cameras of a data set."""

from __future__ import annotations

from collections.abc import Collection

from vreid_fast.data.cameras import POOL
from vreid_fast.errors import InputError
from vreid_fast.models import CameraStatistics

WHOLE, EACH = "of the whole target", "of each camera of the target"
"""Which statistics are used, in words."""


def statistics_for(
    statistics: CameraStatistics | None, cameras: Collection[int | None], *, own: bool, same_cameras: bool
) -> tuple[CameraStatistics | None, list[str]]:
    """The statistics of a run's cameras where they serve, else None: those of its whole target do. And notes.

    Args:
        statistics: what the checkpoint has.
        cameras: of the data set that is looked at.
        own: whether it is the run's target.
        same_cameras: whether it is said to have the run's cameras.

    Raises:
        InputError: same_cameras, and the checkpoint has no statistics of them.
    """
    if same_cameras and not statistics:
        raise InputError(
            "--same_cameras: the checkpoint has no statistics of cameras, as --method plus and --statistics camera "
            "make them; leave it out"
        )
    if statistics is None or own:
        return statistics, []
    if not same_cameras:
        return None, [
            "batch-norm statistics of the run's cameras are of no use before others; those of its whole target serve. "
            "If these are the run's cameras, on another day, say --same_cameras"
        ]
    known = ", ".join(map(str, sorted(statistics.keys() - {POOL})))
    few = " and of those of few tracklets together" if POOL in statistics else ""
    strange = sorted(set(cameras) - statistics.keys(), key=lambda camera: (camera is not None, camera))
    if strange:
        named = ", ".join("one that is not named" if camera is None else str(camera) for camera in strange[:5])
        raise InputError(
            f"--same_cameras: the data has camera {named}, the checkpoint statistics of {known}{few}; number the "
            "cameras as in the run, or leave it out"
        )
    return statistics, []
