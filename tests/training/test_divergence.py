"""Runs that diverge: one line that names what and when, exit code 2, and the last good checkpoint stays."""

import re

import pytest
import torch
from small_runs import flags

from vreid_fast import train as program
from vreid_fast.evaluate import main as evaluate
from vreid_fast.train import main
from vreid_fast.training import target_statistics
from vreid_fast.training.compute import Compute
from vreid_fast.training.teacher import MeanTeacher


def error_of(capsys):
    said = capsys.readouterr().err
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    return line


def finite(run):
    state = torch.load(run / "last.pt", weights_only=True)
    networks = [state["student"], *([state["teacher"]["network"]] if state["teacher"] else [])]
    return state["step"], all(value.isfinite().all() for network in networks for value in network.values())


@pytest.mark.parametrize(
    ("rate", "steps", "wanted"),
    [
        ("1e30", 1, "the student diverged by step 1: features of 24 of 24 tracklets are not finite, .*: its weights"),
        ("1e30", 2, "the loss .* not finite at step 2"),
        ("1e38", 1, "diverged at step 1: the learning rate or --weight_decay is beyond the largest float32 number"),
        ("1e38", 2, "diverged at step 1: the learning rate"),
    ],
)
def test_a_run_whose_last_steps_ruin_the_weights(data, tmp_path, capsys, rate, steps, wanted):
    words = flags(
        data, tmp_path / "run", source_lr=rate, warmup_steps=0, source_steps=steps, adapt_steps=0, method="source"
    )
    assert main(words) == 2
    line = error_of(capsys)
    assert re.search(f"{wanted}.*no checkpoint was written yet; a lower --source_lr", line), line
    assert not (tmp_path / "run" / "last.pt").exists()


def spoil(value):
    with torch.no_grad():
        value.view(-1)[0] = torch.nan


@pytest.mark.parametrize(("adapt_steps", "last", "good"), [(0, 4, 3), (4, 8, 6)])
def test_weights_that_turn_nan_in_a_last_step_keep_the_good_checkpoint(
    data, tmp_path, capsys, monkeypatch, adapt_steps, last, good
):
    plain = Compute._gradient_step

    def spoiling(self, loss):
        norm = plain(self, loss)
        if self.learner.step == last - 1:
            spoil(self.learner.student.trunk.conv1.weight)
        return norm

    monkeypatch.setattr(Compute, "_gradient_step", spoiling)
    assert main(flags(data, tmp_path / "run", method="source", adapt_steps=adapt_steps)) == 2
    line = error_of(capsys)
    assert f"diverged at step {last}: student.trunk.conv1.weight is not finite" in line
    assert "last good checkpoint is" in line and f"last.pt (step {good})" in line
    assert finite(tmp_path / "run") == (good, True)


def test_a_poisoned_teacher_is_named_in_its_first_step(data, tmp_path, capsys, monkeypatch):
    plain, calls = MeanTeacher.follow, []

    def follow(self):
        plain(self)
        calls.append(1)
        if len(calls) == 1:
            spoil(self.network.trunk.conv1.weight)

    monkeypatch.setattr(MeanTeacher, "follow", follow)
    assert main(flags(data, tmp_path / "run", log_every=1, checkpoint_every=100)) == 2
    line = error_of(capsys)
    assert "the features of the teacher are not finite at step 6" in line and "--adapt_lr" in line


def test_nan_statistics_of_the_target_are_named(data, tmp_path, capsys, monkeypatch):
    plain = target_statistics.recompute_statistics

    def recompute(network, batches):
        plain(network, batches)
        spoil(network.neck.running_mean)

    monkeypatch.setattr(target_statistics, "recompute_statistics", recompute)
    assert main(flags(data, tmp_path / "run", method="bn_adapt")) == 2
    line = error_of(capsys)
    assert (
        "the student diverged by step 8: batch-norm statistics of the target are not finite (neck.running_mean)" in line
    )
    assert finite(tmp_path / "run") == (8, True)


def test_nan_statistics_of_a_camera_are_named(data, tmp_path, capsys, monkeypatch):
    plain = target_statistics.camera_statistics

    def measure(network, batches):
        found = plain(network, batches)
        spoil(found[1]["neck.running_mean"])
        return found

    monkeypatch.setattr(target_statistics, "camera_statistics", measure)
    assert main(flags(data, tmp_path / "run", method="plus")) == 2
    assert "the teacher diverged by step 4: batch-norm statistics of camera 1 of the target" in error_of(capsys)


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_features_that_overflow_in_scoring_are_named(paper_run, data, tmp_path, capsys, name):
    state = torch.load(paper_run / "last.pt", weights_only=True)
    (state["student"] if name == "student" else state["teacher"]["network"])["neck.weight"].fill_(3e38)
    torch.save(state, tmp_path / "last.pt")
    words = ["--checkpoint", str(tmp_path / "last.pt"), "--data", data["target"], "--network", name]
    assert evaluate(words) == 2
    line = error_of(capsys)
    assert f"{tmp_path}/last.pt, {name}: features of" in line and "its weights are finite, but what it computes" in line


def test_features_that_overflow_at_the_end_of_training_are_named(data, tmp_path, capsys, monkeypatch):
    plain = program.adopt_target_statistics

    def adopt(network, *arguments):
        plain(network, *arguments)
        torch.nn.init.constant_(network.neck.weight, 3e38)

    monkeypatch.setattr(program, "adopt_target_statistics", adopt)
    assert main(flags(data, tmp_path / "run", method="bn_adapt")) == 2
    line = error_of(capsys)
    assert "the student diverged by step 8: features of" in line and "last.pt (step 8)" in line


def test_another_error_of_a_gradient_step_stays_what_it_is(data, tmp_path, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("another")

    monkeypatch.setattr("vreid_fast.device.Precision.step", broken)
    with pytest.raises(RuntimeError, match="another"):
        main(flags(data, tmp_path / "run"))


@pytest.mark.parametrize(("distance", "code"), [("cosine", 0), ("euclidean", 2), ("dot", 2)])
def test_long_features_are_refused_where_their_distances_overflow(paper_run, data, tmp_path, capsys, distance, code):
    state = torch.load(paper_run / "last.pt", weights_only=True)
    state["student"]["neck.weight"].fill_(1e25)
    torch.save(state, tmp_path / "last.pt")
    words = ["--checkpoint", str(tmp_path / "last.pt"), "--data", data["target"], "--distance", distance]
    assert evaluate(words) == code
    assert code == 0 or "what it computes from them overflows" in error_of(capsys)
