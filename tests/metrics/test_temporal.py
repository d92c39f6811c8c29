"""Temporal lifting: its authors' numbers, a plan whose answer is known, and bad input."""

import numpy as np
import pytest
import torch

from vreid_fast.metrics import temporal_lift


def test_it_equals_the_authors(shared):
    given = np.load(shared("parity/ranking") / "rerank.npz")
    columns = [given[f"tlift.{name}"] for name in ("p_cam", "p_time", "g_cam", "g_time")]
    found = temporal_lift(given["tlift.score_in"], *columns, within=100, spread=200, neighbours=10, floor=0.2)
    np.testing.assert_allclose(found, given["tlift.score_out"], rtol=1e-5, atol=1e-7)


def test_a_companion_tells_which_of_two_look_alikes_it_is():
    """Two people pass camera 0 together; one of them is recognised before camera 1 with certainty, at time 1000. The
    other has two look-alikes there, at 1010 and at 5000."""
    scores = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.5, 0.5]])
    lifted = temporal_lift(scores, [0, 0], [0, 20], [1, 1, 1], [1000, 1010, 5000], neighbours=1)
    assert lifted[1, 1] > 4 * lifted[1, 2]
    # Whoever is alone is compared with all that look most alike, himself.
    alone = temporal_lift(scores, [0, 0], [0, 500], [1, 1, 1], [1000, 1010, 5000], neighbours=2)
    assert alone[1, 1] == pytest.approx(0.5 * (0.5 + 0.2), rel=1e-3) and alone[1, 2] == alone[1, 1]


def test_nothing_is_lifted_in_empty_sets():
    assert temporal_lift(torch.zeros(0, 3), [], [], [1, 1, 2], [0, 1, 2]).shape == (0, 3)
    assert temporal_lift(torch.zeros(3, 0), [1, 1, 2], [0, 1, 2], [], []).shape == (3, 0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scores": [[-0.5]]}, "scores must be at least 0, got -0.5"),
        ({"scores": [[torch.nan]]}, "scores must be finite"),
        ({"query_times": [torch.nan]}, "query_times and gallery_times must be finite"),
        ({"gallery_times": [torch.inf]}, "query_times and gallery_times must be finite"),
        ({"floor": torch.inf}, "floor at least 0, got"),
        ({"query_times": [0, 1]}, r"query_times must be \(1,\), got \(2,\)"),
        ({"neighbours": 0}, "neighbours must be above 0"),
        ({"spread": 0.0}, "spread and neighbours must be above 0"),
    ],
)
def test_bad_input_is_explained(changes, said):
    given = {
        "scores": [[0.5]], "query_cameras": [0], "query_times": [0], "gallery_cameras": [1], "gallery_times": [3],
    }  # fmt: skip
    with pytest.raises(ValueError, match=f"temporal_lift: .*{said}"):
        temporal_lift(**{**given, **changes})
