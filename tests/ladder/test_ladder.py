"""python -m vreid_fast.ladder: whole ladders of trainings, stopped and taken up, and of stand-ins."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from fake_training import calls, install
from small_runs import TINY, knobs, states_equal, write_people

from vreid_fast.ladder.__main__ import main
from vreid_fast.train import train
from vreid_fast.training.logbook import read_history

ROWS = """
title: Mine
rows:
  source: {method: source}
  bn_adapt: {method: bn_adapt, after: source, adapt_steps: 0}
  paper: {method: paper, published: {iLIDS-VID: [42.0, 53.3]}}
differences: {paper - source: {row: paper, minus: source}}
"""


@pytest.fixture
def command(data, tmp_path):
    """Words of a ladder in tmp_path/run."""
    (tmp_path / "rows.yaml").write_text(ROWS)
    (tmp_path / "tiny.yaml").write_text("".join(f"{name}: {value}\n" for name, value in TINY.items()))
    return [
        "--table", str(tmp_path / "rows.yaml"), "--run", str(tmp_path / "run"), "--config", str(tmp_path / "tiny.yaml"),
        "--source", data["source"], "--target", data["target"],
    ]  # fmt: skip


@pytest.fixture
def fake(tmp_path, monkeypatch):
    (tmp_path / "fake").mkdir()
    return install(tmp_path / "fake", monkeypatch)


def wait_for(path: Path, process: subprocess.Popen):
    end = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)


def children(process: subprocess.Popen) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def steps(folder: Path) -> list[int]:
    return [row["step"] for row in read_history(folder / "metrics.jsonl") if "loss" in row]


@pytest.mark.slow
def test_a_ladder_killed_and_stopped_goes_on_and_repeats_nothing(command, tmp_path, capsys):
    command += ["--seeds=1", "--source-steps", "60", "--adapt_steps", "40", "--checkpoint_every", "5"]
    program = [sys.executable, "-m", "vreid_fast.ladder", *command]
    seed = tmp_path / "run" / "seed0"

    killed = subprocess.Popen(program, stdout=subprocess.DEVNULL)
    wait_for(seed / "start" / "last.pt", killed)
    (training,) = children(killed)
    killed.kill()
    os.kill(training, signal.SIGKILL)
    killed.wait()
    assert not (seed / "start" / "result.json").exists()
    before = torch.load(seed / "start" / "last.pt")["step"]
    logged = (seed / "start" / "metrics.jsonl").read_text().splitlines()[: before + 1]
    assert 5 <= before < 60

    stopped = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    wait_for(seed / "paper" / "last.pt", stopped)
    stopped.send_signal(signal.SIGINT)
    said = stopped.communicate(timeout=60)[0]
    assert stopped.returncode == 130
    assert "stopped with 3 of 4 cells finished; the same command goes on" in said
    assert (seed / "start" / "metrics.jsonl").read_text().splitlines()[: before + 1] == logged
    assert steps(seed / "start") == list(range(1, 61))
    kept = {path: path.stat().st_mtime_ns for path in seed.glob("*/result.json")}
    assert {path.parent.name for path in kept} == {"start", "source", "bn_adapt"}
    at = torch.load(seed / "paper" / "last.pt")["step"]
    assert 60 <= at < 100 and f"stopped at step {at} of 100" in (seed / "paper.log").read_text()

    two = [*command, "--seeds=2", "--rows=paper", "--jobs=2"]
    assert main(two) == 0
    said = capsys.readouterr().out
    assert "3 of 4 cells to train" in said and "[4/4] seed " in said
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert steps(seed / "paper") == list(range(61, 101))
    folders = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").glob("*/*/")}
    assert folders == {
        "seed0/source",
        "seed0/bn_adapt",
        *(f"seed{n}/{row}" for n in (0, 1) for row in ("start", "paper")),
    }
    assert torch.load(tmp_path / "run" / "seed1" / "paper" / "last.pt")["config"]["seed"] == 1

    page = (tmp_path / "run" / "ladder.md").read_text()
    assert re.search(r"\| paper \| 2 \| [\d.]+ ± [\d.]+ \| [\d.]+ ± [\d.]+ \| .* \| 42.0 / 53.3 \|", page)
    assert "| untrained | 2 |" in page and "seeds 0, 1" in page and f"torch {torch.__version__}" in page
    untouched = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("*/*/*")}
    assert main(two) == 0
    again = capsys.readouterr().out
    assert "0 of 4 cells to train" in again
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("*/*/*")} == untouched


def test_bn_adapt_after_source_is_bn_adapt(data, tmp_path):
    """The two differ in batch-norm statistics alone, so a row may save the steps."""
    train(knobs(data, tmp_path / "start", method="source", adapt_steps=0))
    start = str(tmp_path / "start" / "last.pt")
    whole = train(knobs(data, tmp_path / "whole", method="bn_adapt", start=start))
    train(knobs(data, tmp_path / "source", method="source", start=start))
    after = str(tmp_path / "source" / "last.pt")
    short = train(knobs(data, tmp_path / "short", method="bn_adapt", start=after, adapt_steps=0))
    for name in ("untrained", "student", "student_camera"):
        assert short[name] == whole[name]
    one, other = (torch.load(tmp_path / run / "last.pt") for run in ("whole", "short"))
    assert states_equal(one["student"], other["student"])
    # What it begins with counts as the first stage: its steps are those of that stage alone.
    assert (one["step"], other["step"]) == (8, 4) and short["clips_per_second"] == 0


def test_output_of_a_ladder(command, fake, tmp_path, capsys):
    assert main([*command, "--seeds", "2", "--first-seed", "3"]) == 0
    said = capsys.readouterr().out
    assert "[1/8] seed 3  start" in said and "[8/8] seed 4  paper" in said
    assert "mAP  19.0, per camera  24.0      2 s    50 clips/s" in said.split("seed 3  paper")[1].splitlines()[0]
    assert calls(fake) == [f"seed{s}/{row}" for s in (3, 4) for row in ("start", "source", "bn_adapt", "paper")]
    for name in ("ladder.md", "ladder.csv", "ladder.png", "ladder.svg"):
        assert (tmp_path / "run" / name).stat().st_size > 0
    assert "python -m vreid_fast.ladder --table" in (tmp_path / "run" / "ladder.md").read_text()
    assert "paper - source" in said and f"{tmp_path / 'run' / 'ladder.md'}, ladder.csv and ladder.png hold them" in said


def test_more_seeds_and_rows_are_added(command, fake, capsys):
    assert main([*command, "--seeds", "1", "--rows", "paper"]) == 0
    assert "One seed: no deviation" in capsys.readouterr().out
    assert main([*command, "--seeds", "1", "--rows", "source", "--jobs", "2"]) == 0
    assert main([*command, "--seeds", "2"]) == 0
    assert calls(fake)[:3] == ["seed0/start", "seed0/paper", "seed0/source"]
    assert len(calls(fake)) == len(set(calls(fake))) == 8


def test_a_folder_of_another_ladder_is_refused(command, fake, tmp_path, capsys):
    assert main([*command, "--seeds=1"]) == 0
    made = calls(fake)
    for words, different in (
        (["--l2c", "0.5", "--people=2"], "--people 3, not 2; --l2c 1.0, not 0.5"),
        (["--table=3", "--rows=paper"], "table rows.yaml, not 3"),
        (["--target", "synthetic"], r"--target folder:\S+, not synthetic"),
    ):
        assert main([*command, "--seeds=1", *words]) == 2
        error = capsys.readouterr().err
        assert re.search(f"error: --run {tmp_path / 'run'} holds another ladder: .*{different}", error)
        assert error.endswith("; give another --run\n")
    (tmp_path / "rows.yaml").write_text(ROWS.replace("paper: {method: paper", "paper: {method: paper, l1c: 0"))
    assert main([*command, "--seeds=1"]) == 2
    assert "row paper with {'after': 'start', 'method': 'paper'}, not {" in capsys.readouterr().err
    assert calls(fake) == made
    (tmp_path / "rows.yaml").write_text(ROWS.replace("paper: {", "new: {l1c: 0}\n  paper: {"))
    assert main([*command, "--seeds=1", "--threads=2"]) == 0
    assert calls(fake) == [*made, "seed0/new"]


def test_what_failed_in_its_first_cell_may_be_put_right(command, fake, capsys):
    (fake / "start").write_text("fail")
    assert main([*command, "--seeds=1", "--people=7"]) == 2
    (fake / "start").unlink()
    assert main([*command, "--seeds=1", "--people=2"]) == 0
    assert main([*command, "--seeds=1"]) == 2
    assert "--people 2, not 3" in capsys.readouterr().err


def test_a_failing_cell_is_shown_with_its_log_and_the_tables_so_far(command, fake, tmp_path, capsys):
    (fake / "paper").write_text("fail")
    assert main([*command, "--seeds=1"]) == 2
    said = capsys.readouterr()
    assert "Not finished for every seed: paper." in said.out and "untrained" in said.out
    assert f"the end of {tmp_path / 'run' / 'seed0' / 'paper.log'}:" in said.err
    assert said.err.endswith("    error: no such thing\n") and "Traceback" not in said.err


def test_data_of_every_row_is_read_before_the_first_cell(command, fake, data, tmp_path, capsys):
    (tmp_path / "rows.yaml").write_text("rows: {a: {}, last: {source: 'folder:/nowhere'}}")
    assert main(command) == 2
    assert re.search("row last: .*/nowhere.*leave the row out, with --rows", capsys.readouterr().err)
    target = write_people(tmp_path / "unlabelled", 1, labelled=False)
    assert main([*command, "--target", f"folder:{target}", "--rows=a"]) == 2
    assert re.search("--target .*no labelled query and gallery.*a ladder compares scores", capsys.readouterr().err)
    assert calls(fake) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds=0"], "--seeds must be at least 1, got 0"),
        (["--jobs=0"], "--jobs must be at least 1, got 0"),
        (["--first_seed=-1"], "--first_seed must be at least 0, got -1"),
        (["--rows=papers"], "--rows papers: table rows.yaml has no such row"),
        (["--table=5"], "--table 5: no such file"),
        (["--seed=3"], "--seed=3: the ladder gives it to each cell"),
        (["--l9=3"], "--l9: no such knob"),
        (["--device=cuda", "--run=/proc/none/run"], "--run /proc/none/run: cannot be made"),
    ],
)
def test_bad_words_are_one_line(command, fake, capsys, words, said):
    assert main([*command, *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said}") and error.count("\n") == 1 and calls(fake) == []
