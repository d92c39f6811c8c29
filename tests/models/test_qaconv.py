"""QAConv: its authors' numbers and files, what it takes, and what it has not."""

import numpy as np
import pytest
import torch
from author_numbers import DOUBLE, EVALUATION, LOSSES, NORMS, TRAINING, assert_near
from parity import draw, entries_of, error, fill
from torch.nn import functional as F

from vreid_fast.errors import InputError
from vreid_fast.evaluation.pairs import pair_distances
from vreid_fast.losses import score_triplet
from vreid_fast.models import build, convert, load_weights
from vreid_fast.models.convert import author_names

NETWORKS = pytest.mark.parametrize("name", ["qaconv", "qaconv_ibnb"])
PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def author_file(tensors):
    """Tensors under the names of keys.json as the authors save them."""
    encoder = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
    criterion = {name: tensor for name, tensor in tensors.items() if name.startswith("matcher.")}
    return {"model": encoder, "criterion": criterion, "optim": {}, "epoch": 3}


def given(folder, name, dtype=torch.float32):
    network = build(name, identities=3, frames=1, size=(384, 128))
    network.load_state_dict(convert(name, author_file(fill(entries_of(folder)))))
    return network.to(dtype)


def clips(network, seed, dtype):
    """The authors' images, whose pixels are from 0 to 1, as clips of one frame by ImageNet's mean and deviation."""
    images = draw((6, 3, 384, 128), seed).double()
    return ((images - network.shift.double()) / network.factor.double()).to(dtype)[:, None]


@torch.no_grad()
@NETWORKS
@PRECISIONS
def test_evaluation_equals_the_authors(shared, name, dtype):
    folder = shared(f"parity/{name}")
    network, expected = given(folder, name, dtype).eval(), np.load(folder / "eval.npz")
    stages = []
    for stage in (network.trunk.layer1, network.trunk.layer2, network.trunk.layer3):
        stage[-1].register_forward_hook(lambda _, __, twice: stages.append(twice[0].clone()))
    maps = network.maps(clips(network, 1, dtype))
    scores = {"score_self": network.pair_score(maps, maps), "score": network.pair_score(maps[:2], maps[2:])}
    if dtype == torch.float64:
        assert_near(scores, expected, DOUBLE, "f64.")
        return
    assert_near({"feature_map": maps[:3], **scores}, expected, EVALUATION)
    means = {f"probe_mean.model.base.layer{of}": maps[:, :64].mean((2, 3)) for of, maps in enumerate(stages, start=1)}
    assert_near(means, expected, EVALUATION)


@pytest.mark.slow
@NETWORKS
@PRECISIONS
def test_training_equals_the_authors(shared, name, dtype):
    folder = shared(f"parity/{name}")
    network, expected = given(folder, name, dtype).train(), np.load(folder / "train.npz")
    before = {key: buffer.clone() for key, buffer in network.trunk.named_buffers()}
    images = clips(network, 101, dtype)
    maps = network(images).maps
    scores = network.pair_score(maps, maps)
    loss = score_triplet(scores, torch.from_numpy(expected["labels"]), margin=16.0)
    loss.backward()
    names = author_names(network)
    rows = {entry["name"].removeprefix("model."): row for row, entry in enumerate(entries_of(folder))}
    found = {names[ours]: one.grad.norm() for ours, one in network.named_parameters() if one.grad is not None}
    assert set(found) == {key for key, row in rows.items() if expected["grad_present"][row] == 1}
    wide = dtype == torch.float64
    theirs = expected["f64.grad_norm" if wide else "grad_norm"][[rows[key] for key in found]]
    assert error(torch.stack(list(found.values())), theirs) < (DOUBLE if wide else NORMS)
    assert_near({"loss_total": loss}, expected, DOUBLE if wide else LOSSES, "f64." if wide else "")
    if not wide:
        assert_near({"score_train": scores}, expected, TRAINING)
        assert error(network.trunk.conv1.weight.grad, expected["grad.model.base.conv1.weight"]) < 5e-2
    for key, buffer in network.trunk.named_buffers():
        assert torch.equal(buffer, before[key])
    network.pair_score(maps, maps)  # the authors' matcher saw the same maps twice before its buffers were read
    for ours, buffer in network.matcher.named_buffers():
        row = rows[names[f"matcher.{ours}"]]
        if ours.endswith("num_batches_tracked"):
            assert buffer.item() == expected["num_batches_after"][row] == 2
        else:
            np.testing.assert_allclose(buffer.sum(), expected["buffer_sum_after"][row], rtol=1e-4, atol=1e-5)


@NETWORKS
def test_the_parameters_are_as_many_as_theirs(shared, name):
    entries = entries_of(shared(f"parity/{name}"))
    with torch.device("meta"):
        network = build(name, identities=3, size=(384, 128), frames=1)
    unused = sum(
        int(np.prod(entry["shape"])) for entry in entries
        if entry["kind"] == "parameter" and entry["name"].startswith(("model.base.layer4.", "model.base.fc."))
    )  # fmt: skip
    counts = {"qaconv": 26_737_005, "qaconv_ibnb": 26_738_541}
    assert sum(one.numel() for one in network.parameters()) + unused == counts[name]


@NETWORKS
def test_a_file_of_the_authors_is_read_and_accounted_for(shared, name, tmp_path):
    file = author_file(fill(entries_of(shared(f"parity/{name}"))))
    torch.save(file, tmp_path / "w.pth")
    network = build(name, identities=9, frames=1, size=(384, 128)).eval()
    notes = [note.split(": ", 1)[1] for note in load_weights(network, name, tmp_path / "w.pth")]
    assert notes[0] == 'taken from "model and criterion"'
    assert notes[1].startswith("base.fc.bias, base.fc.weight, base.layer4.0.bn1.bias") and "epoch" not in notes[0]
    assert torch.equal(network.reduce.bias, file["model"]["neck_conv.bias"])
    assert torch.equal(network.matcher.places.weight, file["criterion"]["matcher.fc.weight"])
    with torch.no_grad():  # as `evaluate` does
        vectors = network.finish(network.describe(clips(network, 1, torch.float32)))
    expected = np.load(shared(f"parity/{name}") / "eval.npz")
    assert error(-pair_distances(network, vectors[:2], vectors[2:]), expected["score"]) < EVALUATION


def test_a_file_without_its_matcher_or_for_another_size_is_refused(shared, tmp_path):
    file = author_file(fill(entries_of(shared("parity/qaconv"))))
    with pytest.raises(InputError, match="not a checkpoint of qaconv: missing matcher.bn.weight, .*; give one of"):
        convert("qaconv", {"model": file["model"]})
    with pytest.raises(InputError, match="unexpected base.layer5.weight; give one of qaconv"):
        convert("qaconv", {**file, "model": {**file["model"], "base.layer5.weight": torch.zeros(1)}})
    torch.save(file, tmp_path / "w.pth")
    network = build("qaconv", identities=3, frames=1, size=(256, 128))
    with pytest.raises(InputError, match=r"frames: matcher.places.weight has shape \(1, 192\), wanted \(1, 128\)"):
        load_weights(network, "qaconv", tmp_path / "w.pth")


@NETWORKS
def test_a_bf16_training_step_reaches_every_weight_at_another_size(name):
    torch.manual_seed(0)
    network = build(name, identities=5, frames=3, size=(64, 32), trunk="narrow").train()
    assert network.map_size == (4, 2) and network.width == 128 * 8
    with torch.autocast("cpu", torch.bfloat16):
        maps = network(torch.randn(4, 3, 3, 64, 32)).maps
        scores = network.pair_score(maps, maps)
    assert scores.shape == (4, 4) and scores.dtype == torch.float32
    score_triplet(scores, torch.tensor([0, 0, 1, 1])).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key


@torch.no_grad()
def test_a_clip_is_the_mean_of_its_frames_and_of_length_1_at_each_place():
    torch.manual_seed(0)
    network = build("qaconv", identities=5, frames=3, size=(64, 32), trunk="narrow").eval()
    given = torch.randn(2, 3, 3, 64, 32)
    frames = network.maps(given.flatten(0, 1)[:, None])
    wanted = F.normalize(frames.unflatten(0, (2, 3)).mean(1), dim=1)
    torch.testing.assert_close(network.maps(given), wanted)
    torch.testing.assert_close(network.finish(network.describe(given)), wanted.flatten(1))
    torch.testing.assert_close(network.unflatten(wanted.flatten(1)), wanted)


def test_it_has_no_vectors_and_one_size():
    network = build("qaconv", identities=5, frames=1, size=(64, 32), trunk="narrow").eval()
    with pytest.raises(InputError, match="network qaconv compares pairs of tracklets and has no vectors"):
        network.embed(torch.zeros(1, 1, 3, 64, 32))
    with pytest.raises(InputError, match="built for clips of 1 frames of 64 x 32 pixels, got 1 frames of 32 x 64"):
        network.maps(torch.zeros(1, 1, 3, 32, 64))


def test_the_norms_of_its_trunk_are_frozen_from_the_start():
    network = build("qaconv", identities=5, frames=1, size=(64, 32), trunk="narrow")
    for mode in (None, True, False, True):
        if mode is not None:
            network.train(mode)
        assert network.training == network.matcher.training == (mode is not False)
        assert not any(module.training for module in network.trunk.modules())


@torch.no_grad()
def test_frames_are_compared_with_each_other_and_the_mean_counts():
    torch.manual_seed(0)
    network = build("qaconv", identities=5, frames=3, size=(64, 32), trunk="narrow").eval()
    one, other = torch.randn(2, 3, 3, 64, 32), torch.randn(4, 3, 3, 64, 32)
    network.compare_frames(3)
    vectors = [network.finish(network.describe(clips)) for clips in (one, other)]
    assert [tuple(v.shape) for v in vectors] == [(2, network.width), (4, network.width)] and network.width == 3 * 1024
    scores = network.compare(*vectors)
    for q in range(2):
        for g in range(4):
            maps = [network.maps(clip[:, None]) for clip in (one[q], other[g])]
            assert float(scores[q, g]) == pytest.approx(float(network.pair_score(*maps).mean()), rel=1e-4, abs=1e-5)
    assert network.drawn(vectors[1]).shape == (4, 128)
    network.compare_frames(0)
    assert network.describe(one).shape == (2, 1024) == (2, network.width)
