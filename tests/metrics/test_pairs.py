"""Agreement of partitions against a count of all pairs."""

from itertools import combinations

import pytest
import torch

from vreid_fast.metrics import pair_agreement


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
