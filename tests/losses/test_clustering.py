"""Clusters without a number: average linkage against scipy's, what does not matter, and data of little."""

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import csr_array
from scipy.spatial.distance import squareform

from vreid_fast.losses.clustering import average_linkage, cluster
from vreid_fast.metrics import pair_agreement


def together(labels):
    """bool (N, N): who is with whom; what is in no cluster is alone."""
    labels = np.asarray(labels)
    return (labels[:, None] == labels) & (labels >= 0)[:, None] | np.eye(len(labels), dtype=bool)


def people(count=20, cameras=3, each=2, noise=0.4, seed=0, width=16):
    """Features around a centre a person, moved by camera; the people and the cameras."""
    rng = np.random.default_rng(seed)
    person = np.arange(count).repeat(cameras * each)
    camera = np.tile(np.arange(cameras).repeat(each), count)
    features = rng.normal(size=(count, width))[person] + 0.3 * rng.normal(size=(cameras, width))[camera]
    features += noise * rng.normal(size=features.shape)
    return torch.from_numpy(features).float(), torch.from_numpy(person), torch.from_numpy(camera)


@pytest.mark.parametrize("cut", [0.3, 0.75, 0.9])
@pytest.mark.parametrize("seed", range(8))
def test_average_linkage_is_scipys(seed, cut):
    rng = np.random.default_rng(seed)
    similar = np.triu(rng.random((70, 70)) * (rng.random((70, 70)) < 0.15), 1)
    (found,) = average_linkage(csr_array(similar), [cut])
    tree = linkage(squareform(1 - (similar + similar.T) - np.eye(70)), "average")
    wanted = fcluster(tree, np.nextafter(cut, 0), "distance")
    assert np.array_equal(together(found), together(wanted)) and 1 < len(set(found)) < 70


def test_equal_similarities_end_and_leave_no_two_clusters_that_belong_together():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        similar = np.triu(rng.choice([0, 0, 0, 0.5, 1.0], (40, 40)), 1)
        (labels,), both = average_linkage(csr_array(similar), [0.75]), similar + similar.T
        for one in set(labels):
            for other in set(labels) - {one}:
                assert both[labels == one][:, labels == other].mean() <= 0.25


def test_several_cuts_are_each_alone():
    rng = np.random.default_rng(0)
    similar = csr_array(np.triu(rng.random((200, 200)) * (rng.random((200, 200)) < 0.1), 1))
    cuts = (0.5, 0.65, 0.75, 0.85)
    for found, cut in zip(average_linkage(similar, cuts), cuts, strict=True):
        assert np.array_equal(together(found), together(average_linkage(similar, [cut])[0]))


def test_nothing_in_common_is_no_cluster():
    (labels,) = average_linkage(csr_array((4, 4)), [0.75])
    assert labels.tolist() == [0, 1, 2, 3]


def test_people_are_found_without_their_number():
    features, person, camera = people()
    labels = cluster(features, camera)
    found = pair_agreement(labels, person)
    assert found.precision > 0.95 and found.recall > 0.9 and 19 <= labels.max() + 1 <= 24
    assert labels.dtype == torch.int64 and labels[0] == 0, "numbered in the order of the tracklets"
    first = [labels.tolist().index(number) for number in range(int(labels.max()) + 1)]
    assert first == sorted(first)


def test_tracklets_of_two_people_are_kept_apart_however_alike():
    features, person, camera = people(count=10, noise=0.1)
    features[6:12] = features[:6] + 1e-3 * torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(*cluster(features, camera)[:12].view(2, 6)), "twins"
    seen_at_once = np.array([(here, 6 + there) for here in range(6) for there in range(6) if here // 2 == there // 2])
    labels = cluster(features, camera, apart=seen_at_once)
    assert not (labels[seen_at_once[:, 0]] == labels[seen_at_once[:, 1]]).any()
    assert pair_agreement(labels[12:], person[12:]) == (1, 1), "of the others nothing changes"


def test_one_pair_that_is_wrong_does_not_split_a_person():
    features, person, camera = people(count=10, each=4, noise=0.1)
    labels = cluster(features, camera, 4, apart=np.array([(0, 1)]))
    assert pair_agreement(labels, person).precision == 1 and (labels[:12] == labels[0]).sum() == 12


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_tracklets_does_not_matter(seed):
    features, _, camera = people(noise=0.9, seed=seed)
    features[7] = features[6]  # the same twice, before one camera
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
    labels = cluster(features, camera)
    again = torch.empty_like(labels)
    again[order] = cluster(features[order], camera[order])
    assert np.array_equal(together(labels), together(again)) and labels[6] == labels[7] >= 0


def test_the_order_does_not_matter_where_all_is_tied():
    rng = np.random.default_rng(3)
    features = torch.from_numpy(rng.choice([-0.5, 0.5], (60, 4))).float()
    camera = torch.from_numpy(rng.integers(0, 2, 60))
    labels = together(cluster(features, camera))
    for _ in range(5):
        order = rng.permutation(60)
        assert np.array_equal(together(cluster(features[order], camera[order])), labels[order][:, order])


def test_what_is_alone_is_in_none():
    features, _, camera = people(count=10, width=64)
    alone = torch.randn(1, 64, generator=torch.Generator().manual_seed(5)) * 4
    labels = cluster(torch.cat([features, alone]), torch.cat([camera, camera[:1]]))
    assert labels[-1] == -1 and (labels[:-1] >= 0).sum() > 50


def test_features_that_are_all_the_same_are_one_cluster():
    assert cluster(torch.ones(6, 4), torch.tensor([0, 1, 0, 1, 0, 1])).tolist() == [0] * 6
    assert cluster(torch.ones(6, 4), None).tolist() == [0] * 6
    assert cluster(torch.zeros(4, 3), torch.tensor([5, 5, 5, 6])).tolist() == [0] * 4


@pytest.mark.parametrize("cameras", [None, torch.tensor([1, 1]), torch.tensor([1, 2])])
def test_two_tracklets_and_one(cameras):
    assert cluster(torch.eye(2), cameras).tolist() in ([0, 0], [-1, -1])
    assert cluster(torch.eye(2)[:1], None if cameras is None else cameras[:1]).tolist() == [-1]


def test_lists_of_more_than_there_are_hold_all():
    features, _, camera = people(count=5, cameras=2)
    assert torch.equal(cluster(features, camera, listed=10**12), cluster(features, camera, listed=19))


def test_unknown_cameras_are_one():
    features, _, camera = people()
    assert torch.equal(cluster(features, None), cluster(features, torch.zeros_like(camera)))


def test_large_lists_of_the_own_camera_do_not_make_one_heap():
    """Two cameras with two tracklets a person: lists of each camera by itself find people across them."""
    features, person, camera = people(count=60, cameras=2, noise=0.5, seed=2, width=32)
    labels = cluster(features, camera)
    found = pair_agreement(labels, person)
    assert found.precision > 0.8 and found.recall > 0.6 and 45 <= labels.max() + 1 <= 90
