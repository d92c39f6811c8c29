"""Stochastic depth: how often a block is left out, and where none is."""

import torch

from vreid_fast.models import build
from vreid_fast.models.batch_norm import batch_norm_statistics, camera_statistics, recompute_statistics
from vreid_fast.models.stochastic_depth import StochasticDepth, settle, settled
from vreid_fast.training.teacher import MeanTeacher


def test_blocks_are_left_out_as_often_as_it_says():
    torch.manual_seed(0)
    depth = StochasticDepth(10, 0.1, of=12)
    kept = depth(20_000)
    assert kept.shape == (10, 2, 20_000, 1, 1)
    torch.testing.assert_close((kept == 0).float().mean((1, 2, 3, 4)), 0.1 * torch.arange(10) / 11, rtol=0, atol=5e-3)
    torch.testing.assert_close(kept.mean((1, 2, 3, 4)), torch.ones(10), rtol=0, atol=5e-3)
    assert depth.eval()(3) is None and not depth.state_dict()


def test_a_settled_network_leaves_nothing_out():
    depth = StochasticDepth(2, 0.5, of=2)
    with settled(depth):
        assert depth(3) is None
    assert depth(3) is not None
    settle(depth)
    with settled(depth):
        pass
    assert depth.train()(3) is None


def unsteady():
    torch.manual_seed(0)
    network = build("cavit", identities=5, frames=3, size=(64, 32), trunk="narrow")
    network.trunk.chance = StochasticDepth(2, 0.9, of=2)
    return network, torch.randn(4, 3, 3, 64, 32)


def test_statistics_are_those_of_the_whole_depth():
    network, clips = unsteady()
    rows = network.eval().pool(clips)[0].flatten(0, 1)
    wanted = (rows.mean(0), rows.var(0))  # of frames, which is what passes the neck
    network.train()
    assert recompute_statistics(network, [clips]) == 1
    for name, value in zip(("neck.running_mean", "neck.running_var"), wanted, strict=True):
        torch.testing.assert_close(batch_norm_statistics(network)[name], value, rtol=1e-4, atol=1e-6)
    assert network.trunk.chance.active and network.training
    found = camera_statistics(network, [(0, clips[:2]), (1, clips[2:])])
    for camera, of_camera in enumerate(rows.split(6)):
        torch.testing.assert_close(found[camera]["neck.running_mean"], of_camera.mean(0), rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        frames = network.eval()(clips).frames.flatten(0, 1)
    torch.testing.assert_close(frames.mean(0), network.neck.bias, rtol=0, atol=1e-5)


def test_a_teacher_has_its_whole_depth():
    network, clips = unsteady()
    teacher = MeanTeacher(network)
    assert torch.equal(teacher(clips), teacher(clips))
    assert not torch.equal(network(clips).clip, network(clips).clip)
