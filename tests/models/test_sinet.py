"""SINet, its halves and the plain C2D: the authors' numbers, the shapes and the errors."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from author_numbers import (
    DOUBLE,
    EVALUATION,
    assert_buffers_near,
    assert_gradients_near,
    assert_near,
    assert_probes_near,
    given_network,
    watch,
)
from parity import draw, entries_of, error

from vreid_fast.errors import InputError
from vreid_fast.losses import batch_hard_triplet, cross_entropy, info_nce
from vreid_fast.models import build

# Networks of the given numbers, and ours.
EVALUATED = {"sinet": "sinet", "sbnet": "sbnet", "idnet": "idnet", "sanet": "sanet", "sinet_c2d": "c2d"}


@lru_cache(maxsize=1)
def filled(folder, name):
    return given_network(folder, name)


@pytest.fixture(params=EVALUATED)
def given(request, shared):
    """Folder, network in evaluation mode with the authors' weights, their numbers."""
    folder = shared(f"parity/{request.param}")
    return folder, filled(folder, EVALUATED[request.param]).eval(), np.load(folder / "eval.npz")


@torch.no_grad()
def test_evaluation_equals_the_authors(given):
    folder, network, expected = given
    clips = draw((2, 3, 4, 256, 128), 1).transpose(1, 2)
    network.training = True  # their training form, over running statistics
    with watch(network, expected) as probes:
        output = network(clips)
    network.eval()
    found = {
        "frame_bn": output.frames,
        "clip_embedding": output.frames.mean(1),
        "clip_bn": output.clip,
        "logits": output.logits,
        "projection": output.projected,
    }
    # The suppression of salient-to-broad modules divides by a mean that can be near 0.
    gate = 5e-4 if folder.name in ("sinet", "sbnet") else EVALUATION
    assert_near(found, expected, gate)
    assert_probes_near(probes, expected, 4, gate)
    if folder.name == "sinet":
        # The fork's outputs are the same; it also gives the frames after the neck.
        fork = np.load(folder.parent / "sinet_uda" / "eval.npz")
        assert all(error(found[name], fork[name]) < gate for name in found)
        assert error(output.frames, fork["mid"]) < gate


@torch.no_grad()
def test_an_all_frame_embedding_equals_the_authors(shared):
    folder = shared("parity/sinet")
    network, expected = filled(folder, "sinet").eval(), np.load(folder / "eval.npz")
    frames = draw((10, 3, 256, 128), 5010)
    clips = frames[torch.from_numpy(expected["track_index"])]
    assert error(network.embed(clips).mean(0), expected["track_embedding"]) < 5e-4


@torch.no_grad()
@pytest.mark.parametrize("name", ["sinet", "idnet", "sanet"])
def test_float64_equals_the_authors_to_nine_digits(shared, name):
    folder = shared(f"parity/{name}")
    network = given_network(folder, name, dtype=torch.float64).eval()
    output = network(draw((2, 3, 4, 256, 128), 1).transpose(1, 2).double())
    expected = np.load(folder / "eval.npz")
    found = {"clip_embedding": output.frames.mean(1), "clip_bn": output.clip, "logits": output.logits}
    assert_near(found, expected, DOUBLE, "f64.")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sinet", "sbnet", "idnet"])
def test_training_equals_the_authors(shared, name):
    folder = shared(f"parity/{name}")
    expected = np.load(folder / "train.npz")
    network = given_network(folder, name)
    output = network(draw((8, 3, 4, 256, 128), 101).transpose(1, 2))
    labels = torch.from_numpy(expected["labels"])
    losses = {
        "loss_ce": cross_entropy(output.logits, labels),
        "loss_triplet": batch_hard_triplet(output.clip, labels, 0.3, "cosine"),
        "loss_infonce": info_nce(output.projected, 4),
    }
    losses["loss_total"] = losses["loss_ce"] + losses["loss_triplet"] + 0.001 * losses["loss_infonce"]
    losses["loss_total"].backward()
    outputs = {"logits": output.logits, "clip_bn": output.clip, "projection_mean": output.projected.mean(1)}
    fixtures = [expected] + ([np.load(folder.parent / "sinet_uda" / "train.npz")] if name == "sinet" else [])
    for numbers in fixtures:  # the fork's outputs and losses are SINet's
        assert all(error(loss, numbers[key]) < 2e-4 for key, loss in losses.items())
        assert all(error(value, numbers[key]) < 2e-3 for key, value in outputs.items())
    assert_gradients_near(network, folder, expected)
    assert_buffers_near(network, folder, expected)
    # Two passes through the neck, clips and then frames: the other order gives another variance.
    assert error(network.neck.running_mean, expected["neck_running_mean"]) < 1e-4
    assert error(network.neck.running_var, expected["neck_running_var"]) < 1e-4


def test_the_fork_passes_the_neck_three_times_and_ours_twice(shared):
    counts = {}
    for name in ("sinet", "sinet_uda"):
        folder = shared(f"parity/{name}")
        row = [entry["name"] for entry in entries_of(folder)].index("bn.num_batches_tracked")
        counts[name] = int(np.load(folder / "train.npz")["num_batches_after"][row])
    assert counts == {"sinet": 2, "sinet_uda": 3}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("sinet", 30535478), ("sbnet", 29415286), ("idnet", 28931045), ("sanet", 28076325), ("c2d", 27810853)],
)
def test_parameters_are_as_many_as_the_authors_but_for_biases_before_batch_norms(name, parameters):
    with torch.device("meta"):
        network = build(name, identities=37, frames=4)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters - 26560


@pytest.mark.parametrize(
    ("name", "frames"), [("sinet", 4), ("sinet", 8), ("sbnet", 8), ("idnet", 3), ("sanet", 3), ("c2d", 2)]
)
def test_shapes_at_a_small_size(name, frames):
    network = build(name, identities=5, frames=frames, size=(64, 48)).eval()
    clips = torch.randn(2, frames, 3, 64, 48)
    with torch.no_grad():
        output, vectors = network(clips), network.embed(clips)
    assert output.frames.shape == (2, frames, 2048) and output.logits.shape == (2, 5) and output.projected is None
    torch.testing.assert_close(vectors, output.clip)


def test_a_full_size_training_step_reaches_every_weight():
    torch.manual_seed(0)
    network = build("sinet", identities=5, frames=4)
    output = network(torch.randn(2, 4, 3, 256, 128))
    assert output.projected.shape == (2, 4, 2048)
    loss = cross_entropy(output.logits, torch.tensor([0, 1])) + info_nce(output.projected, 2)
    loss.backward()
    assert network.neck.num_batches_tracked == 2
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    # The attention and the kernels of the modules learn; behind the identity at the start its last layer does.
    for plugin, layer in (
        ("layer2_1", "expand"),
        ("layer3_1", "kernel"),
        ("layer3_3", "squeeze"),
        ("layer3_5", "excite"),
    ):
        assert network.trunk.plugins[plugin].get_submodule(layer).weight.grad.abs().max() > 0


def test_a_bf16_step_is_finite():
    torch.manual_seed(0)
    network = build("sinet", identities=5, frames=4, size=(64, 48))
    with torch.autocast("cpu", torch.bfloat16):
        output = network(torch.randn(4, 4, 3, 64, 48))
    losses = [cross_entropy(output.logits, torch.tensor([0, 0, 1, 1])), info_nce(output.projected, 2)]
    torch.stack(losses).sum().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", ["sinet", "sbnet"])
@pytest.mark.parametrize("frames", [1, 3, 6, 16])
def test_frames_that_the_modules_cannot_take(name, frames):
    with pytest.raises(InputError, match=rf"--frames {frames}: .* takes clips of 4 or 8 frames; set --frames 4"):
        build(name, identities=5, frames=frames)


def test_frames_too_small_for_the_modules():
    with pytest.raises(InputError, match=r"64 x 32 pixels give .* 4 x 2, wanted at least 3 x 3; set --height 256"):
        build("sinet", identities=5, frames=4, size=(64, 32))


@pytest.mark.parametrize(
    ("name", "shape"), [("sinet", (1, 8, 3, 64, 48)), ("sbnet", (1, 8, 3, 64, 48)), ("idnet", (1, 4, 3, 48, 64))]
)
def test_clips_of_another_shape_than_built_for(name, shape):
    network = build(name, identities=5, frames=4, size=(64, 48)).eval()
    wanted = rf"built for clips of 4 frames of 64 x 48 pixels, got {shape[1]} frames of {shape[3]} x {shape[4]}"
    with pytest.raises(InputError, match=wanted):
        network(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"clips must be \(B, T, 3, H, W\)"):
        network.embed(torch.zeros(2, 3, 64, 48))


def test_c2d_takes_any_frames_and_sizes():
    network = build("c2d", identities=5, frames=4).eval()
    with torch.no_grad():
        assert network.embed(torch.zeros(1, 3, 3, 48, 32)).shape == (1, 2048)
