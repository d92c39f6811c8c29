"""A batch norm whose result is given out twice: values, and gradients of either use, of both and of none."""

import pytest
import torch
from cases import make
from interpreted import TRITON_RUNS

from vreid_fast.kernels import FusedBatchNorm

SHAPE = (4, 6, 3, 5)


def layer_and_maps(dtype, backend, device):
    torch.manual_seed(0)
    layer = FusedBatchNorm(SHAPE[1]).to(device)
    torch.nn.init.normal_(layer.weight), torch.nn.init.normal_(layer.bias)
    layer.backend = backend
    maps = [make(SHAPE, dtype=dtype, device=device, layout="channels_last", seed=seed) for seed in (1, 2)]
    return layer, [value.requires_grad_() for value in maps]


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
@pytest.mark.parametrize("used", ((True, True), (True, False), (False, True)), ids=("both", "first", "second"))
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
def test_gradients_of_both_uses_are_added(dtype, used, backend, device):
    found = []
    for twice in (True, False):
        layer, leaves = layer_and_maps(dtype, backend, device)
        out = layer(*leaves, relu=True, twice=twice)
        one, other = out if twice else (out, out)
        # Of another layout: the kernels read one.
        grads = [make(SHAPE, dtype=dtype, device=device, seed=seed) for seed in (3, 4)]
        uses = [(maps, grad) for maps, grad, wanted in zip((one, other), grads, used, strict=True) if wanted]
        torch.autograd.backward(*zip(*uses, strict=True))
        found.append([one.detach(), other.detach(), *(leaf.grad for leaf in (*leaves, layer.weight, layer.bias))])
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
    for value, wanted in zip(*found, strict=True):
        torch.testing.assert_close(value, wanted, **tolerance)
    assert torch.equal(found[0][0], found[1][0])


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
def test_it_takes_no_pass_to_add_them(backend, device):
    layer, leaves = layer_and_maps(torch.float32, backend, device)
    one, other = layer(*leaves, relu=True, twice=True)
    assert one.data_ptr() == other.data_ptr()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as recorded:
        torch.autograd.backward((one, other), (torch.ones_like(one), torch.ones_like(one)))
    names = [event.name for event in recorded.events()]
    assert "vreid_fast::batch_norm_backward" in names and not {"aten::add", "aten::add_"} & {*names}


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
def test_without_a_use_there_is_no_gradient(backend, device):
    layer, leaves = layer_and_maps(torch.float32, backend, device)
    layer(*leaves, relu=True, twice=True)
    assert all(leaf.grad is None for leaf in leaves)
    with torch.no_grad():
        one, other = layer(*leaves, relu=True, twice=True)
    assert torch.equal(one, other) and not one.requires_grad


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
def test_changing_one_in_place_is_refused(backend, device):
    layer, leaves = layer_and_maps(torch.float32, backend, device)
    _, other = layer(*leaves, relu=True, twice=True)
    with pytest.raises(RuntimeError, match="is a view and is being modified inplace"):
        other.mul_(2)


@pytest.mark.parametrize("ends", ({}, {"relu": True}, {"add": True}), ids=str)
@pytest.mark.parametrize("training", (True, False))
def test_elsewhere_it_is_the_result_and_itself(training, ends):
    layer, (x, added) = layer_and_maps(torch.float32, None, "cpu")
    layer.train(training)
    ends = {name: added if name == "add" else value for name, value in ends.items()}
    one, other = layer(x, **ends, twice=True)
    assert one is other and one.shape == x.shape


@pytest.mark.parametrize("backend, device", [("reference", "cpu"), *TRITON_RUNS])
def test_it_compiles_without_a_graph_break(backend, device):
    layer, leaves = layer_and_maps(torch.float32, backend, device)

    def total(x, added):
        one, other = layer(x, added, relu=True, twice=True)
        return (one * 2 + other.square()).sum()

    results = []
    for function in (total, torch.compile(total, fullgraph=True, backend="aot_eager")):
        results.append(torch.autograd.grad(function(*leaves), (*leaves, *layer.parameters())))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)
