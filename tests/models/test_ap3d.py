"""AP3D, its non-local variant and the networks that its authors compare it with: their numbers, shapes and errors."""

import numpy as np
import pytest
import torch
from author_numbers import (
    DOUBLE,
    EVALUATION,
    LOSSES,
    NORMS,
    TRAINING,
    assert_buffers_near,
    assert_gradients_near,
    assert_near,
    assert_probes_near,
    given_network,
    watch,
)
from parity import draw, error

from vreid_fast.errors import InputError
from vreid_fast.losses import batch_hard_triplet, cross_entropy
from vreid_fast.models import build

NAMES = ("ap3d", "ap3dnl", "ap3d_c2d", "ap3d_i3d", "ap3d_nl")
AT_ONCE = {torch.float32: ("", EVALUATION), torch.float64: ("f64.", DOUBLE)}


def outputs(network, clips):
    """What the authors' networks give, by name."""
    network.training = True  # their training form, over running statistics
    output = network(clips)
    network.training = False
    return {"logits": output.logits, "clip_bn": output.clip, "clip_embedding": network.embed(clips)}


@torch.no_grad()
@pytest.mark.parametrize("dtype", AT_ONCE, ids=["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_evaluation_equals_the_authors(shared, name, dtype):
    folder = shared(f"parity/{name}")
    network, expected = given_network(folder, name, dtype=dtype).eval(), np.load(folder / "eval.npz")
    clips = draw((2, 3, 4, 256, 128), 1).transpose(1, 2).to(dtype)
    prefix, gate = AT_ONCE[dtype]
    with watch(network, expected) as probes:
        frames, _ = network.pool(clips)
    if dtype == torch.float32:
        assert_near({"frame_feat": frames}, expected, gate)
        assert_probes_near(probes, expected, 4)
    assert_near(outputs(network, clips), expected, gate, prefix)


@torch.no_grad()
def test_a_tracklet_in_clips_of_32_equals_the_authors(shared):
    folder = shared("parity/ap3d")
    network, expected = given_network(folder, "ap3d").eval(), np.load(folder / "eval.npz")
    frames = draw((1, 3, 37, 128, 64), 5037).transpose(1, 2)
    clips = [frames[:, :32], frames[:, 32:]]
    mean = sum(network.describe(clip) * clip.shape[1] for clip in clips) / 37
    assert error(network.finish(mean), expected["track_embedding"]) < EVALUATION


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_training_equals_the_authors(shared, name, dtype):
    folder = shared(f"parity/{name}")
    expected = np.load(folder / "train.npz")
    network = given_network(folder, name, dtype=dtype)
    output = network(draw((4, 3, 4, 256, 128), 101).transpose(1, 2).to(dtype))
    labels = torch.from_numpy(expected["labels"])
    losses = {
        "loss_ce": cross_entropy(output.logits, labels),
        "loss_triplet": batch_hard_triplet(output.clip, labels, 0.3, "cosine"),
    }
    losses["loss_total"] = losses["loss_ce"] + losses["loss_triplet"]
    losses["loss_total"].backward()
    if dtype == torch.float64:
        assert_near(losses, expected, DOUBLE, "f64.")
        assert_gradients_near(network, folder, expected, DOUBLE, "f64.")
        return
    assert_near(losses, expected, LOSSES)
    assert_near({"logits": output.logits}, expected, TRAINING)
    # A neck over a batch of four magnifies the rounding of batch norms in channels_last; float64 is equal to 14 digits.
    assert_near({"clip_bn": output.clip}, expected, 5 * TRAINING)
    # Softmaxes over a whole clip magnify it further: 1.6e-2, where float64 is equal to 1e-12.
    assert_gradients_near(network, folder, expected, 2 * NORMS if "nl" in name else NORMS)
    assert_buffers_near(network, folder, expected)
    assert network.neck.num_batches_tracked == 1
    running = {f"neck_{name}": getattr(network.neck, name) for name in ("running_mean", "running_var")}
    assert_near(running, expected, 1e-3)


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in NAMES if name != "ap3d_c2d"])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_at_the_start_each_is_the_plain_network(name, frames):
    torch.manual_seed(0)
    network = build(name, identities=5, frames=frames, size=(64, 48), trunk="narrow").eval()
    plain = build("ap3d_c2d", identities=5, frames=frames, size=(64, 48), trunk="narrow").eval()
    own = plain.state_dict()
    plain.load_state_dict({key: value for key, value in network.state_dict().items() if key in own})
    clips = torch.randn(2, frames, 3, 64, 48)
    assert torch.equal(network.embed(clips), plain.embed(clips))
    for parameter in network.parameters():  # and no longer, once its plug-ins have learned
        parameter.add_(0.05 * torch.randn_like(parameter))
    plain.load_state_dict({key: value for key, value in network.state_dict().items() if key in own})
    assert torch.equal(network.embed(clips), plain.embed(clips)) == (frames == 1 and name == "ap3d_i3d")


@pytest.mark.parametrize("trunk", ["full", "narrow"])
@pytest.mark.parametrize("name", NAMES)
def test_a_training_step_reaches_every_weight_at_another_size(name, trunk):
    torch.manual_seed(0)
    network = build(name, identities=5, frames=3, size=(64, 32), trunk=trunk)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(torch.randn(2, 3, 3, 64, 32))
    assert output.frames.shape == (2, 3, network.width) and network.width == (2048 if trunk == "full" else 512)
    assert output.streams == () and output.projected is None
    assert network.neck.num_batches_tracked == 1
    (cross_entropy(output.logits, torch.tensor([0, 1])) + output.frames.float().square().mean()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_frames_are_normalised_by_themselves_and_move_no_statistics():
    torch.manual_seed(0)
    network = build("ap3d_c2d", identities=5, frames=3, size=(64, 32), trunk="narrow")
    clips = torch.randn(4, 3, 3, 64, 32)
    clip, output = network.pool(clips)[1], network(clips)
    rows = output.frames.flatten(0, 1)
    torch.testing.assert_close(rows.mean(0), network.neck.bias, atol=1e-5, rtol=0)
    torch.testing.assert_close(network.neck.running_mean, 0.1 * clip.mean(0), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("ap3d", 24319141), ("ap3dnl", 31677605), ("ap3d_c2d", 23587941), ("ap3d_i3d", 27716709), ("ap3d_nl", 30946405)],
)
def test_parameters_are_as_many_as_the_authors(name, parameters):
    with torch.device("meta"):
        network = build(name, identities=37, frames=4)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_maps_too_small_for_a_non_local_block():
    with pytest.raises(InputError, match=r"32 x 16 pixels .* maps of 2 x 1, wanted at least 2 x 2; set --height 256"):
        build("ap3dnl", identities=5, frames=4, size=(32, 16))
    network = build("ap3d", identities=5, frames=4, size=(32, 16), trunk="narrow").eval()
    assert network.embed(torch.zeros(1, 2, 3, 32, 16)).isfinite().all()
