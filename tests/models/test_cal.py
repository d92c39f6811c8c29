"""CAL's network: its authors' numbers, and their files, which keep its parts apart."""

import numpy as np
import pytest
import torch
from author_numbers import DOUBLE, EVALUATION, LOSSES, TRAINING, assert_near
from parity import draw, entries_of, error, fill

from vreid_fast.errors import InputError
from vreid_fast.losses import clothes_adversarial_loss, clothes_cosines, clothes_cross_entropy, cross_entropy
from vreid_fast.models import build, convert, load_weights
from vreid_fast.models.convert import author_names

PARTS = {
    "model": "model_state_dict", "identity_classifier": "classifier_state_dict",
    "clothes_classifier": "clothes_classifier_state_dict",
}  # fmt: skip


def author_file(tensors):
    """Tensors under the names of keys.json as the authors save them."""
    file = {"rank1": 0.5, "epoch": 3, **{container: {} for container in PARTS.values()}}
    for name, tensor in tensors.items():
        part, rest = name.split(".", 1)
        file[PARTS[part]][rest] = tensor
    return file


@pytest.fixture
def folder(shared):
    return shared("parity/cal")


@pytest.fixture
def file(folder):
    return author_file(fill(entries_of(folder)))


def given(file, dtype=torch.float32):
    network = build("cal", identities=37, frames=8)
    network.load_state_dict(convert("cal", file))
    return network.to(dtype)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_evaluation_equals_the_authors(folder, file, dtype):
    network, expected = given(file, dtype).eval(), np.load(folder / "eval.npz")
    found = network.embed(draw((2, 3, 8, 256, 128), 1).transpose(1, 2).to(dtype))
    found = {"clip_embedding": found, "id_logits": network.classifier(found)}
    wide = dtype == torch.float64
    assert_near(found, expected, DOUBLE if wide else EVALUATION, "f64." if wide else "")


@torch.no_grad()
def test_the_forward_of_training_equals_the_authors(folder, file):
    network, expected = given(file).train(), np.load(folder / "train.npz")
    output = network(draw((4, 3, 4, 256, 128), 101).transpose(1, 2))
    assert_near({"id_logits": output.logits}, expected, TRAINING)
    assert_near({"clip_bn": output.clip}, expected, 5 * TRAINING)  # a neck over a batch of four, as for AP3D
    assert_near({"loss_ce": cross_entropy(output.logits, torch.from_numpy(expected["labels"]))}, expected, LOSSES)
    rows = {entry["name"].split(".", 1)[1]: row for row, entry in enumerate(entries_of(folder))}
    for ours, theirs in author_names(network).items():
        if ours.endswith("num_batches_tracked"):
            assert network.get_buffer(ours).item() == expected["num_batches_after"][rows[theirs]] == 1


@pytest.mark.slow
def test_gradients_of_the_authors_loss_equal_theirs(folder, file):
    network, expected = given(file, torch.float64).train(), np.load(folder / "train.npz")
    output = network(draw((4, 3, 4, 256, 128), 101).transpose(1, 2).double())
    directions = file["clothes_classifier_state_dict"]["weight"].double()
    clothes, masks = (torch.from_numpy(expected[name]) for name in ("clothes_label", "positive_mask"))
    owners = torch.arange(len(directions))  # those of nobody in the batch are of somebody each
    for mask in masks.bool():
        owners[mask] = int(mask.nonzero()[0])
    cosines = clothes_cosines(output.clip, directions)
    told = clothes_cross_entropy(cosines.detach(), clothes)
    assert_near({"loss_clothes_ce": told}, expected, DOUBLE, "f64.")
    cal = clothes_adversarial_loss(cosines, clothes, owners)
    loss = cross_entropy(output.logits, torch.from_numpy(expected["labels"])) + cal
    assert_near({"loss_cal": cal, "loss_total": loss}, expected, DOUBLE, "f64.")
    loss.backward()
    rows = {entry["name"].split(".", 1)[1]: row for row, entry in enumerate(entries_of(folder))}
    theirs = torch.from_numpy(expected["f64.grad_norm"])
    names = author_names(network)
    found = {ours: one.grad.norm() for ours, one in network.named_parameters()}
    norms = theirs[[rows[names[ours]] for ours in found]]
    assert error(torch.stack(list(found.values())), norms) < DOUBLE


def test_the_parameters_are_as_many_as_theirs(folder):
    with torch.device("meta"):
        network = build("cal", identities=37, frames=8)
    clothes = next(entry["shape"] for entry in entries_of(folder) if entry["name"].startswith("clothes"))
    assert sum(one.numel() for one in network.parameters()) + np.prod(clothes) == 23_696_485


def test_a_file_of_the_authors_is_read_and_accounted_for(folder, file, tmp_path):
    torch.save(file, tmp_path / "w.pth")
    network = build("cal", identities=37, frames=8).eval()
    notes = load_weights(network, "cal", tmp_path / "w.pth")
    assert [note.split(": ", 1)[1] for note in notes] == [
        'taken from "model_state_dict and classifier_state_dict"',
        "clothes_classifier_state_dict, epoch, rank1 left out, no part of the network",
    ]
    with torch.no_grad():
        found = network.embed(draw((2, 3, 8, 256, 128), 1).transpose(1, 2))
    assert error(found, np.load(folder / "eval.npz")["clip_embedding"]) < EVALUATION


def test_a_file_without_its_classifier_is_refused(file):
    with pytest.raises(InputError, match=r"not a checkpoint of cal: missing classifier.weight, classifier.bias; give"):
        convert("cal", {name: part for name, part in file.items() if name != "classifier_state_dict"})


def test_another_number_of_identities(file, tmp_path):
    torch.save(file, tmp_path / "w.pth")
    network = build("cal", identities=5, frames=8)
    with pytest.raises(InputError, match="classifier is for 37 identities, this source has 5; --drop_classifier true"):
        load_weights(network, "cal", tmp_path / "w.pth")
    load_weights(network, "cal", tmp_path / "w.pth", drop_classifier=True)
    assert torch.equal(network.neck.bias, file["model_state_dict"]["bn.bias"])
