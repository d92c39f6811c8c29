"""Re-ranking against the given reference numbers, and what it refuses."""

import sys

import numpy as np
import pytest
import torch

from vreid_fast.metrics import rerank


@pytest.mark.parametrize("case", ["s0", "s1", "k2_1", "lam0", "lam1"])
def test_equals_the_given_numbers(shared, case):
    given = np.load(shared("parity/ranking") / "rerank.npz")
    features, count = given[f"{case}.feat"], int(given[f"{case}.num_query"])
    knobs = {"k1": int(given[f"{case}.k1"]), "k2": int(given[f"{case}.k2"]), "share": float(given[f"{case}.lambda"])}
    ours = rerank(features[:count], features[count:], **knobs)
    assert np.abs(ours.numpy() - given[f"{case}.final_dist"]).max() < 1e-5


def test_blocks_change_nothing(monkeypatch):
    features = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    whole = rerank(features[:9], features[9:], k1=6, k2=3)
    monkeypatch.setattr(sys.modules["vreid_fast.metrics.rerank"], "_BLOCK", 4)
    assert torch.equal(rerank(features[:9], features[9:], k1=6, k2=3), whole)


@pytest.mark.parametrize("knobs", [{"k1": 0}, {"k2": 0}, {"share": 1.5}])
def test_refuses_knobs_out_of_range(knobs):
    with pytest.raises(ValueError, match="k1 and k2 must be at least 1"):
        rerank(torch.eye(4), torch.eye(4), **knobs)


def test_refuses_two_widths():
    with pytest.raises(ValueError, match="same width D, got 4 and 3"):
        rerank(torch.eye(4), torch.eye(3))
