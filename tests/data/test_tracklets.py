import dataclasses

import pytest

from vreid_fast.data.tracklets import Dataset, FramePaths, Tracklet, identity_labels


def test_frame_paths_join_when_asked_for():
    paths = FramePaths("/data/0001C1T0001", ["F1.jpg", "F2.jpg", "F3.jpg"])
    assert list(paths) == [f"/data/0001C1T0001/F{n}.jpg" for n in (1, 2, 3)]
    assert paths[-1].endswith("F3.jpg") and list(paths[1:]) == list(paths)[1:]
    with pytest.raises(IndexError):
        paths[3]
    assert repr(paths) == "FramePaths('/data/0001C1T0001', 3 names)"


def test_a_tracklet_names_itself_and_cannot_be_changed():
    tracklet = Tracklet(FramePaths("/data/a", ["F1.jpg", "F2.jpg"]), identity=7, camera=0)
    assert len(tracklet) == 2 and str(tracklet) == "tracklet /data/a (identity 7, camera 0, 2 frames)"
    assert str(Tracklet(range(9), video="/data/b.mp4")) == "tracklet /data/b.mp4 (9 frames)"
    assert str(Tracklet([])) == "tracklet without frames (0 frames)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        tracklet.identity = 8


def test_identity_labels_are_sorted_and_skip_the_unknown():
    rows = [Tracklet(range(1), identity) for identity in (30, None, 4, 30, 11)]
    assert identity_labels(rows) == {4: 0, 11: 1, 30: 2}


def test_the_table_counts_each_subset():
    rows = [Tracklet(range(600), identity) for identity in (1, 1, None)]
    data = Dataset("folder:x", rows, rows[:1], [], official={"train": "625 identities, 8,298 tracklets"})
    header, train, query, gallery = data.table().splitlines()
    assert header.split() == ["subset", "identities", "tracklets", "images", "official"]
    assert train.split() == ["train", "1", "3", "1,800", "625", "identities,", "8,298", "tracklets"]
    assert query.split() == ["query", "1", "1", "600"] and gallery.split() == ["gallery", "0", "0", "0"]
    assert "official" not in Dataset("folder:x", rows, [], []).table()
