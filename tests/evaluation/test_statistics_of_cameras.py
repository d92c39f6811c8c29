"""Whether the batch-norm statistics of a run's cameras serve other data."""

import pytest

from vreid_fast.errors import InputError
from vreid_fast.evaluation.cameras import statistics_for


@pytest.mark.parametrize(
    "cameras, named",
    [({1, -1}, "camera -1,"), ({None, 7, 1}, "camera one that is not named, 7,"), ({9, 8}, "camera 8, 9,")],
)
def test_cameras_that_the_run_does_not_know_are_named(cameras, named):
    """-1 is a number as any other: not that of an unknown camera."""
    statistics = {1: {}, 2: {}}
    with pytest.raises(InputError, match=f"--same_cameras: the data has {named} the checkpoint statistics of 1, 2"):
        statistics_for(statistics, cameras, own=False, same_cameras=True)
    assert statistics_for(statistics, {1}, own=False, same_cameras=True) == (statistics, [])
