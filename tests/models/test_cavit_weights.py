"""Weights for CAViT: its authors' files, and those of a plain vision transformer."""

import numpy as np
import pytest
import torch
from author_numbers import EVALUATION
from parity import draw, entries_of, error, fill
from torch.nn import functional as F

from vreid_fast.errors import InputError
from vreid_fast.models import build, load_trunk_weights, load_weights
from vreid_fast.models.cavit import CAViT
from vreid_fast.models.convert import author_names

SIZE = (64, 48)


def small(**words):
    return CAViT(5, frames=2, size=SIZE, width=24, heads=2, depth=2, **words)


def plain(width=24, blocks=3, grid=14):
    """A state dict as timm's, with its own numbers in each tensor."""
    torch.manual_seed(1)
    shapes = {"cls_token": (1, 1, width), "pos_embed": (1, 1 + grid**2, width)}
    shapes |= {"patch_embed.proj.weight": (width, 3, 16, 16), "patch_embed.proj.bias": (width,)}
    for block in range(blocks):
        for name, rows, columns in (
            ("norm1", width, 0), ("attn.qkv", 3 * width, width), ("attn.proj", width, width), ("norm2", width, 0),
            ("mlp.fc1", 4 * width, width), ("mlp.fc2", width, 4 * width),
        ):  # fmt: skip
            shapes |= {f"blocks.{block}.{name}.weight": (rows, columns) if columns else (rows,)}
            shapes |= {f"blocks.{block}.{name}.bias": (rows,)}
    shapes |= {"norm.weight": (width,), "norm.bias": (width,), "head.weight": (1000, width), "head.bias": (1000,)}
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def save(tmp_path, file):
    torch.save(file, tmp_path / "w.pth")
    return tmp_path / "w.pth"


@pytest.mark.slow
def test_a_file_of_the_authors_gives_their_embedding(shared, tmp_path):
    folder = shared("parity/cavit")
    file = save(tmp_path, {"model": fill(entries_of(folder)), "optimizer": {}, "iteration": 3})
    network = build("cavit", identities=37, frames=8).eval()
    assert [note.split(": ", 1)[1] for note in load_weights(network, "cavit", file)] == [
        'taken from "model"',
        "iteration, optimizer left out, no part of the network",
    ]
    clips = (draw((1, 4, 3, 256, 128), 1) - network.shift) / network.factor
    with torch.no_grad():
        assert error(network.embed(clips), np.load(folder / "eval.npz")["clip_embedding"]) < EVALUATION


def authors_of(network):
    names = author_names(network)
    return {names[ours]: torch.rand_like(value.float()) for ours, value in network.state_dict().items()}


def test_the_authors_classifier_and_size_are_looked_at(tmp_path):
    given = authors_of(build("cavit", identities=7, frames=2, size=SIZE, trunk="narrow"))
    given["heads.bottleneck.0.num_batches_tracked"] = torch.tensor(3)
    file = save(tmp_path, {"model": given})
    network = build("cavit", identities=5, frames=2, size=SIZE, trunk="narrow")
    with pytest.raises(InputError, match="classifier is for 7 identities, this source has 5; --drop_classifier true"):
        load_weights(network, "cavit", file)
    load_weights(network, "cavit", file, drop_classifier=True)
    assert torch.equal(network.trunk.branches[1].blocks[1].fc1.weight, given["backbone.blocks2.1.mlp.fc1.weight"])
    assert torch.equal(network.trunk.branches[2].changes.bias, given["backbone.pos_embed3_flow.proj.bias"])
    assert torch.equal(network.neck.running_var, given["heads.bottleneck.0.running_var"])
    other = build("cavit", identities=7, frames=2, size=(96, 48), trunk="narrow")
    with pytest.raises(InputError, match=r"positions has shape \(1, 15, 96\), wanted .*set --frames, --height"):
        load_weights(other, "cavit", file)


def test_a_plain_vision_transformer_fills_every_branch(tmp_path):
    network, given = small(), plain()
    notes = load_weights(network, "cavit", save(tmp_path, given))
    assert [note.split(": ", 1)[1] for note in notes] == [
        "blocks.2.attn.proj.bias, blocks.2.attn.proj.weight, blocks.2.attn.qkv.bias, blocks.2.attn.qkv.weight, "
        "blocks.2.mlp.fc1.bias and 10 more left out, no part of the network"
    ]
    square = given["pos_embed"][:, 1:].transpose(1, 2).unflatten(2, (14, 14))
    for branch, kernel in zip(network.trunk.branches, ((16, 16), (32, 16), (16, 32)), strict=True):
        for block in range(2):
            own = branch.blocks[block]
            assert torch.equal(own.qkv.weight, given[f"blocks.{block}.attn.qkv.weight"])
            assert torch.equal(own.fc2.bias, given[f"blocks.{block}.mlp.fc2.bias"])
            assert torch.equal(own.norm1.weight, given[f"blocks.{block}.norm1.weight"])
        wanted = F.interpolate(given["patch_embed.proj.weight"], kernel, mode="bilinear")
        for layer in (branch.patches, branch.changes):
            torch.testing.assert_close(layer.weight, wanted)
            assert torch.equal(layer.bias, given["patch_embed.proj.bias"])
        grid = F.interpolate(square, branch.grid, mode="bilinear").flatten(2).transpose(1, 2)
        torch.testing.assert_close(branch.positions.data, grid)
    assert torch.equal(network.trunk.norm.bias, given["norm.bias"])


@pytest.mark.parametrize("contain", ["container", "half", "no class token", "same grid"])
def test_where_it_stands_and_how_it_is_kept(tmp_path, contain):
    given = plain()
    if contain == "no class token":
        given["pos_embed"] = given["pos_embed"][:, 1:]
    if contain == "half":
        given = {name: value.half() for name, value in given.items()}
    network = small()
    if contain == "same grid":
        given["pos_embed"] = torch.randn_like(network.trunk.branches[0].positions)
        with pytest.raises(InputError, match=r"branches.1.positions has shape \(1, 15, 24\), wanted \(1, 6, 24\)"):
            load_weights(network, "cavit", save(tmp_path, given))
        return
    file = {"state_dict": {f"module.{name}": value for name, value in given.items()}}
    load_weights(network, "cavit", save(tmp_path, file if contain == "container" else given))
    assert torch.equal(network.trunk.norm.weight, given["norm.weight"].float())
    assert network.trunk.branches[0].positions.dtype == torch.float32


def test_a_trunk_of_a_run_of_this_program(tmp_path):
    network, other = small(), small()
    notes = load_trunk_weights(other.trunk, save(tmp_path, {"student": network.state_dict(), "step": 3}))
    assert 'taken from "student", names behind trunk.' in notes[0]
    assert torch.equal(other.trunk.branches[1].positions, network.trunk.branches[1].positions)
    assert all(torch.equal(a, b) for a, b in zip(other.trunk.parameters(), network.trunk.parameters(), strict=True))


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"blocks.1.mlp.fc1.weight": None}, r": blocks.1.mlp.fc1.weight is missing; give a file saved from timm's ViT"),
        ({"norm.weight": None, "pos_embed": None}, r": pos_embed is missing, norm.weight is missing; give"),
        ({"blocks.0.norm1.bias": torch.full((24,), torch.nan)}, "holds 24 NaN or infinite values"),
        ({"pos_embed": torch.zeros(1, 190, 24)}, r"positions has shape \(1, 190, 24\), wanted"),
        ({"pos_embed": torch.zeros(24)}, r"positions has shape \(24,\), wanted"),
        ({"patch_embed.proj.weight": torch.zeros(24, 3, 256)}, r"patches.weight has shape \(24, 3, 256\), wanted"),
        ({"patch_embed.proj.weight": torch.zeros(24, 4, 16, 16)}, r"weight has shape \(24, 4, 16, 16\), wanted"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(tmp_path, change, wanted):
    given = {name: value for name, value in {**plain(), **change}.items() if value is not None}
    with pytest.raises(InputError, match=wanted):
        load_weights(small(), "cavit", save(tmp_path, given))


def test_another_width_and_another_network_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"wanted \(96,.*give a file saved from timm's ViT-B/16"):
        load_weights(
            build("cavit", identities=5, frames=2, size=SIZE, trunk="narrow"), "cavit", save(tmp_path, plain())
        )
    resnet = build("resnet18", identities=5, frames=2)
    with pytest.raises(InputError, match=r"it holds conv1.weight.*; wanted are pos_embed, patch_embed.proj.weight"):
        load_weights(small(), "cavit", save(tmp_path, resnet.trunk.state_dict()))
    with pytest.raises(InputError, match="give a file saved from the torchvision ResNet of the same depth"):
        load_weights(resnet, "resnet18", save(tmp_path, plain()))
