"""PSTA: its authors' numbers, its stage against a loop over places, what it takes and what it refuses."""

import numpy as np
import pytest
import torch
from author_numbers import (
    DOUBLE,
    EVALUATION,
    LOSSES,
    TRAINING,
    assert_buffers_near,
    assert_gradients_near,
    assert_near,
    given_network,
)
from parity import check_module, draw

from vreid_fast.errors import InputError
from vreid_fast.losses import batch_hard_triplet, cross_entropy
from vreid_fast.models import build
from vreid_fast.models.aggregation import Aggregation

PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def heads(output):
    return {
        **{f"bn_{of}": stream.clip for of, stream in enumerate(output.streams)},
        **{f"logits_{of}": stream.logits for of, stream in enumerate(output.streams)},
    }


@torch.no_grad()
@PRECISIONS
def test_evaluation_equals_the_authors(shared, dtype):
    folder = shared("parity/psta")
    network, expected = given_network(folder, "psta", frames=8, dtype=dtype).eval(), np.load(folder / "eval.npz")
    clips = draw((2, 8, 3, 256, 128), 1).to(dtype)
    maps = []
    for stage in network.stages:
        stage.register_forward_hook(lambda _, __, output: maps.append(output))
    output = network(clips)
    prefix, gate = ("f64.", DOUBLE) if dtype == torch.float64 else ("", EVALUATION)
    assert_near({"clip_embedding": network.embed(clips), **heads(output)}, expected, gate, prefix)
    assert torch.equal(output.clip, output.streams[2].clip) and torch.equal(output.logits, output.streams[2].logits)
    torch.testing.assert_close(output.frames.mean(1), output.streams[0].clip, rtol=1e-4, atol=1e-4)
    if dtype == torch.float32:
        for stage, of_stage in enumerate(maps[:3], start=1):
            means = of_stage[:, :64].mean((2, 3)).unflatten(0, (2, -1)).transpose(1, 2)
            assert_near({f"probe_mean.layer{stage}": means}, expected, gate)


@pytest.mark.slow
@PRECISIONS
def test_training_equals_the_authors(shared, dtype):
    folder = shared("parity/psta")
    expected = np.load(folder / "train.npz")
    network = given_network(folder, "psta", frames=8, dtype=dtype)
    output = network(draw((4, 8, 3, 256, 128), 101).to(dtype))
    labels = torch.from_numpy(expected["labels"])
    losses = {
        "loss_ce": sum(cross_entropy(stream.logits, labels, smoothing=0.1) for stream in output.streams),
        "loss_triplet": sum(batch_hard_triplet(stream.clip, labels, 0.3, "cosine") for stream in output.streams),
    }
    losses["loss_total"] = losses["loss_ce"] + losses["loss_triplet"]
    losses["loss_total"].backward()
    first = "base.conv1.weight"
    if dtype == torch.float64:
        assert_near(losses, expected, DOUBLE, "f64.")
        assert_gradients_near(network, folder, expected, DOUBLE, "f64.", first)
        return
    assert_near(losses, expected, LOSSES)
    assert_near(heads(output), expected, 5 * TRAINING)  # as in test_ap3d
    assert_gradients_near(network, folder, expected, first=first)
    assert_buffers_near(network, folder, expected)


def test_a_stage_equals_the_authors(shared):
    def over_clips(module, x):
        return module(x.flatten(0, 1), x.shape[1]).unflatten(0, (x.shape[0], -1))

    check_module(Aggregation(64, (16, 8), 32), shared("parity/modules"), "stam", over_clips)


@torch.no_grad()
def test_a_stage_equals_a_loop_over_pairs_and_places():
    torch.manual_seed(0)
    stage = Aggregation(16, (3, 2), 8).double().eval()
    x = torch.rand(4, 16, 3, 2, dtype=torch.float64)
    embedded, means = stage.embed(x), x.mean((2, 3))
    time, space = stage.time, stage.space
    weighed = {"time": [], "space": []}
    for frame, partner in ((0, 1), (1, 0), (2, 3), (3, 2)):
        rows = torch.zeros(1, 12, 3, 2, dtype=torch.float64)
        own_rows = torch.zeros_like(rows)
        asked, answered = time.ask(x).flatten(2), time.answer(x).flatten(2)
        alpha, delta = space.ask(x).flatten(2), space.answer(x).flatten(2)
        for place in range(6):
            for other in range(6):
                here = (0, slice(None), place // 2, place % 2)
                rows[here][other] = asked[frame, :, place] @ answered[partner, :, other]
                rows[here][6 + other] = asked[partner, :, other] @ answered[frame, :, place]
                own_rows[here][other] = alpha[frame, :, place] @ delta[frame, :, other]
                own_rows[here][6 + other] = alpha[frame, :, other] @ delta[frame, :, place]
        both = time.both(torch.cat([embedded[frame], embedded[partner]])[None])
        gate = torch.sigmoid(time.gate(torch.cat([both, time.relate(rows)], 1)))[0]
        squeezed = torch.relu(time.squeeze(means))
        factors = time.channels(torch.cat([squeezed[frame], squeezed[partner]]))
        weighed["time"].append(gate * factors[:, None, None] * x[frame])
        gate = torch.sigmoid(space.gate(torch.cat([embedded[frame][None], space.relate(own_rows)], 1)))[0]
        weighed["space"].append(gate * space.channels(means[frame])[:, None, None] * x[frame])
    expected = [
        torch.relu(weighed["time"][of] + weighed["time"][of + 1]).square()
        + torch.relu(weighed["space"][of] + weighed["space"][of + 1])
        for of in (0, 2)
    ]
    torch.testing.assert_close(stage(x, 4), stage.mix(torch.stack(expected)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("frames", "trunk"), [(8, "full"), (16, "narrow")])
def test_a_bf16_training_step_reaches_every_weight_at_another_size(frames, trunk):
    torch.manual_seed(0)
    network = build("psta", identities=5, frames=frames, size=(64, 32), trunk=trunk)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(torch.randn(3, frames, 3, 64, 32))
    assert network.width == network.frame_width == (1024 if trunk == "full" else 256)
    assert output.frames.shape == (3, frames // 2, network.width) and output.clip.shape == (3, network.width)
    assert len(output.streams) == 3
    sum(cross_entropy(stream.logits, torch.tensor([0, 1, 1])) for stream in output.streams).backward()
    for name, parameter in network.named_parameters():
        frozen = name.startswith("neck") and name.endswith("bias")
        assert parameter.requires_grad != frozen and (parameter.grad is None) == frozen
        assert frozen or parameter.grad.isfinite().all()


@torch.no_grad()
def test_what_is_left_of_16_frames_is_averaged():
    network = build("psta", identities=5, frames=8, size=(64, 32), trunk="narrow").eval()
    clips = torch.randn(2, 8, 3, 64, 32)
    one, other = network.pool(clips)[1]
    both = network.pool(clips.flatten(0, 1)[None])[1][0]
    torch.testing.assert_close(both, (one + other) / 2, rtol=1e-4, atol=1e-5)


def test_parameters_are_as_many_as_the_authors():
    with torch.device("meta"):
        network = build("psta", identities=37, frames=8)
    assert sum(parameter.numel() for parameter in network.parameters()) == 33617211


@pytest.mark.parametrize("frames", [1, 4, 12])
def test_other_frames_are_refused(frames):
    wanted = f"--frames {frames}: network psta takes clips of a multiple of 8 frames; set --frames 8"
    with pytest.raises(InputError, match=wanted):
        build("psta", identities=5, frames=frames)
    network = build("psta", identities=5, frames=8, size=(64, 32), trunk="narrow").eval()
    with pytest.raises(InputError, match=wanted):
        network.embed(torch.zeros(1, frames, 3, 64, 32))


def test_other_sizes_than_built_for_are_refused():
    network = build("psta", identities=5, frames=8, size=(64, 32), trunk="narrow").eval()
    with pytest.raises(InputError, match="built for clips of 8 frames of 64 x 32 pixels, got 8 frames of 32 x 64"):
        network.embed(torch.zeros(1, 8, 3, 32, 64))
