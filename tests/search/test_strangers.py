"""Two tracklets of one camera that overlap in time are two people: which pairs, and how alike they are."""

import numpy as np
import pytest

from vreid_fast.extraction.table import Row
from vreid_fast.search import strangers
from vreid_fast.search.strangers import share_as_alike, similarities, two_people


def rows(*seen):
    return [Row(n, str(n), camera, None, "", video, first, last) for n, (camera, video, first, last) in enumerate(seen)]


def test_pairs_overlap_in_one_recording_of_one_camera():
    seen = rows(
        (1, "a", 0, 10), (1, "a", 10, 20), (1, "a", 5, 30), (1, "b", 0, 30), (2, "a", 0, 30), (1, "a", 31, 40),
        (None, "a", 0, 40), (1, "", 0, 40), (1, "a", None, None),
    )  # fmt: skip
    assert sorted(map(tuple, map(sorted, two_people(seen, [0] * len(seen)).tolist()))) == [(0, 1), (0, 2), (1, 2)]


def test_recordings_of_one_name_in_other_data_are_others():
    seen = rows((1, "a", 0, 10), (1, "a", 0, 10), (1, "a", 5, 10))
    assert two_people(seen, [0, 1, 1]).tolist() == [[1, 2]]


def test_pairs_are_those_of_every_pair():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 400, 120)
    seen = rows(*((1, "a", int(at), int(at + length)) for at, length in zip(first, rng.integers(0, 60, 120))))
    wanted = {
        (a.row, b.row)
        for a in seen
        for b in seen
        if a.row < b.row and a.first_frame <= b.last_frame and b.first_frame <= a.last_frame
    }
    assert {tuple(sorted(pair)) for pair in two_people(seen, [0] * len(seen)).tolist()} == wanted


def test_many_pairs_are_thinned_out(monkeypatch):
    monkeypatch.setattr(strangers, "MOST", 50)
    assert len(two_people(rows(*((1, "a", 0, 9) for _ in range(40))), [0] * 40)) == 50


def test_cosines_of_pairs_ascend():
    unit = np.eye(4, dtype=np.float32)[[0, 0, 1]]
    seen = rows((1, "a", 0, 9), (1, "a", 0, 9), (1, "a", 0, 9))
    assert similarities(seen, [0, 0, 0], unit.__getitem__).tolist() == [0, 0, 1]
    assert len(similarities(rows((1, "a", 0, 9)), [0], unit.__getitem__)) == 0


def test_the_share_of_strangers_that_are_as_alike():
    known = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    assert share_as_alike(known, 0.35) == pytest.approx(2 / 5)
    assert share_as_alike(known, 0.9) == pytest.approx(1 / 5)  # never none: the next could be
    assert share_as_alike(known, 0.0) == 1
    assert share_as_alike(known[:0], 0.5) is None
