"""Whether the batch-norm statistics of a run's cameras serve other data."""

import pytest

from vreid_fast.data.cameras import POOL
from vreid_fast.errors import InputError
from vreid_fast.evaluation.cameras import statistics_for


@pytest.mark.parametrize(
    "cameras, named",
    [({None, 1}, "one that is not named"), ({None, 7, 1}, "one that is not named, 7"), ({9, 8}, "8, 9")],
)
@pytest.mark.parametrize("few", [False, True])
def test_cameras_that_the_run_does_not_know_are_named(cameras, named, few):
    """Unknown ones are not those of few tracklets, whatever the number of these together."""
    statistics = {1: {}, 2: {}, **({POOL: {}} if few else {})}
    known = "1, 2" + " and of those of few tracklets together" * few
    with pytest.raises(InputError, match=f"the data has camera {named}, the checkpoint statistics of {known}; number"):
        statistics_for(statistics, cameras, own=False, same_cameras=True)
    assert statistics_for(statistics, {1}, own=False, same_cameras=True) == (statistics, [])
