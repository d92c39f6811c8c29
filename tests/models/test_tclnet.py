"""TCLNet: its authors' numbers, its parts, what it takes and what it refuses."""

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
    assert_probes_near,
    given_network,
    watch,
)
from parity import check_module, draw, entries_of, error, fill, to_clips, to_frames
from torch.nn import functional as F

from vreid_fast.errors import InputError
from vreid_fast.losses import batch_hard_triplet, cross_entropy
from vreid_fast.models import build
from vreid_fast.models.convert import part_names
from vreid_fast.models.temporal_saliency import SaliencyBoosting, SaliencyErasing, keep_rows, row_scores
from vreid_fast.models.trunk import Bottleneck

PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


@torch.no_grad()
@PRECISIONS
def test_evaluation_equals_the_authors(shared, dtype):
    folder = shared("parity/tclnet")
    network, expected = given_network(folder, "tclnet", dtype=dtype).eval(), np.load(folder / "eval.npz")
    clips = draw((2, 3, 4, 256, 128), 1).transpose(1, 2).to(dtype)
    answers, correlate = [], network.trunk.erasing.correlate
    network.trunk.erasing.correlate = lambda *maps: answers.append(correlate(*maps)) or answers[-1]
    with watch(network, expected) as probes:
        output = network(clips)
    raw = network.pool(clips)[1]
    scores = row_scores(answers[0]).unflatten(0, (2, 2))
    found = {
        "clip_raw": raw.flatten(1), "clip_embedding": network.embed(clips),
        "row_score_pair1": scores[:, 0], "row_score_pair2": scores[:, 1],
        **{f"bn_{of}": stream.clip for of, stream in enumerate(output.streams)},
        **{f"logits_{of}": stream.logits for of, stream in enumerate(output.streams)},
    }  # fmt: skip
    erased = ~keep_rows(answers[0]).unflatten(0, (2, 2))
    for pair in range(2):
        assert np.array_equal(erased[:, pair].numpy(), expected[f"erased_rows_pair{pair + 1}"])
    if dtype == torch.float64:
        assert_near(found, expected, DOUBLE, "f64.")
    else:
        assert_near(found, expected, EVALUATION)
        assert_probes_near(probes, expected, 4)
    assert torch.equal(output.clip, torch.cat([stream.clip for stream in output.streams], 1))
    means = output.frames.unflatten(1, (2, 2)).mean(1)  # a neck is affine
    torch.testing.assert_close(means.flatten(1), output.clip, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@PRECISIONS
def test_a_tracklet_in_chunks_of_4_equals_the_authors(shared, dtype):
    folder = shared("parity/tclnet")
    network, expected = given_network(folder, "tclnet", dtype=dtype).eval(), np.load(folder / "eval.npz")
    frames = draw((1, 3, 10, 128, 64), 5010)[0].transpose(0, 1).to(dtype)
    vectors = network.finish(network.describe(frames[torch.from_numpy(expected["track_index"])]).mean(0, keepdim=True))
    prefix, gate = ("f64.", DOUBLE) if dtype == torch.float64 else ("", EVALUATION)
    assert error(vectors, expected[f"{prefix}track_embedding"]) < gate


@pytest.mark.slow
@PRECISIONS
def test_training_equals_the_authors(shared, dtype):
    folder = shared("parity/tclnet")
    expected = np.load(folder / "train.npz")
    network = given_network(folder, "tclnet", dtype=dtype)
    output = network(draw((4, 3, 4, 256, 128), 101).transpose(1, 2).to(dtype))
    labels = torch.from_numpy(expected["labels"])
    losses = {
        "loss_ce": sum(cross_entropy(stream.logits, labels) for stream in output.streams),
        "loss_triplet": sum(batch_hard_triplet(stream.clip, labels, 0.4, "cosine") for stream in output.streams),
    }
    losses["loss_total"] = losses["loss_ce"] + losses["loss_triplet"]
    losses["loss_total"].backward()
    if dtype == torch.float64:
        assert_near(losses, expected, DOUBLE, "f64.")
        assert_gradients_near(network, folder, expected, DOUBLE, "f64.")
        return
    assert_near(losses, expected, LOSSES)
    assert_near({f"logits_{of}": stream.logits for of, stream in enumerate(output.streams)}, expected, TRAINING)
    # As in test_ap3d: a neck over a batch of four magnifies rounding.
    assert_near({f"bn_{of}": stream.clip for of, stream in enumerate(output.streams)}, expected, 5 * TRAINING)
    assert_gradients_near(network, folder, expected)
    assert_buffers_near(network, folder, expected)


def test_boosting_equals_the_authors(shared):
    def over_time(module, x):
        module.frames = x.shape[2]
        return to_clips(module(to_frames(x).contiguous(memory_format=torch.channels_last)), x.shape[2])

    check_module(SaliencyBoosting(32), shared("parity/modules"), "tsb", over_time)


@torch.no_grad()
def test_parts_of_erasing_equal_the_authors(shared):
    folder = shared("parity/modules")
    expected, state = np.load(folder / "tse_parts.npz"), fill(entries_of(folder, "tse_parts"))
    module = SaliencyErasing(1024, Bottleneck(2048, 512, 1)).eval()
    names = part_names(module)
    own = {key: state[names[key]] for key in names if not key.startswith("second.")}
    assert {names[key] for key in own} == set(state)
    module.load_state_dict(own, strict=False)
    kept = keep_rows(torch.from_numpy(expected["score_map"])[:, 0])
    assert np.array_equal(kept.numpy(), expected["keep_mask"][:, 0].astype(bool))
    seen = draw((2, 2048, 4, 2), 11).clamp_min(0)
    x = draw((2, 1024, 1, 16, 8), 12)[:, :, 0].clamp_min(0)
    answers = module.correlate(seen, x)
    assert error(answers, expected["correlation"]) < 1e-5
    kept = keep_rows(answers)
    assert np.array_equal(kept.numpy(), expected["corr_keep_mask"][:, 0].astype(bool))
    assert error(module.erase(x, answers, kept)[:, :64], expected["erased"]) < 1e-5
    assert error(module.erase(x, None, None)[:, :64], expected["unerased"]) < 1e-5


def test_boosting_equals_a_loop_over_frames():
    torch.manual_seed(0)
    module = SaliencyBoosting(8).double().eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.rand(2, 3, 8, 5, 4, dtype=torch.float64)
    module.frames = 3
    found = module(x.flatten(0, 1)).view_as(x)
    for clip in range(2):
        for frame in range(3):
            query, others = x[clip, frame].mean((1, 2)), [other for other in range(3) if other != frame]
            weights, values = [], []
            for other in others:
                padded = F.pad(x[clip, other], (1, 0, 1, 0))
                around = sum(padded[:, dy : dy + 5, dx : dx + 4] for dy in (0, 1) for dx in (0, 1)) / 4
                weights.append(5 * F.cosine_similarity(query[:, None, None], around, dim=0).flatten())
                values.append(x[clip, other].flatten(1))
            gathered = torch.cat(values, 1) @ torch.softmax(torch.cat(weights), 0)
            answer = module.expand_norm(module.expand(gathered.view(1, 8, 1, 1)))[0]
            torch.testing.assert_close(found[clip, frame], x[clip, frame] + answer, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("trunk", ["full", "narrow"])
def test_a_bf16_training_step_reaches_every_weight_at_another_size(trunk):
    torch.manual_seed(0)
    network = build("tclnet", identities=5, frames=4, size=(64, 32), trunk=trunk)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(torch.randn(3, 4, 3, 64, 32))
    assert output.frames.shape == (3, 4, network.frame_width) and output.clip.shape == (3, network.width)
    assert network.width == 2 * network.frame_width and len(output.streams) == 2
    sum(cross_entropy(stream.logits, torch.tensor([0, 1, 1])) for stream in output.streams).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    vectors = network.eval().embed(torch.randn(2, 4, 3, 64, 32))
    torch.testing.assert_close(vectors.unflatten(1, (2, -1)).norm(dim=2), torch.ones(2, 2))


def test_the_second_block_starts_as_a_copy_of_the_first():
    network = build("tclnet", identities=5, frames=4, trunk="narrow")
    one, other = network.trunk.layer4[2].state_dict(), network.trunk.erasing.second.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert network.trunk.layer4[2].conv1.weight is not network.trunk.erasing.second.conv1.weight


def test_parameters_are_as_many_as_the_authors():
    with torch.device("meta"):
        network = build("tclnet", identities=37, frames=4)
    assert sum(parameter.numel() for parameter in network.parameters()) == 31542922


@pytest.mark.parametrize("frames", [1, 3, 5, 8])
def test_other_frames_are_refused(frames):
    with pytest.raises(InputError, match=f"--frames {frames}: network tclnet takes clips of 4 frames; set --frames 4"):
        build("tclnet", identities=5, frames=frames)
    network = build("tclnet", identities=5, frames=4, size=(64, 32), trunk="narrow").eval()
    with pytest.raises(InputError, match=f"built for clips of 4 frames .*, got {frames} frames"):
        network.embed(torch.zeros(1, frames, 3, 64, 32))


def test_a_size_of_too_few_rows_is_refused():
    with pytest.raises(InputError, match=r"48 x 24 pixels .* maps of 3 x 2, wanted more than 3 rows.*--height 256"):
        build("tclnet", identities=5, frames=4, size=(48, 24))
    build("tclnet", identities=5, frames=4, size=(49, 24), trunk="narrow")
