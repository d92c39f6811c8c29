"""Cameras that see too little to be one."""

import csv
from collections import Counter

import pytest
from small_runs import write_people

from vreid_fast.data.cameras import FEWEST, POOL, notes_on_cameras, pool_cameras
from vreid_fast.data.domains import Domains
from vreid_fast.errors import InputError


def cameras(**counts):
    return [int(name[1:]) for name, count in counts.items() for _ in range(count)]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (cameras(c3=FEWEST, c5=40), {3: FEWEST, 5: 40}),
        (cameras(c3=FEWEST - 1, c5=40, c7=4), {POOL: FEWEST + 3, 5: 40}),
        (cameras(c3=4, c5=40, c7=30), {5: 40, 7: 34}),  # the pool itself would see too little
        (cameras(c3=10, c5=8, c7=5), {POOL: 23}),
        (cameras(c3=2, c5=2), {POOL: 4}),
        (cameras(c0=1), {POOL: 1}),
    ],
)
def test_who_is_pooled_with_whom(given, wanted):
    pooled = pool_cameras(given)
    assert Counter(pooled) == wanted and pool_cameras(given[::-1]) == pooled[::-1]
    for before, after in zip(given, pooled):
        assert after == before or given.count(before) < FEWEST
    assert bool(notes_on_cameras(given)) == (pooled != given)


def test_unknown_cameras_are_none():
    assert pool_cameras([1, None]) is None and notes_on_cameras([1, None]) == [] and pool_cameras([]) is None


def test_the_note_names_them():
    (note,) = notes_on_cameras(cameras(c9=3, c2=11, c5=40))
    assert note == (
        "cameras with fewer than 12 tracklets count as one, without statistics of their own: 2, 9; name as a camera "
        "what sees many people"
    )
    (note,) = notes_on_cameras(cameras(c9=3, c5=40))
    assert "count as one with camera 5, without statistics of their own: 9;" in note
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 8 more;" in notes_on_cameras([*range(18), *[99] * 12])[0]


def test_what_trains_sees_the_pool_and_what_is_scored_the_cameras(tmp_path):
    """Six people before two cameras, four tracklets of one of which are called a visit each."""
    for name in ("source", "target"):
        write_people(tmp_path / name, seed=0, per_camera=3)
    with open(tmp_path / "target" / "tracklets.csv") as file:
        head, *rows = csv.reader(file)
    for visit in range(4):
        rows[visit][2] = 50 + visit
    with open(tmp_path / "target" / "tracklets.csv", "w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    domains = Domains.read(f"folder:{tmp_path / 'source'}", f"folder:{tmp_path / 'target'}")
    assert Counter(domains.cameras().tolist()) == {0: 19, 1: 17}
    assert sum(camera >= 50 for camera in (tracklet.camera for tracklet in domains.target_data.train)) == 4
    assert any("50, 51, 52, 53" in note for note in domains.notes)
    assert domains.hidden_identities().tolist() == [tracklet.identity for tracklet in domains.target_data.train]


def test_identities_that_nobody_knows_are_none(tmp_path):
    source, target = write_people(tmp_path / "source", 0), write_people(tmp_path / "target", 1, labelled=False)
    domains = Domains.read(f"folder:{source}", f"folder:{target}")
    assert domains.hidden_identities() is None
    with pytest.raises(InputError):
        Domains.read(f"folder:{target}", f"folder:{source}")
