"""Neighbours, sparse and in blocks, against their definition written out N x N."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from vreid_fast.losses import neighbours
from vreid_fast.losses.neighbours import common_neighbours, mutual, nearest, pairs_to_compare


def dense_lists(features, cameras, k, apart=()):
    """bool (N, N): row i names its k nearest of each camera; of equal ones the earlier."""
    similar = cosines(features)
    found = np.zeros(similar.shape, bool)
    for row, scores in enumerate(similar):
        for camera in set(cameras):
            others = [
                other
                for other in range(len(scores))
                if cameras[other] == camera and other != row and (row, other) not in apart and (other, row) not in apart
            ]
            found[row, sorted(others, key=lambda other: (-scores[other], other))[:k]] = True
    return found


def cosines(features):
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return unit @ unit.T


def dense_mutual(features, cameras, k):
    listed = dense_lists(features, cameras, k)
    return np.where(listed & listed.T, np.exp(2 * cosines(features) - 2), 0) + np.eye(len(features))


def dense_jaccard(features, cameras, k, expansion):
    """Distances (N, N)."""
    weights = dense_mutual(features, cameras, k)
    weights /= weights.sum(1, keepdims=True)
    if expansion:
        near = (dense_mutual(features, cameras, expansion) > 0).astype(float)
        weights = near @ weights / near.sum(1, keepdims=True)
    least = np.array([[np.minimum(one, other).sum() for other in weights] for one in weights])
    most = np.array([[np.maximum(one, other).sum() for other in weights] for one in weights])
    return 1 - least / most


def random(seed=0, count=60, width=8):
    rng = np.random.default_rng(seed)
    centres, shifts = rng.normal(size=(10, width)), rng.normal(size=(3, width))
    cameras = rng.integers(0, 3, count)
    features = centres[rng.integers(0, 10, count)] + 0.5 * shifts[cameras] + 0.5 * rng.normal(size=(count, width))
    return features, cameras


def ties(seed=0, count=40):
    """Corners of a cube of side 1: all cosines are multiples of a half, without rounding."""
    rng = np.random.default_rng(seed)
    return rng.choice([-0.5, 0.5], (count, 4)), rng.integers(0, 3, count)


def of_cameras(*sizes):
    rng = np.random.default_rng(1)
    return rng.normal(size=(sum(sizes), 5)), np.repeat(np.arange(len(sizes)) * 7, sizes)


CASES = {
    "random": random(), "ties": ties(), "more ties": ties(1, 90), "one alone": of_cameras(9, 1, 6),
    "few": of_cameras(2, 1), "one tracklet": of_cameras(1), "one camera": of_cameras(15),
    "zeros": (np.zeros((5, 3)), np.array([0, 1, 0, 1, 1])),
}  # fmt: skip


def given(case):
    features, cameras = CASES[case]
    return torch.from_numpy(features).float(), torch.from_numpy(cameras)


@pytest.mark.parametrize("block", [4, 7, 4096])
@pytest.mark.parametrize("k", [1, 2, 100])
@pytest.mark.parametrize("case", CASES)
def test_lists_are_those_of_the_definition(case, k, block):
    features, cameras = given(case)
    lists = nearest(features, cameras, k, block)
    assert lists.rows.shape == (len(features), len(cameras.unique()), k)
    found = np.zeros((len(features), len(features)), bool)
    for row, columns in enumerate(lists.rows.reshape(len(features), -1)):
        found[row, columns[columns >= 0]] = True
    assert np.array_equal(found, dense_lists(features.numpy(), cameras.tolist(), k))
    there = lists.rows >= 0
    rows = np.broadcast_to(np.arange(len(features))[:, None, None], there.shape)
    np.testing.assert_allclose(
        lists.cosines[there], cosines(features.numpy())[rows[there], lists.rows[there]], atol=1e-6
    )
    assert np.all(np.diff(lists.cosines, axis=2)[there[:, :, 1:]] <= 0), "the nearest first"


@pytest.mark.parametrize("block", [4, 4096])
@pytest.mark.parametrize("case", ["random", "ties", "one camera"])
def test_pairs_of_two_people_are_in_no_list_of_each_other(case, block):
    features, cameras = given(case)
    apart = np.random.default_rng(0).integers(0, len(features), (3 * len(features), 2))
    lists = nearest(features, cameras, 3, block, apart)
    found = np.zeros((len(features), len(features)), bool)
    for row, columns in enumerate(lists.rows.reshape(len(features), -1)):
        found[row, columns[columns >= 0]] = True
    wanted = dense_lists(features.numpy(), cameras.tolist(), 3, set(map(tuple, apart.tolist())))
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_mutual_neighbours_and_their_weights(case, k):
    features, cameras = given(case)
    found = mutual(nearest(features, cameras, 3), k).toarray()
    np.testing.assert_allclose(found, dense_mutual(features.numpy(), cameras.tolist(), k), atol=1e-6)


@pytest.mark.parametrize("at_once", [1, 50, 2**22])
@pytest.mark.parametrize(("k", "expansion"), [(2, 1), (2, 0), (4, 2), (100, 100)])
@pytest.mark.parametrize("case", CASES)
def test_what_is_shared_is_one_minus_the_jaccard_distance(case, k, expansion, at_once, monkeypatch):
    monkeypatch.setattr(neighbours, "AT_ONCE", at_once)
    features, cameras = given(case)
    found = common_neighbours(nearest(features, cameras, k), k, expansion).toarray()
    wanted = 1 - dense_jaccard(features.numpy(), cameras.tolist(), k, expansion)
    np.testing.assert_allclose(found, np.triu(wanted, 1), atol=1e-6)


def test_unknown_cameras_are_one():
    features, _ = given("random")
    one = nearest(features, None, 2)
    other = nearest(features, torch.full((len(features),), 9), 2)
    assert np.array_equal(one.rows, other.rows) and one.rows.shape == (60, 1, 2)


def test_features_are_left_as_they_are():
    features, cameras = given("random")
    before = features.clone()
    nearest(features.requires_grad_(), cameras, 2)
    assert torch.equal(features, before)


def test_nothing_is_as_large_as_all_pairs():
    """12,000 tracklets: all pairs are 549 MiB in float32. In a process of its own, whose peak is not that of others."""
    measured = """
import resource
import torch
from vreid_fast.losses.neighbours import common_neighbours, nearest

features = torch.nn.functional.one_hot(torch.arange(12_000) % 8, 8).float()
features += 0.3 * torch.randn(12_000, 8, generator=torch.Generator().manual_seed(0))
common_neighbours(nearest(features[:100], None, 2), 2, 1)  # what is imported late
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
shared = common_neighbours(nearest(features, torch.arange(12_000) % 2, 2), 2, 1)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10, shared.nnz)
"""
    printed = subprocess.run([sys.executable, "-c", measured], capture_output=True, text=True, check=True).stdout
    mib, pairs = map(float, printed.split())
    assert mib < 500 and pairs < 12_000 * 50


@pytest.mark.parametrize("expansion", [0, 2])
def test_pairs_to_compare_are_the_neighbours_that_any_two_share(expansion):
    features, cameras = random()
    lists = nearest(torch.from_numpy(features), torch.from_numpy(cameras), 4)
    weights = dense_mutual(features, cameras, 4) > 0
    if expansion:
        weights = (dense_mutual(features, cameras, expansion) > 0).astype(int) @ weights > 0
    shared = weights.astype(int) @ weights.T
    assert pairs_to_compare(lists, 4, expansion) == np.triu(shared, k=1).sum()
    assert common_neighbours(lists, 4, expansion).nnz <= pairs_to_compare(lists, 4, expansion)
