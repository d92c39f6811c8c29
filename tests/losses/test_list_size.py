"""How many neighbours a tracklet should list: as many as there are tracklets of a person, which nobody says."""

import pytest
import torch

from vreid_fast.losses import choose_list_size, cluster, list_size
from vreid_fast.losses.clustering import Listing
from vreid_fast.losses.list_size import SIZES
from vreid_fast.metrics import pair_agreement


def halves_of(people, cameras, each, noise, seed=0, width=24):
    """Features of two halves of `each` tracklets of a person and camera, that of the tracklets, people and cameras."""
    generator = torch.Generator().manual_seed(seed)
    person = torch.arange(people).repeat_interleave(cameras * each)
    camera = torch.arange(cameras).repeat_interleave(each).repeat(people)
    whole = torch.randn(people, width, generator=generator)[person]
    whole += noise * torch.randn(len(whole), width, generator=generator)
    halves = tuple(whole + noise / 2 * torch.randn(len(whole), width, generator=generator) for _ in range(2))
    return halves, person, camera


@pytest.mark.parametrize(("each", "wanted"), [(1, (1,)), (2, (2,)), (6, (4, 6))])
def test_it_follows_how_often_people_are_seen_and_finds_them_better_than_a_fixed_one(each, wanted):
    halves, person, camera = halves_of(20, 3, each, noise=0.9)
    found = choose_list_size(halves, camera)
    assert found.size in wanted
    right = pair_agreement(cluster(sum(halves), camera, found.size), person)
    for other in {1, 2} - set(wanted):
        less = pair_agreement(cluster(sum(halves), camera, other), person)
        assert min(right) > min(less), other


def test_longer_ones_are_not_tried_once_one_agrees_less_and_taken_only_where_they_add_something(monkeypatch):
    halves, _, camera = halves_of(30, 3, 2, noise=0.9)
    found = choose_list_size(halves, camera)
    *rising, last = found.agreement.values()
    assert rising == sorted(rising) and last < rising[-1] and len(rising) < 5
    monkeypatch.setattr(list_size, "GAIN", 0.0)
    best = choose_list_size(halves, camera)
    assert best.agreement == found.agreement and best.agreement[best.size] == max(rising)
    monkeypatch.setattr(list_size, "GAIN", 1.0)
    assert choose_list_size(halves, camera).size == SIZES[0]


@pytest.mark.parametrize("camera", [None, torch.tensor([0, 1] * 4)])
def test_where_nothing_tells_sizes_apart_it_is_the_shortest(camera):
    same, two = torch.ones(8, 4), torch.eye(2)
    assert choose_list_size((same, same), camera).size == SIZES[0]
    assert choose_list_size((two, two), camera if camera is None else camera[:2]).size == SIZES[0]


def test_the_order_of_the_tracklets_does_not_matter():
    halves, _, camera = halves_of(30, 2, 2, noise=0.9)
    order = torch.randperm(len(camera), generator=torch.Generator().manual_seed(4))
    assert choose_list_size(tuple(half[order] for half in halves), camera[order]) == choose_list_size(halves, camera)


def test_what_shares_too_many_neighbours_is_not_tried_but_the_shortest_always_is(monkeypatch):
    halves, _, camera = halves_of(20, 3, 6, noise=0.9)
    free = choose_list_size(halves, camera)
    assert free.too_long is None
    listings = [Listing(half, camera, SIZES[-1]) for half in halves]
    monkeypatch.setattr(list_size, "PAIRS", max(listing.pairs(3) for listing in listings))
    assert choose_list_size(halves, camera)[1:] == ({size: free.agreement[size] for size in (1, 2, 3)}, 4)
    monkeypatch.setattr(list_size, "PAIRS", 0)
    assert choose_list_size(halves, camera) == (1, {1: free.agreement[1]}, 2)
