"""The folder of a run: one process at a time, an earlier run moved aside, an unusable one named."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from vreid_fast.errors import InputError
from vreid_fast.training.run_folder import RunFolder, is_held


def test_an_earlier_run_is_moved_aside_and_a_folder_that_cannot_be_is_named(tmp_path, capsys):
    for number in (0, 1, 2):
        with RunFolder(tmp_path / "run") as run:
            assert not (run.open() / "config.yaml").exists()
            (run.path / "config.yaml").write_text(f"seed: {number}")
    assert (tmp_path / "run-1" / "config.yaml").read_text() == "seed: 0"
    assert (tmp_path / "run-2" / "config.yaml").read_text() == "seed: 1" and "is now in" in capsys.readouterr().out
    (tmp_path / "file").touch()
    with (
        RunFolder(tmp_path / "file" / "run") as run,
        pytest.raises(InputError, match=r"file/run: cannot be made .*; give"),
    ):
        run.open()


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_is_held_is_refused_and_left_alone(tmp_path, resume):
    with RunFolder(tmp_path / "run") as run, RunFolder(tmp_path / "run") as other:
        run.open()
        (run.path / "config.yaml").write_text("seed: 0")
        with pytest.raises(
            InputError, match=rf"/run: process {os.getpid()} on \S+ is at this run; wait for its end, or give"
        ):
            other.open(resume)
        assert (run.path / "config.yaml").read_text() == "seed: 0" and [p.name for p in tmp_path.iterdir()] == ["run"]
        assert is_held(tmp_path / "run")
    assert not is_held(tmp_path / "run") and not is_held(tmp_path / "none")
    with RunFolder(tmp_path / "run") as later:
        later.open(resume=True)


def test_a_new_run_holds_the_new_folder_not_the_one_that_it_moved(tmp_path):
    for _ in range(2):
        with RunFolder(tmp_path / "run") as run:
            run.open()
            (run.path / "config.yaml").touch()
            with RunFolder(tmp_path / "run") as other, pytest.raises(InputError, match="is at this run"):
                other.open()


def test_a_process_that_is_killed_holds_nothing(tmp_path):
    program = f"""
import time
from vreid_fast.training.run_folder import RunFolder
with RunFolder({str(tmp_path / "run")!r}) as run:
    run.open()
    print("held", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with RunFolder(tmp_path / "run") as run:
            with pytest.raises(InputError, match=f"process {process.pid} on"):
                run.open()
            process.send_signal(signal.SIGKILL)
            process.wait()
            run.open()


def test_a_drive_without_locks_is_said(tmp_path, monkeypatch, capsys):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with RunFolder(tmp_path / "run") as run:
        assert run.open().is_dir() and not is_held(run.path)
    assert "cannot be locked (No locks available): start no second run in it" in capsys.readouterr().out
