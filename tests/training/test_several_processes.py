"""Several processes compute what one does, in float64; they stop, fail and go on together. See `vreid_fast.ranks`."""

import os
import signal
import subprocess
import sys

import pytest
from support.ranked import SCRIPT, furthest, log, run, state
from support.small_runs import TINY

RATES = {"source_lr": 1e-4, "adapt_lr": 1e-4, "head_lr": 1e-4}
"""Low, as Adam makes ten of a difference in each step where gradients are near zero."""


def words(data, folder, **changes):
    knobs = {
        **TINY, **data, **RATES, "people": 4, "target_batch": 8, "source_steps": 4, "adapt_steps": 6,
        "precision": "fp32", "cluster_every": 3, "gradients_every": 2, "run": folder, **changes,
    }  # fmt: skip
    return [word for name, value in knobs.items() for word in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """The folder of a run of one process by its method; each is made once."""
    made = {}

    def folder(method):
        if method not in made:
            made[method] = tmp_path_factory.mktemp("alone") / method
            [only] = run(1, words(data, made[method], method=method))
            assert only.code == 0, only.err
        return made[method]

    return folder


def assert_same(one, other):
    first, second = log(one), log(other)
    assert len(first) == len(second)
    # Step by step: differences of rounding grow.
    assert furthest(first[:3], second[:3]) < (1e-11, "")
    assert furthest(first, second) < (1e-6, "")
    assert furthest(state(one), state(other)) < (1e-6, "")


def errors(left):
    """What the processes said of errors; gloo may tell of tries to connect beside it."""
    return [line for one in left for line in one.err.splitlines() if line.startswith("error:")]


def test_a_stop_of_one_stops_all_at_that_step_or_within_clusters_before_it_and_any_number_goes_on(
    alone, data, tmp_path
):
    folder = tmp_path / "run"
    left = run(4, words(data, folder, method="plus", checkpoint_every=100), SIGNAL=f"1 6 {int(signal.SIGTERM)}")
    assert [one.code for one in left] == [130] * 4, [one.err for one in left]
    said = [line for one in left for line in one.out.splitlines() if "stopped" in line]
    assert said == [f"stopped at step 6 of 10; go on with --resume {folder}"]
    assert state(folder)["step"] == 6
    left = run(2, ["--resume", folder, "--checkpoint_every", 100], SIGNAL=f"1 clusters {int(signal.SIGTERM)}")
    assert left[1].code == 130 and state(folder)["step"] == 7, [one.err for one in left]
    [only] = run(1, ["--resume", folder])
    assert only.code == 0, only.err
    assert_same(folder, alone("plus"))


def test_torchrun_starts_what_was_killed_again_and_it_goes_on(alone, data, tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--max-restarts=1", SCRIPT, "--"]
    words_of_run = words(data, folder, method="paper", checkpoint_every=3, log_every=1, cache="cpu")
    own = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "SIGNAL": f"1 8 {int(signal.SIGKILL)}"}
    done = subprocess.run([*command, *words_of_run], env=own, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert "source-only" in done.stdout
    assert_same(folder, alone("paper"))
    assert not list(tmp_path.glob("run-*"))


@pytest.mark.slow
def test_a_stop_within_the_clusters_of_a_step_keeps_the_step_before(alone, data, tmp_path):
    folder = tmp_path / "run"
    words_of_run = words(data, folder, method="paper", checkpoint_every=100)
    left = run(2, words_of_run, SIGNAL=f"0 kmeans {int(signal.SIGTERM)}")
    assert left[0].code == 130 and state(folder)["step"] == 7, [one.err for one in left]
    [only] = run(1, ["--resume", folder])
    assert only.code == 0, only.err
    assert_same(folder, alone("paper"))


def test_an_error_of_one_ends_all_and_is_said_once(data, tmp_path):
    left = run(2, words(data, tmp_path / "run"), words_of={1: ["--margin", "0.5"]})
    assert [one.code for one in left] == [2, 2]
    assert errors(left) == [
        "error: the 2 processes of this run differ in their knobs; start all with the same command, data and versions"
    ]
    assert not (tmp_path / "run").exists()


def test_processes_that_cannot_find_each_other_say_how_to_start_them(data, tmp_path, monkeypatch, capsys):
    from vreid_fast.train import main

    for name in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(words(data, tmp_path / "run")) == 2
    assert capsys.readouterr().err.startswith(
        "error: started as 2 processes (WORLD_SIZE=2) without RANK, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, "
        "MASTER_PORT, by which they find each other; start them by torchrun: torchrun --nproc-per-node N "
        "-m vreid_fast.train -- --run DIR\n"
    )
