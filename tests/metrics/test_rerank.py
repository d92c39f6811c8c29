"""Re-ranking against the given reference numbers, and what it refuses."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from vreid_fast.metrics import rerank, rerank_distances


@pytest.mark.parametrize("case", ["s0", "s1", "k2_1", "lam0", "lam1"])
def test_equals_the_given_numbers(shared, case):
    given = np.load(shared("parity/ranking") / "rerank.npz")
    features, count = given[f"{case}.feat"], int(given[f"{case}.num_query"])
    knobs = {"k1": int(given[f"{case}.k1"]), "k2": int(given[f"{case}.k2"]), "share": float(given[f"{case}.lambda"])}
    ours = rerank(features[:count], features[count:], **knobs)
    assert np.abs(ours.numpy() - given[f"{case}.final_dist"]).max() < 1e-5


def dense(features, queries, k1, k2, share):
    """The definition, with matrices of everything against everything (Zhong et al., 2017)."""
    squared = ((features[:, None] - features) ** 2).sum(2)
    order = squared.argsort(1)

    def mutual(row, k):
        return {other for other in order[row, : k + 1] if row in order[other, : k + 1]}

    weights = np.zeros_like(squared)
    for row in range(len(features)):
        chosen = set(own := mutual(row, k1))
        for other in own:
            theirs = mutual(other, round(k1 / 2))
            if len(theirs & own) > 2 / 3 * len(theirs):
                chosen |= theirs
        for other in chosen:
            weights[row, other] = np.exp(-squared[row, other] / squared[row].max())
    weights /= weights.sum(1, keepdims=True)
    weights = np.stack([weights[order[row, :k2]].mean(0) for row in range(len(features))])
    least = np.minimum(weights[:, None], weights).sum(2)
    final = (1 - share) * (1 - least / (2 - least)) + share * squared / squared.max(1, keepdims=True)
    return final[:queries, queries:]


@pytest.mark.parametrize(("k1", "k2", "share"), [(6, 3, 0.3), (9, 1, 0.0), (5, 2, 1.0)])
def test_equals_the_definition(k1, k2, share):
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(size=(9, 6)), 5, axis=0) + 0.8 * rng.normal(size=(45, 6))
    features = rng.permutation(features)
    ours = rerank(features[:12], features[12:], k1, k2, share)
    assert np.abs(ours.numpy() - dense(features, 12, k1, k2, share)).max() < 1e-6


@pytest.mark.parametrize("block", [7, 2048])
@pytest.mark.parametrize("queries", [1, 12])
def test_distances_give_what_their_features_give(queries, block, monkeypatch):
    monkeypatch.setattr(sys.modules["vreid_fast.metrics.rerank"], "_BLOCK", block)
    features = torch.randn(45, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    squared = torch.cdist(features, features).square() + torch.eye(45)  # the diagonal is not read
    parts = squared[:queries, queries:], squared[:queries, :queries], squared[queries:, queries:]
    wanted = rerank(features[:queries], features[queries:], k1=6, k2=3)
    assert (rerank_distances(*parts, k1=6, k2=3) - wanted).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        (((2, 3), (3, 3), (3, 3)), r"query_query must be \(2, 2\), got \(3, 3\); query_gallery is \(2, 3\)"),
        (((2, 3), (2, 2), (3, 2)), r"gallery_gallery must be \(3, 3\), got \(3, 2\)"),
    ],
)
def test_distances_that_do_not_fit_are_refused(shapes, said):
    with pytest.raises(ValueError, match=said):
        rerank_distances(*map(torch.ones, shapes))


def test_distances_below_nothing_and_none_at_all():
    with pytest.raises(ValueError, match="distances must be 0 or more, got -1; add to them"):
        rerank_distances(-torch.ones(2, 3), torch.ones(2, 2), torch.ones(3, 3))
    assert rerank_distances(torch.ones(0, 3), torch.ones(0, 0), torch.ones(3, 3)).shape == (0, 3)


@pytest.mark.parametrize("queries", [3, 4, 9])
def test_blocks_change_nothing(monkeypatch, queries):
    features = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    whole = rerank(features[:queries], features[queries:], k1=6, k2=3)
    monkeypatch.setattr(sys.modules["vreid_fast.metrics.rerank"], "_BLOCK", 4)
    assert (rerank(features[:queries], features[queries:], k1=6, k2=3) - whole).abs().max() < 1e-6


def test_fewer_rows_than_neighbours():
    distances = rerank(torch.eye(5)[:2], torch.eye(5)[2:])
    assert distances.shape == (2, 3) and (distances - distances[0, 0]).abs().max() < 1e-6


def test_each_row_is_its_own_nearest_among_equal_ones():
    features = torch.randn(2, 64, generator=torch.Generator().manual_seed(0)).repeat_interleave(30, 0)
    distances = rerank(features[[0, 30]], features, k1=6, k2=1)
    assert distances.isfinite().all()
    assert distances[0, :30].max() < distances[0, 30:].min() and distances[1, 30:].max() < distances[1, :30].min()


def test_features_that_are_all_equal():
    assert rerank(torch.ones(2, 4), torch.ones(9, 4)).isfinite().all()


def test_memory_does_not_grow_with_pairs():
    """12,000 rows: one matrix of all pairs would be 576 MB."""
    code = """
import resource, torch
from vreid_fast.metrics import rerank
features = torch.randn(12_000, 16, generator=torch.Generator().manual_seed(0))
rerank(features[:2], features[2:100])  # loads what it needs
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rerank(features[:100], features[100:])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 300


@pytest.mark.parametrize("knobs", [{"k1": 0}, {"k2": 0}, {"share": 1.5}])
def test_refuses_knobs_out_of_range(knobs):
    with pytest.raises(ValueError, match="k1 and k2 must be at least 1"):
        rerank(torch.eye(4), torch.eye(4), **knobs)


def test_refuses_two_widths():
    with pytest.raises(ValueError, match="same width D, got 4 and 3"):
        rerank(torch.eye(4), torch.eye(3))


@pytest.mark.parametrize("length", [1e-38, 1e-20, 1e20, 1e37])
def test_what_is_common_does_not_depend_on_the_length(length):
    """Beyond float32's range of squares all were NaN, or 0."""
    features = torch.randn(60, 16, generator=torch.manual_seed(0))
    wanted = rerank(features[:10], features[10:])
    torch.testing.assert_close(rerank(features[:10] * length, features[10:] * length), wanted, rtol=0, atol=1e-5)
