"""Checkpoints: atomic, readable, refused with a reason."""

import pytest
import torch
from full_disk import largest_file

from vreid_fast.errors import InputError
from vreid_fast.training import checkpoint


def test_round_trip(tmp_path):
    state = {
        "step": 3,
        "student": {"w": torch.randn(4)},
        "scores": {"source": {"map": 0.25, "cmc": [0.5, 1.0]}},
    }
    checkpoint.save(tmp_path / "last.pt", state)
    loaded = checkpoint.load(tmp_path / "last.pt")
    assert loaded["step"] == 3 and torch.equal(loaded["student"]["w"], state["student"]["w"])
    assert loaded["scores"] == state["scores"]
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_a_failing_write_keeps_the_old_file(tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "last.pt", {"step": 1})

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path / "last.pt", {"step": 2})
    monkeypatch.undo()
    assert checkpoint.load(tmp_path / "last.pt")["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("size", [0, 5_000, 300_000])
def test_a_full_disk_is_told_as_such_and_keeps_the_old_file(tmp_path, size):
    checkpoint.save(tmp_path / "last.pt", {"step": 1})
    with largest_file(size), pytest.raises(OSError, match="File too large") as error:
        checkpoint.save(tmp_path / "last.pt", {"step": 2, "w": torch.zeros(100, 1000)})
    assert error.value.filename == str(tmp_path / "last.pt")
    assert checkpoint.load(tmp_path / "last.pt")["step"] == 1 and len(list(tmp_path.iterdir())) == 1


def test_missing_damaged_and_foreign_files_are_explained(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        checkpoint.load(tmp_path / "last.pt")
    checkpoint.save(tmp_path / "last.pt", {"step": 1, "w": torch.randn(1000)})
    content = (tmp_path / "last.pt").read_bytes()
    for cut in (0, 10, len(content) // 2):
        (tmp_path / "cut.pt").write_bytes(content[:cut])
        with pytest.raises(InputError, match="it is empty|it is damaged or"):
            checkpoint.load(tmp_path / "cut.pt")
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="not written by vreid_fast.train; a file of weights goes to --weights"):
        checkpoint.load(tmp_path / "weights.pt")
    torch.save({"format": 99}, tmp_path / "new.pt")
    with pytest.raises(InputError, match="format 99, this version reads 2"):
        checkpoint.load(tmp_path / "new.pt")


def test_another_network_or_number_of_people_is_refused():
    state = {"network": "small", "identities": 100, "frames": 4}
    checkpoint.check_same("last.pt", state, network="small", identities=100, frames=4)
    with pytest.raises(InputError, match="identities 100 where this run has 7"):
        checkpoint.check_same("last.pt", state, network="small", identities=7, frames=4)
