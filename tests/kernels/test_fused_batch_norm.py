"""FusedBatchNorm: nn.BatchNorm2d bit for bit on a CPU, and a trunk of it through the kernels."""

import copy

import pytest
import torch
from cases import make
from interpreted import TRITON_RUNS
from torch import nn
from waits import NoWaits

from vreid_fast.kernels import FusedBatchNorm
from vreid_fast.models.trunk import BasicBlock, Bottleneck, ResNetTrunk


def pair(**options):
    """A layer and torch's, of one state."""
    ours, theirs = FusedBatchNorm(6, **options), nn.BatchNorm2d(6, **options)
    if ours.affine:
        nn.init.normal_(theirs.weight)
        nn.init.normal_(theirs.bias)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def test_names_and_words_are_those_of_batch_norm():
    ours, theirs = pair()
    assert ours.state_dict().keys() == theirs.state_dict().keys() and isinstance(ours, nn.BatchNorm2d)
    assert repr(ours) == "Fused" + repr(theirs).replace("BatchNorm2d", "BatchNorm")


@pytest.mark.parametrize("options", ({}, {"momentum": 0.3}, {"affine": False}, {"track_running_stats": False}))
@pytest.mark.parametrize("add", (False, True))
@pytest.mark.parametrize("relu", (False, True))
def test_on_a_cpu_all_is_torch_s_bit_for_bit(relu, add, options):
    ours, theirs = pair(**options)
    for step, training in enumerate((True, True, False, True)):
        ours.train(training), theirs.train(training)
        grads = []
        for layer in (ours, theirs):
            x = make((4, 6, 3, 5), dtype=torch.float32, layout="channels_last", seed=step).requires_grad_()
            other = make((4, 6, 3, 5), dtype=torch.float32, seed=9).requires_grad_()
            if layer is ours:
                out = layer(x, other if add else None, relu)
            else:
                out = layer(x) + other if add else layer(x)
                out = out.relu() if relu else out
            leaves = [x, *layer.parameters(), *([other] if add else [])]
            grads.append([out.detach(), *torch.autograd.grad(out, leaves, make(out.shape, dtype=out.dtype, seed=3))])
        assert all(torch.equal(one, two) for one, two in zip(*grads, strict=True))
        assert all(torch.equal(one, two) for one, two in zip(ours.buffers(), theirs.buffers(), strict=True))


def test_without_momentum_nothing_waits():
    ours, theirs = pair(momentum=None)
    for step in range(3):
        x = make((4, 6, 3, 5), dtype=torch.float32, seed=step) + step
        with NoWaits():
            ours(x)
        theirs(x)
    for one, other in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
@pytest.mark.parametrize("block", (BasicBlock, Bottleneck))
def test_a_trunk_through_the_kernels(block, backend, device, monkeypatch):
    """In float32, after two steps of gradient descent and a forward of a copy that has no gradients."""
    torch.manual_seed(0)
    first = ResNetTrunk(block, (2, 1, 1, 1), channels=(8, 8, 16, 16), stem=8, small_stem=True).to(device)
    first = first.to(memory_format=torch.channels_last)
    found = []
    for name in (backend, "reference"):
        monkeypatch.setattr(FusedBatchNorm, "backend", name)
        trunk = copy.deepcopy(first)
        optimiser = torch.optim.SGD(trunk.parameters(), lr=0.01)
        for step in range(2):
            frames = make((4, 3, 32, 16), dtype=torch.float32, device=device, layout="channels_last", seed=step)
            optimiser.zero_grad()
            trunk(frames).square().mean().backward()
            optimiser.step()
        with torch.no_grad():
            maps = copy.deepcopy(trunk)(frames)
        found.append({"maps": maps, **trunk.state_dict()})
    for name, value in found[1].items():
        torch.testing.assert_close(
            found[0][name], value, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert found[0]["bn1.num_batches_tracked"] == 2


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
def test_evaluation_takes_no_kernel(backend, device, monkeypatch):
    monkeypatch.setattr(FusedBatchNorm, "backend", backend)
    layer = FusedBatchNorm(6).to(device).eval()
    x = make((4, 6, 3, 5), dtype=torch.float64, device=device)  # a type and layout that the kernels refuse
    with pytest.raises(ValueError, match="must be channels_last"):
        layer.float().train()(x.float())
    assert torch.equal(layer.double().eval()(x, x, True), (nn.BatchNorm2d.forward(layer, x) + x).relu())


@pytest.mark.gpu
def test_in_training_on_a_gpu_the_kernels_are_taken():
    layer = FusedBatchNorm(64).cuda()
    x = make((8, 64, 16, 8), dtype=torch.bfloat16, device="cuda", layout="channels_last").requires_grad_()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as recorded:
        layer(x, x.detach(), relu=True).sum().backward()
        torch.cuda.synchronize()
    names = {event.name for event in recorded.events()}
    assert {"batch_norm_kernel", "batch_norm_grad_kernel"} <= names
