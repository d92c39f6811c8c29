"""The integration-distribution module against the authors' numbers and their formulation."""

import json

import authors
import numpy as np
import pytest
import torch
from parity import draw, entries_of, error, fill_module, to_clips, to_frames

from vreid_fast.models.integration_distribution import IntegrationDistribution


def random_module(frames=4, size=(4, 3), channels=32) -> IntegrationDistribution:
    """With all weights drawn, so that no part of it is silent."""
    module = IntegrationDistribution(channels, frames, size)
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, 0.5, 0.3)
    return module


@pytest.mark.parametrize(("case", "frames"), [("idm", 4), ("idm_t8", 8)])
def test_equals_the_authors_outputs_and_gradients(shared, case, frames):
    folder = shared("parity/modules")
    module = IntegrationDistribution(64, frames, (16, 8)).eval()
    names = fill_module(module, entries_of(folder, case))
    expected = np.load(folder / f"{case}.npz")
    drawn = json.loads((folder / "keys.json").read_text())[case]["inputs"][0]
    x = draw(drawn["shape"], drawn["seed"]).clamp_min(0).requires_grad_()
    output = to_clips(module(to_frames(x)), frames)
    assert error(output, expected["output"]) < 1e-5
    (output * draw(tuple(output.shape), 77)).sum().backward()
    assert error(x.grad[:, :8], expected["grad_input_0"]) < 5e-5
    norms = dict(zip((entry["name"] for entry in entries_of(folder, case)), expected["grad_norm"]))
    for ours, parameter in module.named_parameters():
        np.testing.assert_allclose(parameter.grad.norm().item(), norms[names[ours]], rtol=1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_equals_the_direct_formulation_in_float64(training):
    module = random_module().double().train(training)
    x = torch.rand(3, 32, 4, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(
        to_clips(module(to_frames(x)), 4), authors.integrate_and_distribute(module, x), rtol=1e-9, atol=1e-9
    )


def test_is_the_identity_at_the_start_and_learns():
    module = IntegrationDistribution(32, 2, (4, 3))
    x = torch.rand(4, 32, 4, 3)
    output = module(x)
    assert torch.equal(output, x)
    output.sum().backward()
    assert module.expand.weight.grad.abs().max() > 0


def test_places_of_one_clip_hear_of_each_other_and_not_of_other_clips():
    module = random_module(frames=2).eval()
    x = torch.rand(4, 32, 4, 3, requires_grad=True)
    module(x)[0, :, 0, 0].sum().backward()
    assert x.grad[1, :, -1, -1].abs().max() > 0 and x.grad[2:].abs().max() == 0


@pytest.mark.parametrize("shape", [(3, 32, 4, 3), (4, 32, 3, 4)])
def test_other_frames_or_sizes_are_an_error(shape):
    with pytest.raises(ValueError, match="built for 2 frames of 4 x 3 maps, got "):
        random_module(frames=2)(torch.zeros(shape))


def test_bf16_is_finite_and_near_float32():
    module = random_module()
    x = torch.rand(8, 32, 4, 3, requires_grad=True)
    exact = module(x)
    with torch.autocast("cpu", torch.bfloat16):
        output = module(x.bfloat16())
    output.float().sum().backward()
    assert error(output, exact.detach()) < 0.05 and x.grad.isfinite().all()
