"""The whole path on a small tree of images: result, resume, stops, knobs, and what is said when it cannot run."""

import csv
import json
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from small_runs import flags, knobs, logged, states_equal, write_people

from vreid_fast.errors import InputError, Stopped
from vreid_fast.train import main, train
from vreid_fast.training import steps as steps_module
from vreid_fast.training.build import initial_network, load_network
from vreid_fast.training.logbook import read_history


def test_a_run_leaves_what_is_promised(paper_run):
    result = json.loads((paper_run / "result.json").read_text())
    for name in ("source", "student", "student_camera", "teacher"):
        assert {"rank1", "rank5", "rank10", "rank20", "map", "queries"} <= set(result[name])
        assert 0 <= result[name]["map"] <= 1 and result[name]["queries"] == 24
    assert result["seconds"] > 0 and result["clips_per_second"] > 0
    assert (paper_run / "config.yaml").is_file() and (paper_run / "last.pt").is_file()
    assert any(path.name.startswith("events") for path in (paper_run / "tensorboard").iterdir())
    assert "<html" in (paper_run / "report.html").read_text().lower()


def test_every_step_logs_every_term(paper_run):
    rows = [row for row in logged(paper_run) if "losses" in row]
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert set(rows[0]["losses"]) == {"cross_entropy", "triplet"}
    assert set(rows[-1]["losses"]) == {"cross_entropy", "triplet", "l1s", "l2s", "l3s", "l1c", "l2c"}
    assert {"learning_rate", "reversal", "disagreement", "domain_accuracy_frames", "gradient_norm"} <= set(rows[-1])


@pytest.mark.parametrize("stop_after", [2, 4, 6])
def test_resume_gives_the_same_losses_and_scores_bit_for_bit(data, paper_run, tmp_path, stop_after, interrupt_step):
    run = tmp_path / "run"
    interrupt_step(stop_after)
    with pytest.raises(Stopped, match=f"stopped at step {stop_after} of 8; go on with --resume {run}"):
        train(knobs(data, run))
    assert main(["--resume", str(run)]) == 0
    assert logged(run) == logged(paper_run)
    one, other = (torch.load(path / "last.pt", weights_only=True) for path in (run, paper_run))
    assert states_equal(one["student"], other["student"])
    assert states_equal(one["teacher"]["network"], other["teacher"]["network"])


def test_a_run_that_was_killed_goes_on_from_its_last_checkpoint(data, paper_run, tmp_path):
    run = tmp_path / "run"
    config = knobs(data, run, checkpoint_every=3)
    (tmp_path / "knobs.yaml").write_text(config.to_yaml())
    program = f"""
import os, signal
from vreid_fast import train
from vreid_fast.training.session import Session
plain = Session.advance
def advance(self, *arguments, **keywords):
    if self.learner.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    plain(self, *arguments, **keywords)
Session.advance = advance
train.main(["--config", "{tmp_path / "knobs.yaml"}"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert main(["--resume", str(run)]) == 0
    assert logged(run) == logged(paper_run)
    one, other = (torch.load(path / "last.pt", weights_only=True) for path in (run, paper_run))
    assert states_equal(one["student"], other["student"])


@pytest.mark.parametrize(
    ("number", "at"),
    [
        (signal.SIGINT, "statistics"), (signal.SIGTERM, "teacher"), (signal.SIGKILL, "teacher"),
        (signal.SIGKILL, "report"),
    ],
)  # fmt: skip
def test_a_run_ended_in_its_last_scoring_has_but_that_to_do(data, paper_run, tmp_path, number, at):
    run = tmp_path / "run"
    (tmp_path / "knobs.yaml").write_text(knobs(data, run).to_yaml())
    program = f"""
import os, sys
from vreid_fast import train
from vreid_fast.training.session import Session
def end():
    os.kill(os.getpid(), {number})
plain, adopt, write = Session.note_scores, train.adopt_target_statistics, train.write_results
def note_scores(self, **scores):
    plain(self, **scores)
    if "{at}" in scores:
        end()
def adopted(*arguments):
    if "{at}" == "statistics":
        end()
    adopt(*arguments)
def written(*arguments):
    if "{at}" == "report":
        end()
    return write(*arguments)
Session.note_scores, train.adopt_target_statistics, train.write_results = note_scores, adopted, written
sys.exit(train.main(["--config", "{tmp_path / "knobs.yaml"}"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    if number == signal.SIGKILL:
        assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    else:
        assert done.returncode == 130 and "Traceback" not in done.stderr, done.stderr[-2000:]
        assert f"stopped at step 8 of 8, while scoring; --resume {run} scores what is in {run}/last.pt" in done.stdout
    assert torch.load(run / "last.pt", weights_only=True)["step"] == 8 and not (run / "result.json").exists()
    assert main(["--resume", str(run)]) == 0
    assert logged(run) == logged(paper_run)


def test_a_finished_run_without_its_result_is_scored_again(paper_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(paper_run, run)
    before = json.loads((run / "result.json").read_text())
    (run / "result.json").unlink()
    assert main(["--resume", str(run)]) == 0
    after = json.loads((run / "result.json").read_text())
    assert all(after[row] == before[row] for row in ("source", "student", "student_camera", "teacher"))
    assert logged(run) == logged(paper_run)


def test_target_identities_are_never_read(data, paper_run, tmp_path):
    """Another labelling of the target's training tracklets changes not one weight."""
    target = tmp_path / "target"
    write_people(target, 1)
    rows = [line.split(",") for line in (target / "tracklets.csv").read_text().splitlines()]
    shuffled = [rows[0]] + [
        [path, str((int(identity) * 5 + row) % 4), camera] for row, (path, identity, camera) in enumerate(rows[1:])
    ]
    with open(target / "tracklets.csv", "w", newline="") as file:
        csv.writer(file).writerows(shuffled)
    train(knobs({**data, "target": f"folder:{target}"}, tmp_path / "run"))
    one, other = (torch.load(path / "last.pt", weights_only=True) for path in (tmp_path / "run", paper_run))
    assert states_equal(one["student"], other["student"])


@pytest.mark.parametrize("term", ["l1s", "l2s", "l3s", "l1c", "l2c", "triplet"])
def test_each_term_can_be_switched_off(data, tmp_path, term):
    train(knobs(data, tmp_path / "run", **{term: 0.0}, source_steps=1, adapt_steps=2))
    last = [row for row in logged(tmp_path / "run") if "losses" in row][-1]
    assert term not in last["losses"] and len(last["losses"]) == 6


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "source"}, {"method": "bn_adapt"}, {"cluster_over": "batch"}, {"camera_aware": False},
        {"loss_weights": "authors"}, {"loss_weights": "uncertainty"}, {"precision": "bf16"}, {"test_clips": "all"},
        {"l1c": 0.0, "l2c": 0.0}, {"l1s": 0.0, "l2s": 0.0, "l3s": 0.0}, {"adapt_steps": 0}, {"distance": "euclidean"},
        {"loader": "auto"},
    ],
    ids=str,
)  # fmt: skip
def test_other_knobs_run_to_the_end(data, tmp_path, changes):
    result = train(knobs(data, tmp_path / "run", **{"source_steps": 2, "adapt_steps": 2, **changes}))
    assert 0 <= result["student"]["map"] <= 1
    assert ("teacher" in result) == (changes.get("method") in (None, "paper"))


def test_methods_share_the_first_stage(data, paper_run, tmp_path):
    result = train(knobs(data, tmp_path / "run", method="source"))
    assert result["source"] == json.loads((paper_run / "result.json").read_text())["source"]


def test_an_unlabelled_target_adapts_and_says_that_nothing_is_scored(data, tmp_path, capsys):
    target = write_people(tmp_path / "target", 1, labelled=False)
    assert main(flags({**data, "target": f"folder:{target}"}, tmp_path / "run")) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert "student" not in result and result["seconds"] > 0
    assert "no scores" in capsys.readouterr().out


def test_a_target_smaller_than_its_batch_is_said(data, tmp_path, capsys):
    train(knobs(data, tmp_path / "run", target_batch=30, source_steps=1, adapt_steps=1))
    assert "a batch of 30 repeats tracklets: the target has 24" in capsys.readouterr().out


def test_an_earlier_run_is_moved_aside(data, tmp_path):
    short = {"source_steps": 1, "adapt_steps": 0}
    train(knobs(data, tmp_path / "run", **short))
    first = (tmp_path / "run" / "result.json").read_text()
    train(knobs(data, tmp_path / "run", **short, seed=1))
    assert (tmp_path / "run-1" / "result.json").read_text() == first


def test_student_and_teacher_see_views_of_their_own(data, tmp_path, monkeypatch):
    plain, saw = steps_module.Steps.adapt, []

    def adapt(self, source, target):
        networks, inputs = self.session.learner.networks(), {"student": [], "teacher": []}
        hooks = [
            network.register_forward_pre_hook(lambda _, clips, name=name: inputs[name].extend(clips))
            for name, network in networks.items()
        ]
        plain(self, source, target)
        for hook in hooks:
            hook.remove()
        student = zip(inputs["student"], (source.clips, target.views[0]), strict=True)
        assert all(torch.equal(*pair) for pair in student)
        assert torch.equal(inputs["teacher"][0], target.views[1]) and len(inputs["teacher"]) == 1
        saw.append(torch.equal(*target.views))

    monkeypatch.setattr(steps_module.Steps, "adapt", adapt)
    train(knobs(data, tmp_path / "run"))
    assert saw == [False] * 4


def test_consistency_rises_over_its_ramp(data, tmp_path):
    train(knobs(data, tmp_path / "run", consistency_ramp=0.5, l1c=0.4, l2c=2.0))
    weights = [row["weights"] for row in logged(tmp_path / "run") if row["stage"] == "adapt" and "weights" in row]
    assert [row["l1c"] for row in weights] == pytest.approx([0.2, 0.4, 0.4, 0.4])
    assert [row["l2c"] for row in weights] == pytest.approx([1.0, 2.0, 2.0, 2.0])
    assert [row["l1s"] for row in weights] == [1.0] * 4


def test_a_nan_loss_stops_the_run_and_keeps_the_checkpoint(data, tmp_path, capsys, monkeypatch):
    plain = steps_module.batch_hard_triplet
    calls = 0

    def broken(*arguments):
        nonlocal calls
        calls += 1
        return plain(*arguments) * (float("nan") if calls == 5 else 1.0)

    monkeypatch.setattr(steps_module, "batch_hard_triplet", broken)
    assert main(flags(data, tmp_path / "run")) != 0
    said = capsys.readouterr().err
    assert "the loss triplet is not finite at step 5" in said and "last.pt (step 3)" in said and "Traceback" not in said
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert state["step"] == 3 and all(value.isfinite().all() for value in state["student"].values())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": "folder:/nowhere"}, "/nowhere"),
        ({"target": "tapes:/x"}, "tapes.*folder.*mars"),
        ({"network": "resnet99"}, "resnet99: unknown; the networks are small"),
        ({"people": 7}, "7.*6 people"),
        ({"weights": "/nowhere.pth"}, "no such file"),
        ({"device": "cuda"}, "--device cuda: .*use --device auto or cpu"),
        ({"precision": "fp16"}, "fp16 needs a GPU"),
        ({"run": "/proc/none/run"}, "--run /proc/none/run"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU where there is none")
def test_bad_input_is_one_line_and_a_non_zero_exit(data, tmp_path, capsys, changes, said):
    import re

    assert main(flags(data, **{"run": tmp_path / "run", **changes})) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and re.search(said, error), error


def test_one_person_only_is_refused(data, tmp_path, capsys):
    source = write_people(tmp_path / "source", 0, people=1)
    assert main(flags({**data, "source": f"folder:{source}"}, tmp_path / "run")) == 2
    assert "wanted at least 2 people to tell apart, found 1" in capsys.readouterr().err


def test_an_unlabelled_source_is_refused(data, tmp_path, capsys):
    source = write_people(tmp_path / "source", 0, labelled=False)
    assert main(flags({**data, "source": f"folder:{source}"}, tmp_path / "run")) == 2
    assert "have no identity" in capsys.readouterr().err


def test_a_damaged_image_is_named_and_the_run_ends(data, tmp_path, capsys):
    source = write_people(tmp_path / "source", 0)
    for path in source.glob("0002*/*.jpg"):
        path.write_bytes(b"")
    assert main(flags({**data, "source": f"folder:{source}"}, tmp_path / "run", source_steps=20)) == 2
    said = capsys.readouterr().err
    assert "error: " in said and "0002" in said and "Traceback" not in said


def test_resume_of_another_network_or_a_damaged_checkpoint_is_refused(data, paper_run, tmp_path, capsys):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(paper_run, run)
    assert main(["--resume", str(run), "--network", "resnet18"]) == 2
    assert "network 'small' where this run has 'resnet18'" in capsys.readouterr().err
    assert (run / "config.yaml").read_text() == (paper_run / "config.yaml").read_text()
    (run / "last.pt").write_bytes((run / "last.pt").read_bytes()[:1000])
    assert main(["--resume", str(run)]) == 2
    assert "damaged" in capsys.readouterr().err


def test_resume_of_a_finished_run_shows_its_scores_again(paper_run, capsys):
    before = (paper_run / "result.json").read_text()
    assert main(["--resume", str(paper_run)]) == 0
    assert (paper_run / "result.json").read_text() == before
    assert "mAP" in capsys.readouterr().out


def test_started_from_a_checkpoint_the_second_stage_is_the_same(data, tmp_path):
    whole = train(knobs(data, tmp_path / "whole"))
    train(knobs(data, tmp_path / "first", method="source", adapt_steps=0))
    started = train(knobs(data, tmp_path / "second", start=str(tmp_path / "first" / "last.pt")))
    assert {**whole, "seconds": 0, "clips_per_second": 0} == {**started, "seconds": 0, "clips_per_second": 0}
    states = [torch.load(tmp_path / run / "last.pt")["student"] for run in ("whole", "second")]
    assert states_equal(*states)
    steps = [row["step"] for row in read_history(tmp_path / "second" / "metrics.jsonl") if "loss" in row]
    assert steps == [5, 6, 7, 8]


def test_start_refuses_another_network_or_number_of_people_unless_asked(data, tmp_path):
    people = f"folder:{write_people(tmp_path / 'few', 3, people=4)}"
    train(knobs(data, tmp_path / "first", method="source", adapt_steps=0))
    start = str(tmp_path / "first" / "last.pt")
    for change, message in (({"frames": 3}, "frames 2 where"), ({"source": people}, "identities 6 where .* 4")):
        with pytest.raises(InputError, match=message):
            train(knobs(data, tmp_path / "other", start=start, **change))
    result = train(knobs(data, tmp_path / "dropped", start=start, source=people, drop_classifier=True))
    assert result["student"]["map"] > 0
    assert torch.load(tmp_path / "dropped" / "last.pt")["student"]["classifier.weight"].shape[0] == 4


def test_the_untrained_network_is_scored(data, tmp_path):
    result = train(knobs(data, tmp_path / "run", source_steps=2, adapt_steps=2))
    network, _ = initial_network(knobs(data, tmp_path / "run"), 6)
    untrained = load_network(tmp_path / "run" / "last.pt")[0]
    assert next(iter(result)) == "untrained" and result["untrained"] != result["source"]
    assert not torch.equal(network.trunk.conv1.weight, untrained.trunk.conv1.weight)


def test_the_authors_steps_span_the_run_and_a_cosine_each_stage(data, tmp_path):
    rates = {}
    for schedule in ("steps", "cosine"):
        run = tmp_path / schedule
        train(knobs(data, run, schedule=schedule, method="source", warmup_steps=0, adapt_lr=1e-3))
        rates[schedule] = [row["learning_rate"] for row in logged(run) if "losses" in row]
    train(knobs(data, tmp_path / "first", schedule="steps", method="source", stages="source", warmup_steps=0))
    assert [row["learning_rate"] for row in logged(tmp_path / "first") if "losses" in row] == rates["steps"][:4]
    # Drops after 40, 80 and 120 of 150 epochs, which are 8 steps here.
    assert rates["steps"] == pytest.approx([1e-3, 1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5, 1e-6])
    assert rates["cosine"][:4] == rates["cosine"][4:] and rates["cosine"][0] == 1e-3 > rates["cosine"][3]
