"""The salient-to-broad module against the authors' numbers and their formulation."""

import json

import authors
import numpy as np
import pytest
import torch
from parity import draw, entries_of, error, fill_module, to_clips, to_frames

from vreid_fast.models.salient_to_broad import SalientToBroad


@pytest.mark.parametrize("case", ["sbm_0", "sbm_1", "sbm_2", "sbm_1_t8"])
def test_equals_the_authors_outputs_and_gradients(shared, case):
    folder = shared("parity/modules")
    module = SalientToBroad(64, first=int(case[4]) + 1).eval()
    names = fill_module(module, entries_of(folder, case))
    expected = np.load(folder / f"{case}.npz")
    drawn = json.loads((folder / "keys.json").read_text())[case]["inputs"][0]
    x = draw(drawn["shape"], drawn["seed"]).clamp_min(0).mul(0.6).requires_grad_()
    output = to_clips(module(to_frames(x)), x.shape[2])
    assert error(output, expected["output"]) < 1e-5
    (output * draw(tuple(output.shape), 77)).sum().backward()
    # Theirs passes a ReLU once more, whose gradient at 0 is 0; ours stands behind one that does the same.
    theirs = torch.from_numpy(expected["grad_input_0"])
    inside = x[:, :8] > 0
    assert error(x.grad[:, :8][inside], theirs[inside]) < 5e-5
    norms = dict(zip((entry["name"] for entry in entries_of(folder, case)), expected["grad_norm"]))
    for ours, parameter in module.named_parameters():
        np.testing.assert_allclose(parameter.grad.norm().item(), norms[names[ours]], rtol=1e-4, err_msg=ours)


@pytest.mark.parametrize("first", [1, 2, 3])
@pytest.mark.parametrize("training", [False, True])
def test_equals_the_direct_formulation_in_float64(first, training):
    torch.manual_seed(first)
    module = SalientToBroad(24, first).double().train(training)
    before = torch.randn(5, 24, 4, 5, 4, dtype=torch.float64, requires_grad=True)
    x = before.relu()
    ours, theirs = to_clips(module(to_frames(x)), 4), authors.salient_to_broad(module, x)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    towards = torch.randn_like(ours)
    wanted = [before, *module.parameters()]
    pairs = [torch.autograd.grad((output * towards).sum(), wanted, retain_graph=True) for output in (ours, theirs)]
    for one, other in zip(*pairs):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


def test_eight_frames_are_two_groups():
    module = SalientToBroad(24, 2).eval()
    x = torch.rand(8, 24, 5, 4)
    torch.testing.assert_close(module(x), torch.cat([module(x[:4]), module(x[4:])]))


def test_maps_of_one_value_suppress_nothing_and_divide_by_nothing():
    module = SalientToBroad(24, 1)
    x = torch.ones(4, 24, 5, 4, requires_grad=True)
    output = module(x)
    # Nothing was suppressed that the first part could hear of; the others still hear of the first.
    torch.testing.assert_close(output[:1], x[:1])
    torch.testing.assert_close(output[1:], x[1:] + 0.1)
    output.sum().backward()
    assert x.grad.isfinite().all()


def test_strong_answers_keep_gradients_finite():
    # On the weakest places 1 / share is at its ceiling, 10^4 / (h * w): exp(5 x that) is beyond float32.
    torch.manual_seed(0)
    module = SalientToBroad(24, 1)
    x = (30 * torch.randn(8, 24, 16, 8)).relu().requires_grad_()
    module(x).square().sum().backward()
    assert x.grad.isfinite().all() and all(p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("shape", [(6, 24, 5, 4), (4, 24, 5, 2)])
def test_broken_groups_and_maps_without_an_inside_are_errors(shape):
    with pytest.raises(ValueError, match="wanted groups of 4 maps of at least 3 x 3, got "):
        SalientToBroad(24, 1)(torch.zeros(shape))


def test_bf16_is_finite_and_near_float32():
    torch.manual_seed(0)
    module = SalientToBroad(64, 2).eval()
    x = torch.randn(8, 64, 16, 8).relu().mul(0.6).bfloat16()
    exact = module(x.float())
    x.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        output = module(x)
    assert output.dtype == torch.bfloat16 and (output.float() - exact).abs().mean() < 0.01 * exact.abs().mean()
    output.float().sum().backward()
    assert x.grad.isfinite().all() and all(p.grad.isfinite().all() for p in module.parameters())
