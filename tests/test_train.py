"""The whole path on a small tree of images: result, resume, stops, knobs, and what is said when it cannot run."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from small_runs import flags, knobs, logged, states_equal, write_people

from vreid_fast import files
from vreid_fast import train as train_module
from vreid_fast.errors import InputError, Stopped
from vreid_fast.losses import consistency
from vreid_fast.train import main, train
from vreid_fast.training import compute
from vreid_fast.training.build import initial_network, load_network
from vreid_fast.training.logbook import read_history
from vreid_fast.training.results import read_result
from vreid_fast.training.run_folder import RunFolder
from vreid_fast.training.steps import Steps


def test_a_run_leaves_what_is_promised(paper_run):
    result = json.loads((paper_run / "result.json").read_text())
    for name in ("source", "student", "student_camera", "teacher"):
        assert {"rank1", "rank5", "rank10", "rank20", "map", "queries"} <= set(result[name])
        assert 0 <= result[name]["map"] <= 1 and result[name]["queries"] == 24
    assert result["seconds"] > 0 and result["clips_per_second"] > 0
    assert (paper_run / "config.yaml").is_file() and (paper_run / "last.pt").is_file()
    assert torch.load(paper_run / "last.pt", weights_only=True)["teacher"]["updater"]["decay"] == 0.99
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


def test_a_stop_in_the_clusters_of_a_step_ends_it_and_the_step_is_done_again(
    data, tmp_path, monkeypatch, interrupt_step
):
    after, within, plain, found = tmp_path / "after", tmp_path / "within", consistency.kmeans, []

    def kmeans(*arguments, **options):
        found.append(plain(*arguments, **options))
        if len(found) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return found[-1]

    def stopped(run):
        with pytest.raises(Stopped, match="stopped at step 7 of 8; go on"):
            train(knobs(data, run, cluster_every=3, checkpoint_every=100))
        return torch.load(run / "last.pt", weights_only=True)

    with monkeypatch.context() as patched:
        patched.setattr(consistency, "kmeans", kmeans)
        there = stopped(within)
    interrupt_step(7)
    wanted = stopped(after)
    assert torch.equal(there["random"], wanted["random"]) and states_equal(there["student"], wanted["student"])
    assert states_equal(there["teacher"]["network"], wanted["teacher"]["network"])
    assert [main(["--resume", str(run)]) for run in (after, within)] == [0, 0]
    assert logged(within) == logged(after)
    one, other = (torch.load(run / "last.pt", weights_only=True) for run in (within, after))
    assert states_equal(one["student"], other["student"]) and states_equal(one["memory"], other["memory"])


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", ["parse_command", "Learner"])
def test_a_signal_before_the_first_step_is_a_stop(data, tmp_path, capsys, monkeypatch, number, at):
    plain = getattr(train_module, at)

    def signalled(*arguments, **keywords):
        os.kill(os.getpid(), number)
        return plain(*arguments, **keywords)

    monkeypatch.setattr(train_module, at, signalled)
    assert main(flags(data, tmp_path / "run")) == 130
    out, err = capsys.readouterr()
    assert out == "stopped; --resume goes on from the last checkpoint, if there is one\n" and err == ""
    assert not (tmp_path / "run").exists()


def test_two_signals_while_a_checkpoint_is_written_are_a_stop(data, paper_run, tmp_path, capsys, monkeypatch):
    run, write, sent = tmp_path / "run", files._Raw.write, []

    def interrupted(self, content):
        if self.name == run / "last.pt.partial" and (run / "last.pt").exists() and not sent:
            sent.append(True)
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return write(self, content)

    with monkeypatch.context() as patched:
        patched.setattr(files._Raw, "write", interrupted)
        assert main(flags(data, run)) == 130
    said, error = capsys.readouterr()
    assert said.endswith("\nstopped; --resume goes on from the last checkpoint, if there is one\n")
    assert "Traceback" not in error and not (run / "last.pt.partial").exists()
    assert main(["--resume", str(run)]) == 0
    one, other = read_result(run), read_result(paper_run)
    assert one["student"] == other["student"] and one["teacher"] == other["teacher"]


@pytest.mark.slow
def test_a_run_among_odd_conditions_comes_to_its_end(data, paper_run, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)  # as `| head -1` does
    junk = {"MPLBACKEND": "junk", "TQDM_MININTERVAL": "junk", "TQDM_NCOLS": "junk", "COLUMNS": "junk", "LANG": "C",
            "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii:strict",
            "PYTHONOPTIMIZE": "2"}  # fmt: skip
    words = [sys.executable, "-m", "vreid_fast.train", *map(str, flags(data, tmp_path / "run"))]
    ran = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True, env={**os.environ, **junk})
    os.close(writing)
    assert ran.returncode == 0 and "Traceback" not in ran.stderr
    assert "note: standard output: Broken pipe; the command goes on without it" in ran.stderr
    assert (tmp_path / "run" / "report.html").exists()
    assert read_result(tmp_path / "run")["student"] == read_result(paper_run)["student"]


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
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("nothing here is marked right or wrong") == 2 and "Clusters of the target" in page
    assert page.count('alt="query, unknown camera: ') > 1


@pytest.mark.parametrize("method", ["source", "plus"])
def test_an_unlabelled_target_is_shown_whatever_the_method(data, tmp_path, method):
    """Cameras are named: the nearest are of other cameras. Without adaptation there are no clusters to show."""
    target = write_people(tmp_path / "target", 1)
    table = (target / "tracklets.csv").read_text().splitlines()
    rows = [",".join([path, "", camera]) for path, _, camera in (line.split(",") for line in table[1:])]
    (target / "tracklets.csv").write_text("\n".join([table[0], *rows]))
    assert main(flags({**data, "target": f"folder:{target}"}, tmp_path / "run", method=method)) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("nothing here is marked right or wrong") == 1 + ("Clusters of the target" in page)
    assert ': the same person"' not in page and "somebody else" not in page
    assert page.count('alt="rank 1, camera') == (8 if method == "source" else page.count('class="asked"')) > 0
    assert method == "plus" or "Clusters of the target" not in page


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
    plain, saw = Steps.adapt, []

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

    monkeypatch.setattr(Steps, "adapt", adapt)
    train(knobs(data, tmp_path / "run"))
    assert saw == [False] * 4


def test_consistency_rises_over_its_ramp(data, tmp_path):
    train(knobs(data, tmp_path / "run", consistency_ramp=0.5, l1c=0.4, l2c=2.0))
    weights = [row["weights"] for row in logged(tmp_path / "run") if row["stage"] == "adapt" and "weights" in row]
    assert [row["l1c"] for row in weights] == pytest.approx([0.2, 0.4, 0.4, 0.4])
    assert [row["l2c"] for row in weights] == pytest.approx([1.0, 2.0, 2.0, 2.0])
    assert [row["l1s"] for row in weights] == [1.0] * 4


def test_a_nan_loss_stops_the_run_and_keeps_the_checkpoint(data, tmp_path, capsys, monkeypatch):
    plain = compute.batch_hard_triplet
    calls = 0

    def broken(*arguments):
        nonlocal calls
        calls += 1
        return plain(*arguments) * (float("nan") if calls == 5 else 1.0)

    monkeypatch.setattr(compute, "batch_hard_triplet", broken)
    assert main(flags(data, tmp_path / "run")) != 0
    said = capsys.readouterr().err
    assert "the loss triplet is not finite at step 5" in said and "last.pt (step 4)" in said and "Traceback" not in said
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert state["step"] == 4 and all(value.isfinite().all() for value in state["student"].values())


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


@pytest.fixture
def half_run(data, tmp_path, interrupt_step):
    """A run that was stopped in its second stage, with data of its own."""
    roots = {name: shutil.copytree(spec.partition(":")[2], tmp_path / name) for name, spec in data.items()}
    run = tmp_path / "run"
    interrupt_step(6)
    assert main(flags({name: f"folder:{root}" for name, root in roots.items()}, run)) == 130
    return run


def refused(run, capsys, *words):
    """What is said to a resume that is refused, and leaves all files as they are."""
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    capsys.readouterr()
    assert main(["--resume", str(run), *words]) == 2
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    return line


def test_resume_with_other_knobs_names_each_and_both_values(half_run, capsys):
    line = refused(half_run, capsys, "--people", "4", "--combined_sizes", "[3]", "--log_every", "7")
    assert "with --people 4 (it has 3), --combined_sizes [3] (it has [2, 4, 8]); leave them as they were" in line
    assert f"--start {half_run}/last.pt" in line
    changed = {
        "method": "plus", "network": "resnet18", "frames": 8, "seed": 7, "adapt_steps": 12, "source_steps": 20,
        "cluster_over": "batch", "domain_width": 64, "l1c": 0, "precision": "bf16", "test_clips": "all",
    }  # fmt: skip
    for name, value in changed.items():
        assert f"with --{name} {value}" in refused(half_run, capsys, f"--{name}", str(value))


def test_resume_sees_knobs_changed_in_config_yaml(half_run, capsys):
    text = (half_run / "config.yaml").read_text()
    (half_run / "config.yaml").write_text(text.replace("people: 3", "people: 4"))
    assert "with --people 4 (it has 3)" in refused(half_run, capsys)
    (half_run / "config.yaml").write_text(text[: text.index("source_steps")])
    assert "with --source_steps 300 (it has 4), --adapt_steps 200 (it has 4)" in refused(half_run, capsys)


def test_resume_may_log_and_save_more_often_elsewhere_and_its_config_says_so(half_run, paper_run, tmp_path):
    moved = (tmp_path / "target").rename(tmp_path / "elsewhere")
    words = ["--log_every", "2", "--checkpoint_every", "1", "--loader_threads", "2", "--target", f"folder:{moved}"]
    assert main(["--resume", str(half_run), *words]) == 0
    text = (half_run / "config.yaml").read_text()
    assert "log_every: 2\n" in text and f"target: folder:{moved}\n" in text and "people: 3\n" in text
    one, other = (torch.load(path / "last.pt", weights_only=True) for path in (half_run, paper_run))
    assert states_equal(one["student"], other["student"]) and one["config"]["log_every"] == 2


@pytest.mark.parametrize("domain", ["source", "target"])
def test_resume_on_other_data_names_what_changed(half_run, tmp_path, capsys, domain):
    rows = (tmp_path / domain / "tracklets.csv").read_text().splitlines(keepends=True)
    (tmp_path / domain / "tracklets.csv").write_text("".join(rows[:-1]))
    line = refused(half_run, capsys)
    assert f"{domain}: 23 tracklets, the checkpoint has 24; gone: 0005C1T1/0.jpg" in line
    assert f"--start {half_run}/last.pt" in line
    (tmp_path / domain / "tracklets.csv").write_text("".join([*rows[:-1], rows[-1].replace("5,1", "5,0")]))
    assert f"{domain}: another camera: 0005C1T1/0.jpg 0, was 1" in refused(half_run, capsys)
    (tmp_path / domain / "tracklets.csv").write_text("".join(rows))
    shutil.copy(tmp_path / domain / "0001C0T0" / "0.jpg", tmp_path / domain / "0001C0T0" / "9.jpg")
    assert f"{domain}: other numbers of frames: 0001C0T0/0.jpg 4, was 3" in refused(half_run, capsys)


def test_an_old_checkpoint_takes_its_data_from_no_other_place(half_run, tmp_path, capsys):
    state = torch.load(half_run / "last.pt", weights_only=True)
    del state["data"], state["config"]["proxy_momentum"]
    torch.save(state, half_run / "last.pt")
    moved = shutil.copytree(tmp_path / "target", tmp_path / "moved")
    assert f"with --target folder:{moved} (it has folder:" in refused(half_run, capsys, "--target", f"folder:{moved}")
    assert "with --proxy_momentum 0.5 (it has 0.2)" in refused(half_run, capsys, "--proxy_momentum", "0.5")
    assert main(["--resume", str(half_run)]) == 0
    assert "does not know its data" in capsys.readouterr().out


def test_a_resume_without_a_checkpoint_or_with_damaged_files_says_what_to_do(half_run, capsys):
    metrics = (half_run / "metrics.jsonl").read_bytes()
    for line in (b"5\n", b"\xff\n", b'{"step": 1\n', b"[]\n"):
        (half_run / "metrics.jsonl").write_bytes(line + metrics)
        assert re.search("metrics.jsonl, line 1: wanted an object .*; take the line out", refused(half_run, capsys))
    (half_run / "metrics.jsonl").write_bytes(metrics[:-9])
    content = (half_run / "last.pt").read_bytes()
    (half_run / "last.pt").write_bytes(content[:1000])
    assert "last.pt: it is damaged or cut short" in refused(half_run, capsys)
    (half_run / "last.pt").unlink()
    said = f"no checkpoint there yet, .*; begin anew with --config {half_run}/config.yaml --run {half_run}"
    assert re.search(said, refused(half_run, capsys))
    assert main(["--config", f"{half_run}/config.yaml", "--run", str(half_run), "--adapt_steps", "0"]) == 0


@pytest.mark.parametrize("name", ["config.yaml", "report.html", "result.json"])
def test_a_disk_that_is_full_at_resume_or_at_the_end_is_one_line(half_run, paper_run, capsys, monkeypatch, name):
    plain = files._Raw.write

    def write(self, part):
        if name in str(self.name):
            raise OSError(28, "No space left on device")
        return plain(self, part)

    with monkeypatch.context() as full:
        full.setattr(files._Raw, "write", write)
        assert main(["--resume", str(half_run)]) == 2
    said = capsys.readouterr().err
    last = f"; the last good checkpoint is {half_run}/last.pt (step 8): --resume {half_run} goes on from it"
    kept = "" if name == "config.yaml" else last
    assert f"error: {half_run}/{name}: No space left on device{kept}\n" in said and "Traceback" not in said
    assert not list(half_run.glob("*.part*"))
    assert main(["--resume", str(half_run)]) == 0 and logged(half_run) == logged(paper_run)


def test_a_second_run_or_resume_into_a_folder_in_use_is_refused(data, half_run, capsys):
    with RunFolder(half_run) as running:
        running.open(resume=True)
        assert f"process {os.getpid()} on" in refused(half_run, capsys)
        before = (half_run / "config.yaml").read_text()
        assert main(flags(data, half_run, seed=1)) == 2
        assert "is at this run; wait for its end, or give another --run" in capsys.readouterr().err
    assert (half_run / "config.yaml").read_text() == before and not half_run.with_name("run-1").exists()
    assert main(["--resume", str(half_run)]) == 0


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


def test_a_run_of_the_first_stage_alone_is_gone_on_with_in_its_last_scoring(data, tmp_path):
    config = knobs(data, tmp_path / "run", stages="source", method="paper")
    before = train(config)
    (tmp_path / "run" / "result.json").unlink()
    after = train(config, resume=True)
    assert {**after, "seconds": 0, "clips_per_second": 0} == {**before, "seconds": 0, "clips_per_second": 0}


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"student": {"map": "x"}}', '{"student": {"map": [1]}}'])
def test_a_damaged_result_of_a_finished_run_is_named(tmp_path, content):
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(InputError, match="result.json: not what a run wrote .*: --resume .* makes it anew"):
        read_result(tmp_path)
