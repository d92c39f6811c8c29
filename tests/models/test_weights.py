"""Trunk weights from a file."""

import pytest
import torch

from vreid_fast.errors import InputError
from vreid_fast.models import build, load_trunk_weights


@pytest.fixture
def trunk():
    return build("resnet18", identities=3, frames=2).trunk


def imagenet_file(path, trunk, **changes):
    """A file as torchvision saves it: the trunk's keys and a classifier of 1,000 classes."""
    state = {
        name: torch.randn_like(value) if value.is_floating_point() else value
        for name, value in trunk.state_dict().items()
    }
    state |= {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000), **changes}
    torch.save({name: value for name, value in state.items() if value is not None}, path)
    return state


def test_weights_load_by_name_and_what_is_left_out_is_said(tmp_path, trunk):
    state = imagenet_file(tmp_path / "w.pth", trunk, extra=torch.zeros(1))
    notes = load_trunk_weights(trunk, tmp_path / "w.pth")
    assert torch.equal(trunk.layer3[1].conv2.weight, state["layer3.1.conv2.weight"])
    assert sorted(note.split(":")[0] for note in notes) == ["extra", "fc.bias", "fc.weight"]


def test_old_files_without_batch_counters_load(tmp_path, trunk):
    absent = {name: None for name in trunk.state_dict() if name.endswith("num_batches_tracked")}
    imagenet_file(tmp_path / "w.pth", trunk, **absent)
    load_trunk_weights(trunk, tmp_path / "w.pth")


def test_containers_and_data_parallel_prefixes_are_unwrapped(tmp_path, trunk):
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in trunk.state_dict().items()}},
        tmp_path / "w.pth",
    )
    assert load_trunk_weights(trunk, tmp_path / "w.pth") == []


def test_each_key_that_does_not_fit_is_named(tmp_path, trunk):
    imagenet_file(tmp_path / "w.pth", trunk, **{"conv1.weight": torch.zeros(64, 1, 7, 7), "bn1.bias": None})
    before = trunk.bn1.weight.clone()
    with pytest.raises(
        InputError,
        match=r"conv1.weight has shape \(64, 1, 7, 7\), wanted \(64, 3, 7, 7\), bn1.bias is missing",
    ):
        load_trunk_weights(trunk, tmp_path / "w.pth")
    assert torch.equal(trunk.bn1.weight, before)


@pytest.mark.parametrize("content", [None, b"", b"not weights at all", "list"])
def test_files_that_are_no_weights_are_refused(tmp_path, trunk, content):
    path = tmp_path / "w.pth"
    if content == "list":
        torch.save([1, 2], path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="weights .*w.pth"):
        load_trunk_weights(trunk, path)
