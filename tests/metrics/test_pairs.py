"""Agreement of partitions against a count of all pairs."""

from itertools import combinations

import pytest
import torch

from vreid_fast.metrics import adjusted_rand, pair_agreement


@pytest.mark.parametrize("seed", range(6))
def test_it_is_a_count_of_pairs(seed):
    generator = torch.Generator().manual_seed(seed)
    found, truth = (torch.randint(-1, most, (40,), generator=generator) for most in (8, 6))
    pairs = [(i, j) for i, j in combinations(range(40), 2) if truth[i] >= 0 and truth[j] >= 0]
    shared = {(i, j) for i, j in pairs if found[i] == found[j] >= 0}
    right = {(i, j) for i, j in pairs if truth[i] == truth[j]}
    precision, recall = pair_agreement(found, truth)
    assert precision == pytest.approx(len(shared & right) / len(shared))
    assert recall == pytest.approx(len(shared & right) / len(right))


def test_where_there_are_no_pairs_it_is_zero():
    none = torch.tensor([-1, -1, -1])
    assert pair_agreement(none, torch.tensor([1, 1, 2])) == (0, 0)
    assert pair_agreement(torch.tensor([1, 1, 2]), none) == (0, 0)
    assert pair_agreement(none[:0], none[:0]) == (0, 0)
    assert pair_agreement(torch.tensor([4, 4]), torch.tensor([7, 7])) == (1, 1)


@pytest.mark.parametrize("seed", range(6))
def test_the_adjusted_rand_index_is_the_excess_over_shuffled_partitions(seed):
    """Its expectation over all orders is that of its definition: shared pairs of one times those of the other."""
    generator = torch.Generator().manual_seed(seed)
    one, other = (torch.randint(-1, most, (12,), generator=generator) for most in (3, 4))

    def shared(a, b):
        return sum(1 for i, j in combinations(range(12), 2) if a[i] == a[j] >= 0 and b[i] == b[j] >= 0)

    orders = [torch.randperm(12, generator=generator) for _ in range(2000)]
    chance = sum(shared(one, other[order]) for order in orders) / len(orders)
    most = (shared(one, one) + shared(other, other)) / 2
    assert adjusted_rand(one, other) == pytest.approx((shared(one, other) - chance) / (most - chance), abs=0.03)
    assert adjusted_rand(one, other) == adjusted_rand(other, one) and adjusted_rand(one, one) == 1


def test_one_heap_and_no_pair_agree_by_chance_alone():
    heap, none = torch.zeros(5, dtype=torch.int64), torch.full((5,), -1)
    assert adjusted_rand(heap, heap) == adjusted_rand(none, none) == adjusted_rand(heap, none) == 0
    assert adjusted_rand(none[:0], none[:0]) == 0
