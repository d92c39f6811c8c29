"""Weights from a file: where in it they stand, what is left out, and what is refused."""

import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vreid_fast.errors import InputError
from vreid_fast.models import build, load_trunk_weights, load_weights, weights


@pytest.fixture
def trunk():
    return build("resnet18", identities=3, frames=2).trunk


def values_of(trunk, **changes):
    """A value of its own for each tensor of a trunk; None leaves one out."""
    state = {
        name: torch.rand_like(value) if value.is_floating_point() else value
        for name, value in trunk.state_dict().items()
    }
    return {name: value for name, value in (state | changes).items() if value is not None}


def behind(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def said(notes):
    return " / ".join(notes)


def test_weights_load_by_name_and_what_is_left_out_is_said(tmp_path, trunk):
    state = values_of(trunk, extra=torch.zeros(1)) | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(9)}
    torch.save(state, tmp_path / "w.pth")
    notes = load_trunk_weights(trunk, tmp_path / "w.pth")
    assert torch.equal(trunk.layer3[1].conv2.weight, state["layer3.1.conv2.weight"])
    assert notes == [f"weights {tmp_path}/w.pth: extra, fc.bias, fc.weight left out, no part of the network"]


def test_old_files_without_batch_counters_load(tmp_path, trunk):
    state = {name: value for name, value in values_of(trunk).items() if not name.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "w.pth")
    assert load_trunk_weights(trunk, tmp_path / "w.pth") == []
    assert torch.equal(trunk.bn1.weight, state["bn1.weight"])


PREFIXES = [
    "module.", "_orig_mod.", "backbone.", "encoder.", "encoder_q.", "base_encoder.", "model.", "net.", "student.",
    "teacher.", "module._orig_mod.backbone.", "a.name.of.their.own.",
]  # fmt: skip
CONTAINERS = ["state_dict", "model", "model_state_dict", "teacher", "student", "ema", "params", "network", "their own"]


@pytest.mark.parametrize("prefix", ["", *PREFIXES])
@pytest.mark.parametrize("container", [None, "state_dict"])
def test_any_prefix_is_found(tmp_path, trunk, prefix, container):
    state = values_of(trunk)
    inside = behind(prefix, state) | {"heads.0.weight": torch.ones(3)}
    torch.save({container: inside, "epoch": 3} if container else inside, tmp_path / "w.pth")
    notes = said(load_trunk_weights(trunk, tmp_path / "w.pth"))
    assert all(torch.equal(value, state[name]) for name, value in trunk.state_dict().items())
    assert (f"names behind {prefix}" in notes) == bool(prefix) and "heads.0.weight" in notes


@pytest.mark.parametrize("path", [*((name,) for name in CONTAINERS), ("run", "best", "model")])
def test_any_container_is_found(tmp_path, trunk, path):
    state = values_of(trunk)
    file = behind("module.", state)
    for name in reversed(path):
        file = {"epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}, name: file}
    torch.save(file, tmp_path / "w.pth")
    notes = said(load_trunk_weights(trunk, tmp_path / "w.pth"))
    assert torch.equal(trunk.bn1.weight, state["bn1.weight"])
    assert f'taken from "{".".join(path)}", names behind module.' in notes
    assert "epoch, optimizer left out, no part of the network" in notes


@pytest.mark.parametrize(
    ("file", "taken", "left"),
    [
        (lambda a, b: {"teacher": b, "student": a}, '"student"', '"teacher"'),
        (lambda a, b: {"model_ema": b, "model": a}, '"model"', '"model_ema"'),
        (lambda a, b: behind("encoder_k.", b) | behind("encoder_q.", a), "encoder_q.", "encoder_k."),
        (lambda a, b: behind("momentum_encoder.", b) | behind("base_encoder.", a), "base_encoder.", "momentum_encoder"),
        (lambda a, b: {"best_of_all": b, "best": a}, '"best"', '"best_of_all"'),
    ],
)
def test_of_equal_places_the_average_comes_last_and_the_other_is_named(tmp_path, trunk, file, taken, left):
    first, second = values_of(trunk), values_of(trunk)
    torch.save(file(first, second), tmp_path / "w.pth")
    notes = load_trunk_weights(trunk, tmp_path / "w.pth")
    assert torch.equal(trunk.bn1.weight, first["bn1.weight"])
    assert taken in notes[0] and left in notes[1] and "would fit as well" in notes[1]


def test_the_place_that_fits_best_wins_over_every_order(tmp_path, trunk):
    whole = values_of(trunk)
    part = {name: value for name, value in values_of(trunk).items() if not name.startswith("layer4")}
    torch.save({"student": part, "teacher": whole}, tmp_path / "w.pth")
    load_trunk_weights(trunk, tmp_path / "w.pth")
    assert torch.equal(trunk.bn1.weight, whole["bn1.weight"])


def test_shapes_win_over_names_alone(tmp_path, trunk):
    right = values_of(trunk)
    torch.save({"student": {name: value[None] for name, value in right.items()}, "teacher": right}, tmp_path / "w.pth")
    load_trunk_weights(trunk, tmp_path / "w.pth")
    assert torch.equal(trunk.bn1.weight, right["bn1.weight"])


@pytest.mark.parametrize("name", ["resnet50", "c2d", "sinet"])
def test_a_trunk_with_a_classifier_of_another_program_loads_its_trunk(tmp_path, name):
    theirs = values_of(build("resnet50", identities=3, frames=4).trunk)
    heads = {
        "classifier.weight": torch.zeros(751, 2048),
        "classifier.bias": torch.zeros(751),
        "bn.weight": theirs["bn1.bias"],
    }
    torch.save({"state_dict": theirs | heads, "epoch": 60, "rank1": np.float64(0.5)}, tmp_path / "w.pth.tar")
    network = build(name, identities=3, frames=4, size=(64, 48))
    notes = said(load_weights(network, name, tmp_path / "w.pth.tar"))
    assert torch.equal(network.trunk.layer4[2].conv3.weight, theirs["layer4.2.conv3.weight"])
    assert "bn.weight, classifier.bias, classifier.weight, epoch, rank1 left out" in notes


def test_each_key_that_does_not_fit_is_named(tmp_path, trunk):
    torch.save(values_of(trunk, **{"conv1.weight": torch.zeros(64, 1, 7, 7), "bn1.bias": None}), tmp_path / "w.pth")
    before = trunk.bn1.weight.clone()
    wanted = r"conv1.weight has shape \(64, 1, 7, 7\), wanted \(64, 3, 7, 7\), bn1.bias is missing; give"
    with pytest.raises(InputError, match=wanted):
        load_trunk_weights(trunk, tmp_path / "w.pth")
    assert torch.equal(trunk.bn1.weight, before)


@pytest.mark.parametrize("keep", [lambda name: name == "conv1.weight", lambda name: name.startswith("layer1.")])
def test_a_small_part_is_refused_with_names_of_both_sides(tmp_path, trunk, keep):
    torch.save({name: value for name, value in values_of(trunk).items() if keep(name)}, tmp_path / "w.pth")
    with pytest.raises(
        InputError, match=r"bn1.weight is missing.* it holds (conv1|layer1.0.conv1).weight.* wanted are conv1"
    ):
        load_trunk_weights(trunk, tmp_path / "w.pth")


def test_where_no_name_fits_both_sides_are_shown(tmp_path, trunk):
    torch.save({"model": {f"blocks.{n}.attn.qkv": torch.zeros(2) for n in range(12)}, "epoch": 1}, tmp_path / "w.pth")
    wanted = r"no name in it .* it holds model.blocks.0.attn.qkv, .* and 2 more; wanted are conv1.weight, bn1.weight,"
    with pytest.raises(InputError, match=wanted):
        load_trunk_weights(trunk, tmp_path / "w.pth")


@pytest.mark.parametrize("file", [{}, {"epoch": 3, "args": {"lr": 0.1}}])
def test_a_file_without_tensors_is_refused(tmp_path, trunk, file):
    torch.save(file, tmp_path / "w.pth")
    with pytest.raises(InputError, match=f"it holds {'epoch, args' if file else 'nothing'}; wanted are"):
        load_trunk_weights(trunk, tmp_path / "w.pth")


def test_a_file_that_holds_itself_ends(tmp_path, trunk):
    file = {"model": values_of(trunk)}
    file["model"]["self"] = file
    torch.save(file, tmp_path / "w.pth")
    load_trunk_weights(trunk, tmp_path / "w.pth")


def test_a_checkpoint_of_a_run_gives_the_trunk_of_its_student(tmp_path):
    student, teacher = (build("small", identities=3, frames=2, size=(64, 32)) for _ in range(2))
    state = {"student": student.state_dict(), "teacher": {"network": teacher.state_dict()}, "step": 3, "optimiser": {}}
    torch.save(state, tmp_path / "last.pt")
    network = build("small", identities=7, frames=2, size=(64, 32))
    notes = said(load_weights(network, "small", tmp_path / "last.pt"))
    assert torch.equal(network.trunk.conv1.weight, student.trunk.conv1.weight)
    assert '"student", names behind trunk.' in notes and '"teacher.network", names behind trunk. would fit' in notes


# Files of safetensors.


def test_a_file_of_safetensors_is_read(tmp_path, trunk):
    state = values_of(trunk)
    save_file(behind("backbone.", state) | {"heads.0.weight": torch.ones(3)}, tmp_path / "model.safetensors")
    notes = said(load_trunk_weights(trunk, tmp_path / "model.safetensors"))
    assert all(torch.equal(value, state[name]) for name, value in trunk.state_dict().items())
    assert "names behind backbone." in notes and "heads.0.weight left out" in notes


def test_every_cut_of_a_file_of_safetensors_is_one_line(tmp_path, trunk):
    path = tmp_path / "w.safetensors"
    save_file({"conv1.weight": torch.ones(5)}, path)
    content = path.read_bytes()
    for end in range(9, len(content)):
        path.write_bytes(content[:end])
        with pytest.raises(
            InputError, match="w.safetensors: is a safetensors file that is damaged or cut short"
        ) as error:
            load_trunk_weights(trunk, path)
        assert "\n" not in str(error.value)


def test_without_the_package_the_line_says_how_to_install_it(tmp_path, trunk, monkeypatch):
    save_file(values_of(trunk), tmp_path / "w.pth")
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(InputError, match="w.pth: is a safetensors file, .*: pip install safetensors$"):
        load_trunk_weights(trunk, tmp_path / "w.pth")


def test_what_a_trunk_can_take_is_looked_at_once(tmp_path, monkeypatch):
    network, looks = build("small", identities=3, frames=2, size=(64, 32)), []
    torch.save(network.trunk.state_dict(), tmp_path / "w.pth")
    monkeypatch.setattr(weights, "_fit", lambda *given, fit=weights._fit: looks.append(1) or fit(*given))
    load_weights(network, "small", tmp_path / "w.pth")
    assert len(looks) == 1


# Numbers.


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, "numpy"])
def test_other_floats_are_converted_and_a_loss_is_said(tmp_path, trunk, dtype):
    state = values_of(trunk)
    if dtype == "numpy":
        state = {name: value.numpy() for name, value in state.items()}
    else:
        state = {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
    lossy = dict(state)
    torch.save(state, tmp_path / "w.pth")
    assert load_trunk_weights(trunk, tmp_path / "w.pth") == []
    assert trunk.bn1.weight.dtype == torch.float32
    assert torch.equal(trunk.bn1.weight, torch.as_tensor(state["bn1.weight"]).float())
    if dtype == torch.float64:
        lossy["bn1.weight"] = lossy["bn1.weight"] + 1e-12
        torch.save(lossy, tmp_path / "w.pth")
        assert "1 tensors of float64 are rounded to float32 (bn1.weight)" in said(
            load_trunk_weights(trunk, tmp_path / "w.pth")
        )


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("bn1.weight", torch.full((64,), torch.nan), "used: bn1.weight holds 64 NaN or infinite values of 64"),
        ("bn1.bias", torch.full((64,), 1e300, dtype=torch.float64), "bn1.bias holds 64 NaN or infinite"),
        ("bn1.running_mean", torch.full((64,), torch.inf), "bn1.running_mean holds 64 NaN or infinite"),
        ("bn1.running_var", torch.full((64,), -1.0), "bn1.running_var holds variances below zero"),
        ("bn1.weight", torch.ones(64, dtype=torch.int8), "bn1.weight is torch.int8, wanted torch.float32"),
        ("bn1.weight", torch.ones(64, dtype=torch.complex64), "bn1.weight is torch.complex64, wanted"),
        ("bn1.weight", torch.ones(64).to_sparse(), "bn1.weight is torch.float32, torch.sparse_coo"),
        ("bn1.weight", torch.ones(64, device="meta"), "bn1.weight is torch.float32, torch.strided, on meta"),
        ("bn1.weight", [1.0] * 64, "bn1.weight is missing"),
    ],
)  # fmt: skip
def test_numbers_that_are_of_no_use_are_named(tmp_path, trunk, name, value, wanted):
    torch.save(values_of(trunk) | {name: value}, tmp_path / "w.pth")
    before = {key: tensor.clone() for key, tensor in trunk.state_dict().items()}
    with pytest.raises(InputError, match=wanted):
        load_trunk_weights(trunk, tmp_path / "w.pth")
    assert all(torch.equal(tensor, before[key]) for key, tensor in trunk.state_dict().items())


@pytest.mark.parametrize("content", [None, b"", b"not weights at all", "list"])
def test_files_that_are_no_weights_are_refused(tmp_path, trunk, content):
    path = tmp_path / "w.pth"
    if content == "list":
        torch.save([1, 2], path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="weights .*w.pth"):
        load_trunk_weights(trunk, path)


@pytest.mark.parametrize(("name", "plugins"), [("ap3d", 5), ("ap3dnl", 10), ("ap3d_i3d", 5), ("tclnet", 2)])
def test_weights_of_a_plain_resnet_go_into_trunks_with_plug_ins(tmp_path, name, plugins):
    torch.manual_seed(0)
    plain = build("resnet50", identities=2, frames=4, trunk="narrow").trunk.state_dict()
    file = {key: torch.rand_like(value) for key, value in plain.items() if value.is_floating_point()}
    torch.save(file, tmp_path / "w.pth")
    network = build(name, identities=5, frames=4, trunk="narrow")
    before = {key: value.clone() for key, value in network.trunk.state_dict().items()}
    notes = load_weights(network, name, tmp_path / "w.pth")
    assert [note.split(": ", 1)[1] for note in notes] == [
        f"nothing for the {plugins} plug-ins, they start as initialised"
    ]
    after = network.trunk.state_dict()
    assert all(torch.equal(after[key], value) for key, value in file.items())
    rest = after.keys() - file.keys()
    copied = {key for key in rest if key.startswith("erasing.second.") and not key.endswith("tracked")}
    assert bool(copied) == (name == "tclnet")
    for key in copied:
        assert torch.equal(after[key], file[key.replace("erasing.second", "layer4.2")])
    assert all(torch.equal(after[key], before[key]) for key in rest - copied)


@pytest.mark.parametrize("name", ["ap3dnl", "tclnet"])
def test_a_run_of_the_same_network_gives_its_whole_trunk(tmp_path, name):
    torch.manual_seed(0)
    one, other = (build(name, identities=5, frames=4, trunk="narrow") for _ in range(2))
    torch.save({"student": one.state_dict()}, tmp_path / "last.pt")
    load_weights(other, name, tmp_path / "last.pt")
    assert all(torch.equal(value, other.trunk.state_dict()[key]) for key, value in one.trunk.state_dict().items())
