"""Networks and their weights, as the command line takes them."""

import re

import pytest
import torch
from authors import author_state
from small_runs import flags, knobs, write_people

from vreid_fast.train import main, train
from vreid_fast.training.build import load_network
from vreid_fast.training.logbook import read_history

SINET = {
    "network": "sinet", "height": 64, "width": 48, "frames": 4, "info_nce": 0.001, "source_steps": 1, "adapt_steps": 1,
    "bn_batches": 1, "people": 2, "target_batch": 4,
}  # fmt: skip


@pytest.mark.slow
def test_sinet_trains_from_a_whole_file_and_its_checkpoint_is_read_again(data, tmp_path):
    state = author_state("sinet", identities=9)
    torch.save({"state_dict": state, "rank1": 0.5}, tmp_path / "w.pth")
    run = tmp_path / "run"
    train(knobs(data, run, **SINET, weights=str(tmp_path / "w.pth"), drop_classifier=True))
    rows = read_history(run / "metrics.jsonl")
    losses = [row["losses"]["info_nce"] for row in rows if "losses" in row]
    assert len(losses) == 2 and all(loss > 0 for loss in losses)
    network, config, _ = load_network(run / "last.pt")
    assert (config.clip.height, config.clip.width) == network.size == (64, 48)
    assert network.embed(torch.rand(1, 4, 3, 64, 48)).isfinite().all()
    # One step's rate is small: the weights are still near those of the file.
    assert (network.projection.weight - state["projection.weight"].flatten(1)).abs().max() < 0.01


@pytest.mark.slow
def test_the_papers_preset_runs_both_stages_at_its_own_size(tmp_path):
    """Forward and backward of SINet at 256 x 128; a target without labels, so that no time goes into scores."""
    source = write_people(tmp_path / "source", 0, people=2, per_camera=1)
    target = write_people(tmp_path / "target", 1, people=2, per_camera=1, labelled=False)
    small = {
        "source": f"folder:{source}", "target": f"folder:{target}", "people": 2, "per_person": 2, "target_batch": 2,
        "clusters": 2, "source_steps": 1, "adapt_steps": 1, "bn_batches": 1, "log_every": 1, "threads": 1,
        "device": "cpu", "loader": "torch", "run": tmp_path / "run",
    }  # fmt: skip
    assert main(["--config", "paper", *(f"--{knob}={value}" for knob, value in small.items())]) == 0
    first, second = (row for row in read_history(tmp_path / "run" / "metrics.jsonl") if "losses" in row)
    assert set(first["losses"]) == {"cross_entropy", "triplet", "info_nce"}
    assert set(second["losses"]) == {*first["losses"], "l1s", "l2s", "l3s", "l1c", "l2c"}
    assert all(row["gradient_norm"] > 0 for row in (first, second))
    network, config, _ = load_network(tmp_path / "run" / "last.pt")
    assert (config.network.network, network.size) == ("sinet", (256, 128))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"info_nce": 0.1}, "--info_nce 0.1: network small has no projection for it; .* sinet, .*sanet, c2d"),
        ({"network": "c2d", "info_nce": 0.1, "frames": 1}, "--info_nce 0.1 compares frames .* --frames 2 or more"),
        ({"info_nce": -1.0}, "--info_nce must be at least 0"),
        ({"info_nce_temperature": 0.0}, "--info_nce_temperature must be above 0"),
        ({"network": "sinet", "frames": 5}, "--frames 5: .* takes clips of 4 or 8 frames"),
        ({"network": "sinet", "frames": 4}, "32 x 16 pixels give .* set --height 256 --width 128"),
    ],
)
def test_what_a_network_cannot_take_is_one_line(data, tmp_path, capsys, changes, said):
    assert main(flags(data, tmp_path / "run", **changes)) == 2
    error = capsys.readouterr().err
    assert re.search(said, error) and error.count("\n") == 1
