"""Every published network in a run: all methods, streams, test rules, and what is refused in one line."""

import json
import re

import pytest
import torch
from small_runs import flags, knobs, real_steps
from test_waits import steps_of, without_waits

from vreid_fast.evaluate import main as evaluate
from vreid_fast.losses import batch_hard_triplet, cross_entropy
from vreid_fast.train import main, train
from vreid_fast.training.build import load_network
from vreid_fast.training.compute import Compute
from vreid_fast.training.logbook import read_history

# As narrow as they get; each with its authors' T and way to test.
NETWORKS = {
    "ap3d": {"frames": 2, "train_clips": "window", "test_clips": "contiguous", "test_frames": 5, "triplet": 1.0},
    "ap3dnl": {"frames": 2, "train_clips": "window", "test_clips": "contiguous", "test_frames": 5},
    "tclnet": {"frames": 4, "train_clips": "window", "test_clips": "completed", "margin": 0.4},
    "psta": {"frames": 8, "train_clips": "bins", "test_clips": "dense", "smoothing": 0.1, "per_epoch": "people"},
    "ap3d_i3d": {"frames": 2}, "ap3d_nl": {"frames": 2}, "ap3d_c2d": {"frames": 2}, "sanet": {"frames": 2},
    "cavit": {"frames": 2, "train_clips": "chunks", "triplet": 0.0, "smoothing": 0.1, "recompute": True},
    "cal": {"frames": 2, "stride": 4, "train_clips": "window", "test_clips": "interleaved"},
}  # fmt: skip
SHARED = {"trunk": "narrow", "height": 64, "width": 32, "source_steps": 2, "adapt_steps": 2, "bn_batches": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("ap3d", "source"), ("ap3d", "paper"), ("ap3dnl", "plus"), ("tclnet", "source"), ("tclnet", "bn_adapt"),
        ("tclnet", "paper"), ("tclnet", "plus"), ("tclnet", "glt"), ("psta", "paper"), ("psta", "plus"),
        ("cavit", "source"), ("cavit", "paper"), ("cavit", "glt"),
    ],
)  # fmt: skip
def test_methods_run_on_every_network(data, tmp_path, name, method):
    run = tmp_path / "run"
    result = train(knobs(data, run, **SHARED, **NETWORKS[name], network=name, method=method))
    rows = [row for row in read_history(run / "metrics.jsonl") if "losses" in row]
    assert len(rows) == 4 and all(row["gradient_norm"] > 0 for row in rows)
    assert set(rows[-1]["losses"]) >= ({"cross_entropy"} if name == "cavit" else {"cross_entropy", "triplet"})
    if method == "paper":
        assert {"l1s", "l2s", "l3s", "l1c", "l2c"} <= set(rows[-1]["losses"])
    assert 0 < result["student"]["map"] <= 1
    network, config, _ = load_network(run / "last.pt")
    assert (config.network.trunk, network.trunk.width) == ("narrow", 96 if name == "cavit" else 512)
    # The checkpoint is scored by the other command too.
    target = data["target"]
    assert evaluate(["--checkpoint", str(run / "last.pt"), "--data", target, "--json", str(tmp_path / "s.json")]) == 0


def test_evaluation_takes_every_rule_and_another_t(data, tmp_path, capsys):
    run = tmp_path / "run"
    train(knobs(data, run, **SHARED, **NETWORKS["ap3d"], network="ap3d", method="source"))
    words = ["--checkpoint", str(run / "last.pt"), "--data", data["target"]]
    found = {}
    for rule, frames in (("contiguous", 32), ("contiguous", 1), ("completed", 2), ("dense", 2), ("interleaved", 2)):
        assert evaluate([*words, "--clips", rule, "--frames", str(frames), "--json", str(tmp_path / "s.json")]) == 0
        found[rule, frames] = json.loads((tmp_path / "s.json").read_text())["student"]["map"]
    assert all(0 < score <= 1 for score in found.values())
    tclnet = tmp_path / "tclnet"
    train(knobs(data, tclnet, **SHARED, **NETWORKS["tclnet"], network="tclnet", method="source"))
    words = ["--checkpoint", str(tclnet / "last.pt"), "--data", data["target"]]
    capsys.readouterr()
    for wrong in (["--frames", "8"], ["--clips", "contiguous"]):
        assert evaluate([*words, *wrong]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "tclnet" in error
    assert evaluate([*words, "--clips", "completed", "--json", str(tmp_path / "s.json")]) == 0


@pytest.mark.parametrize("name", ["ap3d_i3d", "ap3d_nl", "ap3d_c2d", "sanet", "cal", "cavit"])
def test_variants_train_and_are_scored(data, tmp_path, name):
    train(knobs(data, tmp_path / "run", **SHARED, **NETWORKS[name], network=name, method="source"))
    assert load_network(tmp_path / "run" / "last.pt")[0].frames == 2


@pytest.mark.parametrize("name", ["ap3dnl", "tclnet", "psta", "cavit"])
def test_nothing_waits_for_the_device(tmp_path, name, monkeypatch):
    shape = {**SHARED, **NETWORKS[name], "adapt_steps": 40}
    (session, steps, batches), seen = (
        real_steps(tmp_path, "paper", torch.device("cpu"), **{**shape, "network": name}),
        [],
    )
    with session, batches(3) as loader:
        for number, step in enumerate(steps_of(session, steps, loader)):
            step()
            if number == 0:
                monkeypatch.setattr(session.learner.optimiser, "step", lambda *_: None)
                monkeypatch.setattr(Compute, "adapt", without_waits(Compute.adapt, seen))
    assert len(seen) == 2


@pytest.mark.parametrize("name", ["tclnet", "psta"])
def test_losses_are_summed_over_streams(tmp_path, name):
    shape = {**SHARED, **NETWORKS[name], "network": name, "adapt_steps": 40}
    session, steps, batches = real_steps(tmp_path, "source", torch.device("cpu"), **shape)
    with session, batches(1) as loader:
        ((source, *_),) = list(loader)
        compute, identity = steps.compute, steps.compute.identity
        output = session.learner.student(source.clips)
        labels = compute.labels[source.tracklets]
        found, _ = compute._identity_losses(output, source.tracklets)
    streams = output.streams
    assert len(streams) == {"tclnet": 2, "psta": 3}[name]
    expected = {
        "cross_entropy": sum(cross_entropy(one.logits, labels, identity.smoothing) for one in streams),
        "triplet": sum(batch_hard_triplet(one.clip, labels, identity.margin, "cosine") for one in streams),
    }
    for loss, value in expected.items():
        torch.testing.assert_close(found[loss], value)
    assert identity.smoothing == NETWORKS[name].get("smoothing", 0)
    # Every stream's classifier learns.
    sum(found.values()).backward()
    assert all(layer.weight.grad.abs().max() > 0 for layer in session.learner.student.classifier)


def test_a_run_learns_from_logits_with_their_margin(tmp_path):
    shape = {**SHARED, **NETWORKS["cavit"], "network": "cavit"}
    session, steps, batches = real_steps(tmp_path, "source", torch.device("cpu"), **shape)
    with session, batches(1) as loader:
        ((source, *_),) = list(loader)
        output, labels = session.learner.student(source.clips), steps.compute.labels[source.tracklets]
        found, _ = steps.compute._identity_losses(output, source.tracklets)
    student = session.learner.student
    assert found.keys() == {"cross_entropy"} and student.trunk.recompute
    wanted = cross_entropy(student.with_margin(output.logits, labels), labels, 0.1)
    torch.testing.assert_close(found["cross_entropy"], wanted)
    assert found["cross_entropy"] > cross_entropy(output.logits, labels, 0.1) + 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"network": "small", "trunk": "narrow"},
            "--trunk narrow: network small has one trunk; .* resnet50, .*psta",
        ),
        ({"network": "tclnet", "frames": 8}, "--frames 8: network tclnet takes clips of 4 frames; set --frames 4"),
        (
            {"network": "psta", "frames": 4},
            "--frames 4: network psta takes .* multiple of 8 frames; set --frames 8",
        ),
        ({"network": "psta", "frames": 8, "test_frames": 12}, "--test_frames 12: network psta takes .* multiple of 8"),
        (
            {"network": "tclnet", "frames": 4, "test_frames": 8},
            "--test_frames 8: network tclnet is built for .* of 4",
        ),
        ({"network": "tclnet", "frames": 4, "test_clips": "contiguous"}, "contiguous: .* set --test_clips completed"),
        ({"network": "psta", "frames": 8, "test_clips": "contiguous"}, "contiguous: .* set --test_clips completed"),
        ({"network": "tclnet", "frames": 4, "height": 32}, "32 x 32 pixels .* maps of 2 x 2, wanted more than 3 rows"),
        ({"network": "ap3dnl", "height": 16, "width": 8}, "maps of 1 x 1, wanted at least 2 x 2; set --height 256"),
        (
            {"network": "cavit", "width": 24},
            "cavit: frames of 64 x 24 pixels, wanted at least 32 x 32.* set --height 256",
        ),
        ({"network": "psta", "frames": 8, "recompute": "true"}, "--recompute true: network psta has no blocks"),
        ({"network": "ap3d", "info_nce": 0.1}, "--info_nce 0.1: network ap3d has no projection for it"),
        ({"drops": "[40, 30]"}, "--drops must be rising numbers, got"),
        ({"test_clips": "some"}, "test_clips"),
        ({"stride": 0}, "--stride must be at least 1"),
    ],
)
def test_what_a_network_cannot_take_is_one_line(data, tmp_path, capsys, changes, said):
    words = {"trunk": "narrow", "height": 64, "width": 32, **changes} if changes.get("network") else changes
    assert main(flags(data, tmp_path / "run", **words)) == 2
    error = capsys.readouterr().err
    assert re.search(said, error) and error.count("\n") == 1, error
