"""Distances under a network that compares pairs: blocks, what is said of long ones, and scores made of them."""

import time

import pytest
import torch

from vreid_fast.errors import Diverged
from vreid_fast.evaluation import pairs
from vreid_fast.evaluation.pairs import pair_distances
from vreid_fast.models import build


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build("qaconv", identities=3, frames=1, size=(64, 32), trunk="narrow")


@pytest.mark.parametrize("blocks", [(128, 512), (2, 3)])
def test_blocks_give_what_all_pairs_at_once_give(network, monkeypatch, blocks):
    monkeypatch.setattr(pairs, "QUERIES", blocks[0])
    monkeypatch.setattr(pairs, "ITEMS", blocks[1])
    query, gallery = torch.randn(5, network.width), torch.randn(7, network.width)
    network.train()
    found = pair_distances(network, query, gallery)
    assert network.training and not network.trunk.training
    with torch.no_grad():
        wanted = -network.eval().pair_score(network.unflatten(query), network.unflatten(gallery))
    torch.testing.assert_close(found, wanted)
    assert pair_distances(network, query[:0], gallery).shape == (0, 7)


def test_what_takes_long_is_said_first(network, monkeypatch, capsys):
    monkeypatch.setattr(pairs, "QUERIES", 1)
    clock = iter([0.0, *(60.0 * step for step in range(1, 4))])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    pair_distances(network, torch.randn(3, network.width), torch.randn(2, network.width))
    assert capsys.readouterr().out == "note: 3 x 2 pairs are compared one by one: about 2 minutes\n"


def test_scores_that_are_not_finite_are_refused(network):
    with torch.no_grad():
        network.matcher.places.weight.fill_(3e38)
        network.matcher.norm.weight.fill_(1e10)
    with pytest.raises(Diverged, match="scores of pairs are not finite"):
        pair_distances(network, torch.randn(3, network.width), torch.randn(2, network.width))
