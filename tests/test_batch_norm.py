"""Batch-norm statistics recomputed on a domain."""

import pytest
import torch
from torch import nn

from vreid_fast.models import recompute_statistics


def test_statistics_become_the_average_over_the_batches():
    network = nn.Sequential(nn.BatchNorm1d(3)).eval()
    batches = [torch.randn(8, 3) * 2 + 5, torch.randn(8, 3) * 3 - 1]
    assert recompute_statistics(network, batches) == 2
    torch.testing.assert_close(network[0].running_mean, torch.stack([b.mean(0) for b in batches]).mean(0))
    torch.testing.assert_close(network[0].running_var, torch.stack([b.var(0) for b in batches]).mean(0))
    assert not network.training and network[0].momentum == 0.1


def test_parameters_stay_and_no_batch_keeps_the_old_statistics():
    network = nn.Sequential(nn.BatchNorm1d(3))
    network(torch.randn(8, 3))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert recompute_statistics(network, []) == 0
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    recompute_statistics(network, [torch.randn(8, 3)])
    assert torch.equal(network[0].weight, before["0.weight"])


def test_momentum_comes_back_after_an_error():
    network = nn.Sequential(nn.BatchNorm1d(3))
    with pytest.raises(ValueError, match="expected 2D or 3D"):
        recompute_statistics(network, [torch.randn(3)])
    assert network[0].momentum == 0.1
