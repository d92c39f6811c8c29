"""The authors' checkpoints: every key has its place, and what does not fit is named."""

import numpy as np
import pytest
import torch
from authors import author_state
from parity import draw, entries_of, error, fill

from vreid_fast.errors import InputError
from vreid_fast.models import build, convert, load_weights
from vreid_fast.models.convert import author_names, rename

SIZE = (64, 48)


@pytest.fixture(scope="module")
def sinet_state():
    return author_state("sinet")


SINETS = ("sinet", "sbnet", "idnet", "sanet", "sinet_c2d", "sinet_uda")
OTHERS = ("ap3d", "ap3dnl", "ap3d_c2d", "ap3d_i3d", "ap3d_nl", "tclnet", "psta", "cavit")


@pytest.mark.parametrize("name", [*SINETS, *OTHERS])
def test_every_key_of_the_authors_has_its_place(shared, name):
    entries = entries_of(shared(f"parity/{name}"))
    theirs = {entry["name"]: torch.zeros(entry["shape"]) for entry in entries}
    ours = {"sinet_c2d": "c2d", "sinet_uda": "sinet"}.get(name, name)
    with torch.device("meta"):
        own = build(ours, identities=37, frames=8 if name == "psta" else 4).state_dict()
    assert {key: value.shape for key, value in convert(ours, theirs).items()} == {
        key: value.shape for key, value in own.items()
    }


def test_values_arrive_at_the_right_layer(shared):
    state = fill(entries_of(shared("parity/sinet")))
    converted = convert("sinet", state)
    assert torch.equal(converted["trunk.layer2.2.conv1.weight"], state["layer2.3.conv1.weight"].squeeze(2))
    assert torch.equal(converted["trunk.plugins.layer3_3.kernel.weight"], state["layer3.5.kernel.0.weight"].flatten(1))
    assert torch.equal(converted["neck.running_var"], state["bn.running_var"])


@pytest.mark.parametrize("contain", ["plain", "container", "parallel", "fork", "compiled"])
def test_containers(sinet_state, contain):
    given = {
        "plain": sinet_state,
        "container": {"state_dict": sinet_state, "rank1": 0.5, "epoch": 3},
        "parallel": {"state_dict": {f"module.{key}": value for key, value in sinet_state.items()}},
        "fork": {"state_dict": sinet_state, "attn_state_dict": {"x": torch.zeros(1)}, "rank1": 0.5, "epoch": 3},
        "compiled": {
            "ema": {f"net._orig_mod.{key}": value for key, value in sinet_state.items()} | {"x": torch.ones(2)}
        },
    }[contain]
    network = build("sinet", identities=5, frames=4, size=SIZE)
    network.load_state_dict(convert("sinet", given))
    assert torch.equal(network.trunk.layer3[5].conv3.weight, sinet_state["layer3.7.conv3.weight"].squeeze(2))


def test_old_files_without_counters(sinet_state):
    old = {key: value for key, value in sinet_state.items() if not key.endswith("num_batches_tracked")}
    build("sinet", identities=5, frames=4, size=SIZE).load_state_dict(convert("sinet", old))


def test_each_missing_and_unexpected_key_is_named(sinet_state):
    absent = {
        key: value for key, value in sinet_state.items() if key not in ("bn.bias", "layer2.2.thw_expansion.0.bias")
    }
    wanted = r"missing layer2.2.thw_expansion.0.bias, bn.bias; unexpected extra.weight, other; give one of sinet"
    with pytest.raises(InputError, match=wanted):
        convert("sinet", {**absent, "extra.weight": torch.zeros(1), "other": torch.zeros(1)})


def test_a_file_without_such_names_shows_both_sides():
    with pytest.raises(InputError, match=r"it holds model.blocks.0; wanted are conv1.weight, bn1.weight, .* more"):
        convert("c2d", {"model": {"blocks.0": torch.zeros(1)}})


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_numbers_that_are_not_finite_are_named(tmp_path, sinet_state, value):
    bad = {**sinet_state, "bn.weight": torch.full_like(sinet_state["bn.weight"], value)}
    with pytest.raises(InputError, match="neck.weight holds 2,048 NaN or infinite values"):
        convert("sinet", bad)
    torch.save(bad, tmp_path / "w.pth")
    with pytest.raises(InputError, match="w.pth cannot be used: neck.weight holds 2,048 NaN or infinite values"):
        load_weights(build("sinet", identities=5, frames=4, size=SIZE), "sinet", tmp_path / "w.pth")


def test_kernels_over_time_are_refused(sinet_state):
    inflated = sinet_state["layer1.0.conv2.weight"].repeat(1, 1, 3, 1, 1)
    with pytest.raises(InputError, match=r"layer1.0.conv2.weight has shape \(64, 64, 3, 3, 3\), wanted 4 axes"):
        convert("sinet", {**sinet_state, "layer1.0.conv2.weight": inflated})


def test_networks_without_authors():
    with pytest.raises(InputError, match="network resnet50: no checkpoints .* sinet, sbnet, idnet, sanet, c2d, ap3d"):
        convert("resnet50", {})


# Files, as --weights takes them.


def test_a_whole_file_is_recognised(tmp_path, sinet_state):
    path = tmp_path / "checkpoint_ep.pth.tar"
    torch.save({"state_dict": sinet_state, "attn_state_dict": {}, "rank1": np.float64(0.4), "epoch": 150}, path)
    network = build("sinet", identities=5, frames=4, size=SIZE)
    notes = load_weights(network, "sinet", path)
    assert notes == [
        f'weights {path}: taken from "state_dict"',
        f"weights {path}: attn_state_dict, epoch, rank1 left out, no part of the network",
    ]
    assert torch.equal(network.classifier.weight, sinet_state["classifier.weight"])


def test_a_classifier_is_dropped_only_when_asked(tmp_path, sinet_state):
    torch.save({"state_dict": sinet_state}, tmp_path / "w.pth")
    network = build("sinet", identities=9, frames=4, size=SIZE)
    classifier = network.classifier.weight.clone()
    with pytest.raises(InputError, match="classifier is for 5 identities, this source has 9; --drop_classifier true"):
        load_weights(network, "sinet", tmp_path / "w.pth")
    notes = load_weights(network, "sinet", tmp_path / "w.pth", drop_classifier=True)
    assert any("classifier of 5 identities is left out" in note for note in notes)
    assert torch.equal(network.classifier.weight, classifier)
    assert torch.equal(network.neck.bias, sinet_state["bn.bias"])


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("sbnet", "not a checkpoint of sbnet: .*unexpected .*layer2.2.thw_reduction.0.weight"),
        ("resnet50", "network resnet50: no checkpoints of its authors"),
    ],
)
def test_a_file_of_another_network(tmp_path, sinet_state, name, wanted):
    torch.save({"state_dict": sinet_state}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=f"weights .*w.pth: {wanted}"):
        load_weights(build(name, identities=5, frames=4, size=SIZE), name, tmp_path / "w.pth")


def test_a_file_for_another_size(tmp_path, sinet_state):
    torch.save({"state_dict": sinet_state}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"other frames: trunk.plugins.layer2_1.integrate.weight .*; set --frames"):
        load_weights(build("sinet", identities=5, frames=8, size=SIZE), "sinet", tmp_path / "w.pth")


def test_imagenet_weights_go_into_the_trunk(tmp_path):
    imagenet = {
        key: torch.rand_like(value)
        for key, value in build("resnet50", identities=5, frames=4).trunk.state_dict().items()
        if value.is_floating_point()
    }
    torch.save({**imagenet, "fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}, tmp_path / "w.pth")
    network = build("sinet", identities=5, frames=4, size=SIZE)
    plugins = {key: value.clone() for key, value in network.trunk.plugins.state_dict().items()}
    notes = load_weights(network, "sinet", tmp_path / "w.pth")
    assert torch.equal(network.trunk.layer3[5].conv3.weight, imagenet["layer3.5.conv3.weight"])
    assert all(torch.equal(value, plugins[key]) for key, value in network.trunk.plugins.state_dict().items())
    assert [note.split(": ", 1)[1] for note in notes] == [
        "fc.bias, fc.weight left out, no part of the network",
        "nothing for the 5 plug-ins, they start as initialised",
    ]


# The containers of the other networks' authors.


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sanet", *OTHERS[:-1]])  # cavit: test_cavit_weights
def test_a_file_of_the_authors_gives_their_embedding(shared, tmp_path, name):
    folder = shared(f"parity/{name}")
    state, expected = fill(entries_of(folder)), np.load(folder / "eval.npz")
    file = {"state_dict": state, "rank1": 0.5, "epoch": 3}
    if name == "psta":  # a bare dict, saved from the data-parallel wrapper
        file = {f"module.{key}": value for key, value in state.items()}
    torch.save(file, tmp_path / "w.pth")
    frames = 8 if name == "psta" else 4
    network = build(name, identities=37, frames=frames).eval()
    notes = load_weights(network, name, tmp_path / "w.pth")
    assert "taken from" in notes[0] and not any("plug-ins" in note for note in notes)
    clips = draw((2, 8, 3, 256, 128), 1) if name == "psta" else draw((2, 3, 4, 256, 128), 1).transpose(1, 2)
    with torch.no_grad():
        assert error(network.embed(clips), expected["clip_embedding"]) < 2e-5


def test_a_kernel_over_other_than_three_frames_is_refused():
    state = {"layer2.0.conv2.conv3d.weight": torch.zeros(32, 32, 5, 3, 3)}
    network = build("ap3d_i3d", identities=5, frames=4, trunk="narrow")
    given = {theirs: torch.zeros(1) for theirs in author_names(network).values()} | state
    with pytest.raises(InputError, match=r"layer2.0.conv2.conv3d.weight has shape .* wanted a kernel over 3 frames"):
        rename("ap3d_i3d", network, {**given, **_shaped(network, state)})


def _shaped(network, changed):
    """Zeros of the authors' shapes under their names, but for what is changed."""
    own, names = network.state_dict(), author_names(network)
    taps = {theirs: sum(other == theirs for other in names.values()) for theirs in names.values()}
    found = {}
    for ours, theirs in names.items():
        value = torch.zeros_like(own[ours])
        found[theirs] = value[:, :, None].expand(-1, -1, 3, -1, -1) if taps[theirs] > 1 else value
    return {**found, **changed}


@pytest.mark.parametrize("name", ["ap3d", "tclnet", "psta"])
def test_missing_and_unexpected_keys_of_other_networks_are_named(name):
    frames = 8 if name == "psta" else 4
    network = build(name, identities=5, frames=frames, trunk="narrow")
    state = _shaped(network, {"extra.weight": torch.zeros(1)})
    lost = next(theirs for theirs in state if theirs.endswith("layer3.4.conv3.weight"))
    del state[lost]
    with pytest.raises(InputError, match=f"missing {lost}; unexpected extra.weight; give one of {name}"):
        rename(name, network, state)


def test_a_classifier_of_two_streams_is_dropped_when_asked(tmp_path):
    torch.manual_seed(0)
    network = build("tclnet", identities=9, frames=4, trunk="narrow")
    file = _shaped(build("tclnet", identities=5, frames=4, trunk="narrow"), {})
    torch.save({"state_dict": file}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="classifier is for 5 identities, this source has 9; --drop_classifier true"):
        load_weights(network, "tclnet", tmp_path / "w.pth")
    before = [layer.weight.clone() for layer in network.classifier]
    load_weights(network, "tclnet", tmp_path / "w.pth", drop_classifier=True)
    assert all(torch.equal(layer.weight, one) for layer, one in zip(network.classifier, before, strict=True))
    assert network.neck[1].weight.abs().max() == 0
