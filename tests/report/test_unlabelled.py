"""What is shown of a target without labels: nearest of other cameras, clusters, and nothing right or wrong."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vreid_fast.report import pick_clusters, pick_nearest


def tracklets(cameras):
    return [Seen(camera, number) for number, camera in enumerate(cameras)]


class Seen(SimpleNamespace):
    def __init__(self, camera, number):
        super().__init__(camera=camera, number=number, name=f"/data/cam/t{number}")

    def __len__(self):
        return 9


def read(tracklet, frames):
    return [np.full((4, 2, 3), tracklet.number, np.uint8) for _ in frames]


def shown(images):
    return [int(image[0, 0, 0]) for image in images]


# Angles on a circle: 0 and 1, 2 and 3 are neighbours.
ANGLES = torch.tensor([0.0, 0.1, 1.5, 1.6, 3.05])
FEATURES = torch.stack([ANGLES.cos(), ANGLES.sin()], 1)


def test_the_nearest_are_of_other_cameras():
    people = tracklets([1, 1, 2, 2, 1])
    lists = pick_nearest(FEATURES, people, read_frames=read)
    assert [shown(one.query_images)[0] for one in lists] == [0, 1, 2, 3, 4]
    assert [shown(item.image for item in one.gallery) for one in lists] == [
        [2, 3], [2, 3], [1, 0, 4], [4, 1, 0], [3, 2]
    ]  # fmt: skip
    assert {item.hit for one in lists for item in one.gallery} == {None} == {one.average_precision for one in lists}
    assert lists[0].query_label == "camera 1: cam/t0" and lists[0].gallery[0].label == "camera 2"
    assert lists[0].gallery[0].distance == pytest.approx(1 - float(ANGLES[2].cos()), abs=1e-6)


def test_where_cameras_are_unknown_all_others_are_ranked():
    (first, *_) = pick_nearest(FEATURES, tracklets([None] * 5), read_frames=read)
    assert shown(item.image for item in first.gallery) == [1, 2, 3, 4] and first.query_label == "unknown camera: cam/t0"


def test_a_tracklet_is_named_as_a_search_knows_it():
    folders, video = tracklets([1, 2]), tracklets([1, 2])
    for number, (images, one) in enumerate(zip(folders, video)):
        images.name, images.video = f"/data/cam/t{number}/F0.jpg", None
        one.name = one.video = f"/data/day{number}/t{number}.mp4"
    assert pick_nearest(FEATURES[:2], folders, read_frames=read)[0].query_label == "camera 1: cam/t0"
    assert pick_nearest(FEATURES[:2], video, read_frames=read)[0].query_label == "camera 1: day0/t0.mp4"


def test_one_camera_alone_has_no_lists():
    assert pick_nearest(FEATURES, tracklets([1] * 5), read_frames=read) == []


def test_queries_are_spread_over_clusters():
    labels = torch.tensor([0] * 6 + [1] * 4 + [2] + [3] * 5 + [-1] * 4)
    people = tracklets([number % 2 for number in range(20)])
    lists = pick_nearest(torch.randn(20, 3), people, labels, read_frames=read)
    assert [shown(one.query_images)[0] for one in lists] == [0, 12, 8]  # the largest first; one alone is no cluster
    many = torch.arange(60) // 2
    lists = pick_nearest(torch.randn(60, 3), tracklets([0, 1] * 30), many, read_frames=read)
    assert len(lists) == 8 and shown(lists[0].query_images)[0] == 0 and shown(lists[-1].query_images)[0] == 59


def test_clusters_are_shown_by_spread_members():
    labels = torch.tensor([0] * 30 + [1] * 3 + [-1] * 5 + [2])
    sheets = pick_clusters(labels, tracklets([1] * 20 + [2] * 19), read_frames=read)
    assert [(sheet.title, sheet.size, sheet.cameras, len(sheet.items)) for sheet in sheets] == [
        ("30 tracklets", 30, 2, 10), ("3 tracklets", 3, 1, 3), ("In no cluster: 5", 5, 1, 5)
    ]  # fmt: skip
    assert shown(image for image, _ in sheets[2].items) == [33, 34, 35, 36, 37]
    assert [sheet.size for sheet in pick_clusters(labels, tracklets([1] * 39), most=1, read_frames=read)] == [30, 5]
    assert shown(image for image, _ in sheets[1].items) == [30, 31, 32]
    assert shown(image for image, _ in sheets[0].items)[::9] == [0, 29]
    assert pick_clusters(None, [], read_frames=read) == []
    assert pick_clusters(labels, tracklets([None] * 39), read_frames=read)[0].cameras is None
