"""What ends a command: a line and an exit code for a user's errors, a traceback for ours."""

import importlib
import os
import signal

import pytest

from vreid_fast.errors import Diverged, Failed, InputError, Stopped, exit_code


def raising(error):
    def work():
        raise error

    return work


def test_work_that_ends_gives_its_own_code():
    assert exit_code(lambda: None) == 0 and exit_code(lambda: 1) == 1


@pytest.mark.parametrize("error", [InputError("x: no"), Diverged("x: no"), Failed("x: no"), OSError("x: no")])
def test_an_error_of_the_users_is_one_line(error, capsys):
    assert exit_code(raising(error)) == 2
    assert capsys.readouterr() == ("", "error: x: no\n")


@pytest.mark.parametrize(
    "error",
    [OSError(36, "File name too long", "a\nb\x1b" + "/c" * 3000), Failed("a b\x1b" + "/c" * 3000 + ": failed")],
)
def test_no_error_is_longer_than_a_line_can_be_read(error, capsys):
    assert exit_code(raising(error)) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: a b\\x1b/c/c/c") and said.endswith(("/c: File name too long\n", "/c: failed\n"))
    assert len(said.splitlines()) == 1 and len(said) < 4000


def test_the_end_of_a_log_stands_below_its_error(capsys):
    assert exit_code(raising(Failed("a cell failed:\n    b\x1b\n    c"))) == 2
    assert capsys.readouterr().err == "error: a cell failed:\n    b\\x1b\n    c\n"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n   ", "\u2028", "\x85", "\v"])
def test_what_an_error_quotes_is_one_line_too(end, capsys):
    assert exit_code(raising(InputError(f"file a{end}b: {'9' * 90_000}: no\x00 number\x1b[2J"))) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: file a b: 999") and said.endswith("9: no\\x00 number\\x1b[2J\n")
    assert len(said.splitlines()) == 1 and len(said) < 4000


def test_a_stop_says_where_it_can_go_on(capsys):
    assert exit_code(raising(Stopped("stopped at step 3"))) == 130
    assert exit_code(raising(KeyboardInterrupt()), stopped="stopped; again") == 130
    assert capsys.readouterr().out == "stopped at step 3\nstopped; again\n"


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ValueError, match="a bug"):
        exit_code(raising(ValueError("a bug")))


def test_sigterm_is_a_stop_in_a_command_and_what_it_was_after_it(capsys):
    before = signal.getsignal(signal.SIGTERM)
    assert exit_code(lambda: os.kill(os.getpid(), signal.SIGTERM), stopped="stopped; nothing is lost") == 130
    assert capsys.readouterr() == ("stopped; nothing is lost\n", "") and signal.getsignal(signal.SIGTERM) is before


def test_an_interrupt_that_became_another_error_is_a_stop(capsys):
    def work():  # as torch's writer does
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("unexpected pos 64 vs 0") from None

    assert exit_code(work, stopped="stopped; again") == 130
    assert capsys.readouterr() == ("stopped; again\n", "")


def test_an_error_of_a_file_names_it(capsys):
    assert exit_code(raising(OSError(28, "No space left on device", "/x/last.pt"))) == 2
    assert capsys.readouterr().err == "error: /x/last.pt: No space left on device\n"
    assert exit_code(raising(OSError(5, "Input/output error", "/x/a\n\x1b[2J.jpg"))) == 2
    assert capsys.readouterr().err == "error: /x/a \\x1b[2J.jpg: Input/output error\n"


@pytest.mark.parametrize("module", ["ladder.__main__", "data.__main__", "export"])
@pytest.mark.parametrize("rank", ["0", "1"])
def test_several_processes_are_refused_by_the_first_of_them(module, rank, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    assert importlib.import_module(f"vreid_fast.{module}").main([]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == (rank == "0")
    assert rank == "1" or err.startswith("error: started as 2 processes (WORLD_SIZE=2), as by torchrun; wanted one")


@pytest.mark.parametrize("size", ["1", "", "two"])
def test_one_process_of_torchrun_is_welcome(size, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", size)
    assert exit_code(lambda: None) == 0
