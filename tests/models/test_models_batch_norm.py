"""Batch-norm statistics recomputed on a domain, and on each of its cameras."""

import pytest
import torch
from torch import nn

from vreid_fast.models import camera_statistics, recompute_statistics, using_statistics


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


def buffers(network):
    return {name: value.clone() for name, value in network.named_buffers()}


def test_each_camera_has_the_average_over_its_own_batches_in_any_order():
    network = nn.Sequential(nn.BatchNorm1d(3)).eval()
    network[0].running_mean += 7
    before = buffers(network)
    batches = [(4, torch.randn(8, 3) + 5), (2, torch.randn(8, 3) * 3), (4, torch.randn(8, 3) - 1)]
    found = camera_statistics(network, batches)
    assert set(found) == {2, 4}
    for camera, statistics in found.items():
        own = [clips for of, clips in batches if of == camera]
        torch.testing.assert_close(statistics["0.running_mean"], torch.stack([b.mean(0) for b in own]).mean(0))
        torch.testing.assert_close(statistics["0.running_var"], torch.stack([b.var(0) for b in own]).mean(0))
    assert all(torch.equal(value, before[name]) for name, value in buffers(network).items())
    assert not network.training and network[0].momentum == 0.1


def test_statistics_are_used_within_and_put_back_after_an_error():
    network = nn.Sequential(nn.BatchNorm1d(3)).eval()
    before, clips = buffers(network), torch.randn(64, 3) * 2 + 5
    statistics = camera_statistics(network, [(0, clips)])[0]
    with pytest.raises(KeyError), using_statistics(network, statistics):
        torch.testing.assert_close(network(clips).mean(0), torch.zeros(3), atol=1e-4, rtol=0)
        raise KeyError
    assert all(torch.equal(value, before[name]) for name, value in buffers(network).items())
    with using_statistics(network, None):
        assert torch.equal(network[0].running_mean, before["0.running_mean"])
