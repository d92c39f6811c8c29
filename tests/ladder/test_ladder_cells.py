"""The cells of a ladder: in which order they are trained, what is not trained again, and how they end."""

import fcntl
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
import torch
from fake_training import calls, install

from vreid_fast.errors import Stopped
from vreid_fast.ladder.__main__ import gpus_for
from vreid_fast.ladder.cells import CellFailed, plan_cells, run_cells
from vreid_fast.ladder.rows import configure, read_table
from vreid_fast.training.run_folder import RunFolder

ROWS = "rows: {a: {method: source}, b: {after: a}, c: {l1s: 0}}"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    folder = tmp_path / "fake"
    folder.mkdir()
    return install(folder, monkeypatch)


@pytest.fixture
def plan(tmp_path):
    def cells(text=ROWS, seeds=(0,), jobs=1, words=()):
        (tmp_path / "rows.yaml").write_text(text)
        table = read_table(str(tmp_path / "rows.yaml"))
        return plan_cells(table, configure(table, list(words))[1], tmp_path / "run", seeds, jobs)

    return cells


def run(cells, jobs=1):
    told, said = [], []
    run_cells(cells, jobs, lambda cell: told.append(f"seed{cell.seed}/{cell.row}"), said.append)
    return told, said


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_cells_of_a_seed_are_paired(plan, tmp_path):
    cells = {(cell.seed, cell.row): cell for cell in plan(seeds=(3, 4))}
    assert list(cells) == [(seed, row) for seed in (3, 4) for row in ("start", "a", "b", "c")]
    for (seed, row), cell in cells.items():
        knobs = cell.config.knobs()
        assert (knobs["seed"], knobs["synthetic_seed"]) == (seed, seed)
        assert knobs["run"] == str(tmp_path / "run" / f"seed{seed}" / row)
        before = {"start": None, "a": "start", "b": "a", "c": "start"}[row]
        assert knobs["start"] == (before and str(tmp_path / "run" / f"seed{seed}" / before / "last.pt"))


def test_cells_at_once_share_the_cores(plan):
    cores = len(os.sched_getaffinity(0))
    assert {cell.config.device.threads for cell in plan()} == {0}
    assert {cell.config.device.threads for cell in plan(jobs=cores)} == {1}
    assert {cell.config.device.threads for cell in plan(jobs=100)} == {1}
    assert {cell.config.device.threads for cell in plan(jobs=100, words=["--threads=3"])} == {3}


def test_each_cell_is_trained_once_after_the_one_it_begins_from(plan, fake):
    text = "rows: {b: {after: a}, a: {method: source}, c: {}}"
    told, _ = run(plan(text, seeds=(0, 1)))
    assert told == calls(fake) == [f"seed{seed}/{row}" for seed in (0, 1) for row in ("start", "a", "b", "c")]
    assert run(plan(text, seeds=(0, 1))) == ([], []) and calls(fake) == told
    assert run(plan(text, seeds=(0, 1, 2)))[0] == ["seed2/start", "seed2/a", "seed2/b", "seed2/c"]


def test_two_at_once(plan, fake):
    (fake / "a").write_text("meet seed0/c")
    (fake / "c").write_text("meet seed0/a")
    assert len(run(plan(), jobs=2)[0]) == 4


def test_one_at_a_time(plan, fake):
    (fake / "a").write_text("meet seed0/c")
    cells = plan()
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(Stopped):
        run(cells)
    assert calls(fake) == ["seed0/start", "seed0/a"]


def test_a_cell_with_a_checkpoint_goes_on(plan, fake, tmp_path):
    (tmp_path / "run" / "seed0" / "start").mkdir(parents=True)
    (tmp_path / "run" / "seed0" / "start" / "last.pt").touch()
    run(plan())
    assert calls(fake)[:2] == ["seed0/start resumed", "seed0/a"]


def test_a_failing_cell_ends_the_ladder_and_keeps_the_rest(plan, fake, tmp_path):
    (fake / "a").write_text("fail")
    (fake / "c").write_text("wait")
    cells = plan()
    log = tmp_path / "run" / "seed0" / "a.log"
    with pytest.raises(CellFailed) as error:
        run(cells, jobs=2)
    message = str(error.value)
    assert message.startswith(f"seed 0, row a: failed (exit 2); the end of {log}:\n")
    assert message.endswith("error: no such thing") and message.count("\n") == 12
    assert [cell.finished for cell in cells] == [True, False, False, False]
    if "seed0/c" in calls(fake):
        assert (cells[3].folder / "last.pt").exists()
    (fake / "a").unlink(), (fake / "c").unlink()
    assert sorted(run(plan())[0]) == ["seed0/a", "seed0/b", "seed0/c"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_with_a_checkpoint(plan, fake, number):
    (fake / "a").write_text("wait")
    (fake / "c").write_text("wait")
    cells = plan()

    def interrupt():
        wait_for(lambda: {"seed0/a", "seed0/c"} <= set(calls(fake)))
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Stopped):
        run(cells, jobs=2)
    thread.join()
    assert [(cell.folder / "last.pt").exists() for cell in cells] == [True, True, False, True]
    (fake / "a").unlink(), (fake / "c").unlink()
    run(plan())
    assert sorted(calls(fake)[3:]) == ["seed0/a resumed", "seed0/b", "seed0/c resumed"]


def test_a_cell_that_is_trained_by_hand_is_waited_for(plan, fake):
    cells, told = plan(), []
    run(cells[:1])
    with RunFolder(cells[1].folder) as by_hand:
        by_hand.open()
        thread = threading.Thread(target=lambda: told.extend(run(cells[:2])[1]))
        thread.start()
        time.sleep(0.3)
        assert "seed0/a" not in calls(fake)
    thread.join()
    assert calls(fake) == ["seed0/start", "seed0/a"] and "another process is training it" in told[0]


def test_what_a_killed_ladder_left_running_is_waited_for(plan, fake):
    (fake / "a").write_text("wait")
    cells = plan()
    run(cells[:1])
    orphan = cells[1].start()
    wait_for(lambda: "seed0/a" in calls(fake))
    told, said = [], []

    def say(words):
        said.append(words)
        (fake / "a").unlink()

    # The orphan is not the ladder's to reap: its result is what counts.
    run_cells(plan(), 1, lambda cell: told.append(cell.row), say)
    orphan.wait()
    assert said == [f"{cells[1].folder}: another process is training it; its result is waited for"]
    assert sorted(told) == ["a", "b", "c"] and calls(fake).count("seed0/a") == 1


def test_a_locked_cell_is_not_begun(plan, fake):
    start = plan()[0]
    start.folder.parent.mkdir(parents=True)
    with open(start.log, "a") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        assert start.start() is None
    assert start.start().wait() == 0


def test_each_cell_has_a_gpu_of_its_own_and_is_one_process(plan, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_PORT", "TORCHELASTIC_RUN_ID"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert gpus_for(jobs=1) == [] and gpus_for(jobs=3) == ["4", "6"]
    seen = []

    class Training:
        """Ends after those that were begun before it."""

        returncode = 0

        def __init__(self, command, env, **_):
            self.folder, self.left = Path(command[-1]).with_suffix(""), 3 + len(seen)
            assert not {"RANK", "WORLD_SIZE", "MASTER_PORT", "TORCHELASTIC_RUN_ID"} & set(env)
            seen.append((self.folder.name, env["CUDA_VISIBLE_DEVICES"]))

        def poll(self):
            self.left -= 1
            if self.left:
                return None
            self.folder.mkdir()
            (self.folder / "result.json").write_text("{}")
            return 0

    monkeypatch.setattr(subprocess, "Popen", Training)
    # Two begin; the first that ends leaves its GPU to the next one.
    cells = plan("rows: {a: {method: source}, b: {l1s: 0}, c: {l2s: 0}}", seeds=(0, 1), jobs=2)
    run_cells(cells, 2, lambda cell: None, print, gpus_for(jobs=2))
    assert [gpu for _, gpu in seen] == ["4", "6"] * (len(cells) // 2)
    assert {name for name, _ in seen} == {"start", "a", "b", "c"}
